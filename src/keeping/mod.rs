//! Keeping an installation: backups of it, and restoring them.
//!
//! A backup is a folder that is written under another name and renamed when it is complete: the database as it was at
//! one moment (or a dump of one on a server), the logs up to then, the configuration, and a [`manifest`] with the size and SHA-256 of every file.
//!
//! In reading order: [`manifest`] is what a backup says of itself; [`files`] copies so that what is said to be there is
//! there after a power cut; [`backup`] takes one and checks it; [`mod@restore`] makes an installation of one;
//! [`forecast`] says where the room goes.

pub mod backup;
pub mod files;
pub mod forecast;
pub mod manifest;
pub mod restore;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use backup::{Progress, check, take};
pub use manifest::Manifest;
pub use restore::restore;

use crate::store::StoreError;

/// Why a backup was not taken, not found good, or not restored. Nothing is half there.
#[derive(Debug, thiserror::Error)]
pub enum KeepingError {
    /// A file or folder could not be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The place to write to is taken.
    #[error("{} is there already: nothing is overwritten, so give another name", path.display())]
    Taken {
        /// The place.
        path: PathBuf,
    },
    /// The place to write to is where a disk is mounted.
    #[error(
        "{} is a mount point, whose name cannot be given to a folder that is complete: name a folder inside it, such as \
         {}/gristmill-data",
        path.display(), path.display()
    )]
    MountPoint {
        /// The place.
        path: PathBuf,
    },
    /// The data folder cannot be kept from being changed meanwhile.
    #[error("cannot lock the folder {}: run this as the user that the service runs as", path.display())]
    Lock {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The place to write to lies inside what is copied.
    #[error("{} lies in the data folder, and would be lost with it: give a place outside", path.display())]
    Inside {
        /// The place.
        path: PathBuf,
    },
    /// Somebody else writes to the same place.
    #[error("another gristmill is writing to {}: wait for it, or give another name", path.display())]
    Busy {
        /// The place.
        path: PathBuf,
    },
    /// There is no database to copy.
    #[error(
        "there is no database in {}: `--data DIR` names the data folder, and `--database URL` a database on a \
         PostgreSQL server",
        folder.display()
    )]
    NoDatabase {
        /// The folder.
        folder: PathBuf,
    },
    /// There is too little room for a copy.
    #[error(
        "a copy needs {needed} bytes in {}, and {free} are free: a service that runs there must not run out of room",
        folder.display()
    )]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// What the copy may need.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// There are no logs to copy.
    #[error("there is no folder of logs {}: `--data DIR` or `--logs DIR` names it", folder.display())]
    NoLogs {
        /// The folder.
        folder: PathBuf,
    },
    /// The backup is of one kind of database, and was to be restored to the other.
    #[error("{}: {why}", folder.display())]
    OtherKind {
        /// The backup.
        folder: PathBuf,
        /// What it is of, and what to give.
        why: &'static str,
    },
    /// The folder is no backup.
    #[error("{} is no backup: it has no {}", folder.display(), manifest::FILE)]
    NoBackup {
        /// The folder.
        folder: PathBuf,
    },
    /// A newer version of this program has written the backup.
    #[error("{} was written by a newer gristmill ({version}): restore it with that version", folder.display())]
    Newer {
        /// The backup.
        folder: PathBuf,
        /// Which version.
        version: String,
    },
    /// The backup is damaged.
    #[error("the backup is damaged: {}: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeepingError {
    fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
