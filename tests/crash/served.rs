//! The real program, started to be killed.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::stored::Stored;
use super::yard::Yard;
use crate::support::soon;

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One run of `gristmill serve`.
pub(crate) struct Served {
    pub(crate) url: String,
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    alone: Option<Pid>,
}

impl Served {
    /// Starts it over a data folder on a port, under another command if `prefix` names one; it is not waited for.
    pub(crate) fn start(yard: &Yard, data: &Path, port: u16, prefix: &[String]) -> Self {
        let database = yard.database(data);
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
        Self { url: format!("http://127.0.0.1:{port}"), child, lines, alone: None }
    }

    /// Waits until it says where it can be found. Gives whether it came to that. Nobody reads what it says after that:
    /// that must not hold it up.
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

    /// Waits until it answers and has seen every repository once.
    pub(crate) async fn has_looked(&mut self, yard: &Yard) {
        assert!(self.answers().await, "the service does not start");
        let database = yard.database(&yard.data());
        let looked = async {
            while database.ask(["SELECT name FROM repository WHERE seen = 1"]).await[0].len() < 2 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        soon("the first look at the repositories", looked).await;
    }

    /// Lets it say next to nothing before somebody must read it.
    pub(crate) fn narrow(&mut self) {
        let page = nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096);
        nix::fcntl::fcntl(self.lines.get_ref().get_ref(), page).unwrap();
    }

    /// Kills it as a crash does: no instruction of it runs any more.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().expect("it runs until it is killed");
        soon("the end", self.child.wait()).await.unwrap();
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.ask_to_stop();
        soon("the end", self.child.wait()).await.unwrap()
    }

    /// Sends a signal to what runs under the command of the prefix, and waits for the end of both.
    pub(crate) async fn end_inner(mut self, signal: Signal) -> ExitStatus {
        kill(self.inner(), signal).unwrap();
        soon("the end", self.child.wait()).await.unwrap()
    }

    /// Takes away the command of the prefix; what ran under it goes on alone.
    pub(crate) async fn go_on_alone(&mut self) {
        self.alone = Some(self.inner());
        self.child.start_kill().unwrap();
        soon("the end of the command", self.child.wait()).await.unwrap();
    }

    /// Kills what goes on alone.
    pub(crate) async fn kill_alone(mut self) {
        kill(self.alone.take().expect("it goes on alone"), Signal::SIGKILL).unwrap();
        // It was the only one that could still say something.
        let gone = async { while let Ok(Some(_)) = self.lines.next_line().await {} };
        soon("the end", gone).await;
    }

    fn inner(&self) -> Pid {
        let outer = self.child.id().unwrap();
        let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().expect("the command runs the service").parse().unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(alone) = self.alone {
            // A test that fails leaves nothing behind.
            let _is_gone = kill(alone, Signal::SIGKILL).is_err();
        }
    }
}

/// Finds a port that stays free: outside the range from which the system takes ports by itself, and given to nobody else in
/// this process, whose services are down most of the time.
pub(crate) fn free_port(start: u64) -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    let ports = (0..500).map(|step| 21_000 + u16::try_from((start + step) % 9_000).unwrap());
    let mut free = ports.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = free.find(|port| !given.contains(port)).expect("one of 500 ports is free");
    given.insert(port);
    port
}

/// Compares what steps printed with what is kept of it: all of it, or the beginning of it if the build was lost. Gives how
/// many bytes are kept, and what is wrong.
pub(crate) async fn compare_logs(yard: &Yard, url: &str) -> (usize, Vec<String>) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut bytes, mut complaints) = (0, Vec::new());
    for build in Stored::load(&yard.database(&yard.data())).await.builds {
        let id = build.id;
        let (step, printed) = yard.printed(&build.builder, id, build.attempt);
        let answer = soon("a log", http.get(format!("{url}/api/v1/builds/{id}/log?step={step}")).send()).await.unwrap();
        let kept = if answer.status().is_success() { answer.text().await.unwrap() } else { String::new() };
        bytes += kept.len();
        let is_whole = matches!(build.outcome.as_deref(), Some("success" | "failure"));
        if (is_whole && kept != printed) || !printed.starts_with(&kept) {
            complaints.push(format!("the log of {build:?} has {} bytes of {}", kept.len(), printed.len()));
        }
    }
    (bytes, complaints)
}
