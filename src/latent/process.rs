//! Workers as processes on the service's own machine.
//!
//! Each has a folder of its own with its token, its data, what it prints, and which process it is. A process that is gone
//! takes its folder with it at the next look.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::WorkerName;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use super::source::{New, Source};

/// How long a worker may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PID_FILE: &str = "pid";

/// Processes whose folders are in one folder.
#[derive(Debug, Clone)]
pub struct Processes {
    /// It.
    pub folder: PathBuf,
}

#[async_trait]
impl Source for Processes {
    async fn list(&self) -> Result<Vec<WorkerName>, String> {
        let folder = self.folder.clone();
        blocking(move || living(&folder)).await
    }

    async fn start(&self, new: &New) -> Result<(), String> {
        let folder = self.folder.join(new.worker.as_str());
        let program = std::env::current_exe().map_err(|problem| problem.to_string())?;
        prepare(&folder, &new.token).map_err(|problem| format!("{}: {problem}", folder.display()))?;
        let log = fs::File::create(folder.join("output.log")).map_err(|problem| problem.to_string())?;
        let errors = log.try_clone().map_err(|problem| problem.to_string())?;
        let mut command = Command::new(program);
        command.args(["worker", "run", "--server", &new.server, "--slots", &new.slots.to_string()]);
        command.arg("--token-file").arg(folder.join("token")).arg("--data").arg(folder.join("data"));
        for (name, value) in &new.labels {
            command.arg("--label").arg(format!("{name}={value}"));
        }
        // It outlives the service, as every worker does, and what is typed at the service's terminal is not meant for it.
        command.process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child = command.spawn().map_err(|problem| problem.to_string())?;
        let noted = child.id().map(|pid| note(&folder, pid));
        tokio::spawn(async move { child.wait().await });
        noted.unwrap_or_else(|| Err(io::Error::other("it ended at once"))).map_err(|problem| problem.to_string())
    }

    async fn stop(&self, worker: &WorkerName) -> Result<(), String> {
        let folder = self.folder.join(worker.as_str());
        let Some(process) = Process::read(&folder) else { return remove(&folder) };
        let ends = async {
            while process.is_alive() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        process.signal(Signal::SIGTERM);
        if tokio::time::timeout(GRACE, ends).await.is_err() {
            process.signal(Signal::SIGKILL);
        }
        remove(&folder)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|problem| problem.to_string())?
}

/// Lists the workers whose processes live, and removes the folders of the others.
fn living(folder: &Path) -> Result<Vec<WorkerName>, String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(format!("{}: {problem}", folder.display())),
    };
    let mut living = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        match Process::read(&entry.path()) {
            Some(process) if process.is_alive() => {
                living.push(WorkerName(entry.file_name().to_string_lossy().into_owned()));
            }
            _ => remove(&entry.path())?,
        }
    }
    Ok(living)
}

fn prepare(folder: &Path, token: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file =
        fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(folder.join("token"))?;
    file.write_all(token.as_bytes())
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(format!("{}: {problem}", folder.display())),
        _ => Ok(()),
    }
}

fn note(folder: &Path, pid: u32) -> io::Result<()> {
    let began = began(pid).ok_or_else(|| io::Error::other("it ended at once"))?;
    fs::write(folder.join(PID_FILE), format!("{pid} {began}\n"))
}

/// A process as it was noted: its number, and when it began, because numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    began: u64,
}

impl Process {
    fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join(PID_FILE)).ok()?;
        let (pid, began) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, began: began.parse().ok()? })
    }

    fn is_alive(self) -> bool {
        began(self.pid) == Some(self.began)
    }

    fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().filter(|_| self.is_alive()) {
            // One that has just ended needs no signal.
            kill(Pid::from_raw(pid), signal).ok();
        }
    }
}

/// Gives when a process began, in the kernel's ticks since its start; `None` if there is none, or it is only waited for.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    fields.nth(18).filter(|_| state != "Z")?.parse().ok()
}
