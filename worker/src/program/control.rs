//! How people speak with the worker on their machine: one line of JSON asks, one answers, over a socket in its folder.
//!
//! Only who may enter the folder reaches it: the folder and the socket belong to the worker's user alone.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_model::protocol::Refusal;
use gristmill_model::protocol::wire::{HoldRequest, HoldWish};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::{Exit, Failure};
use crate::Handle;

/// Bytes of a question or an answer.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How long a question may take to be asked.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take: the service is asked meanwhile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// People who ask at once.
const ASKERS_MAX: usize = 8;

/// The pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What the worker is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(super) enum Ask {
    /// To be held, or free again.
    Hold {
        /// What is wanted.
        wish: HoldRequest,
    },
    /// What it does.
    Status {
        /// In JSON.
        json: bool,
    },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Done(String),
    NotReached(String),
    Refused(String),
}

fn socket_of(data: &Path) -> PathBuf {
    data.join("control")
}

/// Listens for questions in a worker's folder, which must be locked.
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let path = socket_of(data);
        // The folder is ours: what is there is a predecessor's.
        fs::remove_file(&path)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers for ever. To be dropped with the worker.
    pub(super) async fn serve(self, handle: Handle) {
        let askers = std::sync::Arc::new(Semaphore::new(ASKERS_MAX));
        loop {
            let Ok(permit) = std::sync::Arc::clone(&askers).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handle = handle.clone();
                    tokio::spawn(async move {
                        // Who asked may have gone; nobody else is interested.
                        let exchange = exchange(stream, &handle);
                        tokio::time::timeout(QUESTION_TIMEOUT + ANSWER_TIMEOUT, exchange).await.ok();
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "nobody can speak with this worker for a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // What is left there is deleted at the next start.
        fs::remove_file(&self.path).ok();
    }
}

async fn exchange(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LINE_BYTES_MAX));
    tokio::time::timeout(QUESTION_TIMEOUT, reader.read_line(&mut line)).await.map_err(io::Error::other)??;
    let answer = match serde_json::from_str(&line) {
        Ok(ask) => answer(ask, handle).await,
        Err(error) => Answer::Refused(format!("this worker does not understand the question: {error}")),
    };
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(b'\n');
    writer.write_all(&answer).await
}

async fn answer(ask: Ask, handle: &Handle) -> Answer {
    match ask {
        Ask::Status { json } => Answer::Done(status(handle, json)),
        Ask::Hold { wish } => {
            let said = match wish.kind {
                HoldWish::Pause => "paused: no new builds, those that run go on",
                HoldWish::Drain => "draining: no new builds, those that run go on",
                HoldWish::Resume => "resumed: it takes builds again, unless somebody else holds it",
            };
            match handle.hold(wish).await {
                Ok(()) => Answer::Done(said.to_owned()),
                Err(Refusal::Rejected { why }) => Answer::Refused(why),
                Err(refusal) => Answer::NotReached(refusal.to_string()),
            }
        }
    }
}

fn status(handle: &Handle, json: bool) -> String {
    let status = handle.status();
    if json {
        return serde_json::json!({ "builds": status.builds, "trouble": status.trouble }).to_string();
    }
    let mut lines = vec![match &status.trouble {
        None => "speaks with its service".to_owned(),
        Some(why) => format!("does not reach its service: {why}"),
    }];
    lines.push(match status.builds.len() {
        0 => "no build".to_owned(),
        1 => "1 build:".to_owned(),
        count => format!("{count} builds:"),
    });
    lines.extend(status.builds.iter().map(|held| format!("  build {} (lease {})", held.build, held.epoch)));
    lines.join("\n")
}

/// Asks the worker whose folder this is.
pub(super) async fn ask(data: &Path, ask: &Ask) -> Result<String, Failure> {
    let path = socket_of(data);
    let not_there = |error: io::Error| {
        let hint = "does it run, is --data (GRISTMILL_WORKER_DATA) its folder, and are you its user?";
        let exit = if error.kind() == io::ErrorKind::PermissionDenied { Exit::NotPermitted } else { Exit::NotReached };
        Failure::new(exit, format!("no worker answers at `{}`: {error}; {hint}", path.display()))
    };
    let exchange = async {
        let stream = UnixStream::connect(&path).await?;
        let (reader, mut writer) = stream.into_split();
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        writer.write_all(&line).await?;
        let mut answer = String::new();
        BufReader::new(reader.take(LINE_BYTES_MAX)).read_line(&mut answer).await?;
        serde_json::from_str(&answer).map_err(io::Error::other)
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| {
        not_there(io::Error::new(io::ErrorKind::TimedOut, format!("silence for {} s", ANSWER_TIMEOUT.as_secs())))
    })?;
    match answer.map_err(not_there)? {
        Answer::Done(text) => Ok(text),
        Answer::NotReached(why) => Err(Failure::new(Exit::NotReached, why)),
        Answer::Refused(why) => Err(Failure::new(Exit::NotPermitted, why)),
    }
}
