//! Files that builds leave behind, kept by the digests of their bytes: the same file is kept once.
//!
//! In the folder `artifacts` beside that of the logs: `ab/cdef…` is a whole file whose SHA-256 is `abcdef…`, checked before
//! it got that name; `incoming/` has files on their way, which a worker goes on with from where they end. Rows are written
//! after the files ([`ArtifactStore::append`] before the event), and deleted before them, so a row without a file means
//! that something was lost, and a file without a row is only in the way.
//!
//! Everything here blocks on files and nothing awaits. Another place to keep files, such as a service that speaks S3, has
//! to offer what [`Keep`] asks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gristmill_model::Digest;
use gristmill_model::protocol::ArtifactPiece;
use gristmill_model::step::limit::{ARTIFACT_BYTES_MAX, ARTIFACT_PIECE_BYTES_MAX};
use sha2::{Digest as _, Sha256};

pub mod inspect;

/// The folder's name, beside that of the logs.
const FOLDER: &str = "artifacts";
/// Files on their way.
const INCOMING: &str = "incoming";
/// How long a file may lie about without a row: its worker reports it a moment after it is whole.
pub const YOUNG: Duration = Duration::from_secs(3600);
/// How long a file on its way is kept that nobody goes on with.
const INCOMING_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a place must offer that files are kept in.
pub trait Keep: Send + Sync {
    /// Appends a piece of a file on its way, and gives how much of it is there: all, once the whole file is kept.
    ///
    /// # Errors
    /// See [`KeepError`].
    fn append(&self, piece: &ArtifactPiece) -> Result<u64, KeepError>;

    /// Opens a kept file; `None` if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    fn open(&self, digest: &Digest) -> io::Result<Option<File>>;

    /// Deletes a kept file, if it is there.
    ///
    /// # Errors
    /// If it cannot be deleted.
    fn delete(&self, digest: &Digest) -> io::Result<()>;
}

/// Why a piece was not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It does not begin where the file ends so far; or the whole file was not what its digest says, and is begun anew.
    #[error("the file ends at {length}; send from there")]
    Offset {
        /// Where it ends.
        length: u64,
    },
    /// It is no piece of a file: its digest, size or place cannot be.
    #[error("this is no piece of a file that can be kept: {0}")]
    Bad(&'static str),
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

/// Keeps files on this machine's disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    folder: PathBuf,
}

impl ArtifactStore {
    /// Makes a store beside the folder of logs.
    pub fn beside(logs: &Path) -> Self {
        let above = logs.parent().map_or_else(PathBuf::new, Path::to_owned);
        Self { folder: above.join(FOLDER) }
    }

    /// Says whether a file is kept.
    pub fn has(&self, digest: &Digest) -> bool {
        is_digest(digest) && self.path(digest).is_file()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let (first, rest) = digest.as_str().split_at(2);
        self.folder.join(first).join(rest)
    }

    fn incoming(&self, piece: &ArtifactPiece) -> PathBuf {
        let ArtifactPiece { build, epoch, digest, .. } = piece;
        self.folder.join(INCOMING).join(format!("{build}-{epoch}-{digest}"))
    }

    /// Lists the kept files that are older than [`YOUNG`], and deletes files on their way that nobody goes on with.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn settled(&self) -> io::Result<Vec<Digest>> {
        for (path, age) in aged(&self.folder.join(INCOMING))? {
            if age > INCOMING_MAX {
                fs::remove_file(path)?;
            }
        }
        Ok(self.list()?.into_iter().filter(|(_, age)| *age > YOUNG).map(|(digest, _)| digest).collect())
    }

    /// Lists the kept files with how long ago each was written.
    ///
    /// # Errors
    /// If the folder cannot be read.
    fn list(&self) -> io::Result<Vec<(Digest, Duration)>> {
        let mut found = Vec::new();
        for (folder, _) in aged(&self.folder)?.into_iter().filter(|(path, _)| path.is_dir()) {
            let name =
                |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let first = name(&folder);
            if first == INCOMING {
                continue;
            }
            for (path, age) in aged(&folder)? {
                let digest = Digest(format!("{first}{}", name(&path)));
                if is_digest(&digest) {
                    found.push((digest, age));
                }
            }
        }
        Ok(found)
    }

    /// Gives a whole file its name, if it is what it should be.
    fn finish(&self, incoming: &Path, file: &File, digest: &Digest) -> Result<bool, io::Error> {
        if digest_of(file)? != *digest {
            fs::remove_file(incoming)?;
            return Ok(false);
        }
        file.sync_all()?;
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        fs::rename(incoming, &path)?;
        for folder in [folder, &self.folder] {
            File::open(folder)?.sync_all()?;
        }
        Ok(true)
    }
}

