//! Latent workers: started when builds wait for them, stopped when they are idle.
//!
//! [`Keeper`] compares what each provider lists with what is wanted ([`gristmill_schedulers::latent`]) and does the
//! difference. What it remembers between two looks (how long something has been so) only ever delays an action; a service
//! that is killed at any instruction leaves nothing behind that the next look does not find. A worker's token is noted in
//! the journal before the worker is started, and dropped after the provider has stopped listing it.
//!
//! [`source`] is what a provider must be able to do, [`process`], [`exec`] and [`container`] do it.

pub mod container;
pub mod exec;
pub mod process;
pub mod source;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_model::{Admits, Hold, HoldKind, PoolName, Provider, ProviderKind, Token, TokenId, WorkerName};
use gristmill_schedulers::latent::{self, Action, Instance};
use gristmill_schedulers::{Input, Reply, State};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::engine::Engine;
use crate::fleet::token::NewToken;
pub use source::{New, Source};
use watch::Watch;

/// The time between two looks at the providers.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long one request to a provider may take.
const REQUEST_MAX: Duration = Duration::from_secs(120);
/// Instances of a provider that are looked at; more are a mistake of the provider.
const INSTANCES_MAX: usize = 20_000;

/// Keeps the workers of all providers of the configuration in force.
pub struct Keeper {
    /// Knows what waits, and is told what comes of it.
    pub engine: Engine,
    /// Tells the time for what is kept beyond a restart.
    pub clock: Arc<dyn Clock>,
    /// The service's folder for them.
    pub folder: PathBuf,
    /// The address under which workers reach the service.
    pub server: String,
}

