//! Backups of a real store and real logs, and what is made of them.

use std::path::{Path, PathBuf};

use gristmill_model::protocol::{LogAddress, LogAppend};
use gristmill_model::{BuildId, EventBody, InstanceEpoch, Seq, Timestamp};

use super::backup::{DUMP_FILE, Source};
use super::{KeepingError, Manifest, Progress, check, files, manifest, restore, take};
use crate::logs::LogStore;
use crate::store::tests::{Kind, on_both};
use crate::store::{DATABASE_FILE, Database, Store, StoreError, Turn, dump};

const TAKEN: Timestamp = Timestamp(1_795_518_131_000_000);
const LATER: Timestamp = Timestamp(1_795_604_531_000_000);

fn nobody(_: Progress) {}

/// An installation with a few events and two logs, one of a build that the database knows.
struct Place {
    root: tempfile::TempDir,
    database: Database,
}

impl Place {
    async fn make(kind: Kind) -> Self {
        let place = Self { root: tempfile::tempdir().unwrap(), database: kind.database() };
        std::fs::create_dir_all(place.data().join("logs")).unwrap();
        let store = place.store().await;
        for number in 1..=20 {
            store.commit(failing(number)).await.unwrap();
        }
        store.close().await;
        std::fs::write(place.root.path().join("mill.yaml"), "repositories: {}\n").unwrap();
        place
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    async fn store(&self) -> Store {
        Store::open_database(&self.data(), &self.database).await.unwrap()
    }

    fn source(&self) -> Source {
        Source {
            data: self.data(),
            configuration: self.root.path().join("mill.yaml"),
            database: self.database.clone(),
            logs: None,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    async fn backup(&self, name: &str) -> Result<Manifest, KeepingError> {
        take(&self.source(), &self.at(name), TAKEN, &mut nobody).await
    }
}

fn failing(number: i64) -> Turn {
    let error = "no route to host".to_owned();
    let failing = EventBody::SourceFailing { repository: "lib".into(), error, failures: 1 };
    Turn { expected_head: Seq(number - 1), at: TAKEN, events: vec![failing], ..Turn::default() }
}

fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

on_both![a_backup_is_taken_beside_a_store_that_goes_on_writing];

async fn a_backup_is_taken_beside_a_store_that_goes_on_writing(kind: Kind) {
    let place = Place::make(kind).await;
    let store = place.store().await;
    let taking = place.backup("backup");
    let writing = async {
        for number in 21..=200 {
            store.commit(failing(number)).await.unwrap();
        }
    };
    let (taken, ()) = tokio::join!(taking, writing);
    let manifest = taken.unwrap();
    assert!(manifest.head >= Seq(20), "{}", manifest.head);
    assert_eq!(check(&place.at("backup"), &mut nobody).await.unwrap(), manifest);

    let database = kind.database();
    let (_, restored) = restore(&place.at("backup"), &place.at("new"), &database, LATER, &mut nobody).await.unwrap();
    let other = Store::open_database(&place.at("new"), &database).await.unwrap();
    let state = other.load().await.unwrap();
    assert_eq!((state.head, state.instance, state.last), (restored.head, restored.epoch, restored.last));
    assert!(state.head.0 > 1_000_000 && state.last.build > BuildId(10_000) && state.instance > InstanceEpoch(0));
    let told = other.reader().events_after(manifest.head, 10).await.unwrap();
    let [event] = told.as_slice() else { panic!("{told:?}") };
    let expected = EventBody::InstanceRestored {
        instance: restored.epoch,
        head: manifest.head,
        taken: TAKEN,
        last: restored.last,
    };
    assert_eq!((event.seq, &event.body), (restored.head, &expected));
    let mut folded = gristmill_schedulers::State::default();
    for event in other.reader().events_after(Seq(0), 1_000).await.unwrap() {
        folded.apply(&event);
    }
    other.verify(&folded).await.unwrap();
    other.commit(failing(restored.head.0 + 1)).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn logs_of_builds_that_the_database_does_not_know_are_left_out() {
    let place = Place::make(Kind::Sqlite).await;
    let logs = LogStore::new(place.data().join("logs"));
    let text = b"turning\n";
    let frame = zstd::bulk::compress(text, 1).unwrap();
    let log = LogAddress::output(BuildId(7), 1, 0);
    logs.append(&LogAppend { log, offset: 0, length: 8, frame }).unwrap();
    let manifest = place.backup("backup").await.unwrap();
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, [DATABASE_FILE, "gristmill.yaml"]);
}

#[tokio::test]
async fn a_damaged_backup_is_refused_with_the_files_name() {
    let place = Place::make(Kind::Sqlite).await;
    place.backup("backup").await.unwrap();
    let file = |name: &str| place.at("backup").join(name);
    let kept = |name: &str| std::fs::read(file(name)).unwrap();
    for name in [DATABASE_FILE, "gristmill.yaml", manifest::FILE] {
        let before = kept(name);
        damage(&file(name));
        let refused =
            restore(&place.at("backup"), &place.at("new"), &Database::Embedded, LATER, &mut nobody).await.unwrap_err();
        let words = crate::chain::chain(&refused);
        assert!(matches!(refused, KeepingError::Damaged { .. }) && words.contains(name), "{words}");
        std::fs::write(file(name), before).unwrap();
    }
    std::fs::write(file("more"), "").unwrap();
    let refused = check(&place.at("backup"), &mut nobody).await.unwrap_err();
    assert!(refused.to_string().contains("more"), "{refused}");
    std::fs::remove_file(file("more")).unwrap();
    std::fs::remove_file(file("gristmill.yaml")).unwrap();
    let refused = check(&place.at("backup"), &mut nobody).await.unwrap_err();
    assert!(refused.to_string().contains("gristmill.yaml: it is missing"), "{refused}");
    assert!(!place.at("new").exists() && !place.at(".new.partial").exists());
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_is_written_into_the_data_folder() {
    let place = Place::make(Kind::Sqlite).await;
    place.backup("backup").await.unwrap();
    assert!(matches!(place.backup("backup").await, Err(KeepingError::Taken { .. })));
    assert!(matches!(place.backup("data/backup").await, Err(KeepingError::Inside { .. })));
    assert!(matches!(place.backup("data/deep/in/there").await, Err(KeepingError::Inside { .. })));
    let refused = restore(&place.at("backup"), &place.data(), &Database::Embedded, LATER, &mut nobody).await;
    assert!(matches!(refused, Err(KeepingError::Taken { .. })));
    let elsewhere = Source { data: place.at("nowhere"), configuration: place.at("mill.yaml"), ..Source::default() };
    let refused = take(&elsewhere, &place.at("other"), TAKEN, &mut nobody).await;
    assert!(matches!(refused, Err(KeepingError::NoDatabase { .. })));
    let refused = check(&place.at("nowhere"), &mut nobody).await;
    assert!(matches!(refused, Err(KeepingError::NoBackup { .. })));
    assert_eq!(files::list(&place.at("backup")).unwrap().len(), 3);
}

#[tokio::test]
async fn two_installations_made_of_one_backup_are_told_apart() {
    let place = Place::make(Kind::Sqlite).await;
    place.backup("backup").await.unwrap();
    let second_later = Timestamp(LATER.0 + 1_000_000);
    let (_, first) =
        restore(&place.at("backup"), &place.at("first"), &Database::Embedded, LATER, &mut nobody).await.unwrap();
    let (_, second) = restore(&place.at("backup"), &place.at("second"), &Database::Embedded, second_later, &mut nobody)
        .await
        .unwrap();
    assert!(first.epoch < second.epoch);

    // And a backup of a restored one goes on from there.
    let source = Source { data: place.at("first"), configuration: place.at("none"), ..Source::default() };
    let manifest = take(&source, &place.at("again"), second_later, &mut nobody).await.unwrap();
    assert_eq!((manifest.epoch, manifest.head, manifest.configuration), (first.epoch, first.head, None));
}

#[tokio::test]
async fn a_dump_is_refused_when_it_is_damaged_or_the_place_is_not_empty() {
    let place = Place::make(Kind::Postgres).await;
    place.backup("backup").await.unwrap();
    let restored = async |database: &Database| {
        let restored = restore(&place.at("backup"), &place.at("new"), database, LATER, &mut nobody).await;
        assert!(!place.at("new").exists() && !place.at(".new.partial").exists());
        restored.unwrap_err()
    };
    let refused = restored(&place.database).await;
    assert!(matches!(refused, KeepingError::Store(StoreError::NotEmpty { .. })), "{refused}");
    assert!(matches!(restored(&Database::Embedded).await, KeepingError::OtherKind { .. }));
    damage(&place.at("backup").join(DUMP_FILE));
    let refused = restored(&Kind::Postgres.database()).await;
    assert!(matches!(refused, KeepingError::Damaged { .. }) && refused.to_string().contains(DUMP_FILE), "{refused}");

    let embedded = Place::make(Kind::Sqlite).await;
    embedded.backup("backup").await.unwrap();
    let database = Kind::Postgres.database();
    let refused = restore(&embedded.at("backup"), &embedded.at("new"), &database, LATER, &mut nobody).await;
    assert!(matches!(refused, Err(KeepingError::OtherKind { .. })));
}

#[tokio::test]
async fn a_dump_that_is_not_what_its_manifest_says_is_no_installation() {
    let place = Place::make(Kind::Postgres).await;
    let manifest = place.backup("backup").await.unwrap();
    let Database::Server(url) = Kind::Postgres.database() else { unreachable!("it is a server") };
    let Manifest { schema, instance, epoch, .. } = manifest;
    let wanted = dump::Wanted { schema, instance, epoch, head: Seq(21) };
    let refused = dump::load(&url, &place.at("backup").join(DUMP_FILE), &wanted, TAKEN, LATER).await.unwrap_err();
    let words = crate::chain::chain(&refused);
    assert!(matches!(refused, StoreError::HalfRestored { .. }), "{words}");
    assert!(words.contains("start no service on it") && words.contains("ends at event 20"), "{words}");

    let torn = place.at("torn");
    std::fs::write(&torn, &std::fs::read(place.at("backup").join(DUMP_FILE)).unwrap()[..2_000]).unwrap();
    assert!(matches!(dump::check(&torn).await, Err(StoreError::Damaged { .. })));
}
