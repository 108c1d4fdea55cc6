//! `kill -9` at any moment: every turn that was acknowledged is there, none is there by half, and the folder is free.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gristmill_model::*;
use gristmill_schedulers::State;

use super::fixture::*;
use crate::store::{Store, Turn};

/// Names the folder, and makes the test below commit there until it is killed.
const FOLDER_VARIABLE: &str = "GRISTMILL_TEST_STORE_TO_FILL";
/// What the child writes before each acknowledged head.
const ACKNOWLEDGED: &str = "acknowledged ";
const ROUNDS: i64 = 5;
const ACKNOWLEDGED_PER_ROUND: i64 = 12;

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::what_the_child_does", "--nocapture"])
        .env(FOLDER_VARIABLE, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// One turn writes four rows or none: a change, its tip, and two events.
fn turn(head: Seq) -> Turn {
    let number = head.0 / 2 + 1;
    let change = change(number, number, (number > 1).then_some(number as u32 - 1), Some(number as u32));
    let failing = EventBody::SourceFailing { repository: "lib".into(), error: "x".into(), failures: number as u32 };
    Turn { expected_head: head, events: vec![EventBody::ChangeSeen { change }, failing], ..Turn::default() }
}

#[tokio::test]
async fn what_the_child_does() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else { return };
    let store = Store::open(Path::new(&folder)).await.unwrap();
    let mut head = store.load().await.unwrap().head;
    loop {
        head = store.commit(turn(head)).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{ACKNOWLEDGED}{head}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_service_has_every_turn_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=ROUNDS {
        let mut child = start_child(folder.path());
        let mut acknowledged = BufReader::new(child.stdout.take().unwrap()).lines().filter_map(|line| {
            let line = line.unwrap();
            // The test harness writes its own words in front of the first line.
            line.split_once(ACKNOWLEDGED).map(|(_, head)| head.parse::<i64>().unwrap())
        });
        let last = acknowledged.by_ref().nth(ACKNOWLEDGED_PER_ROUND as usize - 1).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = acknowledged.last().unwrap_or(last);

        let store = Store::open(folder.path()).await.unwrap();
        let state = store.load().await.unwrap();
        assert!(state.head.0 == last || state.head.0 == last + 2, "round {round}: {last} of {}", state.head);
        let mut folded = State::default();
        while folded.head < state.head {
            for event in store.reader().events_after(folded.head, 1000).await.unwrap() {
                assert_eq!(event.seq, folded.head.next());
                folded.apply(&event);
            }
        }
        store.verify(&folded).await.unwrap();
        store.close().await;
    }
}
