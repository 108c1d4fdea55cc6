//! One task per repository: it decides when to look, has one look made at a time, and hands over what it brought.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gristmill_model::catalog::{Credentials, Repository};
use gristmill_model::{RepositoryName, Via};
use gristmill_schedulers::input::{Input, Reply};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Accept;
use super::git::{Limits, Location, Login, Look, Patience, SweepError, Swept, mirror, sweep};
use super::pace::{Chance, next_look};
use super::pool::Pool;
use super::service::{Secrets, SourceStatus, SweepReport};
use super::watch::{Poke, Watch};

/// How often one look is repeated because what was accepted had moved meanwhile.
pub(super) const LOOK_AGAIN_MAX: usize = 5;
/// When to look once more after a folder was made, because what came into it at once may have made no event.
const ECHO_AFTER: Duration = Duration::from_millis(100);

/// A wish that a repository be looked at now.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) via: Via,
    /// Whether to look once more shortly after.
    pub(super) echo: bool,
    /// Whether what is seen is handed over, or only fetched.
    pub(super) is_judged: bool,
    /// Who wants to know what came of it.
    pub(super) answer: Option<oneshot::Sender<Result<SweepReport, String>>>,
}

/// What all keepers share.
pub(super) struct Shared {
    pub(super) engine: Arc<dyn Accept>,
    pub(super) mirrors: PathBuf,
    pub(super) secrets: Secrets,
    pub(super) limits: Limits,
    pub(super) ssh: PathBuf,
    pub(super) pool: Pool,
    pub(super) watch: Arc<Watch>,
    pub(super) status: Mutex<std::collections::BTreeMap<RepositoryName, SourceStatus>>,
}

/// Keeps an eye on one repository.
pub(super) struct Keeper {
    pub(super) name: RepositoryName,
    pub(super) shared: Arc<Shared>,
    pub(super) config: watch::Receiver<Arc<Repository>>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) poke: Poke,
    pub(super) stop: CancellationToken,
    pub(super) chance: Chance,
}

impl Keeper {
    /// Looks until stopped. A look that goes on then is called off and waited for.
    pub(super) async fn run(mut self) {
        let mut config = self.config.borrow_and_update().clone();
        let mut failures = 0;
        let mut due = Instant::now();
        loop {
            let mut asked = Asked::default();
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = self.config.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let new = self.config.borrow_and_update().clone();
                    let is_same = looks_alike(&config, &new);
                    config = new;
                    if is_same {
                        due = due.min(Instant::now() + next_look(config.poll, failures, &mut self.chance));
                        continue;
                    }
                    asked.is_judged = true;
                }
                Some(ask) = self.asks.recv() => asked.join(ask),
                () = tokio::time::sleep_until(due) => asked.is_judged = true,
            }
            // Whoever asked before this look began is served by it.
            while let Ok(ask) = self.asks.try_recv() {
                asked.join(ask);
            }
            let outcome = if asked.is_judged {
                let outcome = self.look(&config, asked.via).await;
                failures = if outcome.is_ok() { 0 } else { failures + 1 };
                let wait = next_look(config.poll, failures, &mut self.chance);
                due = Instant::now() + if asked.echo { ECHO_AFTER } else { wait };
                outcome
            } else {
                self.fetch(&config).await
            };
            for answer in asked.waiting {
                // Whoever asked may have gone.
                answer.send(outcome.clone()).ok();
            }
        }
        self.shared.watch.forget(&self.name);
    }

    /// Looks, and looks again while what was accepted moves under the look.
    async fn look(&self, config: &Arc<Repository>, via: Via) -> Result<SweepReport, String> {
        let mut report = SweepReport::default();
        for _ in 0..=LOOK_AGAIN_MAX {
            let swept = match self.sweep(config, via).await {
                Ok(swept) => swept,
                Err(SweepError::Cancelled) => return Err(SweepError::Cancelled.to_string()),
                Err(error) => return Err(self.failed(error.to_string()).await),
            };
            report.refs = swept.refs;
            report.first_sight |= swept.sighting.first_sight;
            self.succeeded(&swept);
            report.warnings = swept.warnings;
            match self.shared.engine.accept(Input::Sight(swept.sighting)).await {
                Ok(Reply::Sighted { changes, look_again }) => {
                    report.changes.extend(changes);
                    if look_again.is_empty() {
                        return Ok(report);
                    }
                    tracing::debug!(repository = %self.name, "{} refs moved meanwhile, looking again", look_again.len());
                }
                Ok(Reply::Refused(denial)) => return Err(self.unheard(denial.to_string())),
                Ok(_) => return Ok(report),
                Err(error) => return Err(self.unheard(error)),
            }
        }
        Err(self.unheard(format!("its refs kept moving during {} looks", LOOK_AGAIN_MAX + 1)))
    }

    /// Has the mirror hold all that there is, without handing anything over.
    async fn fetch(&self, config: &Arc<Repository>) -> Result<SweepReport, String> {
        let swept = self.sweep(config, Via::Webhook).await.map_err(|error| error.to_string())?;
        Ok(SweepReport { refs: swept.refs, ..SweepReport::default() })
    }

    async fn sweep(&self, config: &Arc<Repository>, via: Via) -> Result<Swept, SweepError> {
        let is_local = Location::parse(&config.url)?.is_local();
        let known = self.shared.engine.tips(&self.name).await;
        let cancelled = Arc::new(AtomicBool::new(false));
        let (shared, name, config, poke) =
            (Arc::clone(&self.shared), self.name.clone(), Arc::clone(config), Arc::clone(&self.poke));
        let flag = Arc::clone(&cancelled);
        let job = self.shared.pool.run(is_local, move || {
            if let Ok(Location::Local(path)) = Location::parse(&config.url) {
                shared.watched(&name, shared.watch.tend(&name, &path, &poke));
            }
            sweep(&Look {
                repository: &name,
                config: &config,
                mirror: &mirror::folder_of(&shared.mirrors, &name),
                known: known.as_ref(),
                via,
                login: shared.login(&config)?,
                limits: shared.limits,
                patience: Patience::start(&shared.limits, flag),
                ssh: &shared.ssh,
            })
        });
        tokio::pin!(job);
        let ended = tokio::select! {
            ended = &mut job => ended,
            () = self.stop.cancelled() => {
                cancelled.store(true, Ordering::Relaxed);
                job.await
            }
        };
        ended.unwrap_or(Err(SweepError::Panicked))
    }

    /// Tells the engine that the repository could not be looked at.
    async fn failed(&self, error: String) -> String {
        tracing::warn!(repository = %self.name, "`{}` cannot be looked at: {error}", self.name);
        self.shared.with_status(&self.name, |status| {
            status.failures += 1;
            status.error = Some(error.clone());
        });
        let input = Input::SightFailed { repository: self.name.clone(), error: error.clone() };
        if let Err(problem) = self.shared.engine.accept(input).await {
            tracing::error!(repository = %self.name, "that `{}` fails could not be recorded: {problem}", self.name);
        }
        error
    }

    /// The repository is well, but what was seen was not taken.
    fn unheard(&self, error: String) -> String {
        tracing::error!(repository = %self.name, "what `{}` brought was not taken, it is tried again: {error}", self.name);
        self.shared.with_status(&self.name, |status| status.error = Some(error.clone()));
        error
    }

    fn succeeded(&self, swept: &Swept) {
        self.shared.with_status(&self.name, |status| {
            if status.warnings != swept.warnings {
                for warning in &swept.warnings {
                    tracing::warn!(repository = %self.name, "`{}`: {warning}", self.name);
                }
            }
            status.failures = 0;
            status.error = None;
            status.warnings.clone_from(&swept.warnings);
            status.refs = swept.refs;
            status.looks += 1;
        });
    }
}

