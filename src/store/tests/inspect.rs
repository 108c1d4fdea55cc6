//! Looking at everything: nothing is found in a good database, each defect is found by the check that is meant for it,
//! and the journal gives the rows again.
//!
//! The defects are SQL that both databases speak.

use std::collections::BTreeSet;

use gristmill_model::*;

use super::fixture::*;
use super::{Kind, on_both};
use crate::postgres::Postgres;
use crate::store::database::{Place, Text};
use crate::store::inspect::{CHECKS, Check, Inspector, Looked};
use crate::store::{Blob, DATABASE_FILE, Database, Store, StoreError};

/// Lets a defect in that the rules of the tables would keep out.
const UNGUARD: Text = Text::Each {
    sqlite: "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON",
    postgres: "SET session_replication_role = replica;
        DO $$ DECLARE rule RECORD; BEGIN
            FOR rule IN SELECT CAST(conrelid AS regclass) AS holder, conname FROM pg_constraint
                WHERE contype = 'c' AND connamespace = CAST(current_schema() AS regnamespace) LOOP
                EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rule.holder, rule.conname);
            END LOOP;
        END $$",
};

/// A statement that damages a good database, and the checks that find something then, apart from the deep ones.
const DEFECTS: &[(&str, &[&str])] = &[
    ("UPDATE journal_head SET seq = seq + 1", &["journal-gapless"]),
    ("DELETE FROM event WHERE seq = 9", &["events", "journal-gapless"]),
    ("UPDATE event SET body = '{\"kind\":\"a.b\"}' WHERE seq = 9", &["events"]),
    ("UPDATE event SET kind = 'build.eaten' WHERE seq = 9", &["events"]),
    ("UPDATE event SET at = 0 WHERE seq = 9", &["events"]),
    ("UPDATE cursor SET seq = 10000", &["cursors"]),
    ("DELETE FROM change WHERE id = 2", &["change-chain", "foreign-keys", "numbers"]),
    ("DELETE FROM delivery_body WHERE delivery = 3", &["deliveries"]),
    ("UPDATE catalog SET active = 0", &["catalog"]),
    ("UPDATE ref_tip SET revision = 'elsewhere'", &["tips"]),
    ("UPDATE ref_tip SET seq = seq + 1", &["tips"]),
    ("DELETE FROM ref_tip", &["tips"]),
    ("UPDATE change SET old = 'elsewhere' WHERE id = 2", &["change-chain"]),
    ("DELETE FROM verdict WHERE change = 2 AND scheduler = 'nightly'", &["verdicts"]),
    ("UPDATE verdict SET buildset = 3 WHERE change = 2 AND kind = 'built'", &["verdict-buildset"]),
    ("INSERT INTO buildset_change (buildset, change) VALUES (2, 1)", &["triggers"]),
    ("UPDATE timer SET next = nominal", &["timers"]),
    ("UPDATE buildset SET remaining = 3 WHERE id = 2", &["buildset-remaining"]),
    (
        "UPDATE buildset SET outcome = 'success', completed_at = 1 WHERE id = 2",
        &["buildset-complete", "buildset-outcome"],
    ),
    ("UPDATE buildset SET outcome = 'success' WHERE id = 1", &["buildset-outcome", "upstreams"]),
    ("UPDATE edge SET needs = 5 WHERE request = 2", &["edges"]),
    ("UPDATE edge SET needs = 3 WHERE request = 2 AND needs = 1", &["circles"]),
    ("UPDATE request SET state = 'ready' WHERE id = 5", &["needs"]),
    ("DELETE FROM edge WHERE request = 5", &["needs"]),
    ("UPDATE upstream SET outcome = 'success'", &["upstreams"]),
    ("UPDATE request SET state = 'ready' WHERE id = 4", &["leases"]),
    ("UPDATE build SET epoch = 1 WHERE id = 2", &["attempts"]),
    ("UPDATE request SET epoch = 7 WHERE id = 4", &["attempts"]),
    ("UPDATE request SET outcome = 'exception' WHERE id = 1", &["buildset-outcome", "request-outcome"]),
    ("UPDATE build SET branch = 'other' WHERE id = 2", &["build-buildset"]),
    ("UPDATE step SET triggered = NULL WHERE build = 3", &["suspended"]),
    ("UPDATE step SET triggered = 1 WHERE build = 3", &["suspended"]),
    ("UPDATE standing SET incident = NULL", &["incidents"]),
    ("DELETE FROM incident_builder", &["incidents"]),
    ("UPDATE outbox SET event = 10000 WHERE id = 1", &["outbox"]),
    ("UPDATE outbox SET claimed = 1 WHERE state = 'delivered'", &["outbox"]),
    ("DELETE FROM outbox WHERE id = 1", &["numbers"]),
    ("DELETE FROM recipe", &["foreign-keys"]),
];

