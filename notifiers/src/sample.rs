//! Made-up happenings: what templates are checked against, and what tests start from.

use std::time::Duration;

use gristmill_model::{
    BuildId, BuildsetId, Cause, ChangeId, CodebaseName, IncidentId, Outcome, Person, Seq, SourceStamp, StampSet,
    Timestamp, Transition,
};

use crate::happening::{ExcerptLine, FailedStep, Happening, Suspect};

/// A happening with everything in it.
pub(crate) fn broke() -> Happening {
    let at = Timestamp::from_seconds(1_795_518_131);
    let suspects = vec![
        suspect(5, "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334", "Ada", "ada@example.org", "Make the queue bounded"),
        suspect(4, "9f8e7d0c1b2a39485766554433221100ffeeddcc", "Lin", "lin@example.org", "Drop the old shim"),
    ];
    let stamp = SourceStamp {
        repository: "core".into(),
        branch: "main".to_owned(),
        revision: suspects[0].revision.clone(),
        change: Some(ChangeId(5)),
    };
    Happening {
        projects: vec!["core".into()],
        branch: Some("main".to_owned()),
        scheduler: Some("core-main".into()),
        outcome: Some(Outcome::Failure),
        cause: Some(Cause::Test),
        build: Some(BuildId(12)),
        buildset: Some(BuildsetId(7)),
        incident: Some(IncidentId(3)),
        url: Some("http://ci.example.org".to_owned()),
        stamps: StampSet::from([(CodebaseName("core".to_owned()), stamp)]),
        suspects,
        step: Some(FailedStep { number: 1, name: "test".to_owned(), summary: "exit code 2".to_owned() }),
        excerpt: excerpt(),
        since: Some(at.before(Duration::from_secs(90))),
        worker: Some("local".into()),
        ..Happening::turned(Seq(41), at, Transition::Broke, vec!["lib-test".into()])
    }
}

/// The same builder, good again.
#[cfg(test)]
pub(crate) fn fixed() -> Happening {
    let broke = broke();
    Happening {
        event: Seq(57),
        kind: "fixed".to_owned(),
        transition: Some(Transition::Fixed),
        outcome: Some(Outcome::Success),
        cause: None,
        build: Some(BuildId(15)),
        buildset: Some(BuildsetId(9)),
        step: None,
        excerpt: Vec::new(),
        since: broke.since,
        at: broke.at.after(Duration::from_secs(1_220)),
        suspects: vec![suspect(
            6,
            "0c1d2e3f405162738495a6b7c8d9eaf000112233",
            "Bo",
            "bo@example.org",
            "Wake the waiters",
        )],
        ..broke
    }
}

/// A repository that cannot be read.
pub(crate) fn source_failing() -> Happening {
    let at = Timestamp::from_seconds(1_795_518_131);
    Happening {
        repository: Some("core".into()),
        projects: vec!["core".into()],
        url: Some("http://ci.example.org".to_owned()),
        ..Happening::of_system(Seq(60), at, "source.failing", "cannot connect to git.example.org: connection refused")
    }
}

/// A suspect.
pub(crate) fn suspect(change: i64, revision: &str, name: &str, email: &str, subject: &str) -> Suspect {
    Suspect {
        change: ChangeId(change),
        repository: "core".into(),
        revision: revision.into(),
        author: Person { name: name.to_owned(), email: email.to_owned() },
        subject: subject.to_owned(),
    }
}

fn excerpt() -> Vec<ExcerptLine> {
    let texts = [
        "running 14 tests",
        "test queue::keeps_order ... ok",
        "test queue::is_bounded ... \u{1b}[31mFAILED\u{1b}[0m",
        "",
        "thread 'queue::is_bounded' panicked at src/queue.rs:88:9:",
        "assertion `left == right` failed",
        "  left: 1025",
        " right: 1024",
        "",
        "test result: FAILED. 13 passed; 1 failed; finished in 0.52s",
    ];
    (210..)
        .zip(texts)
        .map(|(number, text)| ExcerptLine { number, text: text.to_owned(), is_error: number == 212 })
        .collect()
}

/// A rendered message.
#[cfg(test)]
pub(crate) fn message(target: &str) -> gristmill_model::Message {
    gristmill_model::Message {
        id: gristmill_model::MessageId(1),
        event: Seq(41),
        notifier: "mail".into(),
        target: target.to_owned(),
        because: "author of a1b2c3d4, gristmill.yaml:52".to_owned(),
        key: format!("incident-3:broke:mail:{target}"),
        incident: Some(IncidentId(3)),
        subject: "broke: core/lib-test on main".to_owned(),
        text: "It broke.\n".to_owned(),
        html: Some("<p>It broke.</p>".to_owned()),
        at: Timestamp::from_seconds(1_795_518_131),
    }
}
