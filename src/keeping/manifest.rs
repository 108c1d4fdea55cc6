//! What a backup says of itself.

use std::path::{Component, Path};

use gristmill_model::{BuildId, Digest, InstanceEpoch, Seq, Timestamp};
use serde::{Deserialize, Serialize};

use super::KeepingError;
use super::backup::DUMP_FILE;

/// The manifest's name in a backup.
pub const FILE: &str = "manifest.json";
/// The form that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;
/// Bytes that a manifest may have: 100 per file, and a few million files.
const BYTES_MAX: u64 = 1 << 30;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the backup.
    pub format: u32,
    /// The version of the program that took it.
    pub gristmill: String,
    /// When it was taken, for people.
    pub taken: String,
    /// When it was taken.
    pub taken_us: Timestamp,
    /// The schema of its database.
    pub schema: i64,
    /// Whose it is: an installation has this name for all its life.
    pub instance: Option<String>,
    /// Which installation it was, after how many restores.
    pub epoch: InstanceEpoch,
    /// The journal's head.
    pub head: Seq,
    /// Builds that were running or leased: after a restore they are tried again.
    pub open_builds: Vec<BuildId>,
    /// The configuration's file in the backup; `None` if it was not found.
    pub configuration: Option<String>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
    /// Every file but this one.
    pub files: Vec<Entry>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path in the backup.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// The file: the manifest with its own digest, so that damage to it is noticed, too.
#[derive(Serialize, Deserialize)]
struct Sealed {
    sha256: String,
    backup: serde_json::Value,
}

impl Manifest {
    /// Gives the form that this program writes.
    pub const fn format() -> u32 {
        FORMAT
    }

    /// Gives the bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Says whether it is of a database on a server.
    pub fn is_dump(&self) -> bool {
        self.files.iter().any(|file| file.path == DUMP_FILE)
    }

    /// Writes it as text.
    pub fn to_text(&self) -> String {
        let backup = serde_json::to_value(self).expect("a manifest is plain data");
        let sealed = Sealed { sha256: Digest::of(backup.to_string().as_bytes()).0, backup };
        serde_json::to_string_pretty(&sealed).expect("a manifest is plain data") + "\n"
    }

    /// Reads the manifest of the backup in `folder`.
    ///
    /// # Errors
    /// If there is none, if it is damaged, or if a newer program wrote it.
    pub fn read(folder: &Path) -> Result<Self, KeepingError> {
        let path = folder.join(FILE);
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeepingError::NoBackup { folder: folder.to_owned() });
            }
            Err(error) => return Err(KeepingError::io("read", path)(error)),
        };
        let damaged = |why: String| KeepingError::Damaged { path: path.clone(), why };
        if length > BYTES_MAX {
            return Err(damaged(format!("it has {length} bytes")));
        }
        let text = std::fs::read(&path).map_err(KeepingError::io("read", &path))?;
        let sealed: Sealed = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if Digest::of(sealed.backup.to_string().as_bytes()).0 != sealed.sha256 {
            return Err(damaged("its text is not the one that was written".to_owned()));
        }
        if sealed.backup["format"].as_u64().is_some_and(|format| format > u64::from(FORMAT)) {
            let version = sealed.backup["gristmill"].as_str().unwrap_or("of an unknown version").to_owned();
            return Err(KeepingError::Newer { folder: folder.to_owned(), version });
        }
        let manifest: Self = serde_json::from_value(sealed.backup).map_err(|error| damaged(error.to_string()))?;
        // What is written by this program never leads out of the folder; what comes from elsewhere might.
        match manifest.files.iter().find(|file| !stays_inside(&file.path)) {
            Some(file) => Err(damaged(format!("`{}` is no file of a backup", file.path))),
            None => Ok(manifest),
        }
    }
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_a_backup_lies_outside_of_it() {
        assert!(stays_inside("logs/0/812/1-0.log"));
        for path in ["", "/etc/passwd", "../x", "logs/../../x", "./x"] {
            assert!(!stays_inside(path), "{path}");
        }
    }
}
