//! Taking a backup of an installation that may be running, and checking one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gristmill_model::Timestamp;

use super::KeepingError;
use super::files::{self, Draft};
use super::manifest::{self, Entry, Manifest};
use crate::store::copy::{self, Snapshot};
use crate::store::{DATABASE_FILE, Database, StoreError, dump};

/// The configuration's name in a backup.
pub const CONFIGURATION: &str = "gristmill.yaml";
/// The name of a dump of a database on a server.
pub const DUMP_FILE: &str = "gristmill.dump";
/// The folder of logs, in the data folder and in a backup.
pub const LOGS: &str = "logs";
/// What is not in a backup.
const LEFT_OUT: [&str; 3] = [
    "git: mirrors of repositories, which are fetched again",
    "worker: workspaces and what running builds have not handed over yet",
    "secrets: the variables and files that the configuration names",
];
/// Files between two words on progress.
const FILES_PER_WORD: usize = 1_000;

/// What a backup is taken of.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The data folder. Of an installation with its database on a server it may be missing.
    pub data: PathBuf,
    /// The database.
    pub database: Database,
    /// The folder of logs, if it is not in the data folder.
    pub logs: Option<PathBuf>,
    /// The configuration's file.
    pub configuration: PathBuf,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The database is copied.
    Database,
    /// So many log files of so many are copied.
    Logs {
        /// Copied.
        done: usize,
        /// All.
        all: usize,
    },
    /// So many files of so many are read again and compared.
    Checking {
        /// Read.
        done: usize,
        /// All.
        all: usize,
    },
}

/// Takes a backup to the folder `place`, while a service may be running, and reads it again to check it.
///
/// Logs of finished steps are complete in it, those of running ones end where they ended at that moment.
///
/// # Errors
/// If anything is at `place`, or cannot be read or written; if PostgreSQL's programs are needed and not there. Nothing is
/// left at `place` then.
pub async fn take(
    source: &Source,
    place: &Path,
    now: Timestamp,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Manifest, KeepingError> {
    let logs = source.logs.clone().unwrap_or_else(|| source.data.join(LOGS));
    match source.database {
        Database::Embedded if !source.data.join(DATABASE_FILE).is_file() => {
            return Err(KeepingError::NoDatabase { folder: source.data.clone() });
        }
        // An embedded database that is there says that the place is right, also before there are any.
        Database::Server(_) if !logs.is_dir() => return Err(KeepingError::NoLogs { folder: logs }),
        _ => {}
    }
    let has_folder = source.data.is_dir();
    for folder in has_folder.then_some(&source.data).into_iter().chain(logs.is_dir().then_some(&logs)) {
        refuse_inside(folder, place)?;
    }
    let draft = Draft::begin(place)?;
    let _held = if has_folder { Some(files::hold(&source.data).await?) } else { None };
    tell(Progress::Database);
    // The database first: whatever it says was printed is in the logs by then.
    let (snapshot, file) = copy_database(source, draft.folder()).await?;
    let mut entries = vec![files::measure(draft.folder(), file)?];
    copy_logs(&logs, draft.folder(), &snapshot, &mut entries, tell)?;
    let configuration = copy_configuration(source, draft.folder())?;
    let has_configuration = configuration.is_some();
    entries.extend(configuration);
    let manifest = describe(snapshot, entries, has_configuration, now);
    files::write(&draft.folder().join(manifest::FILE), &manifest.to_text())?;
    check(draft.folder(), tell).await?;
    draft.publish()?;
    Ok(manifest)
}

/// Gives what the copy is of, and its name.
async fn copy_database(source: &Source, to: &Path) -> Result<(Snapshot, &'static str), StoreError> {
    Ok(match &source.database {
        Database::Embedded => (copy::copy(&source.data, &to.join(DATABASE_FILE)).await?, DATABASE_FILE),
        Database::Server(url) => (dump::dump(url, &to.join(DUMP_FILE)).await?, DUMP_FILE),
    })
}

fn refuse_inside(data: &Path, place: &Path) -> Result<(), KeepingError> {
    let data = data.canonicalize().map_err(KeepingError::io("look at", data))?;
    let absolute = std::path::absolute(place).map_err(KeepingError::io("look at", place))?;
    let nearest = absolute.ancestors().find_map(|folder| folder.canonicalize().ok());
    match nearest {
        Some(nearest) if nearest.starts_with(&data) => Err(KeepingError::Inside { path: place.to_owned() }),
        _ => Ok(()),
    }
}

/// Copies the logs of the builds that the database knows. An index comes before its log, so that it never says of more
/// than the log has; opened again, a log is cut to what both say.
fn copy_logs(
    from: &Path,
    to: &Path,
    snapshot: &Snapshot,
    entries: &mut Vec<Entry>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), KeepingError> {
    let mut logs = files::list(from)?;
    logs.retain(|path| files::build_of(path).is_some_and(|build| build <= snapshot.last_build));
    for (done, path) in logs.iter().enumerate() {
        if done % FILES_PER_WORD == 0 {
            tell(Progress::Logs { done, all: logs.len() });
        }
        let copied = files::copy(from, &to.join(LOGS), path)?;
        entries.extend(copied.map(|copied| Entry { path: format!("{LOGS}/{path}"), ..copied }));
    }
    Ok(())
}

fn copy_configuration(source: &Source, to: &Path) -> Result<Option<Entry>, KeepingError> {
    let file = &source.configuration;
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return Ok(None);
    };
    let Some(copied) = files::copy(folder, to, name)? else { return Ok(None) };
    if name == CONFIGURATION {
        return Ok(Some(copied));
    }
    let (from, to) = (to.join(name), to.join(CONFIGURATION));
    std::fs::rename(&from, &to).map_err(KeepingError::io("write", to))?;
    Ok(Some(Entry { path: CONFIGURATION.to_owned(), ..copied }))
}

