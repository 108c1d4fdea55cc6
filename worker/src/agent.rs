//! The worker's main loop: introduce yourself, ask for commands, obey them, until told to stop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use gristmill_model::protocol::wire::HoldRequest;
use gristmill_model::protocol::{BuildOrder, Held, Hello, Refusal, ReportBody, WorkerCommand};
use gristmill_model::{BuildId, Cause, Outcome};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::backoff::{Waits, around, jittered};
use crate::build::{self, Shared};
use crate::checkout::{Mirrors, write_settings};
use crate::conclude::StepResult;
use crate::controls::Controls;
use crate::executor::sweep::{Marked, sweep};
use crate::isolation::Isolated;
use crate::lease::{Heard, Witness, silence};
use crate::master::{BEAT_EVERY, POLL_SECONDS_MAX};
use crate::spool::{Begin, Mark, Outbox, Queue, Recovered, Spooling, Spoolyard, recover};
use crate::uplink::{Carried, Uplink};
use crate::workspace::{LOOK_EVERY, Workspaces};
use crate::{Master, Options, labels, steps, tools};

/// Ended leases that are remembered, so that a command for one that comes late starts nothing.
const ENDED_MAX: usize = 4096;

/// How much longer than promised a poll may take before it is given up; a service may ask for that much patience.
const POLL_MARGIN: Duration = Duration::from_secs(330);

/// How often it is looked whether a lease is over.
const LEASE_LOOK: Duration = Duration::from_secs(1);

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
/// nothing more is said about them by this process; where builds are spooled to disk, the next one says how they ended.
/// A service that is away is waited for.
///
/// # Errors
/// If the worker's folder cannot be used, at the start only.
pub async fn run(options: Options, master: Arc<dyn Master>, stop: CancellationToken) -> Result<(), WorkerError> {
    Worker::open(options, master, stop).await?.work().await;
    Ok(())
}

/// A worker that is ready to work.
pub struct Worker {
    agent: Arc<Agent>,
    folder: Folder,
    left: Vec<Recovered>,
    _stop_when_dropped: DropGuard,
}

/// A look at a worker from outside, as long as it works.
#[derive(Clone)]
pub struct Handle(Arc<Agent>);

impl Worker {
    /// Takes the worker's folder, kills what an earlier run left running, and reads what it left to say.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub async fn open(options: Options, master: Arc<dyn Master>, stop: CancellationToken) -> Result<Self, WorkerError> {
        let folder = Folder::open(&options.data)?;
        let marked = Marked::Folder(folder.token.clone());
        let count = tokio::task::spawn_blocking(move || sweep(&marked, None)).await.unwrap_or_default();
        if count > 0 {
            tracing::warn!(worker.name = %options.name, count, "killed {count} processes of an earlier run");
        }
        steps::clear(&folder.path);
        let (spooling, left) = open_spool(&options, &folder.path).await?;
        let stop = stop.child_token();
        let heard = Heard::new();
        let mirrors = options.mirror_bytes_max.map(|bytes_max| Mirrors::new(folder.path.join("mirrors"), bytes_max));
        let tools = if options.finds_tools { tools::detect(&options.environment).await } else { BTreeMap::new() };
        let master: Arc<dyn Master> = Arc::new(Witness { master, heard: Arc::clone(&heard) });
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
            heard,
            mirrors: mirrors.map(Arc::new),
        };
        let agent = Agent {
            master,
            options,
            shared: Arc::new(shared),
            tools,
            spooling,
            ledger: Mutex::default(),
            count: watch::Sender::new(0),
            trouble: Mutex::default(),
            introduced: Notify::new(),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        Ok(Self { agent: Arc::new(agent), folder, left, _stop_when_dropped: stop.drop_guard() })
    }

    /// Gives a look at it from outside.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.agent))
    }

    /// Works until it is told to stop.
    pub async fn work(self) {
        let Self { agent, folder, left, _stop_when_dropped } = self;
        for recovered in left {
            agent.deliver(recovered);
        }
        tokio::select! {
            biased;
            () = agent.stop.cancelled() => {}
            () = agent.work() => {}
            () = agent.beat() => {}
            () = agent.keep_leases() => {}
            () = remove_unused(agent.shared.workspaces.clone()) => {}
        }
        agent.tasks.close();
        agent.tasks.wait().await;
        drop(folder);
    }
}

/// What a worker is doing.
#[derive(Debug, Clone)]
pub struct Status {
    /// The builds that it has, those included that have only their end to be told.
    pub builds: Vec<Held>,
    /// What keeps the service from it; `None` while they speak.
    pub trouble: Option<String>,
}

impl Handle {
    /// Says what the worker is doing.
    pub fn status(&self) -> Status {
        let builds = self.0.ledger().holds();
        let trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Status { builds, trouble }
    }

    /// Wants the worker to be held by its service, or to be free again.
    ///
    /// # Errors
    /// If the service does not take it.
    pub async fn hold(&self, wish: HoldRequest) -> Result<(), Refusal> {
        self.0.master.hold(&self.0.options.name, wish).await
    }

