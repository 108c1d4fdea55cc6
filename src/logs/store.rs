//! Appending to logs, following them, and the bounded cache of open files.
//!
//! Durability: nothing is synced per piece, because a worker keeps what it sent until the log is sealed and sends again
//! from where the service's log ends. [`LogStore::seal`] syncs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_model::protocol::limit::{FRAME_BYTES_MAX, LOG_BYTES_MAX};
use gristmill_model::protocol::{LogAddress, LogAppend};
use gristmill_model::{BuildId, StepRecipe};
use tokio::sync::watch;

use super::errors::Scan;
use super::index::{self, Ends, Files, RECORD_BYTES};
use crate::artifacts::ArtifactStore;
use crate::chain::chain;

/// Logs whose files are kept open; two file descriptors each.
const OPEN_LOGS_MAX: usize = 96;
/// Logs that could not be made durable and are named.
const UNSAFE_NAMED_MAX: usize = 5;
/// Logs that may be followed at once before those that nobody follows any more are looked for.
const WATCHED_LOGS_SWEEP: usize = 64;

/// Keeps what steps print. Cheap to clone; one per data folder.
#[derive(Debug, Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    open: Mutex<OpenLogs>,
    watched: Mutex<BTreeMap<LogAddress, watch::Sender<u64>>>,
    /// Thousands of builds whose folder has a durable name.
    sealed: Mutex<BTreeSet<i64>>,
    unsafe_logs: Mutex<UnsafeLogs>,
}

/// Logs that could not be made durable. Asking again proves nothing: a disk that has failed once to keep a file says the next
/// time that there is nothing left to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnsafeLogs {
    /// How many, since the start.
    pub count: u64,
    /// The first ones, each a sentence.
    pub named: Vec<String>,
}

#[derive(Debug, Default)]
struct OpenLogs {
    logs: HashMap<LogAddress, (Arc<OpenLog>, u64)>,
    /// Counts uses, so that the longest unused log is found.
    uses: u64,
}

/// A log whose files are open. There is one per address at the most, so its mutex orders all writers.
#[derive(Debug)]
pub(super) struct OpenLog {
    pub(super) files: Files,
    ends: Mutex<Ends>,
    /// What has been found of errors so far.
    pub(super) scan: Mutex<Scan>,
}

/// Why a piece was not appended. Nothing of it is visible then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The piece does not begin where the log ends: send from there.
    #[error("the log ends at {length}; send from there")]
    Offset {
        /// Where it ends, in bytes uncompressed.
        length: u64,
    },
    /// The frame is not what the piece says.
    #[error("the frame is not one zstd frame of {length} bytes (at most {FRAME_BYTES_MAX})")]
    Frame {
        /// How many bytes the piece says it has.
        length: u32,
    },
    /// The piece says other bytes than are stored at its place, which never change.
    #[error("the log has other bytes at that place")]
    Differs,
    /// The step has ended, and its log with it.
    #[error("the step has ended, and nothing more can be printed by it")]
    Over,
    /// The log is as long as a log may be.
    #[error("a log may have {LOG_BYTES_MAX} bytes and not more")]
    TooLong,
    /// The files could not be written.
    #[error("cannot write `{path}`")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a log could not be read. A log that does not exist is not an error.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`")]
pub struct ReadError {
    /// Which file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl LogStore {
    /// Makes a store over `folder`, which need not exist yet. Two stores must not share a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let shared = Shared {
            folder: folder.into(),
            open: Mutex::default(),
            watched: Mutex::default(),
            sealed: Mutex::default(),
            unsafe_logs: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Appends a piece and gives the log's new length, in bytes uncompressed.
    ///
    /// A piece that is already there as a whole is acknowledged with the present length, if it is the same. The frame is
    /// unpacked with a bound on the way in, and refused if it is not what the piece says.
    pub fn append(&self, piece: &LogAppend) -> Result<u64, AppendError> {
        let end = piece.offset.saturating_add(u64::from(piece.length));
        let log = match self.find(piece.log).map_err(AppendError::from)? {
            Some(log) => log,
            None if piece.offset > 0 => return Err(AppendError::Offset { length: 0 }),
            None if piece.length == 0 => return Ok(0),
            None => {
                let text = checked_text(piece)?;
                let log = self.create(piece.log).map_err(AppendError::from)?;
                return self.append_to(&log, piece, &text);
            }
        };
        let length = log.ends().raw;
        if end <= length {
            return self.same(piece, length);
        }
        if piece.offset != length {
            return Err(AppendError::Offset { length });
        }
        if end > LOG_BYTES_MAX {
            return Err(AppendError::TooLong);
        }
        self.append_to(&log, piece, &checked_text(piece)?)
    }

