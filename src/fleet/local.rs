//! The built-in worker's way to the service: the worker protocol without a socket.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use gristmill_model::protocol::{ArtifactPiece, Hello, LogAppend, Refusal, Report, Secrets, Welcome, WorkerCommand};
use gristmill_model::{BuildId, WorkerName};
use gristmill_worker::Master;

use super::desk::{Desk, Refused};

/// The service, as a worker in the same process sees it.
#[derive(Debug)]
pub struct LocalMaster {
    desk: Desk,
    /// The number of the last command that the worker has.
    ack: AtomicU64,
}

impl LocalMaster {
    /// Makes it.
    pub fn new(desk: Desk) -> Self {
        Self { desk, ack: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Master for LocalMaster {
    async fn hello(&self, hello: Hello) -> Result<Welcome, Refusal> {
        Ok(self.desk.hello(hello).await?)
    }

    async fn poll(&self, worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        // Nothing waits between here and the worker: what was given before, it has.
        let mut given = self.desk.poll(worker, self.ack.load(Ordering::Relaxed)).await?;
        self.ack.store(given.ack, Ordering::Relaxed);
        given.commands.iter_mut().for_each(fetch_from_mirrors);
        Ok(given.commands)
    }

    async fn report(&self, worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refusal> {
        Ok(self.desk.report(worker, reports).await?)
    }

    async fn append_log(&self, worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        Ok(self.desk.append(worker, piece).await?)
    }

    async fn secrets(&self, worker: &WorkerName, build: BuildId, epoch: i64, step: u32) -> Result<Secrets, Refusal> {
        Ok(self.desk.secrets(worker, build, epoch, step).await?)
    }

    async fn append_artifact(&self, worker: &WorkerName, piece: ArtifactPiece) -> Result<u64, Refusal> {
        Ok(self.desk.append_artifact(worker, piece).await?)
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

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Fenced { build, epoch } => Self::Fenced { build, epoch },
            Refused::Offset { length } => Self::Offset { length },
            Refused::Denied(denial) => Self::Unavailable { why: denial.to_string() },
            Refused::Bad(why) | Refused::Hello(why) | Refused::NotNow(why) => Self::Unavailable { why },
        }
    }
}
