//! The service: a keeper per repository of the configuration in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_model::catalog::{Catalog, Repository};
use gristmill_model::{ChangeId, RepositoryName, SecretName, Via};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Accept;
use super::git::{Limits, Location};
use super::keeper::{Ask, Keeper, Shared};
use super::pace::Chance;
use super::pool::Pool;
use super::watch::{Poke, Watch};

/// Asks that wait for one repository's next look; a hint beyond them is dropped, because a look is due in any case.
pub const ASKS_MAX: usize = 256;
/// How long looks that go on are waited for at a stop.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(3);

/// Finds a secret's value by its name; an error is told in words, never with the value.
pub type Secrets = Arc<dyn Fn(&SecretName) -> Result<String, String> + Send + Sync>;

/// What the sources need.
pub struct Options {
    /// Who is told.
    pub engine: Arc<dyn Accept>,
    /// The folder of the mirrors: `data/git`.
    pub mirrors: PathBuf,
    /// Where secrets' values come from.
    pub secrets: Secrets,
    /// How much one look may cost.
    pub limits: Limits,
    /// The program that speaks ssh: `ssh`.
    pub ssh: PathBuf,
    /// What the spread of the looks is drawn from.
    pub seed: u64,
    /// Ends it all.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("mirrors", &self.mirrors).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What a look came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// The changes that were accepted.
    pub changes: Vec<ChangeId>,
    /// How many refs there are that the configuration wants looked at.
    pub refs: usize,
    /// Whether it was the first look ever.
    pub first_sight: bool,
    /// What could not be looked at, and why.
    pub warnings: Vec<String>,
}

/// How a repository fares, for pages and `gristmill status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// Looks that succeeded since the service started.
    pub looks: u64,
    /// Looks that failed in a row.
    pub failures: u32,
    /// Why the last one failed.
    pub error: Option<String>,
    /// What the last one could not look at, and why.
    pub warnings: Vec<String>,
    /// How many refs the last one found.
    pub refs: usize,
    /// Why a repository on this machine is not watched, so that only intervals find its movements.
    pub unwatched: Option<String>,
}

/// The sources of the configuration in force.
#[derive(Debug)]
pub struct Sources;

impl Sources {
    /// Starts looking at every repository of the engine's catalog. To be called in a runtime.
    ///
    /// # Errors
    /// If the folder of the mirrors cannot be made, or the system gives no threads.
    pub fn start(options: Options) -> std::io::Result<Handle> {
        std::fs::create_dir_all(&options.mirrors)?;
        let catalog = options.engine.catalog();
        let shared = Arc::new(Shared {
            engine: options.engine,
            mirrors: options.mirrors,
            secrets: options.secrets,
            limits: options.limits,
            ssh: options.ssh,
            pool: Pool::start()?,
            watch: Arc::new(Watch::new()),
            status: Mutex::default(),
        });
        let inner = Inner { shared, seed: options.seed, stop: options.stop, kept: Mutex::default() };
        let handle = Handle(Arc::new(inner));
        handle.reconfigure(&catalog);
        Ok(handle)
    }
}

/// How the rest of the service speaks with the sources.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

struct Inner {
    shared: Arc<Shared>,
    seed: u64,
    stop: CancellationToken,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keepers: BTreeMap<RepositoryName, Running>,
    /// Keepers that were told to stop and may still be at a look.
    ending: BTreeMap<RepositoryName, JoinHandle<()>>,
}