/// Rows that no rule speaks of: only writing the events again shows that they are not what happened.
const ONLY_BY_FOLDING: &[(&str, &str)] = &[
    (
        "UPDATE step SET summary = 'exit code 0' WHERE build = 1",
        "step 1 0 has summary exit code 0, and by its events exit code 2",
    ),
    ("DELETE FROM outbox WHERE id = 2", "outbox 2 is missing"),
    ("INSERT INTO timer (scheduler, at) VALUES ('x', 1)", "timer x is there, and no event made it"),
    ("UPDATE worker SET slots = 9", "worker water has slots 9, and by its events 2"),
    (
        "UPDATE verdict SET reasons = '[]' WHERE change = 1 AND kind = 'built'",
        "verdict 1 ci has reasons [], and by its",
    ),
    ("UPDATE build SET worker = 'wind' WHERE id = 1", "build 1 has worker wind, and by its events water"),
];

/// A history as the engine writes them, with a bit of everything: a retry, a failure, an incident, a suspended build, a
/// held change, messages.
async fn lived(kind: Kind) -> World {
    let mut world = World::new(kind).await;
    let mut turn = world.turn(vec![EventBody::CatalogActivated { hash: "c0ffee".into() }]);
    turn.blobs = vec![Blob::Catalog { hash: "c0ffee".into(), text: "builders: {}".into() }];
    world.commit(turn).await.unwrap();
    world.happen(vec![EventBody::WorkerJoined { worker: worker(2) }]).await;
    world.happen(vec![EventBody::RepositorySeen { repository: "lib".into() }, recipe_recorded()]).await;
    pushed(&mut world, 1, None, 1..4).await;
    let of = |build| BuildId(build);
    let step = |build, name: &str| EventBody::StepStarted { build: of(build), step: 0, name: name.into() };
    let ended = EventBody::StepFinished {
        build: of(1),
        step: 0,
        outcome: Outcome::Exception,
        cause: Some(Cause::Infrastructure),
        summary: "exit code 2".into(),
        warnings: 0,
    };
    let started = EventBody::BuildStarted { build: of(1) };
    world.happen(vec![started, step(1, "compile"), ended, finished(1, Outcome::Retry, true), build(2, 1, 1, 2)]).await;
    let skipped = |request| EventBody::RequestSettled {
        request: RequestId(request),
        outcome: Outcome::Skipped,
        cause: Cause::Dependency,
        reason: "node-1 ended with failure".into(),
    };
    let opened = EventBody::IncidentOpened {
        incident: IncidentId(1),
        branch: "main".into(),
        builder: "builder-1".into(),
        build: of(2),
        suspects: suspects(0, 1),
    };
    let noted = EventBody::UpstreamNoted {
        scheduler: "deploy".into(),
        upstream: "ci".into(),
        buildset: BuildsetId(1),
        outcome: Outcome::Failure,
        meets: false,
        branch: "main".into(),
        stamps: stamps(),
        depth: 1,
        result: "waits".into(),
    };
    let ends = [finished(2, Outcome::Failure, false), turned("builder-1", Outcome::Failure, 2), opened];
    let goes_on = [skipped(2), skipped(3), completed(1, Outcome::Failure), noted];
    world.happen(ends.into_iter().chain(goes_on).collect()).await;
    pushed(&mut world, 2, Some(1), 4..6).await;
    let triggered = EventBody::StepTriggered { build: of(3), step: 0, buildset: BuildsetId(3), wait: true };
    let trigger = Trigger::Step { build: of(3), step: 0, wait: true };
    let set_off = [buildset(3, "images", trigger, 6..7), triggered];
    let begins = [EventBody::BuildStarted { build: of(3) }, step(3, "images")];
    world.happen(begins.into_iter().chain(set_off).collect()).await;
    quiet(&mut world).await;
    world
}

/// A push that scheduler `ci` builds and `nightly` does not, and whose first build is leased.
async fn pushed(world: &mut World, number: i64, before: Option<u32>, requests: std::ops::Range<i64>) {
    let first = requests.start;
    let new = number as u32;
    let at = Timestamp(world.now.0 + 1_000_000);
    let seen = Change { at, ..change(number, number, before, Some(new)) };
    let (accepted, blob) = delivery(number);
    let trigger = Trigger::Changes { changes: vec![ChangeId(number)] };
    let mut turn = world.turn(vec![
        accepted,
        EventBody::ChangeSeen { change: seen },
        buildset(number, "ci", trigger, requests),
        verdict(number, "ci", VerdictKind::Built { buildset: BuildsetId(number) }),
        verdict(number, "nightly", VerdictKind::Nothing),
        EventBody::DeliveryRead { delivery: DeliveryId(number), result: format!("change {number}") },
        build(if number == 1 { 1 } else { 3 }, first, number, 1),
    ]);
    turn.blobs = vec![blob];
    world.commit(turn).await.unwrap();
}

