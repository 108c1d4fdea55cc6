//! Copying files so that they are there after a power cut, and folders that appear complete or not at all.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gristmill_model::BuildId;
use sha2::{Digest as _, Sha256};

use super::KeepingError;
use super::manifest::Entry;

/// Bytes read at once.
const PIECE: usize = 256 * 1024;
/// How long a backup waits for a deletion that is under way. One is bounded, and takes seconds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// The pause between two attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A folder in the making, beside the place where it will be. Dropped before [`Draft::publish`], it is deleted.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    place: PathBuf,
    lock: Option<File>,
}

impl Draft {
    /// Begins a folder that will be at `place`. What an earlier attempt left when it was killed is deleted.
    ///
    /// # Errors
    /// If something is at `place` (an empty folder counts as nothing), if it is a mount point, or if it cannot be written
    /// beside it.
    pub fn begin(place: &Path) -> Result<Self, KeepingError> {
        if is_mount_point(place).map_err(KeepingError::io("look at", place))? {
            return Err(KeepingError::MountPoint { path: place.to_owned() });
        }
        if !is_free(place).map_err(KeepingError::io("look at", place))? {
            return Err(KeepingError::Taken { path: place.to_owned() });
        }
        let place = std::path::absolute(place).map_err(KeepingError::io("look at", place))?;
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
            return Err(KeepingError::Taken { path: place });
        };
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(KeepingError::io("make", parent))?;
        let hidden = |end: &str| parent.join(format!(".{}.{end}", name.to_string_lossy()));
        let (folder, lock_file) = (hidden("partial"), hidden("lock"));
        let lock = private().open(&lock_file).map_err(KeepingError::io("write", &lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(KeepingError::Busy { path: place }),
            Err(TryLockError::Error(source)) => return Err(KeepingError::io("lock", lock_file)(source)),
        }
        remove(&folder).map_err(KeepingError::io("delete", &folder))?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(KeepingError::io("make", &folder))?;
        Ok(Self { folder, place, lock: Some(lock) })
    }

    /// Gives the folder in the making.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder durable, and gives it its name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn publish(self) -> Result<(), KeepingError> {
        sync_folders(&self.folder)?;
        std::fs::rename(&self.folder, &self.place).map_err(|error| match error.kind() {
            // A folder of the same disk may be mounted there, too.
            io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => {
                KeepingError::MountPoint { path: self.place.clone() }
            }
            _ => KeepingError::io("write", &self.place)(error),
        })?;
        if let Some(parent) = self.place.parent() {
            sync(parent)?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `publish` nothing is there; and what cannot be deleted now, the next attempt deletes.
        drop(remove(&self.folder));
        let lock_file = self.folder.with_extension("lock");
        drop(self.lock.take());
        drop(std::fs::remove_file(lock_file));
    }
}

fn is_free(place: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(place) {
        Ok(metadata) if metadata.is_dir() => Ok(std::fs::read_dir(place)?.next().is_none()),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Says whether another disk begins at a place: then its name cannot be given to a folder that was made beside it.
fn is_mount_point(place: &Path) -> io::Result<bool> {
    match std::fs::metadata(place) {
        Ok(metadata) => Ok(metadata.is_dir() && metadata.dev() != std::fs::metadata(place.join(".."))?.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options
}

/// Waits until nobody deletes from the data folder, and keeps it so for as long as the file is held.
///
/// # Errors
/// If somebody else keeps it for long.
pub async fn hold(data: &Path) -> Result<File, KeepingError> {
    let until = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match try_hold(data)? {
            Some(held) => return Ok(held),
            None if Instant::now() < until => tokio::time::sleep(LOCK_PAUSE).await,
            None => return Err(KeepingError::Busy { path: data.to_owned() }),
        }
    }
}

/// Takes the right to copy or to delete files of the data folder, which are never done at once; `None` if somebody else has
/// it. The folder itself is locked: a file in it would belong to whoever was there first, such as an administrator who
/// takes a backup, and keep the service out.
///
/// # Errors
/// If it cannot be locked.
pub fn try_hold(data: &Path) -> Result<Option<File>, KeepingError> {
    let failed = |source| KeepingError::Lock { path: data.to_owned(), source };
    let folder = File::open(data).map_err(failed)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Copies a file of `from` to the same path below `to`, as long as it is now, durably; `None` if it is gone.
///
/// # Errors
/// If it cannot be read or written.
pub fn copy(from: &Path, to: &Path, path: &str) -> Result<Option<Entry>, KeepingError> {
    let (source, target) = (from.join(path), to.join(path));
    let read = match File::open(&source) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KeepingError::io("read", source)(error)),
    };
    let length = read.metadata().map_err(KeepingError::io("read", &source))?.len();
    if let Some(folder) = target.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(KeepingError::io("make", folder))?;
    }
    let mut write = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&target)
        .map_err(KeepingError::io("write", &target))?;
    let (bytes, sha256) = read_all(read.take(length), &source, |piece| {
        write.write_all(piece).map_err(KeepingError::io("write", &target))
    })?;
    write.sync_all().map_err(KeepingError::io("write", &target))?;
    Ok(Some(Entry { path: path.to_owned(), bytes, sha256 }))
}