    /// Acknowledges a piece of a log that is over: it must be there as a whole.
    pub fn repeat(&self, piece: &LogAppend) -> Result<u64, AppendError> {
        let length = self.find(piece.log).map_err(AppendError::from)?.map_or(0, |log| log.ends().raw);
        match piece.offset.saturating_add(u64::from(piece.length)) <= length {
            true => self.same(piece, length),
            false => Err(AppendError::Over),
        }
    }

    /// Compares a piece with what is stored at its place.
    fn same(&self, piece: &LogAppend, length: u64) -> Result<u64, AppendError> {
        if piece.length == 0 {
            return Ok(length);
        }
        let text = checked_text(piece)?;
        let stored = self.bytes(piece.log, piece.offset, u64::from(piece.length)).map_err(AppendError::from)?;
        if stored == text { Ok(length) } else { Err(AppendError::Differs) }
    }

    fn append_to(&self, log: &OpenLog, piece: &LogAppend, text: &[u8]) -> Result<u64, AppendError> {
        let mut ends = lock(&log.ends);
        // Looked at again under the lock: another request may have brought the same piece meanwhile.
        if piece.offset != ends.raw {
            let length = ends.raw;
            drop(ends);
            let contained = piece.offset + u64::from(piece.length) <= length;
            return if contained { self.same(piece, length) } else { Err(AppendError::Offset { length }) };
        }
        write_frame(&log.files, &ends, piece)
            .map_err(|source| AppendError::Io { path: self.path(piece.log, "log"), source })?;
        *ends = ends.after(text, piece.frame.len());
        let length = ends.raw;
        drop(ends);
        self.tell(piece.log, length);
        Ok(length)
    }

    /// Makes a log durable, when its step has ended. A log that has nothing in it is passed over.
    ///
    /// # Errors
    /// If the disk does not take it; [`LogStore::unsafe_logs`] names it from then on.
    pub fn seal(&self, address: LogAddress) -> Result<(), AppendError> {
        self.try_to_seal(address).inspect_err(|problem| {
            let mut unsafe_logs = lock(&self.shared.unsafe_logs);
            unsafe_logs.count += 1;
            if unsafe_logs.named.len() < UNSAFE_NAMED_MAX {
                let LogAddress { build, step, log, .. } = address;
                let which = if log == StepRecipe::OUTPUT_LOG { "the log".to_owned() } else { format!("log {log}") };
                unsafe_logs.named.push(format!("{which} of step {step} of build {build}: {}", chain(problem)));
            }
        })
    }

    /// Gives the logs that could not be made durable since the start.
    pub fn unsafe_logs(&self) -> UnsafeLogs {
        lock(&self.shared.unsafe_logs).clone()
    }

    fn try_to_seal(&self, address: LogAddress) -> Result<(), AppendError> {
        let Some(log) = self.find(address)? else { return Ok(()) };
        for (file, kind) in [(&log.files.log, "log"), (&log.files.index, "idx")] {
            file.sync_data().map_err(|source| AppendError::Io { path: self.path(address, kind), source })?;
        }
        self.seal_names(address)?;
        drop(log);
        self.forget(address);
        Ok(())
    }

