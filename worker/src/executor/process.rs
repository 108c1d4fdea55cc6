//! Steps as processes of this machine: their own process group each, one pipe for both outputs.
//!
//! One pipe, because only then is the order of the two outputs the order in which they were written. Standard input is
//! empty. A script is handed to `/bin/sh -e -c` as an argument, which needs no file, no clean-up, and no folder that may
//! be executed from; only one that is too long for an argument goes through a file.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::Command;
use gristmill_model::time::say_span;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{self, Child};
use tokio::time::{Instant, sleep_until};

use super::{Executor, ExecutorError, StepEnd, StepOrder, Stop};
use crate::LogWriter;
use crate::isolation;

/// How long output is still read after the step's own process has ended: another one may hold the pipe open for ever.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(2);

/// What is left of a step's grace when nobody waits for its end any more.
pub(crate) const GRACE_AT_ONCE: Duration = Duration::from_secs(2);

/// How long the end of a killed process is waited for. Only one that hangs in the kernel takes longer.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often a group without its leader is looked at, between TERM and KILL.
const GROUP_LOOK: Duration = Duration::from_millis(10);

/// Bytes read from the pipe at once.
const READ_BYTES: usize = 64 * 1024;

/// The longest script that is handed over as an argument; Linux takes 128 KiB.
const ARGUMENT_BYTES_MAX: usize = 100 * 1024;

/// Runs steps as processes of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Processes;

#[async_trait]
impl Executor for Processes {
    async fn run(&self, step: &StepOrder, output: &mut LogWriter, stop: &Stop) -> Result<StepEnd, ExecutorError> {
        let (tree, script) = Tree::spawn_aside(step).await?;
        let end = Attendance::begin(tree, step).attend(output, stop).await;
        // A long script's file is deleted when the step is over, not before.
        drop(script);
        Ok(end)
    }
}

/// A running process with its group and the pipe that both its outputs go to.
struct Tree {
    child: Child,
    group: Group,
    output: pipe::Receiver,
}

/// A process group that is killed when it is dropped before its leader has been seen to end.
struct Group {
    id: Pid,
    leader_runs: bool,
}

impl Group {
    fn signal(&self, signal: Option<Signal>) -> bool {
        match killpg(self.id, signal) {
            Ok(()) => true,
            // A group of which nobody may be signalled is still there.
            Err(errno) => errno == Errno::EPERM,
        }
    }

    fn is_empty(&self) -> bool {
        !self.signal(None)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.leader_runs {
            self.signal(Some(Signal::SIGKILL));
        }
    }
}

impl Tree {
    /// Starts it on a thread that may block: until its program is loaded a process keeps the thread that starts it, and
    /// a runtime's thread has the report of that very step to carry meanwhile. Dropped half-way, it kills what it began.
    async fn spawn_aside(step: &StepOrder) -> Result<(Self, Option<ScriptFile>), ExecutorError> {
        let order = step.clone();
        let spawned = tokio::task::spawn_blocking(move || Self::spawn(&order)).await;
        spawned.unwrap_or_else(|error| {
            let program = match &step.command {
                Command::Script(_) => "/bin/sh",
                Command::Arguments(words) => words.first().map_or("", String::as_str),
            };
            Err(ExecutorError::Spawn { program: program.to_owned(), source: io::Error::other(error) })
        })
    }

    fn spawn(step: &StepOrder) -> Result<(Self, Option<ScriptFile>), ExecutorError> {
        let (program, arguments, script) = arguments_of(step)?;
        let failed = |source: io::Error| failure(&program, source);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
        let (first, arguments) = isolation::wrap(program.clone(), arguments, step);
        let mut command = process::Command::new(&first);
        command
            .args(arguments)
            .env_clear()
            .envs(&step.environment)
            .current_dir(&step.folder)
            .stdin(Stdio::null())
            .stderr(Stdio::from(writer.try_clone().map_err(failed)?))
            .stdout(Stdio::from(writer))
            .process_group(0);
        let child = command.spawn().map_err(failed)?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).expect("a process that was not waited for has an id");
        Ok((Self { child, group: Group { id: Pid::from_raw(id), leader_runs: true }, output }, script))
    }
}

fn failure(program: &Path, source: io::Error) -> ExecutorError {
    let program = program.display().to_string();
    match source.raw_os_error() {
        Some(code) if code == Errno::E2BIG as i32 => ExecutorError::TooLong { program },
        Some(code) if code == Errno::ENOEXEC as i32 => ExecutorError::NotExecutable { program },
        _ => ExecutorError::Spawn { program, source },
    }
}

/// A script that was too long for an argument.
struct ScriptFile(PathBuf);

impl Drop for ScriptFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "cannot delete {}", self.0.display());
        }
    }
}

/// Program, arguments, and the script's file if it needs one.
type Invocation = (PathBuf, Vec<String>, Option<ScriptFile>);

