//! The ledger is tested itself: whatever is lost or doubled in a sound world, it complains.

use std::collections::BTreeMap;

use serde_json::json;

use super::facts::{Effect, Facts, Force, Hook, Mail, effects};
use super::ledger::{Terms, audit, mail_id};
use super::stored::{Build, Buildset, Change, Delivery, Event, Message, Request, Stored, Verdict};

fn terms() -> Terms {
    Terms {
        meets: vec![("push", "app")],
        forced: "hand",
        told: vec!["one@example.org"],
        attempts_max: 2,
        ticks: BTreeMap::from([("quick", 1)]),
    }
}

fn main_of_app() -> (String, String) {
    ("app".to_owned(), "refs/heads/main".to_owned())
}

/// Two changes and a forced build; the first build was lost once; the second broke, and that was told.
fn sound() -> (Facts, Stored) {
    let tips = BTreeMap::from([(main_of_app(), "r2".to_owned())]);
    let facts = Facts {
        hooks: vec![Hook { repository: "app".into(), key: "d".into(), delivery: 1 }],
        forces: vec![Force { key: "k".into(), buildset: 3 }, Force { key: "k".into(), buildset: 3 }],
        wrong_answers: Vec::new(),
        mails: vec![
            Mail { id: format!("<{}@example.org>", mail_id("told")), run: 3 },
            Mail { id: format!("<{}@example.org>", mail_id("told")), run: 4 },
        ],
        effects: effects(
            "start 1 1\nstart 2 2\ntick 2 2\nend 2 2\nstart 3 1\ntick 3 1\nend 3 1\nstart 4 1\ntick 4 1\nend 4 1\n",
        ),
        tips: tips.clone(),
        histories: BTreeMap::from([(main_of_app(), vec!["r1".to_owned(), "r2".to_owned(), "r3".to_owned()])]),
    };
    let change = |id: i64, old: &str, new: &str| Change {
        id,
        repository: "app".into(),
        reference: "refs/heads/main".into(),
        seq: id,
        old: Some(old.into()),
        new: Some(new.into()),
        commits: vec![new.into()],
    };
    let verdict = |change| Verdict { change, scheduler: "push".into(), kind: "built".into(), buildset: Some(change) };
    let buildset = |id: i64, scheduler: &str| Buildset {
        id,
        scheduler: scheduler.into(),
        trigger: format!("trigger {id}"),
        remaining: 0,
        outcome: Some("success".into()),
    };
    let build = |id: i64, request: i64, attempt: i64, outcome: &str| Build {
        id,
        request,
        builder: "quick".into(),
        attempt,
        epoch: attempt,
        state: "finished".into(),
        outcome: Some(outcome.into()),
    };
    let completed = |seq: i64| Event { seq, kind: "buildset.completed".into(), body: json!({"buildset": seq}) };
    let broke = Event { seq: 4, kind: "incident.opened".into(), body: json!({}) };
    let stored = Stored {
        changes: vec![change(1, "r0", "r1"), change(2, "r1", "r2")],
        verdicts: vec![verdict(1), verdict(2)],
        buildsets: vec![buildset(1, "push"), buildset(2, "push"), buildset(3, "hand")],
        contains: vec![(1, 1), (2, 2)],
        requests: (1..=3).map(|id| Request { id, buildset: id, state: "settled".into() }).collect(),
        builds: vec![
            build(1, 1, 1, "retry"),
            build(2, 1, 2, "success"),
            build(3, 2, 1, "failure"),
            build(4, 3, 1, "success"),
        ],
        messages: vec![Message {
            id: 1,
            event: 4,
            target: "one@example.org".into(),
            key: "told".into(),
            state: "delivered".into(),
        }],
        deliveries: vec![Delivery {
            id: 1,
            repository: "app".into(),
            key: "d".into(),
            result: Some("change 1".into()),
        }],
        events: (1..=3).map(completed).chain([broke]).collect(),
        head: 4,
        tips,
    };
    (facts, stored)
}

/// What is done to the sound world, and what the complaint must name.
type Harm = (&'static str, &'static str, fn(&mut Facts, &mut Stored));