/// A change that is held, a timer, a finding, and two messages, one of them sent.
async fn quiet(world: &mut World) {
    let at = Timestamp(world.now.0 + 1_000_000);
    let seen = Change { at, ..change(3, 3, Some(2), Some(3)) };
    let (accepted, blob) = delivery(3);
    let mut turn = world.turn(vec![
        accepted,
        EventBody::ChangeSeen { change: seen },
        verdict(3, "ci", held(3, Some(90))),
        verdict(3, "nightly", VerdictKind::Nothing),
        EventBody::TimerFired {
            scheduler: "weekly".into(),
            nominal: Some(Timestamp(10)),
            next: Some(Timestamp(20)),
            nothing: None,
        },
        EventBody::DoctorFound { check: "space".into(), detail: "3 MiB are free".into() },
    ]);
    turn.blobs = vec![blob];
    world.commit(turn).await.unwrap();
    let queued = |id| EventBody::MessageQueued { message: message(id) };
    let delivered = EventBody::MessageDelivered { message: MessageId(1), receipt: "250 ok".into() };
    let mut turn = world.turn(vec![queued(1), queued(2), delivered]);
    turn.cursors = vec![("announcer".into(), turn.expected_head)];
    world.commit(turn).await.unwrap();
}

/// Runs all checks, and gives what each one that found something says.
async fn found_in(place: &Place, wanted: impl Fn(&Check) -> bool) -> Vec<(&'static str, String)> {
    let mut inspector = Inspector::of(place).await.unwrap();
    let mut found = Vec::new();
    for check in CHECKS.iter().filter(|check| wanted(check)) {
        match inspector.look(check).await {
            Ok(Looked::Sound { .. }) => {}
            Ok(Looked::Found(what)) => found.push((check.id, what.to_string())),
            Err(problem) => panic!("{}: {problem}", check.id),
        }
    }
    inspector.close().await;
    found
}

