//! The worker's main loop: introduce yourself, ask for commands, obey them, until told to stop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_model::protocol::{BuildOrder, Held, Hello, Refusal, ReportBody, WorkerCommand};
use gristmill_model::{BuildId, Cause, Outcome};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Waits;
use crate::build::{self, Shared};
use crate::checkout::write_settings;
use crate::conclude::StepResult;
use crate::controls::Controls;
use crate::executor::sweep::{Marked, sweep};
use crate::isolation::Isolated;
use crate::master::POLL_SECONDS_MAX;
use crate::uplink::{Carried, Outbox, Uplink, uplink};
use crate::workspace::Workspaces;
use crate::{Master, Options, labels, steps};

/// Ended leases that are remembered, so that a command for one that comes late starts nothing.
const ENDED_MAX: usize = 4096;

/// How much longer than promised a poll may take before it is given up.
const POLL_MARGIN: Duration = Duration::from_secs(15);

/// The pause after a poll that brought nothing new, in case the service answers at once.
const NOTHING_NEW_PAUSE: Duration = Duration::from_millis(2);

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Another worker has its folder.
    #[error("another worker uses `{}`: stop it, or give this one a folder of its own", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// Its folder cannot be used.
    #[error("cannot use the worker's folder: {}", path.display())]
    Folder {
        /// What of it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Works until `stop` is cancelled, or until this is dropped. Then the trees of all running builds are killed, and
/// nothing more is said about them. A service that is away is waited for.
///
/// # Errors
/// If the worker's folder cannot be used, at the start only.
pub async fn run(options: Options, master: Arc<dyn Master>, stop: CancellationToken) -> Result<(), WorkerError> {
    let folder = Folder::open(&options.data)?;
    let marked = Marked::Folder(folder.token.clone());
    let left = tokio::task::spawn_blocking(move || sweep(&marked, None)).await.unwrap_or_default();
    if left > 0 {
        tracing::warn!(worker.name = %options.name, count = left, "killed {left} processes of an earlier run");
    }
    let stop = stop.child_token();
    let _stop_when_dropped = stop.clone().drop_guard();
    steps::clear(&folder.path);
    let shared = Shared {
        executor: Arc::new(Isolated::new(folder.token.clone())),
        master: Arc::clone(&master),
        worker: options.name.clone(),
        workspaces: Workspaces::new(folder.path.join("workspaces")),
        environment: options.environment.clone(),
        log_bytes_max: options.log_bytes_max,
        disk_bytes_min: options.disk_bytes_min,
        data: folder.path.clone(),
        token: folder.token.clone(),
    };
    let agent = Agent {
        options,
        master,
        shared: Arc::new(shared),
        ledger: Mutex::default(),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    };
    let agent = Arc::new(agent);
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = agent.work() => {}
    }
    agent.tasks.close();
    agent.tasks.wait().await;
    drop(folder);
    Ok(())
}

/// The worker's own folder, locked.
struct Folder {
    path: PathBuf,
    /// Marks the processes of this folder's workers.
    token: String,
    _lock: File,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, WorkerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WorkerError::Folder { path, source }
        };
        fs::create_dir_all(path).map_err(failed(path))?;
        // Links are followed now, so that paths inside can be compared later.
        let path = path.canonicalize().map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WorkerError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(WorkerError::Folder { path: lock_path, source }),
        }
        let token_path = path.join("token");
        let token = read_token(&token_path).map_err(failed(&token_path))?;
        write_settings(&path).map_err(failed(&path))?;
        Ok(Self { path, token, _lock: lock })
    }
}

/// Reads the folder's token, or makes one up.
fn read_token(path: &Path) -> io::Result<String> {
    let is_token = |text: &String| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(token) = fs::read_to_string(path).ok().filter(is_token) {
        return Ok(token);
    }
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(path, &token)?;
    Ok(token)
}

/// A build under an epoch.
type Lease = (BuildId, i64);

/// Which builds a worker has, and had lately.
#[derive(Debug, Default)]
struct Ledger {
    held: BTreeMap<Lease, Arc<Controls>>,
    ended: BTreeSet<Lease>,
    ended_in_order: VecDeque<Lease>,
}

impl Ledger {
    /// Notes a build; `None` if it is there already, or was.
    fn begin(&mut self, lease: Lease, worker_stops: &CancellationToken) -> Option<Arc<Controls>> {
        if self.held.contains_key(&lease) || self.ended.contains(&lease) {
            return None;
        }
        let controls = Arc::new(Controls::new(worker_stops));
        self.held.insert(lease, Arc::clone(&controls));
        Some(controls)
    }