fn describe(snapshot: Snapshot, files: Vec<Entry>, has_configuration: bool, now: Timestamp) -> Manifest {
    let Snapshot { schema, instance, epoch, head, open_builds, .. } = snapshot;
    Manifest {
        format: Manifest::format(),
        gristmill: env!("CARGO_PKG_VERSION").to_owned(),
        taken: now.to_rfc3339(),
        taken_us: now,
        schema,
        instance,
        epoch,
        head,
        open_builds,
        configuration: has_configuration.then(|| CONFIGURATION.to_owned()),
        left_out: LEFT_OUT.map(str::to_owned).to_vec(),
        files,
    }
}

/// Checks a backup: every file is there with the size and the SHA-256 that the manifest says, there is no other, and the
/// database holds together and is the one that the manifest describes. Of a dump the last is known once it is restored.
///
/// # Errors
/// The first thing that is wrong, with the file's name.
pub async fn check(folder: &Path, tell: &mut (dyn FnMut(Progress) + Send)) -> Result<Manifest, KeepingError> {
    let manifest = Manifest::read(folder)?;
    check_files(folder, &manifest, tell)?;
    if manifest.is_dump() {
        return match dump::check(&folder.join(DUMP_FILE)).await {
            Ok(()) => Ok(manifest),
            Err(StoreError::Damaged { file, why }) => Err(KeepingError::Damaged { path: file, why }),
            Err(error) => Err(error.into()),
        };
    }
    let damaged = |why: String| KeepingError::Damaged { path: folder.join(DATABASE_FILE), why };
    if !manifest.files.iter().any(|file| file.path == DATABASE_FILE) {
        return Err(damaged("the manifest does not name it".to_owned()));
    }
    let snapshot = match copy::inspect(&folder.join(DATABASE_FILE)).await {
        Ok(snapshot) => snapshot,
        Err(StoreError::Damaged { file, why }) => return Err(KeepingError::Damaged { path: file, why }),
        Err(error) => return Err(error.into()),
    };
    let said = (manifest.schema, &manifest.instance, manifest.epoch, manifest.head);
    if said != (snapshot.schema, &snapshot.instance, snapshot.epoch, snapshot.head) {
        return Err(damaged(format!("it ends at event {}, and the manifest says {}", snapshot.head, manifest.head)));
    }
    Ok(manifest)
}

fn check_files(
    folder: &Path,
    manifest: &Manifest,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), KeepingError> {
    let all = manifest.files.len();
    let mut named: BTreeSet<&str> = [manifest::FILE].into();
    for (done, wanted) in manifest.files.iter().enumerate() {
        if done % FILES_PER_WORD == 0 {
            tell(Progress::Checking { done, all });
        }
        let damaged = |why: String| KeepingError::Damaged { path: folder.join(&wanted.path), why };
        if !folder.join(&wanted.path).is_file() {
            return Err(damaged("it is missing".to_owned()));
        }
        let found = files::measure(folder, &wanted.path)?;
        if found.bytes != wanted.bytes {
            return Err(damaged(format!("it has {} bytes instead of {}", found.bytes, wanted.bytes)));
        }
        if found.sha256 != wanted.sha256 {
            return Err(damaged("its bytes are not those that were written".to_owned()));
        }
        named.insert(&wanted.path);
    }
    match files::list(folder)?.into_iter().find(|path| !named.contains(path.as_str())) {
        Some(path) => {
            Err(KeepingError::Damaged { path: folder.join(path), why: "the manifest does not name it".to_owned() })
        }
        None => Ok(()),
    }
}