    /// Waits until the worker has no build.
    pub async fn idle(&self) {
        let mut count = self.0.count.subscribe();
        // The sender lives as long as the agent.
        count.wait_for(|count| *count == 0).await.ok();
    }
}

/// Opens where builds are spooled, with what an earlier process left there.
async fn open_spool(options: &Options, data: &Path) -> Result<(Spooling, Vec<Recovered>), WorkerError> {
    let Some(limits) = options.spool else { return Ok((Spooling::Memory, Vec::new())) };
    let root = data.join("spool");
    let yard = Spoolyard::new(root.clone(), limits);
    let reading = Arc::clone(&yard);
    let left = tokio::task::spawn_blocking(move || recover(&reading)).await.map_err(io::Error::other);
    let left = left.and_then(|result| result).map_err(|source| WorkerError::Folder { path: root, source })?;
    Ok((Spooling::Disk(yard), left))
}

/// Removes workspaces that no build uses any more, at the start and then daily. Never ends.
async fn remove_unused(workspaces: Workspaces) {
    loop {
        let workspaces = workspaces.clone();
        #[expect(clippy::disallowed_methods, reason = "stamps of files are compared with the clock that made them")]
        let removing = tokio::task::spawn_blocking(move || workspaces.remove_unused(SystemTime::now()));
        match removing.await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed {count} workspaces that no build used for 30 days"),
            Err(error) => tracing::error!(%error, "workspaces that nobody uses were not removed"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
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
    fn holds(&self) -> Vec<Held> {
        self.held.keys().map(|&(build, epoch)| Held { build, epoch }).collect()
    }

    /// Notes a build; `None` if it is there already, or was.
    fn begin(
        &mut self,
        lease: Lease,
        worker_stops: &CancellationToken,
        window: Option<Duration>,
    ) -> Option<Arc<Controls>> {
        if self.held.contains_key(&lease) || self.ended.contains(&lease) {
            return None;
        }
        let controls = Arc::new(Controls::new(worker_stops, window));
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
    /// Labels of the tools that were found at the start.
    tools: BTreeMap<String, String>,
    spooling: Spooling,
    ledger: Mutex<Ledger>,
    /// How many builds there are.
    count: watch::Sender<usize>,
    /// What keeps the service from this worker.
    trouble: Mutex<Option<String>>,
    /// The service has just been told of this worker, and has said how often it wants to hear it.
    introduced: Notify,
    /// One task per build.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Agent {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Works for ever.
    async fn work(self: &Arc<Self>) {
        let mut waits = self.options.backoff.begin();
        loop {
            if let Err(refusal) = self.introduce().await {
                let name = &self.options.name;
                let pause = if let Refusal::Rejected { .. } = refusal {
                    tracing::error!(worker.name = %name, %refusal, "the service does not take this worker: {refusal}");
                    jittered(self.options.rejected_pause)
                } else {
                    tracing::warn!(worker.name = %name, %refusal, "the service is not reached yet: {refusal}");
                    waits.next()
                };
                self.note_trouble(Some(refusal.to_string()));
                tokio::time::sleep(pause).await;
                continue;
            }
            self.note_trouble(None);
            // When a poll fails the service may be another one than before, and must hear what is still held here.
            let why = self.obey_until_away(&mut waits).await;
            tracing::warn!(worker.name = %self.options.name, why, "the service is away: {why}");
            self.note_trouble(Some(why));
            tokio::time::sleep(waits.next()).await;
        }
    }

    /// Says that it is there, for ever: a poll may take longer than the service is patient.
    async fn beat(&self) {
        let mut pause = BEAT_EVERY;
        loop {
            tokio::select! {
                () = tokio::time::sleep(around(pause)) => {}
                () = self.introduced.notified() => {}
            }
            match self.master.beat(&self.options.name).await {
                Ok(next) => pause = next,
                // The poll meets the same trouble, and does something about it.
                Err(refusal) => tracing::debug!(%refusal, "a beat was not heard"),
            }
        }
    }

    /// Ends builds whose leases are over, for ever.
    async fn keep_leases(&self) {
        let mut looks = tokio::time::interval(LEASE_LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for ((build, _), controls) in &self.ledger().held {
                if let Some(window) = controls.window
                    && self.shared.heard.is_over(window)
                    && controls.lost().is_none()
                {
                    tracing::warn!(build.id = %build, "build {build} is ended: {}", silence(window));
                    controls.lose(&silence(window));
                }
            }
        }
    }

    async fn introduce(&self) -> Result<(), Refusal> {
        let mut labels = labels::detect();
        labels.extend(self.tools.clone());
        if self.options.finds_tools
            && let Some(free) = labels::free_gib(&self.shared.data)
        {
            labels.insert("disk".to_owned(), free.to_string());
        }
        labels.extend(self.options.labels.clone());
        let hello = Hello {
            worker: self.options.name.clone(),
            labels,
            slots: self.options.slots,
            builds: self.ledger().holds(),
            about: self.options.about.clone(),
            ..Hello::default()
        };
        let welcome = self.master.hello(hello).await?;
        self.introduced.notify_one();
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
                let window = Some(order.recipe.orphan_window());
                let Some(controls) = self.begin(lease, window) else { return false };
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
        let ledger = self.ledger();
        if let Some(controls) = ledger.held.get(&lease) {
            return controls.cancel(&by);
        }
        drop(ledger);
        // Its order never came. Somebody waits for the word that it is over.
        let Some(controls) = self.begin(lease, None) else { return false };
        let agent = Arc::clone(self);
        self.tasks.spawn(async move {
            let (outbox, uplink) = agent.uplink(agent.queue(lease, Vec::new()), lease, &controls, None);
            let StepResult { outcome, cause, summary, .. } = StepResult::cancelled(&by);
            outbox.report(vec![ReportBody::Finished { outcome, cause, summary }]);
            drop(outbox);
            uplink.carry().await;
            agent.end(lease);
        });
        true
    }

    /// Notes a build; `None` if it is there already, or was.
    fn begin(&self, lease: Lease, window: Option<Duration>) -> Option<Arc<Controls>> {
        let mut ledger = self.ledger();
        let controls = ledger.begin(lease, &self.stop, window);
        self.count.send_replace(ledger.held.len());
        controls
    }

    fn end(&self, lease: Lease) {
        let mut ledger = self.ledger();
        ledger.end(lease);
        self.count.send_replace(ledger.held.len());
    }

    /// Says what an earlier process left unsaid.
    fn deliver(self: &Arc<Self>, recovered: Recovered) {
        let Recovered { held, queue, mark } = recovered;
        let lease = (held.build, held.epoch);
        let Some(controls) = self.begin(lease, None) else { return };
        tracing::info!(build.id = %held.build, "build {} of an earlier run is told to its end", held.build);
        let (outbox, uplink) = self.uplink(queue, lease, &controls, Some(mark));
        drop(outbox);
        let agent = Arc::clone(self);
        self.tasks.spawn(async move {
            uplink.carry().await;
            agent.end(lease);
        });
    }

    /// Ends a build that is no longer this worker's.
    fn fence(&self, lease: Lease) {
        if let Some(controls) = self.ledger().held.get(&lease) {
            controls.silent.cancel();
        }
    }

    fn queue(&self, (build, epoch): Lease, steps: Vec<String>) -> Arc<Queue> {
        Queue::begin(&self.spooling, Begin { build, epoch, steps })
    }

    /// Makes a build's way up.
    fn uplink(
        &self,
        queue: Arc<Queue>,
        (build, epoch): Lease,
        controls: &Controls,
        left: Option<Mark>,
    ) -> (Outbox, Uplink) {
        let outbox = Outbox::new(&queue);
        let uplink = Uplink {
            master: Arc::clone(&self.master),
            worker: self.options.name.clone(),
            held: Held { build, epoch },
            backoff: self.options.backoff,
            silent: controls.silent.clone(),
            stop: self.stop.clone(),
            queue,
            left,
        };
        (outbox, uplink)
    }

    /// Runs one build to its acknowledged end.
    async fn run_build(self: Arc<Self>, order: BuildOrder, controls: Arc<Controls>) {
        let lease = (order.build, order.epoch);
        let queue = self.queue(lease, order.recipe.steps.iter().map(|step| step.name.clone()).collect());
        let (outbox, uplink) = self.uplink(Arc::clone(&queue), lease, &controls, None);
        let silent = controls.silent.clone();
        let carrying = tokio::spawn(async move {
            let carried = uplink.carry().await;
            if carried == Carried::Fenced {
                silent.cancel();
            }
            carried
        });
        let _keeping = AbortOnDropHandle::new(tokio::spawn({
            let controls = Arc::clone(&controls);
            async move {
                let trouble = queue.keep_safe().await;
                tracing::error!(build.id = %lease.0, %trouble, "build {} is ended: {trouble}", lease.0);
                controls.lose(&trouble.to_string());
            }
        }));
        // In a task of its own, so that a mistake of ours costs one build, and even that one is reported.
        let building = tokio::spawn(build::run(Arc::clone(&self.shared), order, controls, outbox.clone()));
        if let Err(error) = building.await {
            tracing::error!(build.id = %lease.0, %error, "a build ended by a mistake in the worker");
            let summary = "the worker made a mistake; its own log tells more".to_owned();
            let (outcome, cause) = (Outcome::Exception, Some(Cause::Infrastructure));
            outbox.report(vec![ReportBody::Finished { outcome, cause, summary }]);
        }
        drop(outbox);
        match carrying.await {
            Ok(Carried::Fenced) => tracing::warn!(build.id = %lease.0, "build {} is no longer ours: ended", lease.0),
            Ok(Carried::Delivered | Carried::Stopped) => {}
            Err(error) => tracing::error!(build.id = %lease.0, %error, "a build's uplink ended by a mistake"),
        }
        self.end(lease);
    }
}
