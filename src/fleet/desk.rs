//! What a worker may ask of the service, whichever way it comes. Who it is has been found out before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gristmill_model::protocol::{
    ArtifactPiece, Hello, LogAddress, LogAppend, Report, ReportBody, Secrets, Welcome, limit,
};
use gristmill_model::{BuildId, WorkerName};
use gristmill_schedulers::input::Denial;
use gristmill_schedulers::{Input, Reply, State};

use super::mailbox::Given;
use super::{Fleet, TooMany};
use crate::artifacts::{Keep as _, KeepError};
use crate::chain::chain;
use crate::engine::{Engine, EngineError, Posted};
use crate::logs::{AppendError, LogStore};
use crate::secrets;

/// What one poll waits for a command.
pub const POLL: Duration = Duration::from_secs(30);
/// For how long it is taken for granted that a lease holds, where only bytes of a log depend on it: those of a lease that
/// has just ended go to a file that no other lease writes.
const LEASE_FRESH: Duration = Duration::from_secs(1);
/// Leases that are remembered.
const LEASES_MAX: usize = 10_000;

/// What workers are served by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Takes what is reported.
    pub engine: Engine,
    /// Keeps commands, and who is there.
    pub fleet: Fleet,
    /// Keeps logs.
    pub logs: LogStore,
    leases: Arc<Mutex<BTreeMap<BuildId, Lease>>>,
}

/// A lease as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    worker: WorkerName,
    epoch: i64,
    /// How many logs each of the build's steps has: what it prints, and the files that it follows.
    logs: Vec<usize>,
    /// Those that have begun and not ended.
    open: BTreeSet<u32>,
    /// Those that have ended.
    ended: BTreeSet<u32>,
    seen: Instant,
}

impl Lease {
    /// Gives how many logs a step has; `None` if there is no such step.
    fn logs_of(&self, step: u32) -> Option<usize> {
        self.logs.get(usize::try_from(step).ok()?).copied()
    }
}

/// Why a worker's request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The lease is not the worker's.
    Fenced {
        /// Which build.
        build: BuildId,
        /// Under which epoch.
        epoch: i64,
    },
    /// The piece does not begin where the log or the file ends.
    Offset {
        /// Where it ends.
        length: u64,
    },
    /// It can never be done.
    Bad(String),
    /// The engine will not have it.
    Denied(Denial),
    /// The worker must say hello again.
    Hello(String),
    /// Not now: nothing is known to have been done.
    NotNow(String),
}

impl From<EngineError> for Refused {
    fn from(problem: EngineError) -> Self {
        Self::NotNow(problem.to_string())
    }
}

impl Desk {
    /// Makes one.
    pub fn new(engine: Engine, fleet: Fleet, logs: LogStore) -> Self {
        Self { engine, fleet, logs, leases: Arc::default() }
    }

    /// Introduces a worker; everything it must know is among its commands then.
    pub async fn hello(&self, hello: Hello) -> Result<Welcome, Refused> {
        let worker = hello.worker.clone();
        let mark = self.fleet.mark(&worker);
        match self.engine.submit(Input::Hello(hello)).await? {
            Reply::Welcome(welcome) => {
                self.fleet.begin_anew(&worker, mark);
                self.fleet.hear(&worker);
                Ok(welcome)
            }
            Reply::Refused(denial) => Err(Refused::Denied(denial)),
            other => Err(Refused::NotNow(format!("the service answered a hello with {other:?}"))),
        }
    }

    /// Gives what a worker is to do that has heard everything up to `ack`; waits for it for at most [`POLL`].
    pub async fn poll(&self, worker: &WorkerName, ack: u64) -> Result<Given, Refused> {
        let mut leads = self.engine.leads();
        let given = tokio::select! {
            given = self.fleet.next(worker, ack) => given,
            () = tokio::time::sleep(POLL) => Ok(self.fleet.nothing(worker)),
            _ = leads.wait_for(|leads| !leads) => return Err(EngineError::NotLeading.into()),
        };
        given.map_err(|TooMany| Refused::Hello("too many commands waited for this worker".to_owned()))
    }