const HARMS: &[Harm] = &[
    ("an event is missing", "gap", |_, stored| drop(stored.events.remove(1))),
    ("the head is elsewhere", "head", |_, stored| stored.head = 5),
    ("a delivery is lost", "acknowledged delivery d", |_, stored| stored.deliveries.clear()),
    ("a delivery is there twice", "acknowledged delivery d", |_, stored| {
        let again = Delivery { id: 2, ..stored.deliveries[0].clone() };
        stored.deliveries.push(again);
    }),
    ("a delivery is never read", "nobody ever read", |_, stored| stored.deliveries[0].result = None),
    ("a force is lost", "forced buildsets", |_, stored| drop(stored.buildsets.pop())),
    ("a force is done twice", "forced buildsets", |_, stored| {
        let again = Buildset { id: 9, trigger: "again".into(), ..stored.buildsets[2].clone() };
        stored.buildsets.push(again);
    }),
    ("a repeated force is answered otherwise", "several buildsets", |facts, _| facts.forces[1].buildset = 2),
    ("an answer was wrong", "500", |facts, _| facts.wrong_answers.push("a force was answered with 500".into())),
    ("a push is not seen", "tips", |facts, _| drop(facts.tips.insert(main_of_app(), "r3".into()))),
    ("a change is lost", "the number of change", |_, stored| {
        stored.changes[1].seq = 3;
    }),
    ("a change does not follow", "what change 2 follows", |_, stored| stored.changes[1].old = Some("r0".into())),
    ("a commit is left out", "the commits", |_, stored| stored.changes[0].commits.clear()),
    ("a commit is told twice", "the commits", |_, stored| stored.changes[1].commits.insert(0, "r1".into())),
    ("a verdict is lost", "the verdicts of push on change 2", |_, stored| drop(stored.verdicts.pop())),
    ("a verdict is given twice", "the verdicts of push on change 1", |_, stored| {
        let again = stored.verdicts[0].clone();
        stored.verdicts.push(again);
    }),
    ("a change is held for ever", "holds change 1 back", |_, stored| stored.verdicts[0].kind = "held".into()),
    ("a buildset does not have its change", "does not contain", |_, stored| stored.contains.truncate(1)),
    ("one trigger sets off two buildsets", "set off twice", |_, stored| {
        stored.buildsets[1].trigger = stored.buildsets[0].trigger.clone();
    }),
    ("a change is built twice", "several times", |_, stored| stored.contains.push((2, 1))),
    ("a buildset never ends", "never ended", |_, stored| stored.buildsets[0].outcome = None),
    ("a buildset ends twice", "completed 2 times", |_, stored| {
        stored.events.push(Event { seq: 5, kind: "buildset.completed".into(), body: json!({"buildset": 1}) });
        stored.head = 5;
    }),
    ("a request never ends", "never ended", |_, stored| stored.requests[0].state = "leased".into()),
    ("a request is lost", "builds without a request", |_, stored| drop(stored.requests.pop())),
    ("an attempt too many", "had 3 attempts", |_, stored| {
        let third = Build { id: 5, attempt: 3, epoch: 3, ..stored.builds[1].clone() };
        stored.builds.push(third);
    }),
    ("an attempt is lost", "the attempts of request 1", |_, stored| drop(stored.builds.remove(0))),
    ("an epoch is given out twice", "epochs", |_, stored| stored.builds[1].epoch = 1),
    ("a lost build is not tried again", "ended", |_, stored| stored.builds[1].outcome = Some("retry".into())),
    ("a build runs on", "never ended", |_, stored| stored.builds[3].state = "running".into()),
    ("something ran that nobody knows", "nobody knows of it", |facts, _| {
        facts.effects.push(Effect { what: "start".into(), build: 77, attempt: 1 });
    }),
    ("two attempts at once", "ran beside", |facts, _| {
        facts.effects.push(Effect { what: "tick".into(), build: 1, attempt: 1 });
    }),
    ("a build ran twice", "what build 4 did", |facts, _| {
        facts.effects.push(Effect { what: "start".into(), build: 4, attempt: 1 });
    }),
    ("a lost build began twice", "lost build 1 did more", |facts, _| {
        let again = facts.effects[0].clone();
        facts.effects.insert(0, again);
    }),
    ("a build did not do its work", "what build 4 did", |facts, _| drop(facts.effects.pop())),
    ("news became no message", "missing", |_, stored| stored.messages.clear()),
    ("a message is about nothing", "extra", |_, stored| stored.events[3].kind = "worker.joined".into()),
    ("a message is about what its readers know", "extra", |_, stored| {
        stored.events[3].kind = "incident.joined".into();
    }),
    ("a message is given up", "is dead", |_, stored| stored.messages[0].state = "dead".into()),
    ("a mail never came", "never taken", |facts, _| facts.mails.clear()),
    ("a mail came twice without a kill", "without a kill between", |facts, _| facts.mails[1].run = 3),
    ("a mail has another Message-ID when it is repeated", "mails that nobody knows of", |facts, _| {
        facts.mails[1].id = "<other@example.org>".into();
    }),
];

#[test]
fn a_sound_world_is_not_complained_of() {
    let (facts, stored) = sound();
    assert_eq!(audit(&terms(), &facts, &stored), Vec::<String>::new());
}

#[test]
fn whatever_is_lost_or_doubled_is_complained_of() {
    for (what, named, harm) in HARMS {
        let (mut facts, mut stored) = sound();
        harm(&mut facts, &mut stored);
        let complaints = audit(&terms(), &facts, &stored);
        assert!(complaints.iter().any(|complaint| complaint.contains(named)), "{what}: {complaints:#?}");
    }
}

#[test]
fn a_line_that_was_cut_off_by_a_kill_is_no_effect() {
    assert_eq!(effects("start 1 1\nen"), [Effect { what: "start".into(), build: 1, attempt: 1 }]);
}
