//! Turns: the one task that owns the state. What a turn comes to is decided by [`Round`]; here is what reads and writes.
//!
//! A push costs one commit. Under load many inputs share a turn, so that throughput grows with the batch. If a commit is
//! refused the state is loaded again from the tables, and those who asked are told that nothing happened.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use gristmill_model::protocol::{Origin, WorkerCommand};
use gristmill_model::{Catalog, RepositoryName, Seq, WorkerName};
use gristmill_schedulers::round::{Kept, KnownDelivery, Recalled, Rounded, delivery_answer};
use gristmill_schedulers::{Input, Round, State, next_due, order};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Engine, EngineError, First, Fold, INBOX_MAX, Letter, Once, Submission};
use crate::clock::Clock;
use crate::store::{CommitError, Reader, Store, StoreError};

/// Inputs that share a turn at the most.
pub const TURN_INPUTS_MAX: usize = 256;
/// Events after which no further input joins a turn; the rest makes the next one.
const TURN_EVENTS_ENOUGH: usize = 4_000;
/// Inputs that are decided one by one after one was found that the tables refuse, so that it fails alone.
const ALONE_AFTER_REFUSAL: usize = 2 * TURN_INPUTS_MAX;
/// The longest sleep between two looks at the clock, so that a clock that jumps is noticed.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(30);
/// Waits between attempts to load the state again.
const RELOAD_WAITS: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(5)];

/// Where commands for workers go.
pub trait Dispatch: Send + Sync {
    /// Takes a command; it is given to the worker when that next asks.
    fn dispatch(&self, worker: WorkerName, command: WorkerCommand);
}

/// Knows where workers fetch a repository from.
pub type OriginOf = Arc<dyn Fn(&Catalog, &RepositoryName) -> Option<Origin> + Send + Sync>;

/// What the engine is made of.
pub struct Options {
    /// Where everything is written.
    pub store: Arc<Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where commands for workers go.
    pub dispatch: Arc<dyn Dispatch>,
    /// Where a repository is fetched from by workers.
    pub origin: OriginOf,
    /// Whether it decides from the start. If not, it waits to be told, and folds what others decide.
    pub leads: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// Loads the state and starts the engine's task.
///
/// # Errors
/// If the state cannot be loaded.
pub async fn start(
    options: Options,
    stop: CancellationToken,
) -> Result<(Engine, tokio::task::JoinHandle<()>), StoreError> {
    let state = options.store.load().await?;
    let (inbox, letters) = mpsc::channel(INBOX_MAX);
    let (head_out, head) = watch::channel(state.head);
    let catalog = Arc::new(RwLock::new(Arc::new(Catalog::default())));
    let (leads_out, leads) = watch::channel(options.leads);
    let task =
        Task { options, state, catalog: Arc::clone(&catalog), head: head_out, leads: leads_out, failures: 0, alone: 0 };
    let handle = tokio::spawn(task.run(letters, stop));
    Ok((Engine { inbox, head, catalog, leads }, handle))
}

struct Task {
    options: Options,
    state: State,
    catalog: Arc<RwLock<Arc<Catalog>>>,
    head: watch::Sender<Seq>,
    leads: watch::Sender<bool>,
    /// Commits that failed in a row.
    failures: usize,
    /// How many of the next inputs get a turn of their own.
    alone: usize,
}

impl Task {
    async fn run(mut self, mut letters: mpsc::Receiver<Letter>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(TURN_INPUTS_MAX);
        loop {
            let sleep = self.sleep_until_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                count = letters.recv_many(&mut batch, TURN_INPUTS_MAX) => {
                    if count == 0 {
                        break;
                    }
                }
                () = tokio::time::sleep(sleep) => {}
            }
            let submissions = self.read(batch.drain(..)).await;
            self.decide(submissions).await;
        }
        letters.close();
    }