impl Keep for ArtifactStore {
    fn append(&self, piece: &ArtifactPiece) -> Result<u64, KeepError> {
        let end = piece.offset.saturating_add(piece.bytes.len() as u64);
        if !is_digest(&piece.digest) {
            return Err(KeepError::Bad("its digest is not a SHA-256 in lower case"));
        }
        if piece.total > ARTIFACT_BYTES_MAX || piece.bytes.len() > ARTIFACT_PIECE_BYTES_MAX || end > piece.total {
            return Err(KeepError::Bad("it is too large, or longer than the file that it is of"));
        }
        if self.has(&piece.digest) {
            return Ok(piece.total);
        }
        let path = self.incoming(piece);
        let failed = |source| KeepError::Io { path: path.clone(), source };
        fs::create_dir_all(self.folder.join(INCOMING)).map_err(failed)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if piece.offset != length {
            return Err(KeepError::Offset { length });
        }
        file.write_all_at(&piece.bytes, length).map_err(failed)?;
        if end < piece.total {
            return Ok(end);
        }
        match self.finish(&path, &file, &piece.digest).map_err(failed)? {
            true => Ok(end),
            false => Err(KeepError::Offset { length: 0 }),
        }
    }

    fn open(&self, digest: &Digest) -> io::Result<Option<File>> {
        if !is_digest(digest) {
            return Ok(None);
        }
        match File::open(self.path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn delete(&self, digest: &Digest) -> io::Result<()> {
        if !is_digest(digest) {
            return Ok(());
        }
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Says whether a digest may be part of a path.
fn is_digest(digest: &Digest) -> bool {
    let text = digest.as_str();
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn digest_of(file: &File) -> io::Result<Digest> {
    let (mut hasher, mut offset) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read_at(&mut buffer, offset)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
    Ok(Digest(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Lists what is in a folder, with how long ago each was written; nothing if there is no folder.
fn aged(folder: &Path) -> io::Result<Vec<(PathBuf, Duration)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // One that went meanwhile is not there.
        if let Ok(written) = path.metadata().and_then(|metadata| metadata.modified()) {
            #[expect(clippy::disallowed_methods, reason = "stamps of files are compared with the clock that made them")]
            let now = SystemTime::now();
            found.push((path, now.duration_since(written).unwrap_or_default()));
        }
    }
    Ok(found)
}

/// Reads a piece of a kept file, at most `count` bytes.
///
/// # Errors
/// If it cannot be read.
pub fn read_at(file: &File, offset: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let got = file.read_at(&mut bytes, offset)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// Reads a small kept file whole.
///
/// # Errors
/// If it cannot be read.
pub fn read_whole(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use gristmill_model::BuildId;

    use super::*;

    fn piece(bytes: &[u8], of: &[u8], offset: u64) -> ArtifactPiece {
        let (digest, total) = (Digest::of(of), of.len() as u64);
        ArtifactPiece { build: BuildId(7), epoch: 1, digest, total, offset, bytes: bytes.to_vec() }
    }

    fn store() -> (tempfile::TempDir, ArtifactStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::beside(&folder.path().join("logs"));
        (folder, store)
    }

    #[test]
    fn a_file_is_kept_once_it_is_whole_and_goes_on_where_it_ended() {
        let (folder, store) = store();
        let whole = b"hello, world";
        assert_eq!(store.append(&piece(b"", whole, 0)).unwrap(), 0);
        assert_eq!(store.append(&piece(b"hello", whole, 0)).unwrap(), 5);
        assert!(!store.has(&Digest::of(whole)));
        assert!(matches!(store.append(&piece(b"hello", whole, 0)), Err(KeepError::Offset { length: 5 })));
        assert_eq!(store.append(&piece(b", world", whole, 5)).unwrap(), 12);
        let kept = read_whole(store.open(&Digest::of(whole)).unwrap().unwrap()).unwrap();
        assert_eq!(kept, whole);
        assert_eq!(store.append(&piece(b"", whole, 0)).unwrap(), 12, "another build has the same file");
        assert_eq!(fs::read_dir(folder.path().join("artifacts/incoming")).unwrap().count(), 0);
        assert_eq!(store.append(&piece(b"", b"", 0)).unwrap(), 0);
        assert!(store.has(&Digest::of(b"")), "an empty file is a file");
        store.delete(&Digest::of(whole)).unwrap();
        store.delete(&Digest::of(whole)).unwrap();
        assert!(store.open(&Digest::of(whole)).unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_not_what_it_was_said_to_be_is_begun_anew() {
        let (_folder, store) = store();
        assert!(matches!(store.append(&piece(b"jello", b"hello", 0)), Err(KeepError::Offset { length: 0 })));
        assert!(!store.has(&Digest::of(b"hello")));
        assert_eq!(store.append(&piece(b"hello", b"hello", 0)).unwrap(), 5);
    }

    #[test]
    fn what_cannot_be_a_piece_touches_no_file() {
        let (folder, store) = store();
        let good = piece(b"x", b"x", 0);
        for bad in [
            ArtifactPiece { digest: Digest("../../etc/passwd".to_owned()), ..good.clone() },
            ArtifactPiece { digest: Digest(good.digest.as_str().to_uppercase()), ..good.clone() },
            ArtifactPiece { total: u64::MAX, ..good.clone() },
            ArtifactPiece { total: 0, ..good.clone() },
            ArtifactPiece { offset: u64::MAX, ..good.clone() },
            ArtifactPiece { bytes: vec![0; ARTIFACT_PIECE_BYTES_MAX + 1], total: ARTIFACT_BYTES_MAX, ..good },
        ] {
            assert!(matches!(store.append(&bad), Err(KeepError::Bad(_))), "{bad:?}");
        }
        assert!(!folder.path().join("artifacts").exists());
    }
}
