//! The service as a worker sees it.
//!
//! The built-in worker has an implementation without a socket; a remote one speaks HTTP. The worker's code cannot tell.

use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::protocol::wire::HoldRequest;
use gristmill_model::protocol::{ArtifactPiece, Hello, LogAppend, Refusal, Report, Secrets, Welcome, WorkerCommand};
use gristmill_model::{BuildId, WorkerName};

/// What a worker asks of the service. Everything may be repeated without harm.
///
/// Every future may be dropped half-way; what it said has then been taken, or not.
#[async_trait]
pub trait Master: Send + Sync + 'static {
    /// Introduces the worker, and learns which of its builds are no longer its own.
    async fn hello(&self, hello: Hello) -> Result<Welcome, Refusal>;

    /// Asks for commands, for at most [`POLL_SECONDS_MAX`] seconds; empty when there is nothing.
    async fn poll(&self, worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal>;

    /// Says what happened in one build, in the order of the reports' numbers. A number that was seen before is passed
    /// over. There are at most [`REPORTS_MAX`](gristmill_model::protocol::limit::REPORTS_MAX) reports.
    async fn report(&self, worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refusal>;

    /// Appends a piece to a log, and learns the log's length afterwards.
    async fn append_log(&self, worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal>;

    /// Says that the worker is there, and learns when to say so again. In the service's own process it always is.
    async fn beat(&self, _worker: &WorkerName) -> Result<Duration, Refusal> {
        Ok(BEAT_EVERY)
    }

    /// Wants the worker to be held, or free again, on behalf of its own host. In the service's own process that is the
    /// business of whoever speaks with the service.
    async fn hold(&self, _worker: &WorkerName, _wish: HoldRequest) -> Result<(), Refusal> {
        Err(Refusal::Rejected { why: "this worker is held through its service".to_owned() })
    }

    /// Asks for the secrets of a step that is about to run.
    async fn secrets(&self, worker: &WorkerName, build: BuildId, epoch: i64, step: u32) -> Result<Secrets, Refusal> {
        let _ = (worker, build, epoch, step);
        Ok(Secrets::Denied { why: "the service gives no secrets to this worker".to_owned() })
    }

    /// Appends a piece to a file in the service's store, and learns how much of it is there afterwards: all of it, if the
    /// store has the whole file already.
    async fn append_artifact(&self, worker: &WorkerName, piece: ArtifactPiece) -> Result<u64, Refusal> {
        let _ = (worker, piece);
        Err(Refusal::Unavailable { why: "the service keeps no files of this worker".to_owned() })
    }
}

/// How often a worker says that it is there, unless the service wants something else.
pub const BEAT_EVERY: Duration = Duration::from_secs(10);

/// How long a [`Master::poll`] may take, in seconds.
pub const POLL_SECONDS_MAX: u64 = 30;
