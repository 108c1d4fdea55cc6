//! The real program, started to be killed.

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::database::Database;
use super::yard::Yard;
use crate::support::soon;

/// One run of `gristmill serve`.
pub(crate) struct Served {
    pub(crate) url: String,
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Served {
    /// Starts it over a data folder on a port, under another command if `prefix` names one; it is not waited for.
    pub(crate) fn start(yard: &Yard, data: &Path, port: u16, prefix: &[String]) -> Self {
        let database = Database::in_folder(data);
        let mut words: Vec<String> = prefix.to_vec();
        words.push(env!("CARGO_BIN_EXE_gristmill").to_owned());
        let said = File::options().create(true).append(true).open(yard.path().join("said")).unwrap();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg("serve")
            .arg(yard.file())
            .args(["--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data)
            .args(database.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(said))
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", words[0]));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { url: format!("http://127.0.0.1:{port}"), child, lines }
    }

    /// Waits until it says where it can be found. Gives whether it came to that.
    pub(crate) async fn answers(&mut self) -> bool {
        let said = async {
            loop {
                match self.lines.next_line().await {
                    Ok(Some(line)) if line.contains("http://") => return true,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return false,
                }
            }
        };
        soon("the start", said).await
    }

    /// Waits for a line that it says.
    pub(crate) async fn until(&mut self, part: &str) {
        let said = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(part) {
                    return;
                }
            }
            panic!("it ended before it said {part:?}");
        };
        soon(part, said).await;
    }

    /// Kills it as a crash does: no instruction of it runs any more.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().expect("it runs until it is killed");
        soon("the end", self.child.wait()).await.unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
        soon("the end", self.child.wait()).await.unwrap()
    }

    /// Sends a signal to what runs under the command of the prefix, and waits for the end of both.
    pub(crate) async fn end_inner(mut self, signal: Signal) -> ExitStatus {
        let outer = self.child.id().unwrap();
        let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
        let inner = children.split_whitespace().next().expect("the command runs the service").parse().unwrap();
        kill(Pid::from_raw(inner), signal).unwrap();
        soon("the end", self.child.wait()).await.unwrap()
    }
}

/// Finds a port that stays free: outside the range from which the system takes ports by itself.
pub(crate) fn free_port(start: u64) -> u16 {
    let ports = (0..500).map(|step| 21_000 + u16::try_from((start + step) % 9_000).unwrap());
    let mut free = ports.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("one of 500 ports is free")
}