fn arguments_of(step: &StepOrder) -> Result<Invocation, ExecutorError> {
    match &step.command {
        Command::Script(text) if text.len() <= ARGUMENT_BYTES_MAX => {
            Ok(("/bin/sh".into(), vec!["-e".into(), "-c".into(), text.replace('\0', "")], None))
        }
        Command::Script(text) => {
            let failed = |source| ExecutorError::Spawn { program: "/bin/sh".into(), source };
            let lease = step.environment.get(crate::environment::LEASE).map_or("script", String::as_str);
            // A step that is kept apart has another temporary folder.
            let folder = step.apart.scratch.clone().unwrap_or_else(std::env::temp_dir);
            let path = folder.join(format!("gristmill-{lease}-{}.sh", std::process::id()));
            write_new(&path, text).map_err(failed)?;
            let arguments = vec!["-e".into(), path.display().to_string()];
            Ok(("/bin/sh".into(), arguments, Some(ScriptFile(path))))
        }
        Command::Arguments(words) => {
            let (program, arguments) = words.split_first().ok_or(ExecutorError::Empty)?;
            Ok((resolve(program, step)?, arguments.to_vec(), None))
        }
    }
}

/// Writes a file that only this user reads, and that was not there before: the temporary folder is everybody's.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Finds a program as a shell does: by the step's own PATH, or from its folder if there is a `/` in it.
fn resolve(program: &str, step: &StepOrder) -> Result<PathBuf, ExecutorError> {
    let is_program = |path: &Path| {
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|it| it.permissions().mode() & 0o111 != 0)
    };
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![step.folder.join(program)]
    } else {
        let path = step.environment.get("PATH").map_or("", String::as_str);
        path.split(':').map(|folder| step.folder.join(folder).join(program)).collect()
    };
    let mut found = false;
    for candidate in candidates {
        match is_program(&candidate) {
            Some(true) => return Ok(candidate),
            Some(false) => found = true,
            None => {}
        }
    }
    let program = program.to_owned();
    Err(if found { ExecutorError::NotExecutable { program } } else { ExecutorError::NotFound { program } })
}

/// Why and since when a step is being ended.
struct Ending {
    end: StepEnd,
    /// When KILL follows, or when even that is no longer waited for.
    next_at: Instant,
    killed: bool,
}

/// Looks after one running step.
struct Attendance<'a> {
    tree: Tree,
    step: &'a StepOrder,
    total_at: Instant,
    idle_at: Instant,
    status: Option<ExitStatus>,
    drain_until: Option<Instant>,
    at_end_of_output: bool,
    ending: Option<Ending>,
    buffer: Vec<u8>,
}

/// What happened next.
enum Happening {
    Read(io::Result<usize>),
    Sent,
    Exited(io::Result<ExitStatus>),
    Asked,
    AtOnce,
    Time,
}

impl<'a> Attendance<'a> {
    fn begin(tree: Tree, step: &'a StepOrder) -> Self {
        let now = Instant::now();
        Self {
            tree,
            step,
            total_at: now + step.timeouts.total,
            idle_at: now + step.timeouts.idle,
            status: None,
            drain_until: None,
            at_end_of_output: false,
            ending: None,
            buffer: Vec::new(),
        }
    }

    async fn attend(mut self, output: &mut LogWriter, stop: &Stop) -> StepEnd {
        let mut is_at_once = false;
        let time = sleep_until(self.next_moment(output));
        tokio::pin!(time);
        while !self.is_over() {
            let next_moment = self.next_moment(output);
            if time.deadline() != next_moment {
                time.as_mut().reset(next_moment);
            }
            let is_paused = output.is_full();
            let wants_to_send = is_paused || output.is_due(Instant::now());
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            // Every branch may be dropped without loss: a read that is not ready has read nothing, and a piece is cut
            // from the log only when there is room for it.
            let happening = tokio::select! {
                biased;
                () = stop.at_once.cancelled(), if !is_at_once => Happening::AtOnce,
                () = stop.asked.cancelled(), if self.ending.is_none() && self.status.is_none() => Happening::Asked,
                status = self.tree.child.wait(), if self.status.is_none() => Happening::Exited(status),
                () = output.advance(), if wants_to_send => Happening::Sent,
                read = self.tree.output.read_buf(&mut self.buffer), if !self.at_end_of_output && !is_paused => {
                    Happening::Read(read)
                }
                () = &mut time => Happening::Time,
            };
            match happening {
                Happening::Read(Ok(0)) => self.at_end_of_output = true,
                Happening::Read(Ok(_)) => {
                    let now = Instant::now();
                    output.push(&self.buffer, now);
                    self.idle_at = now + self.step.timeouts.idle;
                }
                Happening::Read(Err(error)) => {
                    output.remark(&format!("cannot read the output any more: {error}"));
                    self.at_end_of_output = true;
                }
                // While the service was slow the step was kept from printing: that is not idleness.
                Happening::Sent if is_paused => {
                    let now = Instant::now();
                    self.idle_at = now + self.step.timeouts.idle;
                    self.drain_until = self.drain_until.map(|_| now + DRAIN_MAX);
                }
                Happening::Sent => {}
                Happening::Exited(status) => self.note_exit(status, output),
                Happening::Asked => self.end(StepEnd::Stopped, self.step.timeouts.grace),
                Happening::AtOnce => {
                    is_at_once = true;
                    self.hurry();
                }
                Happening::Time => self.note_time(output),
            }
        }
        self.conclude(output)
    }