/// Gives a file's size and SHA-256, and makes it durable.
///
/// # Errors
/// If it cannot be read.
pub fn measure(folder: &Path, path: &str) -> Result<Entry, KeepingError> {
    let source = folder.join(path);
    let file = File::open(&source).map_err(KeepingError::io("read", &source))?;
    file.sync_all().map_err(KeepingError::io("write", &source))?;
    let (bytes, sha256) = read_all(file, &source, |_| Ok(()))?;
    Ok(Entry { path: path.to_owned(), bytes, sha256 })
}

fn read_all(
    mut from: impl io::Read,
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), KeepingError>,
) -> Result<(u64, String), KeepingError> {
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0_u64, vec![0; PIECE]);
    loop {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&piece[..count]);
                each(&piece[..count])?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(KeepingError::io("read", path)(error)),
        }
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Writes a small file, durably.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), KeepingError> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(KeepingError::io("write", path))
}

fn sync(folder: &Path) -> Result<(), KeepingError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(KeepingError::io("write", folder))
}

/// Makes the names in a folder and in those below it durable.
fn sync_folders(folder: &Path) -> Result<(), KeepingError> {
    for entry in std::fs::read_dir(folder).map_err(KeepingError::io("read", folder))? {
        let path = entry.map_err(KeepingError::io("read", folder))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    sync(folder)
}

/// Lists the files below a folder by their paths in it, sorted; nothing if it is not there.
///
/// # Errors
/// If it cannot be read.
pub fn list(folder: &Path) -> Result<Vec<String>, KeepingError> {
    let mut files = Vec::new();
    list_below(folder, "", &mut files)?;
    files.sort_unstable();
    Ok(files)
}

fn list_below(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<(), KeepingError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(KeepingError::io("read", folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(KeepingError::io("read", folder))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(KeepingError::io("read", entry.path()))?;
        if kind.is_dir() {
            list_below(&entry.path(), &format!("{name}/"), files)?;
        } else if kind.is_file() {
            files.push(name);
        }
    }
    Ok(())
}

/// Gives the build that a file in the folder of logs belongs to: `0/812/1-0.log`.
pub fn build_of(path: &str) -> Option<BuildId> {
    path.split('/').nth(1)?.parse().ok().map(BuildId)
}

/// Writes a size for people: `12 B`, `3.4 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if tenths >= 1000 => format!("{} {}", tenths / 10, UNITS[unit]),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1000, 12_345, 99_999, 123_456, 5_000_000, 7_123_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "12.3 kB", "99.9 kB", "123 kB", "5.0 MB", "7.1 GB"]);
    }

    #[test]
    fn a_mount_point_is_refused_with_a_hint_before_anything_is_written() {
        let refused = Draft::begin(Path::new("/proc")).unwrap_err().to_string();
        assert!(refused.contains("/proc is a mount point") && refused.contains("/proc/gristmill-data"), "{refused}");
        assert!(!Path::new("/.proc.lock").exists());
    }

    #[test]
    fn whoever_keeps_the_data_folder_leaves_no_file_that_keeps_another_user_out() {
        let data = tempfile::tempdir().unwrap();
        let held = try_hold(data.path()).unwrap();
        assert!(held.is_some() && try_hold(data.path()).unwrap().is_none());
        drop(held);
        assert!(try_hold(data.path()).unwrap().is_some());
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
        let refused = try_hold(&data.path().join("nowhere")).unwrap_err().to_string();
        assert!(refused.contains("as the user that the service runs as"), "{refused}");
    }

    #[test]
    fn a_folder_in_the_making_is_gone_or_complete() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("backup");
        let draft = Draft::begin(&place).unwrap();
        write(&draft.folder().join("one"), "1").unwrap();
        assert!(matches!(Draft::begin(&place), Err(KeepingError::Busy { .. })));
        drop(draft);
        assert_eq!(list(root.path()).unwrap(), Vec::<String>::new());

        // As a kill leaves it.
        std::fs::create_dir(root.path().join(".backup.partial")).unwrap();
        write(&root.path().join(".backup.partial/half"), "h").unwrap();
        let draft = Draft::begin(&place).unwrap();
        write(&draft.folder().join("one"), "1").unwrap();
        draft.publish().unwrap();
        assert_eq!(list(root.path()).unwrap(), ["backup/one"]);
        assert!(matches!(Draft::begin(&place), Err(KeepingError::Taken { .. })));
    }
}
