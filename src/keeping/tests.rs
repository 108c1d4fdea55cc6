//! Backups of a real store and real logs, and what is made of them.

use std::path::{Path, PathBuf};

use gristmill_model::protocol::{LogAddress, LogAppend};
use gristmill_model::{BuildId, EventBody, InstanceEpoch, Seq, Timestamp};

use super::backup::Source;
use super::{KeepingError, Manifest, Progress, check, files, manifest, restore, take};
use crate::logs::LogStore;
use crate::store::{DATABASE_FILE, Store, Turn};

const TAKEN: Timestamp = Timestamp(1_795_518_131_000_000);
const LATER: Timestamp = Timestamp(1_795_604_531_000_000);

fn nobody(_: Progress) {}

/// An installation with a few events and two logs, one of a build that the database knows.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    async fn make() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        let store = Store::open(&place.data()).await.unwrap();
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

    fn source(&self) -> Source {
        Source { data: self.data(), configuration: self.root.path().join("mill.yaml") }
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

#[tokio::test]
async fn a_backup_is_taken_beside_a_store_that_goes_on_writing() {
    let place = Place::make().await;
    let store = Store::open(&place.data()).await.unwrap();
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

    let (_, restored) = restore(&place.at("backup"), &place.at("new"), LATER, &mut nobody).await.unwrap();
    let other = Store::open(&place.at("new")).await.unwrap();
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
    let place = Place::make().await;
    let logs = LogStore::new(place.data().join("logs"));
    let text = b"turning\n";
    let frame = zstd::bulk::compress(text, 1).unwrap();
    let log = LogAddress { build: BuildId(7), epoch: 1, step: 0 };
    logs.append(&LogAppend { log, offset: 0, length: 8, frame }).unwrap();
    let manifest = place.backup("backup").await.unwrap();
    let names: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, [DATABASE_FILE, "gristmill.yaml"]);
}

#[tokio::test]
async fn a_damaged_backup_is_refused_with_the_files_name() {
    let place = Place::make().await;
    place.backup("backup").await.unwrap();
    let file = |name: &str| place.at("backup").join(name);
    let kept = |name: &str| std::fs::read(file(name)).unwrap();
    for name in [DATABASE_FILE, "gristmill.yaml", manifest::FILE] {
        let before = kept(name);
        damage(&file(name));
        let refused = restore(&place.at("backup"), &place.at("new"), LATER, &mut nobody).await.unwrap_err();
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
    let place = Place::make().await;
    place.backup("backup").await.unwrap();
    assert!(matches!(place.backup("backup").await, Err(KeepingError::Taken { .. })));
    assert!(matches!(place.backup("data/backup").await, Err(KeepingError::Inside { .. })));
    assert!(matches!(place.backup("data/deep/in/there").await, Err(KeepingError::Inside { .. })));
    let refused = restore(&place.at("backup"), &place.data(), LATER, &mut nobody).await;
    assert!(matches!(refused, Err(KeepingError::Taken { .. })));
    let elsewhere = Source { data: place.at("nowhere"), configuration: place.at("mill.yaml") };
    let refused = take(&elsewhere, &place.at("other"), TAKEN, &mut nobody).await;
    assert!(matches!(refused, Err(KeepingError::NoDatabase { .. })));
    let refused = check(&place.at("nowhere"), &mut nobody).await;
    assert!(matches!(refused, Err(KeepingError::NoBackup { .. })));
    assert_eq!(files::list(&place.at("backup")).unwrap().len(), 3);
}

#[tokio::test]
async fn two_installations_made_of_one_backup_are_told_apart() {
    let place = Place::make().await;
    place.backup("backup").await.unwrap();
    let second_later = Timestamp(LATER.0 + 1_000_000);
    let (_, first) = restore(&place.at("backup"), &place.at("first"), LATER, &mut nobody).await.unwrap();
    let (_, second) = restore(&place.at("backup"), &place.at("second"), second_later, &mut nobody).await.unwrap();
    assert!(first.epoch < second.epoch);

    // And a backup of a restored one goes on from there.
    let source = Source { data: place.at("first"), configuration: place.at("none") };
    let manifest = take(&source, &place.at("again"), second_later, &mut nobody).await.unwrap();
    assert_eq!((manifest.epoch, manifest.head, manifest.configuration), (first.epoch, first.head, None));
}