    fn end(&mut self, lease: Lease) {
        self.held.remove(&lease);
        if self.ended.insert(lease) {
            self.ended_in_order.push_back(lease);
        }
        if self.ended_in_order.len() > ENDED_MAX
            && let Some(oldest) = self.ended_in_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

struct Agent {
    options: Options,
    master: Arc<dyn Master>,
    shared: Arc<Shared>,
    ledger: Mutex<Ledger>,
    /// One task per build.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Agent {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works for ever.
    async fn work(self: &Arc<Self>) {
        let mut waits = self.options.backoff.begin();
        loop {
            match self.introduce().await {
                Ok(()) => {}
                Err(refusal) => {
                    tracing::warn!(worker.name = %self.options.name, %refusal, "the service does not take this worker yet");
                    tokio::time::sleep(waits.next()).await;
                    continue;
                }
            }
            // When a poll fails the service may be another one than before, and must hear what is still held here.
            let why = self.obey_until_away(&mut waits).await;
            tracing::warn!(worker.name = %self.options.name, why, "the service is away");
            tokio::time::sleep(waits.next()).await;
        }
    }

    async fn introduce(&self) -> Result<(), Refusal> {
        let mut labels = labels::detect();
        labels.extend(self.options.labels.clone());
        let builds = self.ledger().held.keys().map(|&(build, epoch)| Held { build, epoch }).collect();
        let hello =
            Hello { worker: self.options.name.clone(), labels, slots: self.options.slots, builds, ..Hello::default() };
        let welcome = self.master.hello(hello).await?;
        for Held { build, epoch } in welcome.stop {
            self.fence((build, epoch));
        }
        Ok(())
    }

    async fn obey_until_away(self: &Arc<Self>, waits: &mut Waits) -> String {
        loop {
            let poll = self.master.poll(&self.options.name);
            let patience = Duration::from_secs(POLL_SECONDS_MAX) + POLL_MARGIN;
            match tokio::time::timeout(patience, poll).await {
                Ok(Ok(commands)) => {
                    *waits = self.options.backoff.begin();
                    let mut is_news = false;
                    for command in commands {
                        is_news |= self.obey(command);
                    }
                    if !is_news {
                        tokio::time::sleep(NOTHING_NEW_PAUSE).await;
                    }
                }
                Ok(Err(Refusal::Fenced { build, epoch })) => self.fence((build, epoch)),
                Ok(Err(refusal)) => return refusal.to_string(),
                Err(_) => return format!("no answer to a poll for {} s", patience.as_secs()),
            }
        }
    }

    /// Does what the service wants; false if that was done before.
    fn obey(self: &Arc<Self>, command: WorkerCommand) -> bool {
        match command {
            WorkerCommand::Start { order } => {
                let lease = (order.build, order.epoch);
                let Some(controls) = self.ledger().begin(lease, &self.stop) else { return false };
                let agent = Arc::clone(self);
                self.tasks.spawn(async move { agent.run_build(order, controls).await });
                true
            }
            WorkerCommand::Resume { build, epoch, step, outcome, summary } => {
                let controls = self.ledger().held.get(&(build, epoch)).cloned();
                controls.is_some_and(|controls| controls.resume(step, outcome, summary))
            }
            WorkerCommand::Cancel { build, epoch, by } => self.cancel((build, epoch), by),
        }
    }

    fn cancel(self: &Arc<Self>, lease: Lease, by: String) -> bool {
        let mut ledger = self.ledger();
        if let Some(controls) = ledger.held.get(&lease) {
            return controls.cancel(&by);
        }
        // Its order never came. Somebody waits for the word that it is over.
        let Some(controls) = ledger.begin(lease, &self.stop) else { return false };
        drop(ledger);
        let agent = Arc::clone(self);
        self.tasks.spawn(async move {
            let (outbox, uplink) = agent.uplink(lease, &controls);
            let StepResult { outcome, cause, summary, .. } = StepResult::cancelled(&by);
            outbox.report(vec![ReportBody::Finished { outcome, cause, summary }]).await;
            drop(outbox);
            uplink.carry().await;
            agent.ledger().end(lease);
        });
        true
    }

    /// Ends a build that is no longer this worker's.
    fn fence(&self, lease: Lease) {
        if let Some(controls) = self.ledger().held.get(&lease) {
            controls.at_once.cancel();
        }
    }

    /// Makes a build's way up.
    fn uplink(&self, (build, epoch): Lease, controls: &Controls) -> (Outbox, Uplink) {
        uplink(
            Arc::clone(&self.master),
            self.options.name.clone(),
            Held { build, epoch },
            self.options.backoff,
            controls.at_once.clone(),
        )
    }

    /// Runs one build to its acknowledged end.
    async fn run_build(self: Arc<Self>, order: BuildOrder, controls: Arc<Controls>) {
        let lease = (order.build, order.epoch);
        let (outbox, uplink) = self.uplink(lease, &controls);
        let at_once = controls.at_once.clone();
        let carrying = tokio::spawn(async move {
            let carried = uplink.carry().await;
            if carried == Carried::Fenced {
                at_once.cancel();
            }
            carried
        });
        // In a task of its own, so that a mistake of ours costs one build, and even that one is reported.
        let building = tokio::spawn(build::run(Arc::clone(&self.shared), order, controls, outbox.clone()));
        if let Err(error) = building.await {
            tracing::error!(build.id = %lease.0, %error, "a build ended by a mistake in the worker");
            let summary = "the worker made a mistake; its own log tells more".to_owned();
            let (outcome, cause) = (Outcome::Exception, Some(Cause::Infrastructure));
            outbox.report(vec![ReportBody::Finished { outcome, cause, summary }]).await;
        }
        drop(outbox);
        match carrying.await {
            Ok(Carried::Fenced) => tracing::warn!(build.id = %lease.0, "build {} is no longer ours: ended", lease.0),
            Ok(Carried::Delivered | Carried::Stopped) => {}
            Err(error) => tracing::error!(build.id = %lease.0, %error, "a build's uplink ended by a mistake"),
        }
        self.ledger().end(lease);
    }
}
