//! The task that owns the one connection that writes.
//!
//! Callers hand in jobs over a bounded channel and wait for the answer. A caller that is dropped while it waits changes
//! nothing: the job is done by this task, from begin to commit, and only its answer goes nowhere.

use std::path::PathBuf;

use gristmill_model::Seq;
use gristmill_schedulers::State;
use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::dialect::{self, Connection};
use super::lock::Lock;
use super::{CommitError, StoreError, Turn, commit, load};

/// Jobs that may wait; one more makes its caller wait to hand it in.
const JOBS_WAITING_MAX: usize = 64;

enum Job {
    Commit(Turn, oneshot::Sender<Result<Seq, CommitError>>),
    Load(oneshot::Sender<Result<State, StoreError>>),
}

/// The handle to the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the task. It holds `lock` until its connection is closed.
    pub(super) fn start(connection: Connection, file: PathBuf, lock: Lock) -> Self {
        let (jobs, inbox) = mpsc::channel(JOBS_WAITING_MAX);
        let desk = Desk { connection: Some(connection), file };
        Self { jobs, task: tokio::spawn(work(desk, inbox, lock)) }
    }

    /// Hands in a turn and waits for its commit.
    pub(super) async fn commit(&self, turn: Turn) -> Result<Seq, CommitError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Commit(turn, done)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Asks for the state, between two turns.
    pub(super) async fn load(&self) -> Result<State, StoreError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Load(done)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes the jobs that were handed in, and closes the connection.
    pub(super) async fn close(self) {
        drop(self.jobs);
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the store's writing task died: {error}");
        }
    }
}

async fn work(mut desk: Desk, mut inbox: mpsc::Receiver<Job>, lock: Lock) {
    while let Some(job) = inbox.recv().await {
        // Whoever asked may be gone by now; the work counts all the same.
        let _caller_is_gone = match job {
            Job::Commit(turn, done) => done.send(desk.commit(turn).await).is_err(),
            Job::Load(done) => done.send(desk.load().await).is_err(),
        };
    }
    desk.close().await;
    drop(lock);
}

/// The connection, opened again after a failure that leaves it in doubt.
struct Desk {
    connection: Option<Connection>,
    file: PathBuf,
}

impl Desk {
    async fn commit(&mut self, turn: Turn) -> Result<Seq, CommitError> {
        let connection = self.connection().await?;
        let (result, is_clean) = commit::run(connection, &turn).await;
        self.keep_if(is_clean).await;
        result
    }

    async fn load(&mut self) -> Result<State, StoreError> {
        load::run(self.connection().await?).await
    }

    async fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(dialect::open_writer(&self.file).await?);
        }
        Ok(self.connection.as_mut().expect("it was opened above"))
    }

    /// Lets go of a connection whose transaction could not be taken back: closing it does that for certain.
    async fn keep_if(&mut self, is_clean: bool) {
        if !is_clean {
            tracing::warn!("the database connection is opened again, because a transaction could not be taken back");
            self.close().await;
        }
    }

    async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(error = %error, "the database connection did not close in order: {error}");
        }
    }
}
