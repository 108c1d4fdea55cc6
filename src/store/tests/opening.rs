//! One service per folder, the right schema, and a disk that fills up.

use std::path::Path;

use gristmill_model::*;

use super::fixture::*;
use super::{Kind, on_both};
use crate::store::database::{Connection, Place, Text, sql};
use crate::store::writer::Desk;
use crate::store::{CommitError, DATABASE_FILE, LOCK_FILE, Store, StoreError, Turn, migrate};

fn place(folder: &Path) -> Place {
    Place::Sqlite(folder.join(DATABASE_FILE))
}

async fn connect(folder: &Path) -> Connection {
    place(folder).open_writer().await.unwrap()
}

/// Opens a store that was changed behind its back by `text`, and gives the refusal.
async fn refusal_after(kind: Kind, text: &'static str) -> StoreError {
    let World { store, folder, database, .. } = World::new(kind).await;
    store.close().await;
    let place = Place::of(folder.path(), &database).unwrap();
    place.open_writer().await.unwrap().script(Text::Same(text)).await.unwrap();
    let refusal = Store::open_database(folder.path(), &database).await.unwrap_err();
    assert!(refusal.to_string().contains(&format!("the database {place}")), "{refusal}");
    refusal
}

async fn a_second_service_on_the_same_folder_is_refused_and_told_who_is_there(kind: Kind) {
    let world = World::new(kind).await;
    let refusal = Store::open_database(world.folder.path(), &world.database).await.unwrap_err();
    assert!(matches!(refusal, StoreError::InUse { .. }));
    let text = refusal.to_string();
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    assert!(text.contains(world.folder.path().to_str().unwrap()), "{text}");
    world.restart().await;
}

#[tokio::test]
async fn a_lock_file_that_nobody_holds_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(LOCK_FILE), "999999999 and a longer text than any process id has").unwrap();
    Store::open(folder.path()).await.unwrap().close().await;
    assert_eq!(
        std::fs::read_to_string(folder.path().join(LOCK_FILE)).unwrap(),
        format!("{}\n", std::process::id()),
        "the file names its last holder and nothing else"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refusal = Store::open(&file.join("data")).await.unwrap_err();
    assert!(refusal.to_string().contains("file/data"), "{refusal}");
}

#[tokio::test]
async fn a_new_data_folder_and_its_database_are_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a/data");
    Store::open(&data).await.unwrap().close().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join(DATABASE_FILE))), (0o700, 0o600));
}

async fn a_newer_schema_is_refused_in_clear_words(kind: Kind) {
    let refusal =
        refusal_after(kind, "INSERT INTO schema_version (number, name, sha256) VALUES (99, 'future', '')").await;
    assert!(matches!(refusal, StoreError::SchemaNewer { found: 99, .. }));
    let words = format!("newer gristmill (schema 99, this one knows up to {})", migrate::newest());
    assert!(refusal.to_string().contains(&words), "{refusal}");
}

async fn a_migration_that_was_applied_with_another_text_is_refused(kind: Kind) {
    let refusal = refusal_after(kind, "UPDATE schema_version SET sha256 = 'other' WHERE number = 1").await;
    assert!(matches!(refusal, StoreError::SchemaDiffers { number: 1, .. }), "{refusal:?}");
}

async fn a_database_of_something_else_is_refused_and_left_alone(kind: Kind) {
    let refusal = refusal_after(kind, "DROP TABLE schema_version").await;
    assert!(matches!(refusal, StoreError::Foreign { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(DATABASE_FILE), "once upon a time ".repeat(1000)).unwrap();
    let refusal = Store::open(folder.path()).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Io { is_transient: false, .. }), "{refusal:?}");
}

async fn a_migration_that_fails_leaves_nothing_behind(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = Place::of(folder.path(), &kind.database()).unwrap().open_writer().await.unwrap();
    let broken = migrate::Migration {
        number: 1,
        name: "broken",
        text: Text::Same("CREATE TABLE half (a INTEGER); CREATE TABEL"),
    };
    assert!(migrate::apply_all(&mut connection, "here", &[broken]).await.is_err());
    let right = migrate::Migration { number: 1, name: "right", text: Text::Same("CREATE TABLE half (a INTEGER)") };
    let next =
        migrate::Migration { number: 2, name: "next", text: Text::Same("ALTER TABLE half ADD COLUMN b INTEGER") };
    let all = [right, next];
    migrate::apply_all(&mut connection, "here", &all[..1]).await.unwrap();
    migrate::apply_all(&mut connection, "here", &all).await.unwrap();
    migrate::apply_all(&mut connection, "here", &all).await.unwrap();
    sql("SELECT a, b FROM half").fetch_all(&mut connection).await.unwrap();
}