    /// Takes reports. Those after one that was refused are not taken.
    pub async fn report(&self, worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refused> {
        let leases: BTreeSet<(BuildId, i64)> = reports.iter().map(|report| (report.build, report.epoch)).collect();
        let leases = self.look_at(worker, leases).await?;
        // Submitted together, they usually share a turn; the inbox keeps their order.
        let mut answers = Vec::with_capacity(reports.len());
        for mut report in reports {
            if self.is_unfounded(&report).await {
                continue;
            }
            let lease = leases.get(&report.build).filter(|lease| lease.epoch == report.epoch);
            if let Some(lease) = lease {
                self.seal(&report, lease).await;
            }
            cut_summary(&mut report.body);
            let input = Input::Report { worker: worker.clone(), report };
            answers.push(self.engine.post(input).await?);
            if lease.is_none() {
                // It will be refused and recorded, once.
                break;
            }
        }
        let taken = all_taken(answers).await;
        // Steps may have ended by this, and with them their logs.
        self.leases().retain(|build, _| !leases.contains_key(build));
        taken
    }

    /// Makes logs durable before the end that a report tells.
    ///
    /// If the disk does not take it, the end is told all the same, and the doctor tells of the log. Refused, it would be
    /// said again, and the second sync of a file that lost its pages succeeds: that would vouch for a log that is lost. A
    /// disk that fails for good would hold up every build, for a log that decides nothing.
    async fn seal(&self, report: &Report, lease: &Lease) {
        let steps: Vec<u32> = match report.body {
            ReportBody::StepFinished { step, .. } => vec![step],
            ReportBody::Finished { .. } => lease.open.iter().copied().collect(),
            _ => return,
        };
        let (logs, build, epoch) = (self.logs.clone(), report.build, report.epoch);
        let seal = move || {
            for step in steps {
                if let Err(problem) = logs.seal_step(build, epoch, step) {
                    tracing::error!("a log of build {build} step {step} is not safe: {}", chain(&problem));
                }
            }
        };
        if let Err(problem) = tokio::task::spawn_blocking(seal).await {
            tracing::error!("the logs of build {build} were not made safe: {problem}");
        }
    }

    /// Appends a piece to a log, and gives the log's length then.
    pub async fn append(&self, worker: &WorkerName, piece: LogAppend) -> Result<u64, Refused> {
        let LogAddress { build, epoch, step, log } = piece.log;
        let fenced = Refused::Fenced { build, epoch };
        let lease = self.lease(worker, build, epoch).await?.ok_or_else(|| fenced.clone())?;
        let has = lease.logs_of(step).ok_or_else(|| Refused::Bad(format!("build {build} has no step {step}")))?;
        if usize::try_from(log).is_ok_and(|log| log >= has) {
            return Err(Refused::Bad(format!("step {step} of build {build} has no log {log}")));
        }
        let (logs, is_over) = (self.logs.clone(), lease.ended.contains(&step));
        let appended = tokio::task::spawn_blocking(move || match is_over {
            true => logs.repeat(&piece),
            false => logs.append(&piece),
        });
        let appended = appended.await.map_err(|problem| Refused::NotNow(problem.to_string()))?;
        appended.map_err(|problem| match problem {
            AppendError::Offset { length } => Refused::Offset { length },
            // What was stored is never changed, so whoever says something else must stop.
            AppendError::Differs => fenced,
            AppendError::Io { .. } => {
                tracing::error!("a piece of log is not kept: {}", chain(&problem));
                Refused::NotNow(chain(&problem))
            }
            AppendError::Frame { .. } | AppendError::TooLong | AppendError::Over => Refused::Bad(problem.to_string()),
        })
    }

    /// Gives the secrets of a step that is about to run, or says why it gets none.
    pub async fn secrets(
        &self,
        worker: &WorkerName,
        build: BuildId,
        epoch: i64,
        step: u32,
    ) -> Result<Secrets, Refused> {
        let given = secrets::of_step(&self.engine, worker, build, epoch, step).await?;
        given.ok_or(Refused::Fenced { build, epoch })
    }

    /// Appends a piece to a file, and gives how much of it is there then.
    pub async fn append_artifact(&self, worker: &WorkerName, piece: ArtifactPiece) -> Result<u64, Refused> {
        let ArtifactPiece { build, epoch, .. } = piece;
        self.lease(worker, build, epoch).await?.ok_or(Refused::Fenced { build, epoch })?;
        let store = self.logs.artifacts();
        let kept = tokio::task::spawn_blocking(move || store.append(&piece)).await;
        kept.map_err(|problem| Refused::NotNow(problem.to_string()))?.map_err(|problem| match problem {
            KeepError::Offset { length } => Refused::Offset { length },
            KeepError::Bad(_) => Refused::Bad(problem.to_string()),
            KeepError::Io { .. } => {
                tracing::error!("a piece of a file is not kept: {}", chain(&problem));
                Refused::NotNow(chain(&problem))
            }
        })
    }

    /// Says whether a worker claims to have sent a file that is not here. It may go on; nothing is noted of it.
    async fn is_unfounded(&self, report: &Report) -> bool {
        let ReportBody::ArtifactStored { path, digest, .. } = &report.body else { return false };
        let (store, digest) = (self.logs.artifacts(), digest.clone());
        let has = tokio::task::spawn_blocking(move || store.has(&digest)).await.unwrap_or_default();
        if !has {
            tracing::error!(build.id = %report.build, path, "a worker says that it sent a file, and it is not here");
        }
        !has
    }

    /// Finds a lease, in memory if it was seen a moment ago.
    async fn lease(&self, worker: &WorkerName, build: BuildId, epoch: i64) -> Result<Option<Lease>, EngineError> {
        let is_it = |lease: &&Lease| lease.worker == *worker && lease.epoch == epoch;
        let known = self.leases().get(&build).filter(is_it).cloned();
        if let Some(lease) = known.filter(|lease| lease.seen.elapsed() < LEASE_FRESH) {
            return Ok(Some(lease));
        }
        let found = self.look_at(worker, [(build, epoch)].into()).await?.remove(&build);
        let mut leases = self.leases();
        if leases.len() >= LEASES_MAX {
            leases.retain(|_, lease| lease.seen.elapsed() < LEASE_FRESH);
        }
        if let Some(lease) = &found {
            leases.insert(build, lease.clone());
        }
        Ok(found)
    }

    fn leases(&self) -> MutexGuard<'_, BTreeMap<BuildId, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds those of some leases that are the worker's.
    async fn look_at(
        &self,
        worker: &WorkerName,
        leases: BTreeSet<(BuildId, i64)>,
    ) -> Result<BTreeMap<BuildId, Lease>, EngineError> {
        let worker = worker.clone();
        let look = move |state: &State| -> BTreeMap<BuildId, Lease> {
            let found = |(build, epoch)| Some((build, lease_of(state, &worker, build, epoch)?));
            leases.into_iter().filter_map(found).collect()
        };
        self.engine.look(move |_, state| look(state)).await
    }
}

/// Waits for the answers to reports; gives the first refusal.
async fn all_taken(answers: Vec<Posted>) -> Result<(), Refused> {
    for answer in answers {
        match answer.receive().await? {
            Reply::Refused(Denial::Fenced { build, epoch }) => return Err(Refused::Fenced { build, epoch }),
            Reply::Refused(denial) => return Err(Refused::Denied(denial)),
            _ => {}
        }
    }
    Ok(())
}

/// Reads a lease from the state; `None` if it is not the worker's.
fn lease_of(state: &State, worker: &WorkerName, build: BuildId, epoch: i64) -> Option<Lease> {
    let open = state.builds.get(&build)?;
    if open.build.worker != *worker || open.build.epoch != epoch {
        return None;
    }
    let recipe = state.recipes.get(&state.requests.get(&open.build.request)?.recipe)?;
    let those = |has_ended: bool| {
        let steps = open.steps.iter().filter(move |(_, outcome)| outcome.is_some() == has_ended);
        steps.map(|(step, _)| *step).collect()
    };
    Some(Lease {
        worker: worker.clone(),
        epoch,
        logs: recipe.steps.iter().map(|step| step.logs.len() + 1).collect(),
        open: those(false),
        ended: those(true),
        seen: Instant::now(),
    })
}

/// Shortens the line that a worker says of an end to what a line may have.
fn cut_summary(body: &mut ReportBody) {
    if let ReportBody::StepFinished { summary, .. } | ReportBody::Finished { summary, .. } = body
        && summary.len() > limit::SUMMARY_BYTES_MAX
    {
        let end = (0..=limit::SUMMARY_BYTES_MAX).rev().find(|end| summary.is_char_boundary(*end)).unwrap_or(0);
        summary.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use gristmill_model::Outcome;

    use super::*;

    #[test]
    fn a_long_summary_is_cut_between_characters() {
        let summary = format!("a{}", "ü".repeat(400));
        let mut body = ReportBody::Finished { outcome: Outcome::Success, cause: None, summary };
        cut_summary(&mut body);
        let ReportBody::Finished { summary, .. } = body else { unreachable!("it stays what it is") };
        assert_eq!(summary.len(), 499);
    }
}
