//! Looking whether everything that is kept is as it should be: the database, the logs, the mirrors, the disk.
//!
//! [`examine`] asks every check in turn and tells of each as it is done: `gristmill doctor` prints that, the running
//! service makes events of what changed ([`rounds`]), tests insist that nothing is found ([`prove`]). Only reads.

pub mod files;
pub mod rounds;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use gristmill_schedulers::State;
use serde::Serialize;

use crate::chain::chain;
use crate::logs::UnsafeLogs;
use crate::store::inspect::{CHECKS, Check, Found, Inspector, Looked};
use crate::store::{Store, StoreError};

/// What is looked at.
#[derive(Debug)]
pub struct Subject {
    /// The database.
    pub inspector: Inspector,
    /// The data folder.
    pub data: PathBuf,
    /// The folder of logs.
    pub logs: PathBuf,
    /// What the running service has in memory, if it is the one that looks.
    pub running: Option<Running>,
}

/// What only the running service knows.
#[derive(Debug)]
pub struct Running {
    /// The engine's memory.
    pub memory: State,
    /// Logs that could not be made durable since it started.
    pub unsafe_logs: UnsafeLogs,
}

/// How far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extent {
    /// Whether everything that ever was is read, which takes long.
    pub is_deep: bool,
    /// When to stop looking; checks that were not reached then say so.
    pub until: Option<Instant>,
}

/// One check with what it came to.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The check's name.
    pub check: &'static str,
    /// What holds if nothing is found.
    pub proves: &'static str,
    /// The safety properties that it belongs to.
    pub safety: &'static [&'static str],
    /// What it came to.
    #[serde(flatten)]
    pub result: Outcome,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// All is as it should be.
    Sound {
        /// How far it could look, if that is not all.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Something is not.
    Found(Finding),
    /// It could not look.
    NotLooked {
        /// Why.
        why: String,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The first few rows or files, each a sentence.
    pub rows: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// What that means.
    pub means: String,
    /// What to do.
    pub mend: String,
    /// All of it on one line.
    pub detail: String,
}

impl From<Found> for Finding {
    fn from(found: Found) -> Self {
        let detail = found.to_string();
        let Found { rows, count, is_more, means, mend } = found;
        Self { rows, count, is_more, means, mend, detail }
    }
}

/// A check of something else than the database.
#[derive(Debug, Clone, Copy)]
pub struct OtherCheck {
    /// Its name.
    pub id: &'static str,
    /// What holds if nothing is found.
    pub proves: &'static str,
    /// The safety properties that it belongs to.
    pub safety: &'static [&'static str],
}

/// The engine's memory, which only the running service can look at.
pub const MEMORY: OtherCheck =
    OtherCheck { id: "memory", proves: "the engine's memory is what the tables say", safety: &["S28"] };
/// What the disk did not take of the logs, which only the running service knows.
pub const LOG_SYNC: OtherCheck =
    OtherCheck { id: "log-sync", proves: "the disk took every log whose step has ended", safety: &["S18"] };
/// The logs.
pub const LOGS: OtherCheck =
    OtherCheck { id: "logs", proves: "every log is whole, and is of a step of a build", safety: &["S18"] };
/// The mirrors of repositories.
pub const MIRRORS: OtherCheck =
    OtherCheck { id: "mirrors", proves: "every mirror can be read, and has what its names point to", safety: &["S2"] };
/// The files that builds left behind.
pub const ARTIFACTS: OtherCheck = OtherCheck {
    id: "artifacts",
    proves: "every file that is kept of a build is there, and none is kept of no build",
    safety: &["S18"],
};
/// The disk.
pub const SPACE: OtherCheck = OtherCheck { id: "space", proves: "there is room for what comes", safety: &["S1"] };

/// Gives the name of every check that there is.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    let others = [MEMORY, LOG_SYNC, LOGS, ARTIFACTS, MIRRORS, SPACE];
    CHECKS.iter().map(|check| check.id).chain(others.map(|other| other.id))
}

