//! Git over a child `ssh`, so that the service's agent, `known_hosts` and ssh configuration hold.
//!
//! The child never asks a question (`BatchMode`), gets no terminal, forwards nothing, and is killed with its group when
//! the look is over. Its arguments are made of a [`Location`] that was checked to smuggle none.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use super::advertisement::words_of;
use super::{Duplex, Opening};
use crate::sources::git::{Location, Login, Patience, SweepError};

/// Bytes of the child's own messages that are kept.
const MESSAGES_BYTES_MAX: usize = 4 * 1024;
/// How long the child's last message is waited for once its stream has ended.
const MESSAGES_TIME_MAX: Duration = Duration::from_millis(500);
/// How often it is seen whether the child still says something.
const LOOK_AFTER: Duration = Duration::from_millis(250);

/// A conversation through a child `ssh`.
pub(super) struct Ssh {
    stdin: ChildStdin,
    stdout: ChildStdout,
    child: Child,
    host: String,
    patience: Patience,
    messages: Receiver<Vec<u8>>,
    /// Whether the child was killed because a limit was met.
    was_killed: Arc<AtomicBool>,
    /// Dropped to send the watchdog home.
    watched: Option<Sender<()>>,
    watchdog: Option<std::thread::JoinHandle<()>>,
    _key: Option<NamedTempFile>,
}

/// Starts the child and asks for the ref list.
pub(super) fn open(
    location: &Location,
    login: &Login,
    opening: &Opening<'_>,
    received: Arc<AtomicU64>,
) -> Result<Ssh, SweepError> {
    let Location::Ssh { user, host, port, path } = location else {
        return Err(SweepError::LoginUnfit("this address is not one for ssh"));
    };
    let failed = |error: io::Error| SweepError::Ssh { host: host.clone(), problem: error.to_string() };
    let key = match login {
        Login::SshKey(key) => Some(write_key(key).map_err(failed)?),
        Login::Nothing | Login::Password { .. } => None,
    };
    let mut command = Command::new(opening.ssh);
    command.args(["-T", "-x", "-a", "-oBatchMode=yes", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no"]);
    command.args(["-oControlMaster=no", "-oConnectTimeout=15"]);
    if let Some(key) = &key {
        command.arg("-oIdentitiesOnly=yes").arg("-i").arg(key.path());
    }
    if let Some(port) = port {
        command.arg("-p").arg(port.to_string());
    }
    let target = user.as_ref().map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
    command.arg("--").arg(target).arg(format!("git-upload-pack {}", quote(path)));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take().expect("it was asked for");
    let stdout = child.stdout.take().expect("it was asked for");
    let messages = collect(child.stderr.take().expect("it was asked for"));
    let was_killed = Arc::new(AtomicBool::new(false));
    let (watched, gone) = mpsc::channel();
    let watchdog = watch(child.id(), opening.patience.clone(), received, Arc::clone(&was_killed), gone);
    Ok(Ssh {
        stdin,
        stdout,
        child,
        host: host.clone(),
        patience: opening.patience.clone(),
        messages,
        was_killed,
        watched: Some(watched),
        watchdog: Some(watchdog),
        _key: key,
    })
}

/// Writes a key to a file that only this user can read; it is removed with the value returned.
fn write_key(key: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("gristmill-key-").tempfile()?;
    file.write_all(key.trim_end().as_bytes())?;
    file.write_all(b"\n")?;
    file.flush()?;
    Ok(file)
}

/// Quotes a path for the shell on the other side.
fn quote(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// Collects the child's messages, and gives the first of them when it has said all.
fn collect(mut stderr: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            let room = MESSAGES_BYTES_MAX.saturating_sub(kept.len()).min(count);
            kept.extend_from_slice(&buffer[..room]);
        }
        // Nobody may be listening any more.
        sender.send(kept).ok();
    });
    receiver
}

/// Kills the child when it says nothing for too long, or the look is over.
fn watch(
    id: u32,
    patience: Patience,
    received: Arc<AtomicU64>,
    was_killed: Arc<AtomicBool>,
    gone: Receiver<()>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut seen = (received.load(Ordering::Relaxed), Instant::now());
        while gone.recv_timeout(LOOK_AFTER.min(patience.next_wait())) == Err(RecvTimeoutError::Timeout) {
            let now = received.load(Ordering::Relaxed);
            if now != seen.0 {
                seen = (now, Instant::now());
            }
            if patience.check().is_err() || seen.1.elapsed() >= patience.silence {
                was_killed.store(true, Ordering::Relaxed);
                kill(id);
                return;
            }
        }
    })
}

/// Ends the child with its whole group. The child is not waited for before the watchdog has gone, so the id is its own.
fn kill(id: u32) {
    let group = Pid::from_raw(i32::try_from(id).expect("process ids are small"));
    if let Err(error) = killpg(group, Signal::SIGKILL) {
        tracing::debug!("a child ssh was already gone: {error}");
    }
}

impl Duplex for Ssh {
    fn wait_at_most(&mut self, _: Duration) -> io::Result<()> {
        // The watchdog sees to it: a pipe has no time limit of its own.
        Ok(())
    }

    fn why_it_ended(&mut self) -> Option<SweepError> {
        if self.was_killed.load(Ordering::Relaxed) {
            return Some(self.patience.spent());
        }
        let said = self.messages.recv_timeout(MESSAGES_TIME_MAX).unwrap_or_default();
        let problem = match words_of(&said) {
            words if words.is_empty() => "it ended without a word".to_owned(),
            words => words,
        };
        Some(SweepError::Ssh { host: self.host.clone(), problem })
    }
}

impl Read for Ssh {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl Write for Ssh {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdin.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdin.flush()
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        drop(self.watched.take());
        if let Some(watchdog) = self.watchdog.take()
            && watchdog.join().is_err()
        {
            tracing::error!("the watchdog of a child ssh panicked");
        }
        kill(self.child.id());
        if let Err(error) = self.child.wait() {
            tracing::error!("a child ssh cannot be waited for: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_path_is_one_word_for_the_shell_on_the_other_side() {
        assert_eq!(quote("/srv/a b"), "'/srv/a b'");
        assert_eq!(quote("/x'; touch y; '"), r"'/x'\''; touch y; '\'''");
    }
}
