use expect_test::{Expect, expect};
use gristmill_model::{
    Build, BuildState, Buildset, CatalogHash, Commit, Movement, NeedMode, Person, Reason, Request, RequestState, Seq,
    StampSet, Via,
};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(50_531 + second)
}

/// Tells turns of events, a second apart.
fn check(turns: Vec<Vec<EventBody>>, expected: &Expect) {
    let mut narrator = Narrator::new(Look::PLAIN, Detail::Usual);
    let mut text = String::new();
    for (second, turn) in (0..).zip(turns) {
        for body in turn {
            for line in narrator.tell(&Event { seq: Seq(1), at: at(second), body }) {
                // A margin, because `expect!` takes common indentation away.
                text.push('|');
                text.push_str(&line);
                text.push('\n');
            }
        }
    }
    expected.assert_eq(&text);
}

fn change(message: &str) -> EventBody {
    let author = Person { name: "Ada\x1b[31m".to_owned(), email: "ada@example.org".to_owned() };
    let revision = "a1b2c3d4e5".into();
    EventBody::ChangeSeen {
        change: Change {
            id: ChangeId(12),
            repository: "core".into(),
            reference: "refs/heads/main".into(),
            seq: 1,
            old: None,
            new: Some("a1b2c3d4e5".into()),
            movement: Movement::Moved,
            commits: vec![Commit { revision, author, message: message.to_owned(), files: Vec::new(), at: at(0) }],
            incomplete: false,
            via: Via::Watch,
            at: at(0),
        },
    }
}

fn buildset(trigger: Trigger) -> EventBody {
    EventBody::BuildsetCreated {
        buildset: Buildset {
            id: BuildsetId(88),
            scheduler: "all-of-main".into(),
            project: None,
            trigger,
            stamps: StampSet::new(),
            branch: "main".to_owned(),
            properties: BTreeMap::new(),
            priority: 0,
            depth: 0,
            catalog: CatalogHash::default(),
            created_at: at(0),
            outcome: None,
            completed_at: None,
        },
        requests: vec![Request {
            id: RequestId(9),
            buildset: BuildsetId(88),
            node: "linux".into(),
            builder: "linux".into(),
            recipe: "r".into(),
            digest: "d".into(),
            mode: NeedMode::All,
            state: RequestState::Ready,
            attempts: 0,
            epoch: 0,
            outcome: None,
            cause: None,
            created_at: at(0),
            settled_at: None,
        }],
        edges: Vec::new(),
    }
}

fn leased() -> EventBody {
    EventBody::BuildLeased {
        build: Build {
            id: BuildId(101),
            request: RequestId(9),
            buildset: BuildsetId(88),
            builder: "linux".into(),
            attempt: 1,
            epoch: 1,
            worker: "local".into(),
            state: BuildState::Leased,
            cancel: None,
            suspended_step: None,
            outcome: None,
            cause: None,
            summary: None,
            leased_at: at(0),
            started_at: None,
            finished_at: None,
        },
    }
}

fn nothing(scheduler: &str, reason: Reason) -> EventBody {
    EventBody::VerdictGiven {
        verdict: Verdict {
            change: ChangeId(12),
            scheduler: scheduler.into(),
            kind: VerdictKind::Nothing,
            reasons: vec![reason],
            place: gristmill_model::Place::default(),
            at: at(0),
        },
    }
}