/// Asks every check, one after the other, and tells of each.
pub async fn examine(mut subject: Subject, extent: Extent, mut told: impl FnMut(Line)) {
    for check in CHECKS.iter().filter(|check| extent.is_deep || !check.is_deep) {
        let (id, proves, safety) = (check.id, check.proves, check.safety);
        let (result, took_ms) = within(extent, ask(&mut subject.inspector, check)).await;
        told(Line { check: id, proves, safety, result, took_ms });
    }
    let mut others = |other: OtherCheck, (result, took_ms): (Outcome, u64)| {
        told(Line { check: other.id, proves: other.proves, safety: other.safety, result, took_ms });
    };
    if let Some(Running { memory, unsafe_logs }) = subject.running.take() {
        let compared = async { looked(subject.inspector.compare_memory(memory).await) };
        others(MEMORY, within(extent, compared).await);
        others(LOG_SYNC, (files::tell_unsafe_logs(unsafe_logs), 0));
    }
    let logs = files::look_at_logs(&mut subject.inspector, subject.logs.clone(), extent.is_deep);
    others(LOGS, within(extent, logs).await);
    let kept = files::look_at_artifacts(&mut subject.inspector, subject.logs.clone(), extent.is_deep);
    others(ARTIFACTS, within(extent, kept).await);
    others(MIRRORS, within(extent, files::look_at_mirrors(subject.data.join("git"))).await);
    others(SPACE, within(extent, files::look_at_space(subject.data.clone())).await);
    subject.inspector.close().await;
}

async fn ask(inspector: &mut Inspector, check: &Check) -> Outcome {
    looked(inspector.look(check).await)
}

fn looked(answer: Result<Looked, StoreError>) -> Outcome {
    match answer {
        Ok(Looked::Sound { note }) => Outcome::Sound { note },
        Ok(Looked::Found(found)) => Outcome::Found(found.into()),
        Err(problem) => Outcome::NotLooked { why: chain(&problem) },
    }
}

/// Waits for a check until time is up. One that is cut off leaves its connection in the middle of a question, so what
/// comes after it on the same connection waits for the end of that.
async fn within(extent: Extent, check: impl Future<Output = Outcome>) -> (Outcome, u64) {
    let begun = Instant::now();
    let out_of_time =
        || Outcome::NotLooked { why: "there was no time left; `gristmill doctor` takes its time".to_owned() };
    let result = match extent.until.map(|until| until.saturating_duration_since(begun)) {
        None => check.await,
        Some(Duration::ZERO) => out_of_time(),
        Some(left) => tokio::time::timeout(left, check).await.unwrap_or_else(|_| out_of_time()),
    };
    (result, u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Insists that everything in the database and in the folder of logs is as it should be, and that `memory` is what the
/// database says.
///
/// # Errors
/// What was found, a line each.
pub async fn prove(store: &Store, logs: PathBuf, memory: State) -> Result<(), String> {
    let mut inspector = store.inspector().await.map_err(|problem| chain(&problem))?;
    let mut wrong = Vec::new();
    let mut note = |check: &str, result| match result {
        Outcome::Sound { .. } => {}
        Outcome::Found(found) => wrong.push(format!("{check}: {}", found.detail)),
        Outcome::NotLooked { why } => wrong.push(format!("{check}: {why}")),
    };
    note(MEMORY.id, looked(inspector.compare_memory(memory).await));
    for check in CHECKS.iter() {
        note(check.id, ask(&mut inspector, check).await);
    }
    let looked = files::look_at_logs(&mut inspector, logs.clone(), true).await;
    note(LOGS.id, looked);
    let kept = files::look_at_artifacts(&mut inspector, logs, true).await;
    note(ARTIFACTS.id, kept);
    inspector.close().await;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_in_the_manual_in_its_own_words() {
        let manual = include_str!("../../../docs/doctor.md");
        let database = CHECKS.iter().map(|check| (check.id, check.proves, check.safety));
        let others = [MEMORY, LOG_SYNC, LOGS, ARTIFACTS, MIRRORS, SPACE];
        let others = others.map(|other| (other.id, other.proves, other.safety));
        for (id, proves, safety) in database.chain(others) {
            let row = format!("| `{id}` | {proves} | {} |", safety.join(", "));
            assert!(manual.contains(&row), "{row}");
        }
    }
}