impl Shared {
    pub(super) fn with_status(&self, name: &RepositoryName, change: impl FnOnce(&mut SourceStatus)) {
        let mut status = self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(status.entry(name.clone()).or_default());
    }

    fn watched(&self, name: &RepositoryName, watched: Result<(), String>) {
        self.with_status(name, |status| {
            let unwatched = watched.err();
            if let Some(problem) = unwatched.as_ref().filter(|_| status.unwatched != unwatched) {
                tracing::warn!(repository = %name, "`{name}` cannot be watched, so it is looked at in intervals: {problem}");
            }
            status.unwatched = unwatched;
        });
    }

    /// Fetches the secrets for a look; each time anew, so that a changed one holds at once.
    fn login(&self, config: &Repository) -> Result<Login, SweepError> {
        let secret =
            |name| (self.secrets)(name).map_err(|problem| SweepError::Secret { name: name.to_string(), problem });
        Ok(match &config.credentials {
            None => Login::Nothing,
            Some(Credentials::Password { username, password }) => {
                Login::Password { username: username.clone(), password: secret(password)? }
            }
            Some(Credentials::SshKey { key }) => Login::SshKey(secret(key)?),
        })
    }
}

/// What is asked of the look that is about to begin.
struct Asked {
    /// The most telling reason to look is the one that is recorded.
    via: Via,
    echo: bool,
    is_judged: bool,
    waiting: Vec<oneshot::Sender<Result<SweepReport, String>>>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { via: Via::Poll, echo: false, is_judged: false, waiting: Vec::new() }
    }
}

impl Asked {
    fn join(&mut self, ask: Ask) {
        let rank = |via: Via| match via {
            Via::Poll => 0,
            Via::Watch => 1,
            Via::Webhook => 2,
            Via::Api => 3,
        };
        if rank(ask.via) > rank(self.via) {
            self.via = ask.via;
        }
        self.echo |= ask.echo;
        self.is_judged |= ask.is_judged;
        self.waiting.extend(ask.answer);
    }
}

/// Says whether two configurations look at the same refs in the same way.
fn looks_alike(one: &Repository, other: &Repository) -> bool {
    let texts = |config: &Repository| config.branches.as_ref().map(gristmill_model::matching::Patterns::texts);
    one.url == other.url
        && one.tags == other.tags
        && one.default_branch == other.default_branch
        && one.credentials == other.credentials
        && texts(one) == texts(other)
}