struct Running {
    asks: mpsc::Sender<Ask>,
    config: watch::Sender<Arc<Repository>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Handle {
    /// Follows another configuration: repositories that are new are looked at, those that went are let go. To be called
    /// in a runtime.
    pub fn reconfigure(&self, catalog: &Catalog) {
        let mut kept = self.kept();
        let gone: Vec<RepositoryName> =
            kept.keepers.keys().filter(|name| !catalog.repositories.contains_key(*name)).cloned().collect();
        for name in gone {
            let running = kept.keepers.remove(&name).expect("its name was just read");
            running.stop.cancel();
            kept.ending.insert(name.clone(), running.task);
            self.0.shared.status.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        }
        kept.ending.retain(|name, task| catalog.repositories.contains_key(name) || !task.is_finished());
        for (name, config) in &catalog.repositories {
            let config = Arc::new(config.clone());
            match kept.keepers.get(name) {
                Some(running) => {
                    running.config.send_replace(config);
                }
                None => {
                    let before = kept.ending.remove(name);
                    let running = self.keep(name, config, before);
                    kept.keepers.insert(name.clone(), running);
                }
            }
        }
    }

    /// Looks at a repository now, and waits until what it brought was judged.
    ///
    /// # Errors
    /// In words, if there is no such repository or it cannot be looked at.
    pub async fn sweep_now(&self, repository: &RepositoryName) -> Result<SweepReport, String> {
        self.sweep(repository, Via::Api).await
    }

    /// Like [`Self::sweep_now`], for a stated reason.
    ///
    /// # Errors
    /// As there.
    pub async fn sweep(&self, repository: &RepositoryName, via: Via) -> Result<SweepReport, String> {
        self.ask(repository, via, true).await
    }

    /// Sees to it that all that a repository has can be checked out: a mirror is brought up to date, a repository on this
    /// machine needs nothing. Nothing of it is handed over.
    ///
    /// # Errors
    /// As [`Self::sweep_now`].
    pub async fn fetch(&self, repository: &RepositoryName) -> Result<(), String> {
        let url = self.kept().keepers.get(repository).map(|running| running.config.borrow().url.clone());
        match url.map(|url| Location::parse(&url)) {
            Some(Ok(location)) if location.is_local() => Ok(()),
            _ => self.ask(repository, Via::Webhook, false).await.map(drop),
        }
    }

    async fn ask(&self, repository: &RepositoryName, via: Via, is_judged: bool) -> Result<SweepReport, String> {
        let asks = self.asks(repository).ok_or_else(|| format!("there is no repository `{repository}`"))?;
        let (answer, outcome) = oneshot::channel();
        let stopped = || format!("`{repository}` is not looked at any more");
        asks.send(Ask { via, echo: false, is_judged, answer: Some(answer) }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }

    /// Has a repository looked at soon, without waiting.
    pub fn hint(&self, repository: &RepositoryName, via: Via) {
        if let Some(asks) = self.asks(repository) {
            // Full means that a look is due in any case.
            asks.try_send(Ask { via, echo: false, is_judged: true, answer: None }).ok();
        }
    }

    /// Tells how every repository fares.
    pub fn status(&self) -> BTreeMap<RepositoryName, SourceStatus> {
        self.0.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until all has ended after the stop, looks that do not end included up to [`STOP_TIME_MAX`].
    pub async fn closed(&self) {
        self.0.stop.cancelled().await;
        let tasks: Vec<JoinHandle<()>> = {
            let mut kept = self.kept();
            let running = std::mem::take(&mut kept.keepers).into_values().map(|running| running.task);
            let ending = std::mem::take(&mut kept.ending).into_values();
            running.chain(ending).collect()
        };
        let all = futures_util::future::join_all(tasks);
        if tokio::time::timeout(STOP_TIME_MAX, all).await.is_err() {
            tracing::warn!("a look at a repository goes on although the service stops; it is left behind");
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asks(&self, repository: &RepositoryName) -> Option<mpsc::Sender<Ask>> {
        self.kept().keepers.get(repository).map(|running| running.asks.clone())
    }

    /// Starts a keeper; if one of the same name is still ending, after it.
    fn keep(&self, name: &RepositoryName, config: Arc<Repository>, before: Option<JoinHandle<()>>) -> Running {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (config, configured) = watch::channel(config);
        let stop = self.0.stop.child_token();
        let keeper = Keeper {
            name: name.clone(),
            shared: Arc::clone(&self.0.shared),
            config: configured,
            asks: asked,
            poke: poke(asks.clone()),
            stop: stop.clone(),
            chance: Chance::new(self.0.seed, name.as_str()),
        };
        let task = tokio::spawn(async move {
            if let Some(before) = before
                && before.await.is_err()
            {
                tracing::error!(repository = %keeper.name, "the task before this one panicked");
            }
            keeper.run().await;
        });
        Running { asks, config, stop, task }
    }
}

/// What the file watch calls, on a thread of its own.
fn poke(asks: mpsc::Sender<Ask>) -> Poke {
    Arc::new(move |echo| {
        // Full means that a look is due in any case.
        asks.try_send(Ask { via: Via::Watch, echo, is_judged: true, answer: None }).ok();
    })
}
