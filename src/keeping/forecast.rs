//! Where the room goes: how much there is now, how fast it grows, what the rules make of it, and when the disk is full.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_model::{BuildId, Retention, Timestamp};

use tempfile::TempDir;

use super::backup::LOGS;
use super::{KeepingError, files};
use crate::chain::chain;
use crate::engine::retain::{self, RetainError};
use crate::logs::LogStore;
use crate::store::usage::{self, TableUse, Usage};
use crate::store::{DATABASE_FILE, Store, copy};

/// The time over which growth is measured.
const WINDOW: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 86_400;
/// What the names of rehearsals' folders begin with.
const REHEARSAL: &str = ".rehearsal-";
/// How often a database's size must be free for a rehearsal on a copy of it.
const ROOM: u64 = 3;
/// An installation that is younger says little about its growth.
const WINDOW_MIN: Duration = Duration::from_secs(3600);

/// One thing that takes room.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    /// A table, or a folder with a slash behind it.
    pub what: String,
    /// Rows or files.
    pub count: u64,
    /// Bytes now.
    pub bytes: u64,
    /// Bytes that come in a day.
    pub bytes_per_day: u64,
    /// Days that it is kept; `None` for what is not deleted by its age.
    pub days_kept: Option<u64>,
}

/// What is to be expected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Forecast {
    /// What takes room.
    pub parts: Vec<Part>,
    /// Bytes that are free on the disk.
    pub free_bytes: u64,
    /// Bytes that come in a day.
    pub bytes_per_day: u64,
    /// Bytes that all of it levels off at, under the rules and at this pace; what is kept for ever comes on top.
    pub level_bytes: u64,
    /// Days until the disk is full, if it will be.
    pub full_in_days: Option<u64>,
}

impl Part {
    /// Gives the bytes that it levels off at, at this pace.
    pub fn level_bytes(&self) -> u64 {
        match self.days_kept {
            Some(days) => {
                self.bytes_per_day.saturating_mul(days).max(if self.bytes_per_day == 0 { self.bytes } else { 0 })
            }
            None => self.bytes,
        }
    }
}

/// Says what is to be expected of parts on a disk with so much free room.
pub fn forecast(parts: Vec<Part>, free_bytes: u64) -> Forecast {
    let sum = |of: fn(&Part) -> u64| parts.iter().map(of).fold(0, u64::saturating_add);
    let (bytes, bytes_per_day) = (sum(|part| part.bytes), sum(|part| part.bytes_per_day));
    let level_bytes = sum(Part::level_bytes);
    let fits = level_bytes <= bytes.saturating_add(free_bytes);
    let full_in_days = if fits { None } else { free_bytes.checked_div(bytes_per_day) };
    Forecast { parts, free_bytes, bytes_per_day, level_bytes, full_in_days }
}

/// What is measured and rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The data folder.
    pub data: PathBuf,
    /// The folder of logs, if it is not in the data folder.
    pub logs: Option<PathBuf>,
}

impl Subject {
    fn logs(&self) -> PathBuf {
        self.logs.clone().unwrap_or_else(|| self.data.join(LOGS))
    }
}

/// Measures an installation, while its service may be running, and says what is to be expected. If logs are on another disk
/// than the data folder, they are counted as if they were on the same.
///
/// # Errors
/// If something cannot be read.
pub async fn look(subject: &Subject, rules: &Retention, now: Timestamp) -> Result<Forecast, KeepingError> {
    let data = &subject.data;
    if !data.join(DATABASE_FILE).is_file() {
        return Err(KeepingError::NoDatabase { folder: data.to_owned() });
    }
    let since = now.before(WINDOW);
    let usage = usage::measure(data, since).await?;
    let lived = usage.created_at.map_or(WINDOW, |created_at| now.since(created_at));
    let window = WINDOW.min(lived).max(WINDOW_MIN);
    let mut parts: Vec<Part> = usage.tables.iter().map(|table| of_table(table, rules, window)).collect();
    parts.push(logs(&subject.logs(), &usage, rules, window)?);
    for folder in ["git", "worker"] {
        let (count, bytes) = weigh(&data.join(folder), |_| true)?;
        parts.push(Part { what: format!("{folder}/"), count, bytes, bytes_per_day: 0, days_kept: None });
    }
    Ok(forecast(parts, free_bytes(data)?))
}