    /// Does what letters ask for, apart from deciding, and gives what is to be decided.
    async fn read(&mut self, letters: impl Iterator<Item = Letter>) -> Vec<Submission> {
        let mut submissions = Vec::new();
        for letter in letters {
            match letter {
                Letter::Submit(submission) => submissions.push(*submission),
                Letter::Look(look) => look(&self.catalog(), &self.state),
                Letter::Fold(fold) => self.fold(*fold).await,
                Letter::Lead(lead) => {
                    let begun = self.begin_lead(lead.first).await;
                    // Whoever asked may have gone.
                    lead.done.send(begun).ok();
                }
                Letter::Follow(done) => {
                    self.leads.send_replace(false);
                    done.send(()).ok();
                }
            }
        }
        submissions
    }

    /// Decides from now on, beginning with one turn of what comes first. Until that is committed nothing else is decided,
    /// not even what is due.
    async fn begin_lead(&mut self, first: First) -> Result<(), EngineError> {
        self.reload().await;
        let inputs = first(&self.state);
        let (catalog, now) = (self.catalog(), self.options.clock.now());
        let mut round = Round::begin(catalog, &mut self.state, now);
        for input in inputs {
            round.input(input, None, Recalled::default())?;
        }
        let rounded = round.finish(&*self.options.origin);
        if let Err(why) = self.commit(rounded).await {
            self.reload().await;
            return Err(EngineError::NotCommitted { why });
        }
        self.leads.send_replace(true);
        self.repeat_commands();
        Ok(())
    }

    /// Runs turns until everything is decided; refuses it all if another master leads.
    async fn decide(&mut self, submissions: Vec<Submission>) {
        let mut submissions = submissions.into_iter().peekable();
        while *self.leads.borrow() {
            self.turn(&mut submissions).await;
            if submissions.peek().is_none() {
                return;
            }
        }
        for submission in submissions {
            drop(submission.answer.send(Err(EngineError::NotLeading)));
        }
    }

    /// Folds what another master has written into the state.
    async fn fold(&mut self, fold: Fold) {
        let continues = fold.events.first().is_none_or(|event| event.seq == self.state.head.next());
        if *self.leads.borrow() || !continues {
            self.reload().await;
        } else {
            for event in &fold.events {
                self.state.apply(event);
            }
        }
        if let Some(catalog) = fold.catalog {
            self.put_catalog(catalog);
        }
        self.head.send_replace(self.state.head);
        fold.done.send(continues).ok();
    }

