//! A worker's own mirrors of repositories that are far away: one per origin, shared by all its builds.
//!
//! A checkout fetches from the mirror, so that a revision comes over the network once. A mirror is a cache and nothing
//! else: what goes wrong with it is not the build's business, and it may be deleted at any time. A build could change
//! one; git checks what it fetches against its id, and the mirror's settings are written anew before each use.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use gristmill_model::Digest;
use tokio::sync::OwnedMutexGuard;

/// The file in a mirror whose time says when it was used last.
const USED: &str = "used";

/// The mirrors of a worker.
#[derive(Debug)]
pub(crate) struct Mirrors {
    root: PathBuf,
    bytes_max: u64,
    locks: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

/// The right to use a mirror and to change it.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) folder: PathBuf,
    _lock: OwnedMutexGuard<()>,
}

impl Mirrors {
    /// Keeps mirrors below `root`, which together take at most `bytes_max`, but for the one that is used.
    pub(crate) fn new(root: PathBuf, bytes_max: u64) -> Self {
        Self { root, bytes_max, locks: Mutex::default() }
    }

    /// Takes the mirror of an origin, once nobody else has it.
    pub(super) async fn take(&self, url: &str) -> Mirror {
        let digest = Digest::of(url.as_bytes());
        let folder = self.root.join(format!("{}.git", &digest.as_str()[..24]));
        let lock = self.lock_of(&folder).lock_owned().await;
        Mirror { folder, _lock: lock }
    }

    fn lock_of(&self, folder: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(folder.to_owned()).or_default())
    }

    /// Deletes the mirrors that were not used for longest, until the rest is small enough. One that is in use stays.
    /// Blocks.
    pub(super) fn make_room(&self) -> io::Result<()> {
        let mut mirrors = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let folder = entry?.path();
            let used = fs::metadata(folder.join(USED)).and_then(|metadata| metadata.modified());
            mirrors.push((used.unwrap_or(SystemTime::UNIX_EPOCH), bytes_below(&folder)?, folder));
        }
        mirrors.sort();
        let mut bytes: u64 = mirrors.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, folder) in mirrors {
            if bytes <= self.bytes_max {
                break;
            }
            let lock = self.lock_of(&folder);
            if let Ok(_lock) = lock.try_lock() {
                fs::remove_dir_all(&folder)?;
                bytes = bytes.saturating_sub(size);
            }
        }
        Ok(())
    }
}

impl Mirror {
    /// Makes the folder a bare repository with settings of ours, and notes that it is used.
    pub(super) fn prepare(&self, is_sha256: bool) -> io::Result<()> {
        for part in ["objects/info", "objects/pack", "refs/heads"] {
            fs::create_dir_all(self.folder.join(part))?;
        }
        let format =
            if is_sha256 { "1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256" } else { "0\n\tbare = true" };
        fs::write(self.folder.join("config"), format!("[core]\n\trepositoryformatversion = {format}\n"))?;
        fs::write(self.folder.join("HEAD"), "ref: refs/heads/none\n")?;
        // A killed predecessor may have left these.
        for lock in ["shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock"] {
            fs::remove_file(self.folder.join(lock)).or_else(unless_gone)?;
        }
        fs::remove_file(self.folder.join("objects/info/alternates")).or_else(unless_gone)?;
        fs::write(self.folder.join(USED), "")
    }

    /// Deletes it: the next one who wants it makes it anew.
    pub(super) fn delete(self) {
        if let Err(error) = fs::remove_dir_all(&self.folder).or_else(unless_gone) {
            tracing::warn!(path = %self.folder.display(), %error, "a mirror that is broken cannot be deleted");
        }
    }
}

fn unless_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Says whether an origin is on another machine: what is on this one need not be mirrored.
pub(super) fn is_far(url: &str) -> bool {
    match url.split_once("://") {
        Some((scheme, _)) => scheme != "file",
        // `host:path`, as ssh has it; a path has a slash first.
        None => url.find(':').is_some_and(|colon| !url[..colon].contains('/')),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_is_far_is_mirrored() {
        for far in ["https://host/x.git", "ssh://git@host/x", "git@host:x.git", "git://host/x"] {
            assert!(is_far(far), "{far}");
        }
        for near in ["/srv/x.git", "file:///srv/x.git", "./x:y", "x.git"] {
            assert!(!is_far(near), "{near}");
        }
    }

    #[tokio::test]
    async fn the_mirrors_that_were_not_used_for_longest_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(folder.path().to_owned(), 2500);
        let mut folders = Vec::new();
        for (age, url) in [(3, "git://host/a"), (2, "git://host/b"), (1, "git://host/c")] {
            let mirror = mirrors.take(url).await;
            mirror.prepare(false).unwrap();
            fs::write(mirror.folder.join("objects/pack/pack"), [0; 1000]).unwrap();
            let used = fs::File::options().write(true).open(mirror.folder.join(USED)).unwrap();
            used.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age)).unwrap();
            folders.push(mirror.folder.clone());
        }
        let in_use = mirrors.take("git://host/a").await;
        mirrors.make_room().unwrap();
        let there: Vec<bool> = folders.iter().map(|folder| folder.exists()).collect();
        assert_eq!(there, [true, false, true], "the oldest is in use");
        in_use.delete();
        assert!(!folders[0].exists());
    }
}