fn free_bytes(folder: &Path) -> Result<u64, KeepingError> {
    let disk = nix::sys::statvfs::statvfs(folder)
        .map_err(|error| KeepingError::io("look at the disk of", folder)(error.into()))?;
    Ok(disk.blocks_available() as u64 * disk.fragment_size() as u64)
}

/// Refuses a copy that could fill the disk: it may need its own size, once more for what deleting writes, and the service
/// beside it as much again.
fn refuse_without_room(data: &Path, database: u64, free: u64) -> Result<(), KeepingError> {
    let needed = database.saturating_mul(ROOM);
    if free < needed { Err(KeepingError::NoRoom { folder: data.to_owned(), needed, free }) } else { Ok(()) }
}

fn of_table(table: &TableUse, rules: &Retention, window: Duration) -> Part {
    let kept = match table.table {
        "event" => rules.events,
        "change" | "verdict" => rules.changes,
        "delivery_body" => rules.deliveries,
        "delivery" => rules.deliveries.max(crate::store::retire::DELIVERIES_KNOWN),
        "outbox" => rules.messages,
        _ => rules.builds,
    };
    let recent = u128::from(table.bytes) * u128::from(table.recent) / u128::from(table.rows.max(1));
    Part {
        what: table.table.to_owned(),
        count: table.rows,
        bytes: table.bytes,
        bytes_per_day: per_day(u64::try_from(recent).unwrap_or(u64::MAX), window),
        days_kept: Some(kept.as_secs().div_ceil(DAY)),
    }
}

fn logs(folder: &Path, usage: &Usage, rules: &Retention, window: Duration) -> Result<Part, KeepingError> {
    let is_log = |path: &str| files::build_of(path).is_some();
    let first = usage.first_recent_build.unwrap_or(BuildId(i64::MAX));
    let (count, bytes) = weigh(folder, is_log)?;
    let (_, recent) = weigh(folder, |path| files::build_of(path).is_some_and(|build| build >= first))?;
    let days_kept = Some(rules.logs.as_secs().div_ceil(DAY));
    Ok(Part { what: format!("{LOGS}/"), count, bytes, bytes_per_day: per_day(recent, window), days_kept })
}

fn per_day(bytes: u64, window: Duration) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(DAY) / u128::from(window.as_secs().max(1))).unwrap_or(u64::MAX)
}

/// Counts the files below a folder that are meant, and their bytes. One that goes meanwhile is passed over.
fn weigh(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Result<(u64, u64), KeepingError> {
    let (mut count, mut bytes) = (0, 0);
    for path in files::list(folder)?.into_iter().filter(|path| is_meant(path)) {
        if let Ok(metadata) = std::fs::metadata(folder.join(path)) {
            count += 1;
            bytes += metadata.len();
        }
    }
    Ok((count, bytes))
}

/// What a run would delete.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Rehearsal {
    /// How many of each.
    pub deleted: BTreeMap<String, u64>,
    /// Bytes of logs.
    pub log_bytes: u64,
}

