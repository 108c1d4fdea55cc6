//! Files that are followed while a step runs, each as a log of its own.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_model::protocol::limit::FRAME_BYTES_MAX;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::LogWriter;
use crate::artifacts::beneath::open_file;

/// The time between two looks at a file.
const LOOK: Duration = Duration::from_millis(250);

/// A file that is followed.
pub(crate) struct Followed {
    tail: Option<Tail>,
    log: LogWriter,
}

impl Followed {
    /// Begins before the step does: what is in the file by then is an earlier step's, or an earlier build's.
    pub(crate) fn begin(root: &Path, path: &str, log: LogWriter) -> Self {
        Self { tail: Some(Tail::begin(root.to_owned(), PathBuf::from(path))), log }
    }

    /// Takes what is new, up to where the file ends now.
    async fn advance(&mut self) {
        let mut left = u64::MAX;
        while left > 0 {
            let Some(mut tail) = self.tail.take() else { return };
            let looked = tokio::task::spawn_blocking(move || {
                let news = tail.look();
                (tail, news)
            });
            let Ok((tail, news)) = looked.await else { return };
            self.tail = Some(tail);
            let News { bytes, is_anew, ahead } = news;
            left = ahead.min(left.saturating_sub(bytes.len() as u64));
            if is_anew {
                self.log.remark("the file begins anew");
            }
            self.log.push(&bytes, Instant::now());
            while self.log.is_full() {
                self.log.advance().await;
            }
        }
        if self.log.is_due(Instant::now()) {
            self.log.advance().await;
        }
    }
}

/// Follows files until `over`, and then to where they end.
pub(crate) async fn follow(mut files: Vec<Followed>, over: CancellationToken) {
    if files.is_empty() {
        return;
    }
    loop {
        let is_last = over.is_cancelled();
        for file in &mut files {
            file.advance().await;
        }
        if is_last {
            break;
        }
        tokio::select! {
            () = over.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    for file in &mut files {
        file.log.finish(true).await;
    }
}

/// Where the reading of a file is.
#[derive(Debug)]
struct Tail {
    root: PathBuf,
    path: PathBuf,
    /// Device and number of the file that was read last.
    file: Option<(u64, u64)>,
    offset: u64,
}

/// What a look found.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    bytes: Vec<u8>,
    /// Whether it is another file than before, or was cut.
    is_anew: bool,
    /// Bytes that are there still.
    ahead: u64,
}

impl Tail {
    fn begin(root: PathBuf, path: PathBuf) -> Self {
        let there = open_file(&root, &path).and_then(|file| file.metadata()).ok();
        let file = there.as_ref().map(|there| (there.dev(), there.ino()));
        Self { root, path, file, offset: there.map_or(0, |there| there.len()) }
    }

    /// Reads what is new; nothing of a file that is not there, or cannot be read. Blocks.
    fn look(&mut self) -> News {
        self.read().unwrap_or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                // Its number may be given to the next one.
                (self.file, self.offset) = (None, 0);
            }
            News::default()
        })
    }

    fn read(&mut self) -> io::Result<News> {
        let mut file = open_file(&self.root, &self.path)?;
        let there = file.metadata()?;
        let id = (there.dev(), there.ino());
        let is_other = self.file != Some(id) || there.len() < self.offset;
        let is_anew = is_other && self.file.is_some() && self.offset > 0;
        if is_other {
            (self.file, self.offset) = (Some(id), 0);
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(FRAME_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        Ok(News { bytes, is_anew, ahead: there.len().saturating_sub(self.offset) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(news: &News) -> &str {
        std::str::from_utf8(&news.bytes).unwrap()
    }

    #[test]
    fn what_is_added_is_read_and_what_was_there_is_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.log");
        std::fs::write(&path, "of an earlier build\n").unwrap();
        let mut tail = Tail::begin(root.path().to_owned(), "config.log".into());
        assert_eq!(tail.look(), News::default());
        std::fs::write(&path, "of an earlier build\nnew\n").unwrap();
        assert_eq!(text(&tail.look()), "new\n");
        std::fs::write(&path, "cut\n").unwrap();
        let news = tail.look();
        assert_eq!((text(&news), news.is_anew), ("cut\n", true));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(tail.look(), News::default());
        std::fs::write(&path, "x".repeat(FRAME_BYTES_MAX + 3)).unwrap();
        let news = tail.look();
        assert_eq!((news.bytes.len(), news.ahead), (FRAME_BYTES_MAX, 3));
    }
}