    /// Makes all logs of a step durable, when it has ended.
    ///
    /// # Errors
    /// If the disk does not take one of them; see [`LogStore::seal`].
    pub fn seal_step(&self, build: BuildId, epoch: i64, step: u32) -> Result<(), AppendError> {
        let followed_max = u32::try_from(gristmill_model::step::limit::LOGS_MAX).unwrap_or(u32::MAX);
        // One that the disk does not take keeps no other one from it.
        let seal = |log| self.seal(LogAddress { log, ..LogAddress::output(build, epoch, step) });
        (0..=followed_max).map(seal).fold(Ok(()), Result::and)
    }

    /// Makes the names above a log durable: those of its files, of its build's folder, and, when that may be new, of the
    /// folders above.
    fn seal_names(&self, address: LogAddress) -> Result<(), AppendError> {
        let folder = self.folder_of(address);
        let thousand = address.build.0 / 1000;
        let is_known = lock(&self.shared.sealed).contains(&thousand);
        // Build, thousand; then the folder of all logs and the one that holds it.
        let above = folder.ancestors().take(if is_known { 2 } else { 4 });
        for folder in above.filter(|folder| !folder.as_os_str().is_empty()) {
            let synced = File::open(folder).and_then(|file| file.sync_all());
            synced.map_err(|source| AppendError::Io { path: folder.to_owned(), source })?;
        }
        if !is_known {
            lock(&self.shared.sealed).insert(thousand);
        }
        Ok(())
    }

    /// Lists the builds that have logs here.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn builds(&self) -> Result<Vec<BuildId>, ReadError> {
        let mut builds = Vec::new();
        for thousand in numbered(&self.shared.folder)? {
            builds.extend(numbered(&self.shared.folder.join(thousand.to_string()))?.into_iter().map(BuildId));
        }
        Ok(builds)
    }

    /// Deletes all logs of a build. Who reads one at this moment reads on.
    ///
    /// # Errors
    /// If they cannot be deleted.
    pub fn delete(&self, build: BuildId) -> Result<(), ReadError> {
        lock(&self.shared.open).logs.retain(|address, _| address.build != build);
        let folder = self.folder_of(LogAddress::output(build, 0, 0));
        match std::fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(ReadError { path: folder, source }),
            _ => {}
        }
        if let Some(thousand) = folder.parent() {
            // It goes with the last one in it, and its name is new when it comes back.
            if std::fs::remove_dir(thousand).is_ok() {
                lock(&self.shared.sealed).remove(&(build.0 / 1000));
            }
        }
        Ok(())
    }

    /// Follows a log's length, in bytes uncompressed. The log need not exist yet.
    ///
    /// A wake-up says only that there is more; what there is, is read.
    pub fn watch(&self, address: LogAddress) -> watch::Receiver<u64> {
        let length = self.find(address).ok().flatten().map_or(0, |log| log.ends().raw);
        let mut watched = lock(&self.shared.watched);
        if watched.len() >= WATCHED_LOGS_SWEEP {
            watched.retain(|_, sender| sender.receiver_count() > 0);
        }
        let sender = watched.entry(address).or_insert_with(|| watch::Sender::new(length));
        sender.send_if_modified(|known| {
            *known < length && {
                *known = length;
                true
            }
        });
        sender.subscribe()
    }

    fn tell(&self, address: LogAddress, length: u64) {
        let mut watched = lock(&self.shared.watched);
        let Some(sender) = watched.get(&address) else { return };
        if sender.receiver_count() == 0 {
            watched.remove(&address);
            return;
        }
        // Two appends may tell in the other order; the length only grows.
        sender.send_if_modified(|known| {
            *known < length && {
                *known = length;
                true
            }
        });
    }

    /// Opens a log that exists.
    pub(super) fn find(&self, address: LogAddress) -> Result<Option<Arc<OpenLog>>, ReadError> {
        self.open(address, false)
    }

    fn create(&self, address: LogAddress) -> Result<Arc<OpenLog>, ReadError> {
        let log = self.open(address, true)?;
        Ok(log.expect("opening with `create` makes the log"))
    }

    /// Opens a log under the cache's lock: so there are never two of the same.
    fn open(&self, address: LogAddress, create: bool) -> Result<Option<Arc<OpenLog>>, ReadError> {
        let mut open = lock(&self.shared.open);
        open.uses += 1;
        let now = open.uses;
        if let Some((log, used)) = open.logs.get_mut(&address) {
            *used = now;
            return Ok(Some(Arc::clone(log)));
        }
        let path = self.path(address, "log");
        if !create && !path.exists() {
            return Ok(None);
        }
        let log = open_files(&path, &self.path(address, "idx")).map_err(|source| ReadError { path, source })?;
        open.make_room();
        let log = Arc::new(log);
        open.logs.insert(address, (Arc::clone(&log), now));
        Ok(Some(log))
    }

    /// Closes a log's files, unless somebody uses them.
    fn forget(&self, address: LogAddress) {
        let mut open = lock(&self.shared.open);
        if open.logs.get(&address).is_some_and(|(log, _)| Arc::strong_count(log) == 1) {
            open.logs.remove(&address);
        }
    }

    /// Gives the folder that all of them are in.
    pub(super) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Gives the store of the files that builds leave behind, which is beside that of the logs.
    pub fn artifacts(&self) -> ArtifactStore {
        ArtifactStore::beside(&self.shared.folder)
    }

    fn folder_of(&self, address: LogAddress) -> PathBuf {
        let build = address.build.0;
        self.shared.folder.join((build / 1000).to_string()).join(build.to_string())
    }

    pub(super) fn path(&self, address: LogAddress, kind: &str) -> PathBuf {
        let LogAddress { epoch, step, log, .. } = address;
        let number = if log == 0 { String::new() } else { format!("-{log}") };
        self.folder_of(address).join(format!("{epoch}-{step}{number}.{kind}"))
    }
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        Self::Io { path: error.path, source: error.source }
    }
}