#[test]
fn migrations_are_numbered_from_one_without_gaps() {
    let numbers: Vec<i64> = migrate::MIGRATIONS.iter().map(|migration| migration.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
}

async fn readers_cannot_write(kind: Kind) {
    let world = World::new(kind).await;
    let write = sql("UPDATE journal_head SET seq = 7").execute(world.store.reader().pool()).await;
    let refusal = write.unwrap_err().to_string();
    assert!(refusal.contains(if kind == Kind::Sqlite { "readonly" } else { "read-only" }), "{refusal}");
    world.store.verify(&world.state).await.unwrap();
}

async fn a_caller_that_goes_away_does_not_take_its_turn_along(kind: Kind) {
    let mut world = World::new(kind).await;
    let turn = world.turn(vec![EventBody::RepositorySeen { repository: "lib".into() }]);
    {
        let mut commit = std::pin::pin!(world.store.commit(turn));
        assert!(futures_util::poll!(commit.as_mut()).is_pending());
    }
    let state = world.store.load().await.unwrap();
    assert_eq!(state.head, Seq(1));
    assert!(state.repositories.contains_key("lib"));
}

#[tokio::test]
async fn a_full_disk_is_said_to_pass_and_nothing_is_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut desk = Desk { connection: None, place: place(folder.path()) };
    let connection = desk.connection().await.unwrap();
    migrate::bring_up_to_date(connection, "here").await.unwrap();
    connection.script(Text::Same("PRAGMA max_page_count = 200")).await.unwrap();
    let mut head = Seq(0);
    let turn = |head: Seq| {
        let number = head.0 / 2 + 1;
        let change = change(number, number, (number > 1).then_some(1), Some(1));
        let error = "x".repeat(3000);
        let failing = EventBody::SourceFailing { repository: "lib".into(), error, failures: number as u32 };
        Turn { expected_head: head, events: vec![EventBody::ChangeSeen { change }, failing], ..Turn::default() }
    };
    let refused = loop {
        match desk.commit(turn(head)).await {
            Ok(new) => head = new,
            Err(error) => break error,
        }
    };
    assert!(head.0 > 10, "200 pages were full after {head} events");
    match refused {
        CommitError::Store(error @ StoreError::Io { .. }) => assert!(error.is_transient(), "{error}"),
        other => panic!("{other:?}"),
    }
    let state = desk.load().await.unwrap();
    assert_eq!((state.head, state.last.change), (head, ChangeId(head.0 / 2)));

    // With room again, the same turn goes on where the last good one ended.
    desk.connection().await.unwrap().script(Text::Same("PRAGMA max_page_count = 100000")).await.unwrap();
    assert_eq!(desk.commit(turn(head)).await.unwrap().0, head.0 + 2);
}

#[tokio::test]
async fn loading_the_state_reads_nothing_that_is_finished() {
    const GROWING: [&str; 10] = [
        "build",
        "buildset",
        "change",
        "edge",
        "incident",
        "incident_builder",
        "request",
        "step",
        "upstream",
        "verdict",
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut connection = connect(folder.path()).await;
    migrate::bring_up_to_date(&mut connection, "here").await.unwrap();
    for text in crate::store::rows::LOADS {
        let explain: &'static str = format!("EXPLAIN QUERY PLAN {text}").leak();
        for row in sql(explain).fetch_all(&mut connection).await.unwrap() {
            let detail: String = row.value("detail").unwrap();
            let mut words = detail.split(' ');
            let scans = words.next() == Some("SCAN") && words.next().is_some_and(|table| GROWING.contains(&table));
            let index_holds_only_open = detail.ends_with("_open") || detail.ends_with("_unused");
            assert!(!scans || index_holds_only_open, "{detail} for\n{text}");
        }
    }
}

on_both! {
    a_newer_schema_is_refused_in_clear_words,
    a_migration_that_was_applied_with_another_text_is_refused,
    a_database_of_something_else_is_refused_and_left_alone,
    a_migration_that_fails_leaves_nothing_behind,
    a_second_service_on_the_same_folder_is_refused_and_told_who_is_there,
    readers_cannot_write,
    a_caller_that_goes_away_does_not_take_its_turn_along,
}