    fn put_catalog(&self, catalog: Arc<Catalog>) {
        *self.catalog.write().expect("nobody panics while holding the catalog") = catalog;
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().expect("nobody panics while holding the catalog"))
    }

    fn sleep_until_due(&self) -> Duration {
        if !*self.leads.borrow() {
            return LOOK_AT_CLOCK_EVERY;
        }
        let now = self.options.clock.now();
        next_due(&self.catalog(), &self.state, now)
            .map_or(LOOK_AT_CLOCK_EVERY, |due| due.since(now))
            .min(LOOK_AT_CLOCK_EVERY)
    }

    /// Runs one turn over as many submissions as it takes.
    async fn turn(&mut self, submissions: &mut impl Iterator<Item = Submission>) {
        let now = self.options.clock.now();
        let inputs_max = if self.alone > 0 { 1 } else { TURN_INPUTS_MAX };
        let catalog = self.catalog();
        let mut round = Round::begin(catalog, &mut self.state, now);
        let mut answers = Vec::new();
        while round.events() < TURN_EVENTS_ENOUGH
            && answers.len() < inputs_max
            && let Some(submission) = submissions.next()
        {
            self.alone = self.alone.saturating_sub(1);
            let Submission { input, once, answer } = submission;
            let reply = match recall(self.options.store.reader(), &round, &input, once.as_ref()).await {
                Ok(recalled) => round.input(input, once, recalled).map_err(EngineError::from),
                Err(problem) => Err(EngineError::NotCommitted { why: problem.to_string() }),
            };
            answers.push((answer, reply));
        }
        let rounded = round.finish(&*self.options.origin);
        match self.commit(rounded).await {
            Ok(()) => {
                self.failures = 0;
                for (answer, reply) in answers {
                    // Whoever asked may have gone.
                    drop(answer.send(reply));
                }
            }
            Err(why) => {
                for (answer, _) in answers {
                    drop(answer.send(Err(EngineError::NotCommitted { why: why.clone() })));
                }
                // What is due by itself would be tried again at once, and fill the log.
                tokio::time::sleep(RELOAD_WAITS[self.failures.min(RELOAD_WAITS.len() - 1)]).await;
                self.failures += 1;
                self.reload().await;
            }
        }
    }

    /// Commits a round; then, and only then, its catalog is in force, its commands go out and the head moves.
    async fn commit(&mut self, rounded: Rounded) -> Result<(), String> {
        let Rounded { draft, commands, catalog } = rounded;
        if draft.is_empty() {
            self.dispatch(commands);
            return Ok(());
        }
        let expected_head = draft.expected_head;
        match self.options.store.commit(draft).await {
            Ok(head) => {
                self.put_catalog(catalog);
                self.dispatch(commands);
                self.head.send_replace(head);
                Ok(())
            }
            Err(CommitError::HeadMoved { found, .. }) => {
                warn!(
                    head = expected_head.0,
                    found = found.0,
                    "another master has written; this one decides no longer"
                );
                self.leads.send_replace(false);
                Err(format!("another master wrote event {found} first"))
            }
            Err(CommitError::Store(problem)) => {
                if matches!(problem, StoreError::Inconsistent { .. }) {
                    self.alone = ALONE_AFTER_REFUSAL;
                }
                error!("a turn was not committed: {}", crate::chain::chain(&problem));
                Err(problem.to_string())
            }
        }
    }

    fn dispatch(&self, commands: Vec<(WorkerName, WorkerCommand)>) {
        for (worker, command) in commands {
            self.options.dispatch.dispatch(worker, command);
        }
    }

    /// Says again what workers must know: a turn that seemed to fail may have been committed, and nobody heard of it.
    fn repeat_commands(&self) {
        let catalog = self.catalog();
        let origin = |repository: &RepositoryName| (self.options.origin)(&catalog, repository);
        self.dispatch(order::standing(&self.state, None, &origin));
    }

    /// Loads the state again, until it works.
    async fn reload(&mut self) {
        for attempt in 0.. {
            match self.options.store.load().await {
                Ok(state) => {
                    self.head.send_replace(state.head);
                    self.state = state;
                    // Another master's workers are not ours to command.
                    if *self.leads.borrow() {
                        self.repeat_commands();
                    }
                    info!(head = self.state.head.0, "the state was loaded again");
                    return;
                }
                Err(problem) => {
                    error!("the state cannot be loaded: {}", crate::chain::chain(&problem));
                    let wait = RELOAD_WAITS[usize::min(attempt, RELOAD_WAITS.len() - 1)];
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// Looks up what the store knows of an input that may have come before.
async fn recall(
    reader: &Reader,
    round: &Round<'_>,
    input: &Input,
    once: Option<&Once>,
) -> Result<Recalled, StoreError> {
    let mut recalled = Recalled::default();
    if let Some(once) = once
        && !round.has_answer(once)
    {
        let kept = reader.recall_answer(&once.key).await?;
        recalled.answer = kept.map(|kept| Kept { request_sha256: kept.request_sha256, body: kept.body });
    }
    if let Input::Deliver(delivery) = input
        && !round.has_delivery(delivery)
        && let Some(id) = reader.delivery_by_key(&delivery.repository, &delivery.key).await?
    {
        let answer = reader.recall_answer(&delivery_answer(id)).await?.map(|kept| kept.body);
        recalled.delivery = Some(KnownDelivery { id, answer });
    }
    Ok(recalled)
}