impl OpenLogs {
    /// Closes the longest unused logs until there is room for one more. Those in use stay, and are few.
    fn make_room(&mut self) {
        while self.logs.len() >= OPEN_LOGS_MAX {
            let idle = self.logs.iter().filter(|(_, (log, _))| Arc::strong_count(log) == 1);
            let Some(oldest) = idle.min_by_key(|(_, (_, used))| *used).map(|(address, _)| *address) else { return };
            self.logs.remove(&oldest);
        }
    }
}

impl OpenLog {
    /// Says where the log ends now; what lies before never changes.
    pub(super) fn ends(&self) -> Ends {
        *lock(&self.ends)
    }
}

/// Locks, also after a panic elsewhere: what is guarded here is never left half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists the folders in a folder whose names are numbers; none if it is not there.
fn numbered(folder: &Path) -> Result<Vec<i64>, ReadError> {
    let unreadable = |source| ReadError { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry.map_err(unreadable)?.file_name().to_str().and_then(|name| name.parse::<i64>().ok()));
    }
    Ok(numbers)
}

fn checked_text(piece: &LogAppend) -> Result<Vec<u8>, AppendError> {
    index::unpack(&piece.frame, piece.length as usize)
        .filter(|text| !text.is_empty())
        .ok_or(AppendError::Frame { length: piece.length })
}

/// Writes frame and record at the log's end. If that fails the files are cut to where they were; if even that fails,
/// the next piece writes over the same place, and [`index::recover`] puts it right after a restart.
fn write_frame(files: &Files, ends: &Ends, piece: &LogAppend) -> io::Result<()> {
    let stored_bytes = u32::try_from(piece.frame.len()).expect("a checked frame is short");
    let record = ends.record(piece.length, stored_bytes);
    let written = files
        .log
        .write_all_at(&piece.frame, ends.stored)
        .and_then(|()| files.index.write_all_at(&record.to_bytes(), ends.frames * RECORD_BYTES));
    if written.is_err() {
        drop(files.index.set_len(ends.frames * RECORD_BYTES));
        drop(files.log.set_len(ends.stored));
    }
    written
}

fn open_files(log: &Path, index: &Path) -> io::Result<OpenLog> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let open = |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let files = Files { log: open(log)?, index: open(index)? };
    let ends = index::recover(&files)?;
    Ok(OpenLog { files, ends: Mutex::new(ends), scan: Mutex::default() })
}