#[test]
fn a_push_is_told_from_the_change_to_the_outcome() {
    let finished = EventBody::BuildFinished {
        build: BuildId(101),
        outcome: Outcome::Failure,
        cause: Some(Cause::Code),
        summary: "step test: exit code 2".to_owned(),
        retry: false,
    };
    let suspects = SuspectRange { branch: "main".to_owned(), after: ChangeId(9), upto: ChangeId(12) };
    let opened = EventBody::IncidentOpened {
        incident: IncidentId(3),
        branch: "main".to_owned(),
        builder: "linux".into(),
        build: BuildId(101),
        suspects: BTreeMap::from([("core".into(), suspects)]),
    };
    check(
        vec![
            vec![
                change("Make the queue bounded\n\nLong text"),
                buildset(Trigger::Changes { changes: vec![ChangeId(12)] }),
                nothing("docs", Reason::TagNotAsked),
                nothing("nightly", Reason::NotWokenByChanges { kind: "nightly".to_owned() }),
                leased(),
            ],
            vec![
                finished,
                opened,
                EventBody::BuildsetCompleted { buildset: BuildsetId(88), outcome: Outcome::Failure },
            ],
        ],
        &expect![[r#"
            |  14:02:11  change 12  core main a1b2c3d4 Ada “Make the queue bounded”
            |            → buildset 88  all-of-main (1 build)
            |            docs: nothing (tag: the rule names no tag, and this is one)
            |  14:02:11  ◔ build 101  linux on local
            |  14:02:12  ✕ build 101  linux  failure in 1 s (code): step test: exit code 2
            |            gristmill logs 101
            |  14:02:12  ✕ incident 3  linux broke on main by core changes after 9 up to 12 (build 101)
            |  14:02:12  ✕ buildset 88  all-of-main  failure
        "#]],
    );
}

#[test]
fn many_schedulers_that_do_nothing_take_few_lines() {
    check(
        vec![["a", "b", "c", "d", "e"].map(|scheduler| nothing(scheduler, Reason::TagNotAsked)).to_vec()],
        &expect![[r#"
            |            a: nothing (tag: the rule names no tag, and this is one)
            |            b: nothing (tag: the rule names no tag, and this is one)
            |            c: nothing (tag: the rule names no tag, and this is one)
            |            … others: gristmill why change 12
        "#]],
    );
}

#[test]
fn what_no_change_set_off_at_once_says_what_did() {
    check(
        vec![
            vec![change("One")],
            vec![buildset(Trigger::Changes { changes: vec![ChangeId(12)] })],
            vec![buildset(Trigger::Upstream { buildsets: vec![BuildsetId(7)] })],
            vec![buildset(Trigger::Person { by: "lin\n".to_owned(), reason: Some("again".to_owned()) })],
        ],
        &expect![[r#"
            |  14:02:11  change 12  core main a1b2c3d4 Ada “One”
            |  14:02:12  → buildset 88  all-of-main (1 build)  for change 12
            |  14:02:13  → buildset 88  all-of-main (1 build)  after buildset 7
            |  14:02:14  → buildset 88  all-of-main (1 build)  by lin: again
        "#]],
    );
}

#[test]
fn a_refused_configuration_is_shown_with_its_mistakes() {
    let problems = "× builder \"x\" does not exist\n  gristmill.yaml:3".to_owned();
    check(
        vec![vec![EventBody::CatalogRefused { problems }]],
        &expect![[r#"
            |  14:02:11  ✕ the configuration is refused; the one before stays in force
            |            × builder "x" does not exist
            |              gristmill.yaml:3
        "#]],
    );
}

#[test]
fn what_ended_is_forgotten() {
    let mut narrator = Narrator::new(Look::PLAIN, Detail::Usual);
    let tell = |narrator: &mut Narrator, body| narrator.tell(&Event { seq: Seq(1), at: at(0), body });
    tell(&mut narrator, buildset(Trigger::Changes { changes: Vec::new() }));
    tell(&mut narrator, leased());
    let finished = EventBody::BuildFinished {
        build: BuildId(101),
        outcome: Outcome::Success,
        cause: None,
        summary: String::new(),
        retry: false,
    };
    let subject = narrator.subject(&finished);
    assert_eq!((subject.buildset, subject.branch.as_deref()), (Some(BuildsetId(88)), Some("main")));
    tell(&mut narrator, finished);
    tell(&mut narrator, EventBody::BuildsetCompleted { buildset: BuildsetId(88), outcome: Outcome::Success });
    assert!(narrator.builds.is_empty() && narrator.buildsets.is_empty() && narrator.requests.is_empty());
}
