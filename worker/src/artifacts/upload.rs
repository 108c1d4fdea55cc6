//! Bringing a file to the service's store: by its digest, piece by piece, from where the store has it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_model::protocol::{ArtifactPiece, Refusal};
use gristmill_model::step::limit::{ARTIFACT_BYTES_MAX, ARTIFACT_PIECE_BYTES_MAX};
use gristmill_model::{BuildId, Digest, WorkerName};
use sha2::{Digest as _, Sha256};

use super::beneath::open_file;
use crate::{Backoff, Master};

/// How often a file is begun anew that was not what it was said to be.
const BEGINS_MAX: usize = 3;

/// Bytes read at once to take a digest.
const READ_BYTES: usize = 256 * 1024;

/// What is with the service now.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

/// Why a file is not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it has more than {ARTIFACT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it changes while it is read; let the step end when it is written")]
    Changing,
    #[error("the lease is gone")]
    Fenced,
    #[error("the service does not take it: {0}")]
    Rejected(String),
}

/// Brings one file below `root` to the service, until it has all of it.
pub(crate) async fn upload(
    master: &dyn Master,
    worker: &WorkerName,
    (build, epoch): (BuildId, i64),
    root: &Path,
    path: &str,
) -> Result<Uploaded, UploadError> {
    let (root, path) = (root.to_owned(), PathBuf::from(path));
    let (file, total, digest) = blocking(move || open_and_digest(&root, &path)).await?;
    let file = Arc::new(file);
    let (mut offset, mut begins, mut waits) = (0, 0, Backoff::default().begin());
    // The first piece is empty: it asks what is there.
    let mut bytes = Vec::new();
    loop {
        let piece = ArtifactPiece { build, epoch, digest: digest.clone(), total, offset, bytes: bytes.clone() };
        match master.append_artifact(worker, piece).await {
            Ok(length) if length >= total => return Ok(Uploaded { bytes: total, digest }),
            Ok(length) | Err(Refusal::Offset { length }) => {
                if length < offset {
                    begins += 1;
                    if begins >= BEGINS_MAX {
                        return Err(UploadError::Changing);
                    }
                }
                offset = length.min(total);
                waits = Backoff::default().begin();
            }
            Err(Refusal::Fenced { .. }) => return Err(UploadError::Fenced),
            Err(Refusal::Rejected { why }) => return Err(UploadError::Rejected(why)),
            Err(refusal) => {
                tracing::debug!(build.id = %build, %refusal, "a file is sent again later");
                tokio::time::sleep(waits.next()).await;
            }
        }
        let file = Arc::clone(&file);
        bytes = blocking(move || read_piece(&file, offset, total)).await?;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(UploadError::Unreadable(io::Error::other(error))))
}

fn open_and_digest(root: &Path, path: &Path) -> Result<(File, u64, Digest), UploadError> {
    let file = open_file(root, path).map_err(UploadError::Unreadable)?;
    let (mut hasher, mut total) = (Sha256::new(), 0);
    let mut buffer = vec![0; READ_BYTES];
    let mut bounded = (&file).take(ARTIFACT_BYTES_MAX + 1);
    loop {
        let count = bounded.read(&mut buffer).map_err(UploadError::Unreadable)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        total += count as u64;
    }
    if total > ARTIFACT_BYTES_MAX {
        return Err(UploadError::TooLarge);
    }
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((file, total, Digest(digest)))
}

fn read_piece(file: &File, offset: u64, total: u64) -> Result<Vec<u8>, UploadError> {
    let wanted = (total - offset).min(ARTIFACT_PIECE_BYTES_MAX as u64);
    let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(ARTIFACT_PIECE_BYTES_MAX)];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(UploadError::Changing),
        Err(error) => Err(UploadError::Unreadable(error)),
    }
}
