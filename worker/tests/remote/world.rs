//! A service, a worker, and what builds are made of.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_model::protocol::{BuildOrder, ReportBody, WorkerCommand};
use gristmill_model::{BuildId, Recipe, StepAction, StepRecipe, Timeouts, Timestamp};
use gristmill_worker::remote::{Address, Credential, Identity, Remote};
use gristmill_worker::{Backoff, Handle, Options, SpoolLimits, Worker};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::http::serve;
use crate::service::{Lease, PATIENCE, Service, TOKEN};

/// A service with a folder for a worker.
pub(crate) struct World {
    pub(crate) service: Arc<Service>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
    stop: CancellationToken,
}

/// A worker in this process.
pub(crate) struct InProcess {
    pub(crate) handle: Handle,
    stop: CancellationToken,
    working: JoinHandle<()>,
}

/// A worker in a process of its own, which is killed with this.
pub(crate) struct Process(pub(crate) Child);

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.0.kill().ok();
        self.0.wait().unwrap();
    }

    pub(crate) fn term(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// Waits until it has ended by itself, and gives its exit code.
    pub(crate) async fn ended(mut self) -> i32 {
        let wait = tokio::task::spawn_blocking(move || self.0.wait().unwrap().code().unwrap_or(-1));
        tokio::time::timeout(PATIENCE, wait).await.expect("it ends").unwrap()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (service, stop) = (Arc::new(Service::default()), CancellationToken::new());
        tokio::spawn(serve(listener, Arc::clone(&service), stop.clone()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        Self { service, folder, url, stop }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("worker")
    }

    /// Starts a worker in this process.
    pub(crate) async fn worker(&self, set: impl FnOnce(&mut Options)) -> InProcess {
        // Another test may have been first.
        rustls::crypto::ring::default_provider().install_default().ok();
        std::fs::create_dir_all(self.data()).unwrap();
        let address = Address::new(&self.url, None).unwrap();
        let credential = Credential::File(self.path("token"));
        let remote = Remote::new(address, credential, Identity::open(&self.data()).unwrap()).unwrap();
        let mut options = Options::new("here".into(), 4, self.data());
        options.backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(20) };
        options.rejected_pause = Duration::from_millis(20);
        options.spool = Some(SpoolLimits::default());
        set(&mut options);
        let stop = CancellationToken::new();
        let worker = Worker::open(options, Arc::new(remote), stop.clone()).await.unwrap();
        let handle = worker.handle();
        InProcess { handle, stop, working: tokio::spawn(worker.work()) }
    }

    /// Starts the program.
    pub(crate) fn process(&self, arguments: &[&str]) -> Process {
        let child = self.command(arguments).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Process(child)
    }

    /// Prepares the program with what it needs to know.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill-worker"));
        command
            .args(arguments)
            .env("GRISTMILL_SERVER", &self.url)
            .env("GRISTMILL_WORKER_TOKEN_FILE", self.path("token"))
            .env("GRISTMILL_WORKER_DATA", self.data());
        command
    }

    /// Gives an order with this number and these scripts.
    pub(crate) fn order(&self, build: i64, scripts: &[(&str, &str)]) -> Lease {
        self.order_with(build, scripts, |_| {})
    }

    pub(crate) fn order_with(&self, build: i64, scripts: &[(&str, &str)], set: impl FnOnce(&mut Recipe)) -> Lease {
        let mut order = order(build, scripts);
        set(&mut order.recipe);
        self.service.change(|state| state.commands.push(WorkerCommand::Start { order }));
        (build, 1)
    }

    /// Waits for a build's end, and gives it in one line.
    pub(crate) async fn ended(&self, lease: Lease) -> String {
        let end = self.service.until("the build's end", |state| state.finished(lease).cloned()).await;
        let ReportBody::Finished { outcome, cause, summary } = end else { panic!("no end: {end:?}") };
        cause.map_or_else(|| format!("{outcome}: {summary}"), |cause| format!("{outcome} ({cause}): {summary}"))
    }

    pub(crate) fn log(&self, (build, epoch): Lease, step: u32) -> String {
        let log = self.service.state().logs.get(&(build, epoch, step)).cloned().unwrap_or_default();
        String::from_utf8(log).unwrap()
    }

    /// Waits until a step's log has a text in it.
    pub(crate) async fn until_log(&self, (build, epoch): Lease, step: u32, text: &str) {
        let look = |log: &Vec<u8>| String::from_utf8_lossy(log).contains(text).then_some(());
        self.service.until(text, |state| state.logs.get(&(build, epoch, step)).and_then(look)).await;
    }

    /// Makes a named pipe: whoever reads it waits for who writes it.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// Waits until nothing is left to be said.
    pub(crate) async fn until_spool_is_empty(&self) {
        let spool = self.data().join("spool");
        until("the spool is empty", || std::fs::read_dir(&spool).unwrap().next().is_none()).await;
    }
}

impl InProcess {
    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.working).await.expect("it stops").unwrap();
    }
}

/// Looks until something holds that nobody tells of.
pub(crate) async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let since = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !look() {
        assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
        looks.tick().await;
    }
}

/// Lets whoever reads a named pipe go on. Until somebody reads it cannot be opened.
pub(crate) async fn release(fifo: &Path) {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut open = None;
    until("somebody reads", || {
        open = std::fs::File::options().write(true).custom_flags(flags).open(fifo).ok();
        open.is_some()
    })
    .await;
    open.unwrap().write_all(b"go\n").unwrap();
}

fn order(build: i64, scripts: &[(&str, &str)]) -> BuildOrder {
    let step = |(name, text): &(&str, &str)| StepRecipe {
        timeouts: Timeouts { grace: Duration::from_millis(200), ..Timeouts::default() },
        ..StepRecipe::new(*name, StepAction::Run { command: gristmill_model::Command::Script((*text).to_owned()) })
    };
    BuildOrder {
        build: BuildId(build),
        epoch: 1,
        attempt: 1,
        builder: "check".into(),
        project: None,
        scheduler: "push".into(),
        branch: "main".to_owned(),
        stamps: BTreeMap::new(),
        origins: BTreeMap::new(),
        recipe: Recipe { steps: scripts.iter().map(step).collect(), ..Recipe::default() },
        properties: BTreeMap::new(),
        at: Timestamp(0),
    }
}
