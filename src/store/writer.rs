//! The thread that owns the one connection that writes.
//!
//! Callers hand in jobs over a bounded channel and wait for the answer. A caller that is dropped while it waits changes
//! nothing: the job is done by this thread, from begin to commit, and only its answer goes nowhere. Not even the end of
//! the runtime that the callers live in interrupts a transaction.

use std::time::{Duration, Instant};

use gristmill_model::Seq;
use gristmill_schedulers::State;
use tokio::sync::{mpsc, oneshot};

use super::commit::Ran;
use super::database::{Connection, Place, Text, failed};
use super::leader::{self, Act};
use super::lock::Lock;
use super::{CommitError, Order, Retired, StoreError, Turn, commit, load, retire};

/// Jobs that may wait; one more makes its caller wait to hand it in.
const JOBS_WAITING_MAX: usize = 64;

/// How long a turn is looked for whose commit nobody saw the end of: longer than a server takes to recover from a crash.
const LOOK_FOR_MAX: Duration = Duration::from_secs(120);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// SQLite gives pages back only in a database that was made to; each time at most 8 MiB, because turns wait for it.
/// PostgreSQL has a process of its own for this.
const GIVE_BACK: Text = Text::Each {
    sqlite: "PRAGMA busy_timeout = 0; PRAGMA incremental_vacuum(2000); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA busy_timeout = 5000",
    postgres: "SELECT 1",
};

enum Job {
    Commit(Turn, oneshot::Sender<Result<Seq, CommitError>>),
    Load(oneshot::Sender<Result<State, StoreError>>),
    Lead(Act, oneshot::Sender<Result<bool, StoreError>>),
    Retire(Box<(Order, Vec<i64>)>, oneshot::Sender<Result<Retired, StoreError>>),
    GiveBack(oneshot::Sender<Result<(), StoreError>>),
}

/// The handle to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    finished: oneshot::Receiver<()>,
}

impl Writer {
    /// Starts the thread. It holds `lock` until its connection is closed.
    pub(super) fn start(connection: Connection, place: Place, lock: Lock) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(JOBS_WAITING_MAX);
        let (finish, finished) = oneshot::channel();
        // A runtime of its own, with nothing to look after but this: waiting for the database is then as cheap as one
        // thread waiting for another can be, and a statement is mostly waiting.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let desk = Desk { connection: Some(connection), place };
        std::thread::Builder::new().name("gristmill-store".into()).spawn(move || {
            runtime.block_on(work(desk, inbox));
            drop(lock);
            // Nobody waits for the end when the store was dropped instead of closed.
            let _nobody_waits = finish.send(()).is_err();
        })?;
        Ok(Self { jobs, finished })
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

    /// Does something about who leads, between two turns.
    pub(super) async fn lead(&self, act: Act) -> Result<bool, StoreError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Lead(act, done)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Retires one batch, between two turns.
    pub(super) async fn retire(&self, order: Order, batch: Vec<i64>) -> Result<Retired, StoreError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Retire(Box::new((order, batch)), done)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Gives room back to the disk, between two turns.
    pub(super) async fn give_back(&self) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::GiveBack(done)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes the jobs that were handed in, and closes the connection.
    pub(super) async fn close(self) {
        drop(self.jobs);
        if self.finished.await.is_err() {
            tracing::error!("the store's writing thread had died before it was closed");
        }
    }
}

async fn work(mut desk: Desk, mut inbox: mpsc::Receiver<Job>) {
    while let Some(job) = inbox.recv().await {
        // Whoever asked may be gone by now; the work counts all the same.
        let _caller_is_gone = match job {
            Job::Commit(turn, done) => done.send(desk.commit(turn).await).is_err(),
            Job::Load(done) => done.send(desk.load().await).is_err(),
            Job::Lead(act, done) => done.send(desk.lead(act).await).is_err(),
            Job::Retire(what, done) => done.send(desk.retire(&what.0, &what.1).await).is_err(),
            Job::GiveBack(done) => done.send(desk.give_back().await).is_err(),
        };
    }
    desk.close().await;
}

/// The connection, opened again after a failure that leaves it in doubt.
pub(super) struct Desk {
    pub(super) connection: Option<Connection>,
    pub(super) place: Place,
}

impl Desk {
    pub(super) async fn commit(&mut self, turn: Turn) -> Result<Seq, CommitError> {
        let mut ran = commit::run(self.connection().await?, &turn).await;
        if let Ran::NotBegun(_) = ran {
            // It broke while nobody used it: the server was started again, or something between ended it.
            self.close().await;
            ran = commit::run(self.connection().await?, &turn).await;
        }
        match ran {
            Ran::Known(result) => result,
            Ran::NotBegun(error) => {
                self.close().await;
                Err(error.into())
            }
            Ran::Spoilt(error) => {
                tracing::warn!(
                    "the database connection is opened again, because a transaction could not be taken back"
                );
                // Closing it takes the transaction back for certain.
                self.close().await;
                Err(error)
            }
            Ran::Unknown(error) => self.look_for(&turn, error).await,
        }
    }

    /// Looks on a new connection whether a turn was committed whose end was not seen. Nobody is answered before that is
    /// known: neither answer could be taken back.
    async fn look_for(&mut self, turn: &Turn, error: StoreError) -> Result<Seq, CommitError> {
        tracing::warn!("the database went while a turn was being committed; looking whether it was");
        let until = Instant::now() + LOOK_FOR_MAX;
        loop {
            self.close().await;
            match self.is_there(turn).await {
                Ok(true) => {
                    let count = i64::try_from(turn.events.len()).expect("the number of events was checked");
                    return Ok(Seq(turn.expected_head.0 + count));
                }
                Ok(false) => return Err(error.into()),
                Err(problem) if problem.is_transient() && Instant::now() < until => {
                    tracing::warn!("{}", crate::chain::chain(&problem));
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    async fn is_there(&mut self, turn: &Turn) -> Result<bool, StoreError> {
        commit::is_there(self.connection().await?, turn).await
    }

    pub(super) async fn load(&mut self) -> Result<State, StoreError> {
        let loaded = load::run(self.connection().await?).await;
        let Err(error) = loaded else { return loaded };
        // Whatever it was, a new connection is in no transaction; and if the old one had broken, it is all that is needed.
        self.close().await;
        if !error.is_transient() {
            return Err(error);
        }
        let loaded = load::run(self.connection().await?).await;
        if loaded.is_err() {
            self.close().await;
        }
        loaded
    }

    /// A connection that broke is left to the next turn to open again.
    async fn lead(&mut self, act: Act) -> Result<bool, StoreError> {
        let done = leader::act(self.connection().await?, act).await;
        if done.is_err() {
            self.close().await;
        }
        done
    }

    pub(super) async fn retire(&mut self, order: &Order, batch: &[i64]) -> Result<Retired, StoreError> {
        let retired = retire::run(self.connection().await?, order, batch).await;
        if retired.is_err() {
            // Closing it takes back what may be half done.
            self.close().await;
        }
        retired
    }

    async fn give_back(&mut self) -> Result<(), StoreError> {
        self.connection().await?.script(GIVE_BACK).await.map_err(failed("give room back to the disk"))
    }

    pub(super) async fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.place.open_writer().await?);
        }
        Ok(self.connection.as_mut().expect("it was opened above"))
    }

    async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(error = %error, "the database connection did not close in order: {error}");
        }
    }
}
