//! Retention: now and then deletes what is over and old, a little at a time.
//!
//! Rows go first, files after: what is still shown is there as a whole, and what a kill leaves behind is a file that
//! nothing refers to, which the next run finds by looking. Every run begins anew, so nothing has to be remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_model::{BuildId, Catalog, Digest, Retention, Timestamp};
use gristmill_schedulers::Input;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::steady::Steady;
use super::{Engine, EngineError};
use crate::artifacts::Keep as _;
use crate::chain::chain;
use crate::clock::Clock;
use crate::keeping::{KeepingError, files};
use crate::logs::{LogStore, OwnerError, ReadError as LogError};
use crate::sources::git::mirror;
use crate::store::{InUse, Noun, Order, ReadError, Store, StoreError};

/// The wait before the first run: a service that just started has better things to do.
const FIRST_AFTER: Duration = Duration::from_secs(5 * 60);
/// The time between two runs.
const EVERY: Duration = Duration::from_secs(3600);
/// Transactions of one noun in one run; the next run goes on.
const BATCHES_MAX: usize = 2_000;
/// The pause after each transaction, so that turns come first.
const PAUSE: Duration = Duration::from_millis(5);
/// Recipes that go in one run.
const RECIPES_MAX: u32 = 500;
/// Standings that go in one run: each is a statement of one turn.
const STANDINGS_MAX: u32 = 100;
/// Builds whose rows are looked up at once.
const BUILDS_AT_ONCE: usize = 500;

