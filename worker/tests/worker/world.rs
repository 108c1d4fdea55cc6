//! A worker, its service, and what builds are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use gristmill_model::protocol::{BuildOrder, Origin};
use gristmill_model::{
    BuildId, CheckoutMethod, CodebaseName, Command, Recipe, RepositoryName, Revision, SourceStamp, SourceUse,
    StepAction, StepRecipe, Timeouts, Timestamp,
};
use gristmill_worker::{Backoff, Options, WorkerError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::service::{Ended, PATIENCE, Service};

/// A running worker with its service.
pub(crate) struct World {
    pub(crate) service: Arc<Service>,
    pub(crate) folder: tempfile::TempDir,
    stop: CancellationToken,
    worker: Option<JoinHandle<Result<(), WorkerError>>>,
    next: AtomicI64,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(set: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (service, stop) = (Arc::new(Service::default()), CancellationToken::new());
        let mut options = options(folder.path());
        set(&mut options);
        let worker = tokio::spawn(gristmill_worker::run(options, Arc::<Service>::clone(&service), stop.clone()));
        service.until("the worker", |state| (!state.hellos.is_empty()).then_some(())).await;
        Self { service, folder, stop, worker: Some(worker), next: AtomicI64::new(1) }
    }

    /// Makes an order of these steps, with a number of its own.
    pub(crate) fn order(&self, steps: Vec<StepRecipe>) -> BuildOrder {
        order(self.next.fetch_add(1, Ordering::Relaxed), steps)
    }

    pub(crate) async fn run(&self, steps: Vec<StepRecipe>) -> Ended {
        self.service.run(self.order(steps)).await
    }

    /// Stops the worker and waits for it.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let worker = self.worker.take().expect("it is stopped once");
        tokio::time::timeout(PATIENCE, worker).await.expect("the worker stops").unwrap().unwrap();
    }

    /// Where tests put repositories and notes.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(crate) fn options(folder: &Path) -> Options {
    let mut options = Options::new("linux".into(), 4, folder.join("worker"));
    options.backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) };
    options
}

pub(crate) fn order(build: i64, steps: Vec<StepRecipe>) -> BuildOrder {
    BuildOrder {
        build: BuildId(build),
        epoch: 1,
        attempt: 1,
        builder: "check".into(),
        project: Some("shop".into()),
        scheduler: "push".into(),
        branch: "main".to_owned(),
        stamps: BTreeMap::new(),
        origins: BTreeMap::new(),
        recipe: Recipe {
            sources: BTreeMap::new(),
            requires: BTreeMap::new(),
            environment: BTreeMap::new(),
            matrix: BTreeMap::new(),
            steps,
            retries_max: 1,
            ..Recipe::default()
        },
        properties: BTreeMap::new(),
        at: Timestamp::default(),
    }
}

/// Adds a codebase to an order.
pub(crate) fn with_source(order: &mut BuildOrder, codebase: &str, into: &str, url: &str, revision: &str) {
    let (codebase, repository) = (CodebaseName::from(codebase), RepositoryName::from(codebase));
    let stamp = SourceStamp {
        repository: repository.clone(),
        branch: "main".to_owned(),
        revision: Revision::from(revision),
        change: None,
    };
    order.stamps.insert(codebase.clone(), stamp);
    order.origins.insert(repository.clone(), Origin { url: url.to_owned(), mirror: None });
    order.recipe.sources.insert(codebase, SourceUse { repository, into: into.to_owned(), branch: None });
}

pub(crate) fn step(name: &str, action: StepAction) -> StepRecipe {
    let timeouts = Timeouts { grace: Duration::from_millis(200), ..Timeouts::default() };
    StepRecipe { timeouts, ..StepRecipe::new(name, action) }
}

pub(crate) fn script(name: &str, text: &str) -> StepRecipe {
    step(name, StepAction::Run { command: Command::Script(text.to_owned()) })
}

pub(crate) fn arguments(name: &str, words: &[&str]) -> StepRecipe {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    step(name, StepAction::Run { command: Command::Arguments(words) })
}

pub(crate) fn checkout(method: CheckoutMethod) -> StepRecipe {
    step("checkout", StepAction::Checkout { method })
}

pub(crate) fn trigger(scheduler: &str, wait: bool) -> StepRecipe {
    step("trigger", StepAction::Trigger { scheduler: scheduler.into(), wait, properties: BTreeMap::new() })
}

impl StepExt for StepRecipe {}

/// Small changes to a step.
pub(crate) trait StepExt: Sized + Into<StepRecipe> {
    fn but(self, change: impl FnOnce(&mut StepRecipe)) -> StepRecipe {
        let mut step = self.into();
        change(&mut step);
        step
    }
}

/// Says whether a process runs. One that has ended but was not waited for by its parent does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// Waits until none of these processes runs. The kernel tells nobody but the parent, so this looks.
pub(crate) async fn until_dead(pids: &[i32]) {
    let since = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while pids.iter().any(|pid| is_alive(*pid)) {
        assert!(since.elapsed() < PATIENCE, "still alive: {pids:?}");
        looks.tick().await;
    }
}

/// Reads the numbers that a build wrote to its log, one a line after `pid `.
pub(crate) fn pids(log: &str) -> Vec<i32> {
    log.lines().filter_map(|line| line.strip_prefix("pid ")?.trim().parse().ok()).collect()
}

/// A git repository for tests.
pub(crate) struct Repository {
    pub(crate) path: PathBuf,
}

impl Repository {
    pub(crate) fn create(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let repository = Self { path };
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> Output {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Commits a file, and gives the revision.
    pub(crate) fn commit(&self, file: &str, text: &str) -> String {
        let path = self.path.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "change"]);
        self.revision("HEAD")
    }

    pub(crate) fn revision(&self, name: &str) -> String {
        String::from_utf8(self.git(&["rev-parse", name]).stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        self.path.display().to_string()
    }
}
