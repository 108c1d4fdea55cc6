//! Databases of every released schema, opened by this program; and upgrades that are killed on their way.
//!
//! `tests/schemas` has one dump per schema, filled by a walk. A new one is made of the file that
//! `GRISTMILL_TEST_SCHEMA_FOLDER=… cargo test what_fills_a_schema` writes, by the `.dump` of SQLite's own shell. They are
//! never edited: they are what people have.

use std::path::Path;

use gristmill_model::*;
use gristmill_schedulers::State;

use super::walk::history;
use crate::store::database::{BEGIN_WRITE, Connection, Place, Text, sql};
use crate::store::writer::Desk;
use crate::store::{DATABASE_FILE, Store, Turn, migrate};

/// Where a database of each schema is written.
const FOLDER_VARIABLE: &str = "GRISTMILL_TEST_SCHEMA_FOLDER";
/// What happens today needs the tables of this schema.
const OLDEST_FILLED: i64 = 4;
const DUMPS: [(i64, &str); 3] = [
    (1, include_str!("../../../tests/schemas/0001.sql")),
    (2, include_str!("../../../tests/schemas/0002.sql")),
    (4, include_str!("../../../tests/schemas/0004.sql")),
];

fn place(folder: &Path) -> Place {
    Place::Sqlite(folder.join(DATABASE_FILE))
}

async fn connect(folder: &Path) -> Connection {
    place(folder).open_writer().await.unwrap()
}

/// The same walk every time.
fn choices() -> Vec<(u16, bool)> {
    let mut number = 20_261_124_u32;
    let mut next = || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (number >> 16) as u16
    };
    (0..200).map(|_| (next(), next() % 3 == 0)).collect()
}

#[tokio::test]
async fn what_fills_a_schema() {
    let Some(root) = std::env::var_os(FOLDER_VARIABLE) else { return };
    for number in OLDEST_FILLED..=migrate::newest() {
        let folder = Path::new(&root).join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let mut connection = connect(&folder).await;
        let upto = usize::try_from(number).unwrap();
        migrate::apply_all(&mut connection, "here", &migrate::MIGRATIONS[..upto]).await.unwrap();
        let mut desk = Desk { connection: Some(connection), place: place(&folder) };
        let (mut head, mut at) = (Seq(0), Timestamp::from_seconds(1_795_518_131));
        for events in history(choices()) {
            at = Timestamp(at.0 + 1_000_000);
            let turn = Turn { expected_head: head, at, events, ..Turn::default() };
            head = desk.commit(turn).await.unwrap();
        }
        desk.connection.take().unwrap().close().await.unwrap();
    }
}

async fn fill(folder: &Path, dump: &'static str) {
    let mut connection = connect(folder).await;
    connection.script(Text::Same("PRAGMA foreign_keys = OFF")).await.unwrap();
    connection.script(Text::Same(dump)).await.unwrap();
    connection.close().await.unwrap();
}

/// The newest schema, the state that the journal says, and a turn that goes on.
async fn is_whole(folder: &Path) {
    let store = Store::open(folder).await.unwrap();
    let mut folded = State::default();
    while let Some(last) = store.reader().events_after(folded.head, 1_000).await.unwrap().pop().map(|event| event.seq) {
        for event in store.reader().events_after(folded.head, 1_000).await.unwrap() {
            folded.apply(&event);
        }
        assert_eq!(folded.head, last);
    }
    assert!(folded.head.0 > 0 && folded.last.build.0 > 0);
    store.verify(&folded).await.unwrap();
    let next = Turn {
        expected_head: folded.head,
        at: Timestamp::from_seconds(1_795_604_531),
        events: vec![EventBody::RepositorySeen { repository: "new".into() }],
        ..Turn::default()
    };
    store.commit(next).await.unwrap();
    store.close().await;
    let mut connection = connect(folder).await;
    let problems = sql("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert!(problems.is_empty());
    let row = sql("SELECT MAX(number) AS number FROM schema_version").fetch_one(&mut connection).await.unwrap();
    assert_eq!(row.value::<i64>("number").unwrap(), migrate::newest());
    connection.close().await.unwrap();
}

#[tokio::test]
async fn every_released_schema_is_brought_up_to_date_with_all_that_is_in_it() {
    for (_, dump) in DUMPS {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), dump).await;
        is_whole(folder.path()).await;
    }
}

/// Splits a script into its statements.
fn statements(script: &str) -> Vec<String> {
    let bare: Vec<&str> = script.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code)).collect();
    bare.join("\n").split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// What a kill leaves: the files as they are at this moment, while nobody has closed them.
fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[tokio::test]
async fn an_upgrade_that_is_killed_after_any_statement_is_completed_by_the_next_start() {
    let mut kills = 0;
    for (number, dump) in DUMPS {
        let first = usize::try_from(number).unwrap();
        for upto in first..migrate::MIGRATIONS.len() {
            let all = statements(migrate::MIGRATIONS[upto].text.sqlite());
            assert!(!all.is_empty());
            for killed_after in 0..=all.len() {
                let (folder, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                fill(folder.path(), dump).await;
                let mut connection = connect(folder.path()).await;
                migrate::apply_all(&mut connection, "here", &migrate::MIGRATIONS[..upto]).await.unwrap();
                connection.script(BEGIN_WRITE).await.unwrap();
                for statement in &all[..killed_after] {
                    connection.script(Text::Same(statement.clone().leak())).await.unwrap();
                }
                copy_files(folder.path(), image.path());
                connection.close().await.unwrap();
                is_whole(image.path()).await;
                // And what a rollback leaves.
                is_whole(folder.path()).await;
                kills += 1;
            }
        }
    }
    assert!(kills > 10, "{kills}");
}
