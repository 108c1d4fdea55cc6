//! The built-in worker's way to the service: the worker protocol without a socket.

use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::protocol::{
    ArtifactPiece, Hello, LogAddress, LogAppend, Refusal, Report, ReportBody, Secrets, Welcome, WorkerCommand,
};
use gristmill_model::{BuildId, WorkerName};
use gristmill_schedulers::input::Denial;
use gristmill_schedulers::{Input, Reply};
use gristmill_worker::Master;

use super::Fleet;
use crate::artifacts::{Keep as _, KeepError};
use crate::engine::{Engine, EngineError};
use crate::logs::{AppendError, LogStore};

/// What one poll waits for a command.
const POLL: Duration = Duration::from_secs(30);

/// The service, as a worker in the same process sees it.
#[derive(Debug, Clone)]
pub struct LocalMaster {
    /// Takes what is reported.
    pub engine: Engine,
    /// Keeps commands.
    pub fleet: Fleet,
    /// Keeps logs.
    pub logs: LogStore,
}

#[async_trait]
impl Master for LocalMaster {
    async fn hello(&self, hello: Hello) -> Result<Welcome, Refusal> {
        self.fleet.begin_anew(&hello.worker, &hello.builds);
        match self.engine.submit(Input::Hello(hello)).await.map_err(unavailable)? {
            Reply::Welcome(welcome) => Ok(welcome),
            other => Err(Refusal::Unavailable { why: format!("the service answered a hello with {other:?}") }),
        }
    }

    async fn poll(&self, worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        let mut commands = tokio::time::timeout(POLL, self.fleet.next(worker)).await.unwrap_or_default();
        commands.iter_mut().for_each(fetch_from_mirrors);
        Ok(commands)
    }

    async fn report(&self, worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refusal> {
        // Submitted together, they usually share a turn; the inbox keeps their order.
        let mut answers = Vec::with_capacity(reports.len());
        for report in reports {
            self.before(&report);
            if self.is_unfounded(&report) {
                continue;
            }
            let (build, is_last) = (report.build, matches!(report.body, ReportBody::Finished { .. }));
            let input = Input::Report { worker: worker.clone(), report };
            answers.push((build, is_last, self.engine.post(input).await.map_err(unavailable)?));
        }
        for (build, is_last, answer) in answers {
            match answer.receive().await.map_err(unavailable)? {
                Reply::Refused(Denial::Fenced { build, epoch }) => return Err(Refusal::Fenced { build, epoch }),
                Reply::Refused(denial) => return Err(Refusal::Unavailable { why: denial.to_string() }),
                _ if is_last => self.fleet.release(build),
                _ => {}
            }
        }
        Ok(())
    }

    async fn append_log(&self, worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        let LogAddress { build, epoch, .. } = piece.log;
        if !self.fleet.holds(worker, build, epoch) {
            return Err(Refusal::Fenced { build, epoch });
        }
        self.logs.append(&piece).map_err(|problem| match problem {
            AppendError::Offset { length } => Refusal::Offset { length },
            problem => Refusal::Unavailable { why: crate::chain::chain(&problem) },
        })
    }

    async fn secrets(&self, worker: &WorkerName, build: BuildId, epoch: i64, step: u32) -> Result<Secrets, Refusal> {
        crate::secrets::of_step(&self.engine, worker, build, epoch, step).await
    }

    async fn append_artifact(&self, worker: &WorkerName, piece: ArtifactPiece) -> Result<u64, Refusal> {
        let (build, epoch) = (piece.build, piece.epoch);
        if !self.fleet.holds(worker, build, epoch) {
            return Err(Refusal::Fenced { build, epoch });
        }
        let store = self.logs.artifacts();
        let kept = tokio::task::spawn_blocking(move || store.append(&piece)).await;
        match kept.map_err(|problem| Refusal::Unavailable { why: problem.to_string() })? {
            Ok(length) => Ok(length),
            Err(KeepError::Offset { length }) => Err(Refusal::Offset { length }),
            Err(problem) => Err(Refusal::Unavailable { why: crate::chain::chain(&problem) }),
        }
    }
}

impl LocalMaster {
    /// Says whether a worker claims to have sent a file that is not here. It may go on; nothing is noted of it.
    fn is_unfounded(&self, report: &Report) -> bool {
        let ReportBody::ArtifactStored { path, digest, .. } = &report.body else { return false };
        let is_missing = !self.logs.artifacts().has(digest);
        if is_missing {
            tracing::error!(build.id = %report.build, path, "a worker says that it sent a file, and it is not here");
        }
        is_missing
    }

    /// Makes a step's log durable before its end is told.
    fn before(&self, report: &Report) {
        if let ReportBody::StepFinished { step, .. } = report.body {
            if let Err(problem) = self.logs.seal_step(report.build, report.epoch, step) {
                tracing::error!(
                    "the log of build {} step {step} is not safe: {}",
                    report.build,
                    crate::chain::chain(&problem)
                );
            }
        }
    }
}

/// On the service's own machine the service's mirrors are at hand.
fn fetch_from_mirrors(command: &mut WorkerCommand) {
    if let WorkerCommand::Start { order } = command {
        for origin in order.origins.values_mut() {
            if let Some(mirror) = origin.mirror.take() {
                origin.url = mirror;
            }
        }
    }
}

fn unavailable(problem: EngineError) -> Refusal {
    Refusal::Unavailable { why: problem.to_string() }
}