    fn is_over(&self) -> bool {
        match &self.ending {
            None => self.status.is_some() && self.at_end_of_output,
            Some(ending) => ending.killed && self.status.is_some() && self.at_end_of_output,
        }
    }

    fn next_moment(&self, output: &LogWriter) -> Instant {
        let mut next = match (&self.ending, self.drain_until) {
            // The leader is gone, others of its group may not be.
            (Some(ending), _) if self.status.is_some() && !ending.killed => {
                ending.next_at.min(Instant::now() + GROUP_LOOK)
            }
            // What the step printed waits for the service, however long that takes; only then the pipe is read to its end.
            (_, Some(_)) if output.is_full() => Instant::now() + DRAIN_MAX,
            (_, Some(drain_until)) => drain_until,
            (Some(ending), None) => ending.next_at,
            (None, None) if output.is_full() => self.total_at,
            (None, None) => self.total_at.min(self.idle_at),
        };
        // Once the log is due it is sent as soon as there is room, and no clock makes room.
        if let Some(due) = output.due_at().filter(|due| *due > Instant::now()) {
            next = next.min(due);
        }
        next
    }

    fn note_exit(&mut self, status: io::Result<ExitStatus>, output: &mut LogWriter) {
        self.tree.group.leader_runs = false;
        let status = status.unwrap_or_else(|error| {
            output.remark(&format!("cannot learn how the process ended: {error}"));
            ExitStatus::from_raw(0xff00)
        });
        self.status = Some(status);
        self.drain_until = Some(Instant::now() + DRAIN_MAX);
        self.look_at_group();
    }

    fn note_time(&mut self, output: &mut LogWriter) {
        let now = Instant::now();
        if let Some(ending) = &self.ending {
            if !ending.killed && now >= ending.next_at {
                self.kill();
            } else if ending.killed && self.status.is_none() && now >= ending.next_at {
                output.remark("the process does not end even when killed; it is left behind");
                self.status = Some(ExitStatus::from_raw(Signal::SIGKILL as i32));
                self.at_end_of_output = true;
            }
            self.look_at_group();
        } else if self.status.is_none() && now >= self.total_at {
            self.end(StepEnd::Overtime { span: self.step.timeouts.total }, self.step.timeouts.grace);
            output.remark(&format!("took longer than {}: ended", say_span(self.step.timeouts.total)));
        } else if self.status.is_none() && !output.is_full() && now >= self.idle_at {
            self.end(StepEnd::Idle { span: self.step.timeouts.idle }, self.step.timeouts.grace);
            output.remark(&format!("no output for {}: ended", say_span(self.step.timeouts.idle)));
        }
        if !self.at_end_of_output && !output.is_full() && self.drain_until.is_some_and(|until| now >= until) {
            output.remark("another process still holds the output open; it is no longer listened to");
            self.at_end_of_output = true;
        }
    }

    /// Sends TERM, and notes when KILL follows.
    fn end(&mut self, end: StepEnd, grace: Duration) {
        self.tree.group.signal(Some(Signal::SIGTERM));
        // A stopped process would sleep through its grace.
        self.tree.group.signal(Some(Signal::SIGCONT));
        self.ending = Some(Ending { end, next_at: Instant::now() + grace, killed: false });
    }

    /// Shortens whatever grace there is.
    fn hurry(&mut self) {
        let grace = self.step.timeouts.grace.min(GRACE_AT_ONCE);
        match &mut self.ending {
            Some(ending) if !ending.killed => ending.next_at = ending.next_at.min(Instant::now() + grace),
            Some(_) => {}
            None if self.status.is_none() => self.end(StepEnd::Stopped, grace),
            None => self.drain_until = Some(Instant::now()),
        }
    }

    fn kill(&mut self) {
        self.tree.group.signal(Some(Signal::SIGKILL));
        if let Some(ending) = &mut self.ending {
            ending.killed = true;
            ending.next_at = Instant::now() + KILL_WAIT_MAX;
        }
    }

    /// Ends an ending early when nobody of the group is left.
    fn look_at_group(&mut self) {
        if let Some(ending) = &mut self.ending
            && self.status.is_some()
            && self.tree.group.is_empty()
        {
            ending.killed = true;
        }
    }

    fn conclude(self, output: &mut LogWriter) -> StepEnd {
        let status = self.status.expect("a step is over only when its process is");
        let Some(ending) = self.ending else {
            return match (status.code(), status.signal()) {
                (Some(code), _) => StepEnd::Exited { code },
                (None, signal) => StepEnd::Signalled { signal: signal.unwrap_or_default() },
            };
        };
        if status.signal() == Some(Signal::SIGKILL as i32) {
            output.remark(&format!("did not end within {}: killed", say_span(self.step.timeouts.grace)));
        }
        ending.end
    }
}