fn ids(found: &[(&'static str, String)]) -> BTreeSet<&'static str> {
    found.iter().map(|(id, _)| *id).collect()
}

/// A good database that nobody has open, to make damaged ones of.
struct Good {
    folder: tempfile::TempDir,
    database: Database,
}

impl Good {
    async fn make(kind: Kind) -> Self {
        let World { store, folder, database, .. } = lived(kind).await;
        store.close().await;
        Self { folder, database }
    }

    /// Gives one like it, damaged; the one before is gone.
    async fn damaged(&self, text: &'static str) -> Place {
        let place = match &self.database {
            Database::Embedded => {
                let file = self.folder.path().join("damaged.db");
                std::fs::copy(self.folder.path().join(DATABASE_FILE), &file).unwrap();
                Place::Sqlite(file)
            }
            Database::Server(url) => {
                let copy = Database::Server(Postgres::shared().copy_of(url));
                Place::of(self.folder.path(), &copy).unwrap()
            }
        };
        damage(&place, text).await;
        place
    }
}

async fn damage(place: &Place, text: &'static str) {
    let mut connection = place.open_writer().await.unwrap();
    connection.script(UNGUARD).await.unwrap();
    connection.script(Text::Same(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    connection.close().await.unwrap();
}

on_both![
    nothing_is_found_in_a_good_database_while_it_is_served,
    each_defect_is_found_by_its_check,
    what_no_rule_speaks_of_is_found_by_folding,
    a_state_that_is_not_the_fold_is_found,
    a_journal_without_its_beginning_is_compared_as_far_as_it_goes,
];

async fn nothing_is_found_in_a_good_database_while_it_is_served(kind: Kind) {
    let world = lived(kind).await;
    let place = Place::of(world.folder.path(), &world.database).unwrap();
    assert_eq!(found_in(&place, |_| true).await, []);
    let mut inspector = world.store.inspector().await.unwrap();
    assert_eq!(inspector.compare_memory(world.state.clone()).await.unwrap(), Looked::SOUND);
    let older = gristmill_schedulers::State::default();
    assert_eq!(inspector.compare_memory(older).await.unwrap(), Looked::SOUND, "what came since is folded in");
    let mut other = world.state.clone();
    other.workers.clear();
    assert!(matches!(inspector.compare_memory(other).await.unwrap(), Looked::Found(_)));
    world.restart().await;
}

async fn each_defect_is_found_by_its_check(kind: Kind) {
    let good = Good::make(kind).await;
    let mut problems = Vec::new();
    for (text, wanted) in DEFECTS {
        let place = good.damaged(text).await;
        let found = found_in(&place, |check| !check.is_deep).await;
        if ids(&found) != wanted.iter().copied().collect() {
            problems.push(format!("{text}\n  wanted {wanted:?}\n  found {found:#?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn every_rule_has_a_defect_that_it_finds() {
    let proved: BTreeSet<&str> = DEFECTS.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    let left: Vec<&str> =
        CHECKS.iter().filter(|check| !check.is_deep).map(|check| check.id).filter(|id| !proved.contains(id)).collect();
    assert_eq!(left, ["file"], "which has a test of its own");
}

async fn what_no_rule_speaks_of_is_found_by_folding(kind: Kind) {
    let good = Good::make(kind).await;
    for (text, wanted) in ONLY_BY_FOLDING {
        let place = good.damaged(text).await;
        assert_eq!(found_in(&place, |check| !check.is_deep).await, [], "{text}");
        let found = found_in(&place, |check| check.id == "fold-rows").await;
        assert!(found.len() == 1 && found[0].1.starts_with(wanted), "{text}\n{found:?}");
    }
}

async fn a_state_that_is_not_the_fold_is_found(kind: Kind) {
    let good = Good::make(kind).await;
    let text = "UPDATE repository SET failures = 4";
    let place = good.damaged(text).await;
    let found = found_in(&place, |check| check.id == "fold-state").await;
    assert!(found[0].1.starts_with("`repositories` differs"), "{found:?}");
}

async fn a_journal_without_its_beginning_is_compared_as_far_as_it_goes(kind: Kind) {
    let good = Good::make(kind).await;
    for text in ["DELETE FROM event WHERE seq <= 3", "DELETE FROM event WHERE seq <= 15", "DELETE FROM event"] {
        let place = good.damaged(text).await;
        let found = found_in(&place, |check| check.id != "journal-gapless").await;
        assert_eq!(found, [], "{text}");
    }
    let text = "DELETE FROM event WHERE seq <= 3; UPDATE build SET worker = 'wind' WHERE id = 3";
    let place = good.damaged(text).await;
    let found = found_in(&place, |_| true).await;
    assert_eq!(ids(&found), ["fold-rows"].into(), "{found:?}");
    let mut inspector = Inspector::of(&place).await.unwrap();
    for check in CHECKS.iter().filter(|check| check.id == "fold-state") {
        let Ok(Looked::Sound { note: Some(note) }) = inspector.look(check).await else { panic!("it was folded") };
        assert!(note.contains("begins at 4"), "{note}");
    }
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    use std::os::unix::fs::FileExt as _;
    let good = Good::make(Kind::Sqlite).await;
    let file = good.folder.path().join(DATABASE_FILE);
    let bytes = std::fs::read(&file).unwrap();
    // A page in the middle, but not the schema's.
    let pages = bytes.len() / 4096;
    let found = {
        let opened = std::fs::File::options().write(true).open(&file).unwrap();
        opened.write_all_at(&[0xa5; 4096], (pages as u64 / 2) * 4096).unwrap();
        found_in(&Place::Sqlite(file), |check| check.id == "file").await
    };
    assert_eq!(ids(&found), ["file"].into());
    assert!(found[0].1.ends_with("the database is damaged, and what it says cannot be relied on"), "{found:?}");
}

#[tokio::test]
async fn looking_needs_a_database_of_this_version_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = Inspector::open(folder.path(), &Database::Embedded).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Io { .. }), "{refusal:?}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    Store::open(folder.path()).await.unwrap().close().await;
    let text = "DELETE FROM schema_version WHERE number > 1";
    damage(&Place::Sqlite(folder.path().join(DATABASE_FILE)), text).await;
    let refusal = Inspector::open(folder.path(), &Database::Embedded).await.unwrap_err();
    assert!(matches!(refusal, StoreError::SchemaOlder { found: 1, .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_server_without_tables_is_no_database_of_this_version() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = Inspector::open(folder.path(), &Kind::Postgres.database()).await.unwrap_err();
    assert!(matches!(refusal, StoreError::SchemaOlder { found: 0, .. }), "{refusal:?}");
    let elsewhere = Database::Server(Postgres::shared().url("nowhere"));
    let refusal = Inspector::open(folder.path(), &elsewhere).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Io { is_transient: false, .. }), "{refusal:?}");
}
