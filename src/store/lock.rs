//! One service per data folder: a lock that the system frees when its holder dies, however it dies.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{LOCK_FILE, StoreError};

/// Bytes of a lock file that are read: a process id has fewer.
const LOCK_BYTES_MAX: u64 = 32;

/// Holds the folder until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// How long a folder that is in use is asked for. A service that is just ending lets go within it; so does a process that
/// the holder was starting when it let go, which has the file open until it becomes another program.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the folder, once whoever is about to let go of it has done so.
pub(super) async fn take_soon(folder: &Path) -> Result<Lock, StoreError> {
    let until = Instant::now() + WAIT_MAX;
    loop {
        match take(folder) {
            Err(StoreError::InUse { .. }) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            taken => return taken,
        }
    }
}

/// Takes the folder, which is made (for this user alone) if it is not there.
fn take(folder: &Path) -> Result<Lock, StoreError> {
    let unusable = |source| StoreError::Folder { folder: folder.to_owned(), source };
    make(folder).map_err(unusable)?;
    let mut file = open_private(&folder.join(LOCK_FILE)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse { folder: folder.to_owned(), process: holder(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    write_holder(&mut file).map_err(unusable)?;
    Ok(Lock { _file: file })
}

/// Makes a folder and those above it, for this user alone. Their names last: what is committed in a folder is lost if the
/// folder itself does not survive a loss of power.
fn make(folder: &Path) -> std::io::Result<()> {
    let new: Vec<&Path> = folder.ancestors().take_while(|above| !above.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for made in new {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Opens a file, which is made for this user alone if it is not there. What is in it stays: until the lock is held, the
/// lock file says who holds it.
pub(super) fn open_private(file: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(file)
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(LOCK_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(process)) => format!("process {process}"),
        _ => "a process that is just starting".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_is_just_let_go_of_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let first = take_soon(folder.path()).await.unwrap();
        // Its turn comes when the second one, refused once, waits: there is one thread.
        let letting_go = tokio::spawn(async move { drop(first) });
        take_soon(folder.path()).await.unwrap();
        letting_go.await.unwrap();
    }
}