impl Keeper {
    /// Keeps them until stopped. Workers go on without it, and are found again by the next one.
    pub async fn run(self, stop: CancellationToken) {
        let mut watches: BTreeMap<PoolName, Watch> = BTreeMap::new();
        loop {
            let providers = self.engine.catalog().providers.clone();
            watches.retain(|name, _| providers.contains_key(name));
            for (name, provider) in &providers {
                let watch = watches.entry(name.clone()).or_insert_with(|| Watch::load(&self.folder, name));
                if stop.run_until_cancelled(self.look(name, provider, watch)).await.is_none() {
                    return;
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Looks at one provider, and does what is to be done.
    async fn look(&self, name: &PoolName, provider: &Provider, watch: &mut Watch) {
        let source = self.source(name, provider);
        let listed = match tokio::time::timeout(REQUEST_MAX, source.list()).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(why)) => return watch.complain(name, &format!("its workers cannot be listed: {why}")),
            Err(_) => {
                return watch
                    .complain(name, &format!("it did not list its workers within {} s", REQUEST_MAX.as_secs()));
            }
        };
        let listed: Vec<WorkerName> =
            listed.into_iter().filter(|worker| is_of(worker, name)).take(INSTANCES_MAX).collect();
        let (day, now) = (self.clock.now(), Instant::now());
        let Ok(busy) = self.engine.look(|_, state| busy(state)).await else { return };
        let instances = watch.see(&busy, &listed, now, day);
        let (pool, provider_then, record) = (name.clone(), provider.clone(), watch.record(now, day));
        let decided = self.engine.look(move |_, state| {
            let planned = latent::plan(state, &provider_then, &instances, record);
            (planned, orphans(state, &pool, &provider_then, &instances, day))
        });
        let Ok(((actions, limit), orphans)) = decided.await else { return };
        watch.limited(name, limit);
        for (worker, token) in orphans {
            self.submit(Input::Dismiss { worker, token }).await;
        }
        for action in actions {
            self.act(name, provider, source.as_ref(), watch, action).await;
        }
        watch.save(day);
    }

    async fn act(&self, name: &PoolName, provider: &Provider, source: &dyn Source, watch: &mut Watch, action: Action) {
        match action {
            Action::Start => {
                let worker = new_name(name);
                let Some((token, secret)) = self.mint(&worker, name) else { return };
                if !self.submit(Input::MakeToken { token }).await {
                    return;
                }
                info!("provider {name} starts {worker}");
                let new = New {
                    worker: worker.clone(),
                    server: self.server.clone(),
                    token: secret,
                    slots: provider.slots,
                    labels: provider.labels.clone(),
                };
                match tokio::time::timeout(REQUEST_MAX, source.start(&new)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => watch.failed(name, &format!("{worker} could not be started: {why}")),
                    Err(_) => {
                        watch.failed(name, &format!("starting {worker} took longer than {} s", REQUEST_MAX.as_secs()));
                    }
                }
            }
            Action::Retire { worker, why } => {
                let hold = Hold { by: made_by(name), reason: Some(why.to_owned()), ..Hold::default() };
                self.submit(Input::Hold { worker, kind: HoldKind::Drain, hold }).await;
            }
            Action::Stop { worker, why, is_failure } => {
                info!("provider {name} stops {worker}: {why}");
                if is_failure {
                    watch.failed(name, &format!("{worker}: {why}"));
                }
                match tokio::time::timeout(REQUEST_MAX, source.stop(&worker)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => watch.complain(name, &format!("{worker} could not be stopped: {why}")),
                    Err(_) => watch.complain(name, &format!("stopping {worker} took too long")),
                }
            }
        }
    }

    /// Makes a token that admits one worker, and its secret.
    fn mint(&self, worker: &WorkerName, name: &PoolName) -> Option<(Token, String)> {
        let shown = match NewToken::make() {
            Ok(shown) => shown,
            Err(problem) => {
                warn!("provider {name}: {problem}");
                return None;
            }
        };
        let token = Token {
            id: shown.id,
            admits: Admits::Worker { worker: worker.clone() },
            sha256: shown.sha256,
            owner: None,
            made_at: self.clock.now(),
            made_by: made_by(name),
            expires_at: None,
            revoked: None,
        };
        Some((token, shown.text))
    }

    async fn submit(&self, input: Input) -> bool {
        match self.engine.submit(input).await {
            Ok(Reply::Refused(denial)) => {
                warn!("a provider's wish was refused: {denial}");
                false
            }
            Ok(_) => true,
            Err(problem) => {
                warn!("a provider's wish did not reach the engine: {problem}");
                false
            }
        }
    }

    fn source(&self, name: &PoolName, provider: &Provider) -> Box<dyn Source> {
        let pool = name.clone();
        match &provider.kind {
            ProviderKind::Process => Box::new(process::Processes { folder: self.folder.join(name.as_str()) }),
            ProviderKind::Exec { command } => Box::new(exec::Exec { pool, command: command.clone() }),
            ProviderKind::Container { engine, image } => Box::new(container::Containers {
                pool,
                engine: engine.clone(),
                image: image.clone(),
                installation: watch::installation(&self.folder),
            }),
        }
    }
}

fn busy(state: &State) -> BTreeSet<WorkerName> {
    state.builds.values().map(|open| open.build.worker.clone()).collect()
}

/// Lists this provider's workers that it does not list any more, or never did: their tokens are dropped, what they had is
/// lost. A start that is under way is left its time.
fn orphans(
    state: &State,
    name: &PoolName,
    provider: &Provider,
    instances: &[Instance],
    now: gristmill_model::Timestamp,
) -> Vec<(WorkerName, TokenId)> {
    let by = made_by(name);
    let is_listed = |worker: &WorkerName| instances.iter().any(|instance| instance.worker == *worker);
    let mine = state.tokens.values().filter(|token| token.made_by == by);
    mine.filter_map(|token| match &token.admits {
        Admits::Worker { worker } if !is_listed(worker) => Some((worker, token)),
        _ => None,
    })
    .filter(|(worker, token)| state.workers.contains_key(*worker) || token.made_at.after(provider.start) <= now)
    .map(|(worker, token)| (worker.clone(), token.id.clone()))
    .collect()
}

/// Says who made the token of a provider's worker.
fn made_by(name: &PoolName) -> String {
    format!("provider {name}")
}

/// Says whether a worker's name is one that a provider gives: its own, a dash, and eight hexadecimal digits.
fn is_of(worker: &WorkerName, name: &PoolName) -> bool {
    let rest = worker.as_str().strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn new_name(name: &PoolName) -> WorkerName {
    WorkerName(format!("{name}-{:08x}", watch::random()))
}

#[cfg(test)]
mod tests;