/// Runs retention over a copy of the database, which is made in the data folder and deleted again: what it would delete.
///
/// # Errors
/// If the copy cannot be made or something cannot be read.
pub async fn rehearse(subject: &Subject, rules: &Retention, now: Timestamp) -> Result<Rehearsal, RetainError> {
    let (data, logs) = (&subject.data, subject.logs());
    if !data.join(DATABASE_FILE).is_file() {
        return Err(KeepingError::NoDatabase { folder: data.to_owned() }.into());
    }
    let file = data.join(DATABASE_FILE);
    let size = std::fs::metadata(&file).map_err(KeepingError::io("look at", &file))?.len();
    remove_rehearsals(data);
    refuse_without_room(data, size, free_bytes(data)?)?;
    let (folder, held) = begin_rehearsal(data)?;
    copy::copy(data, &folder.path().join(DATABASE_FILE)).await?;
    let store = Store::open(folder.path()).await?;
    let deleted = retain::rows(&store, rules, now, Duration::ZERO).await.result()?;
    let there = LogStore::new(&logs).builds()?;
    let kept: BTreeSet<BuildId> = retain::kept_logs(&store, &there).await?;
    let newest = store.reader().newest_build().await?;
    let goes = |path: &str| files::build_of(path).is_some_and(|build| build <= newest && !kept.contains(&build));
    let (_, log_bytes) = weigh(&logs, goes)?;
    store.close().await;
    drop((folder, held));
    Ok(Rehearsal { deleted, log_bytes })
}

/// Makes the folder of a rehearsal; it is locked for as long as that goes on.
fn begin_rehearsal(data: &Path) -> Result<(TempDir, File), KeepingError> {
    let folder = tempfile::Builder::new().prefix(REHEARSAL).tempdir_in(data);
    let folder = folder.map_err(KeepingError::io("write in", data))?;
    // Whoever removes what was left may have been quicker.
    let held = files::try_hold(folder.path())?.filter(|_| folder.path().is_dir());
    let held = held.ok_or_else(|| KeepingError::Busy { path: data.to_owned() })?;
    Ok((folder, held))
}

/// Removes copies that rehearsals left when they were killed. One that goes on is left alone; one that cannot be removed is
/// said.
pub fn remove_rehearsals(data: &Path) {
    let Ok(entries) = std::fs::read_dir(data) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(REHEARSAL) {
            continue;
        }
        let path = entry.path();
        let removed = match files::try_hold(&path) {
            Ok(None) => continue,
            Ok(Some(_held)) => std::fs::remove_dir_all(&path).map_err(KeepingError::io("delete", &path)),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = removed {
            tracing::warn!("a rehearsal of retention was killed, and its copy stays: {}", chain(&problem));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_rehearsal_left_is_removed_and_one_that_goes_on_is_not() {
        let data = tempfile::tempdir().unwrap();
        let left = data.path().join(".rehearsal-AbC123");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(DATABASE_FILE), "a copy").unwrap();
        let (going_on, held) = begin_rehearsal(data.path()).unwrap();
        remove_rehearsals(data.path());
        assert!(!left.exists() && going_on.path().is_dir());
        drop(held);
        remove_rehearsals(data.path());
        assert!(!going_on.path().exists());
    }

    fn part(bytes: u64, bytes_per_day: u64, days: Option<u64>) -> Part {
        Part { what: "event".to_owned(), count: 1, bytes, bytes_per_day, days_kept: days }
    }

    #[test]
    fn a_rehearsal_never_takes_the_room_of_a_service() {
        let refusal =
            |database, free| refuse_without_room(Path::new("data"), database, free).map_err(|why| why.to_string());
        assert_eq!(refusal(100, 300), Ok(()));
        let why = refusal(100, 299).unwrap_err();
        assert!(why.starts_with("a copy needs 300 bytes in data, and 299 are free"), "{why}");
    }

    #[test]
    fn a_disk_is_full_when_the_rules_keep_more_than_it_holds() {
        let holds = forecast(vec![part(100, 10, Some(30)), part(50, 0, None)], 250);
        assert_eq!((holds.level_bytes, holds.full_in_days), (350, None));
        let fills = forecast(vec![part(100, 10, Some(90))], 250);
        assert_eq!((fills.bytes_per_day, fills.level_bytes, fills.full_in_days), (10, 900, Some(25)));
    }

    #[test]
    fn what_does_not_grow_stays_as_large_as_it_is() {
        assert_eq!(part(100, 0, Some(30)).level_bytes(), 100);
        assert_eq!(part(100, 1, Some(30)).level_bytes(), 30);
    }
}