/// Deletes what is too old to be kept.
#[derive(Debug, Clone)]
pub struct Retainer {
    /// Knows the rules, and is told what was deleted.
    pub engine: Engine,
    /// Has the rows.
    pub store: Arc<Store>,
    /// Has the logs.
    pub logs: LogStore,
    /// The data folder.
    pub data: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Why something was not deleted. What was stays deleted; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The store, while deleting.
    #[error("cannot delete rows")]
    Store(#[from] StoreError),
    /// The store, while looking.
    #[error("cannot look at what may be deleted")]
    Read(#[from] ReadError),
    /// The logs.
    #[error("cannot delete logs")]
    Logs(#[from] LogError),
    /// The data folder.
    #[error("cannot look through the data folder")]
    Files(#[from] KeepingError),
    /// The files that builds left.
    #[error("cannot delete artifacts")]
    Artifacts(#[source] std::io::Error),
    /// The engine.
    #[error("cannot tell what was deleted")]
    Engine(#[from] EngineError),
    /// The folder of logs belongs to others.
    #[error("no logs are deleted")]
    Owner(#[from] OwnerError),
    /// Some of it could not be done, and all else was.
    #[error("{}", problems.join("; "))]
    Unfinished {
        /// What, and why not.
        problems: Vec<String>,
    },
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// How many of what were deleted.
    pub(crate) deleted: BTreeMap<String, u64>,
    /// What could not be done, and why not: it keeps nothing else from being done.
    pub(crate) problems: Vec<String>,
}

impl Ran {
    /// Gives what was done, or notes why it was not.
    fn note<T>(&mut self, what: &str, done: Result<T, RetainError>) -> Option<T> {
        done.map_err(|problem| self.problems.push(format!("{what}: {}", chain(&problem)))).ok()
    }

    /// Gives what was deleted.
    ///
    /// # Errors
    /// If something could not be done.
    pub(crate) fn result(self) -> Result<BTreeMap<String, u64>, RetainError> {
        match self.problems.is_empty() {
            true => Ok(self.deleted),
            false => Err(RetainError::Unfinished { problems: self.problems }),
        }
    }
}

impl Retainer {
    /// Runs from time to time until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let begun = Instant::now();
        let mut steady = Steady::new(self.clock.now(), begun.elapsed());
        let mut wait = FIRST_AFTER;
        while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            wait = EVERY;
            if !steady.look(self.clock.now(), begun.elapsed()) {
                warn!("the clock has jumped: nothing is deleted until it has been steady for a day");
                continue;
            }
            match stop.run_until_cancelled(self.once()).await {
                Some(Ok(deleted)) if deleted.is_empty() => {}
                Some(Ok(deleted)) => info!("retention deleted {deleted:?}"),
                Some(Err(problem)) => error!("not everything that is old was deleted: {}", chain(&problem)),
                None => return,
            }
        }
    }

    /// Runs once, and gives how many of what were deleted. May be dropped at any time.
    ///
    /// # Errors
    /// If something cannot be read or deleted; everything else was by then.
    pub async fn once(&self) -> Result<BTreeMap<String, u64>, RetainError> {
        let catalog = self.engine.catalog();
        let (rules, now) = (&catalog.settings.retention, self.clock.now());
        let mut ran = rows(&self.store, rules, now, PAUSE).await;
        // Whoever copies the folder now must find what the copied rows speak of: then files wait for the next run.
        let held = files::try_hold(&self.data).map_err(RetainError::from);
        if let Some(held) = ran.note("files", held).flatten() {
            let logs = self.logs().await;
            let logs = ran.note("logs", logs).unwrap_or(0);
            add(&mut ran.deleted, "log folders", logs);
            let artifacts = self.artifacts().await;
            let artifacts = ran.note("artifacts", artifacts).unwrap_or(0);
            add(&mut ran.deleted, "artifact files", artifacts);
            add(&mut ran.deleted, "mirrors", self.mirrors(&catalog, rules));
            drop(held);
        }
        let told = self.tell(&ran.deleted, now.before(rules.leftovers)).await;
        ran.note("recipes and standings", told);
        let given = self.store.give_back().await.map_err(RetainError::from);
        ran.note("room on the disk", given);
        ran.result()
    }

    /// Tells what was deleted. With that go recipes that nothing refers to, and standings on branches that have been gone
    /// since before `gone`.
    async fn tell(&self, deleted: &BTreeMap<String, u64>, gone: Timestamp) -> Result<(), RetainError> {
        let reader = self.store.reader();
        let (recipes, standings) =
            (reader.idle_recipes(RECIPES_MAX).await, reader.standings_of_gone(gone, STANDINGS_MAX).await);
        // What was deleted is told also when neither can be read.
        let unread = recipes.as_ref().err().or(standings.as_ref().err()).map(|problem| chain(problem));
        let (recipes, standings) = (recipes.unwrap_or_default(), standings.unwrap_or_default());
        if !(deleted.is_empty() && recipes.is_empty() && standings.is_empty()) {
            self.engine.submit(Input::Retired { deleted: deleted.clone(), recipes, standings }).await?;
        }
        unread.map_or(Ok(()), |problem| Err(RetainError::Unfinished { problems: vec![problem] }))
    }

    /// Deletes logs whose build is gone or marked, unless the folder is somebody else's. Builds that were leased since the
    /// newest was asked for are passed over: their rows come before their logs, but maybe after this look.
    async fn logs(&self) -> Result<u64, RetainError> {
        let (logs, name) = (self.logs.clone(), self.store.reader().installation().await?);
        blocking(move || logs.claim(&name)).await??;
        let newest = self.store.reader().newest_build().await?;
        let logs = self.logs.clone();
        let mut there = blocking(move || logs.builds()).await??;
        there.retain(|build| *build <= newest);
        let kept = kept_logs(&self.store, &there).await?;
        there.retain(|build| !kept.contains(build));
        let gone = there.len() as u64;
        let logs = self.logs.clone();
        blocking(move || there.into_iter().try_for_each(|build| logs.delete(build))).await??;
        Ok(gone)
    }

    /// Deletes kept files that no build has any more; young ones may be told of in a moment.
    async fn artifacts(&self) -> Result<u64, RetainError> {
        let store = self.logs.artifacts();
        let listed = blocking(move || store.settled()).await?.map_err(RetainError::Artifacts)?;
        let mut gone = 0;
        for digests in listed.chunks(BUILDS_AT_ONCE) {
            let known: BTreeSet<Digest> = self.store.reader().known_artifacts(digests).await?.into_iter().collect();
            let free: Vec<Digest> = digests.iter().filter(|digest| !known.contains(*digest)).cloned().collect();
            gone += free.len() as u64;
            let store = self.logs.artifacts();
            let deleted = blocking(move || free.iter().try_for_each(|digest| store.delete(digest))).await?;
            deleted.map_err(RetainError::Artifacts)?;
        }
        Ok(gone)
    }

    /// Deletes mirrors of repositories that are not in the configuration any more, and were not touched for long. One
    /// that cannot be deleted is said and passed over.
    fn mirrors(&self, catalog: &Catalog, rules: &Retention) -> u64 {
        let folder = self.data.join("git");
        let wanted: BTreeSet<PathBuf> =
            catalog.repositories.keys().map(|name| mirror::folder_of(&folder, name)).collect();
        let Ok(entries) = std::fs::read_dir(&folder) else { return 0 };
        let left = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| !wanted.contains(path));
        let mut gone = 0;
        for path in left.filter(|path| path.extension().is_some_and(|end| end == "git")) {
            if !is_untouched(&path, rules.leftovers) {
                continue;
            }
            match std::fs::remove_dir_all(&path) {
                Ok(()) => gone += 1,
                Err(problem) => warn!("the mirror {} cannot be deleted: {problem}", path.display()),
            }
        }
        gone
    }
}

/// Deletes rows, noun by noun and batch by batch, with a pause after each so that turns come first. A noun that cannot be
/// deleted keeps none of the others.
pub(crate) async fn rows(store: &Store, rules: &Retention, now: Timestamp, pause: Duration) -> Ran {
    let mut ran = Ran::default();
    let mut in_use: Option<Arc<InUse>> = None;
    for noun in Noun::ALL {
        let needs_uses = matches!(noun, Noun::Changes | Noun::Catalogs);
        if needs_uses && in_use.is_none() {
            // Now that buildsets which are gone refer to nothing any more.
            let read = store.reader().in_use(now.before(rules.changes)).await.map_err(RetainError::from);
            in_use = ran.note(&format!("{noun:?}"), read).map(Arc::new);
            if in_use.is_none() {
                continue;
            }
        }
        let in_use = in_use.clone().unwrap_or_default();
        let mut order = Order { noun, after: 0, rules: rules.clone(), now, in_use };
        for _ in 0..BATCHES_MAX {
            let retired = store.retire(order.clone()).await.map_err(RetainError::from);
            let Some(retired) = ran.note(&format!("{noun:?}"), retired) else { break };
            for (noun, number) in retired.deleted {
                add(&mut ran.deleted, &noun, number);
            }
            let Some(next) = retired.next else { break };
            order.after = next;
            tokio::time::sleep(pause).await;
        }
    }
    ran
}

/// Gives those of `builds` whose logs are kept.
///
/// # Errors
/// If the rows cannot be read.
pub(crate) async fn kept_logs(store: &Store, builds: &[BuildId]) -> Result<BTreeSet<BuildId>, RetainError> {
    let mut kept = BTreeSet::new();
    for builds in builds.chunks(BUILDS_AT_ONCE) {
        kept.append(&mut store.reader().builds_with_logs(builds).await?);
    }
    Ok(kept)
}

/// Says whether neither a folder nor its packs were written for so long.
fn is_untouched(folder: &Path, age: Duration) -> bool {
    let touched = [folder.to_owned(), folder.join("objects/pack"), folder.join("packed-refs")];
    touched
        .iter()
        .filter_map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        .all(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed > age))
}

fn add(deleted: &mut BTreeMap<String, u64>, noun: &str, number: u64) {
    if number > 0 {
        *deleted.entry(noun.to_owned()).or_default() += number;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EngineError::Stopped)
}
