//! Turns: the one task that owns the state.
//!
//! A push costs one commit. Under load many inputs share a turn, so that throughput grows with the batch. If a commit is
//! refused the state is loaded again from the tables, and those who asked are told that nothing happened.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use gristmill_model::protocol::{Origin, WorkerCommand};
use gristmill_model::{Catalog, DeliveryId, EventBody, RepositoryName, Seq, Timestamp, WorkerName};
use gristmill_schedulers::{Input, Reply, State, Turn, close, decide, next_due, order};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Engine, EngineError, INBOX_MAX, Letter, Once, Submission};
use crate::clock::Clock;
use crate::store::{Answer, Blob, CommitError, Store, StoreError, Turn as Writing};

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
    let task = Task {
        options,
        state,
        catalog: Arc::clone(&catalog),
        head: head_out,
        last_turn: Timestamp::default(),
        failures: 0,
        alone: 0,
    };
    let handle = tokio::spawn(task.run(letters, stop));
    Ok((Engine { inbox, head, catalog }, handle))
}

struct Task {
    options: Options,
    state: State,
    catalog: Arc<RwLock<Arc<Catalog>>>,
    head: watch::Sender<Seq>,
    last_turn: Timestamp,
    /// Commits that failed in a row.
    failures: usize,
    /// How many of the next inputs get a turn of their own.
    alone: usize,
}

/// What a turn has come to, before it is committed.
#[derive(Default)]
struct Draft {
    events: Vec<EventBody>,
    blobs: Vec<Blob>,
    cursors: Vec<(String, Seq)>,
    answers: Vec<Answer>,
    /// Answers of this turn under their keys, for a repetition within it.
    said: BTreeMap<String, (String, Reply)>,
    /// Deliveries of this turn, for a repetition within it.
    delivered: BTreeMap<(RepositoryName, String), Reply>,
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
            let mut submissions = self.show(batch.drain(..)).into_iter().peekable();
            loop {
                self.turn(&mut submissions).await;
                if submissions.peek().is_none() {
                    break;
                }
            }
        }
        letters.close();
    }

    /// Answers those who only look, and gives the others.
    fn show(&self, letters: impl Iterator<Item = Letter>) -> Vec<Submission> {
        let catalog = self.catalog();
        let mut submissions = Vec::new();
        for letter in letters {
            match letter {
                Letter::Submit(submission) => submissions.push(*submission),
                Letter::Look(look) => look(&catalog, &self.state),
            }
        }
        submissions
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().expect("nobody panics while holding the catalog"))
    }

    fn put_catalog(&self, catalog: Arc<Catalog>) {
        *self.catalog.write().expect("nobody panics while holding the catalog") = catalog;
    }

    fn sleep_until_due(&self) -> Duration {
        let now = self.options.clock.now();
        next_due(&self.catalog(), &self.state)
            .map_or(LOOK_AT_CLOCK_EVERY, |due| due.since(now))
            .min(LOOK_AT_CLOCK_EVERY)
    }

    /// Runs one turn over as many submissions as it takes.
    async fn turn(&mut self, submissions: &mut impl Iterator<Item = Submission>) {
        // Time never runs backwards in the journal, whatever the machine's clock does.
        let now = self.options.clock.now().max(self.last_turn);
        let catalog_before = self.catalog();
        let mut draft = Draft::default();
        let mut answers = Vec::new();
        let inputs_max = if self.alone > 0 { 1 } else { TURN_INPUTS_MAX };
        while draft.events.len() < TURN_EVENTS_ENOUGH
            && answers.len() < inputs_max
            && let Some(submission) = submissions.next()
        {
            self.alone = self.alone.saturating_sub(1);
            let reply = self.decide(submission.input, submission.once, now, &mut draft).await;
            answers.push((submission.answer, reply));
        }
        let catalog = self.catalog();
        let mut turn = Turn::new(&catalog, &mut self.state, now);
        close(&mut turn);
        draft.events.append(&mut turn.events);
        match self.commit(draft, now).await {
            Ok(()) => {
                self.failures = 0;
                for (answer, reply) in answers {
                    // Whoever asked may have gone.
                    drop(answer.send(reply));
                }
            }
            Err(why) => {
                self.put_catalog(catalog_before);
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

    async fn decide(
        &mut self,
        input: Input,
        once: Option<Once>,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<Reply, EngineError> {
        if let Some(once) = &once
            && let Some(known) = self.recall(once, draft).await?
        {
            return Ok(known);
        }
        if let Input::Deliver(delivery) = &input
            && let Some(known) = self.recall_delivery(&delivery.repository, &delivery.key, draft).await?
        {
            return Ok(known);
        }
        let reply = self.decide_new(input, now, draft);
        if let Some(once) = once
            && !matches!(reply, Reply::Refused(_))
        {
            let body = serde_json::to_string(&reply).expect("a reply is plain data");
            draft.said.insert(once.key.clone(), (once.request_sha256.clone(), reply.clone()));
            draft.answers.push(Answer { key: once.key, request_sha256: once.request_sha256, body });
        }
        Ok(reply)
    }

    fn decide_new(&mut self, input: Input, now: Timestamp, draft: &mut Draft) -> Reply {
        match &input {
            Input::Activate { catalog, text } => {
                self.put_catalog(Arc::clone(catalog));
                draft.blobs.push(Blob::Catalog { hash: catalog.hash.clone(), text: text.clone() });
            }
            Input::Announce { to, .. } => draft.cursors.push((super::ANNOUNCER.to_owned(), *to)),
            _ => {}
        }
        let raw = match &input {
            Input::Deliver(new) => {
                let key = (new.repository.clone(), new.key.clone());
                Some((new.headers.clone(), new.body.clone(), key, new.sha256.clone()))
            }
            _ => None,
        };
        let catalog = self.catalog();
        let mut turn = Turn::new(&catalog, &mut self.state, now);
        let reply = decide(&mut turn, input);
        draft.events.append(&mut turn.events);
        if let (Some((headers, body, key, sha256)), Reply::Delivered { delivery, changes, .. }) = (raw, &reply) {
            draft.blobs.push(Blob::Delivery { id: *delivery, headers, body });
            let repeat = Reply::Delivered { delivery: *delivery, repeat: true, sweep: false, changes: changes.clone() };
            if !changes.is_empty() {
                let body = serde_json::to_string(&repeat).expect("a reply is plain data");
                draft.answers.push(Answer { key: delivery_answer(*delivery), request_sha256: sha256, body });
            }
            draft.delivered.insert(key, repeat);
        }
        reply
    }

    /// Gives the answer that was given to this request before, in this turn or an earlier one.
    async fn recall(&self, once: &Once, draft: &Draft) -> Result<Option<Reply>, EngineError> {
        let known = match draft.said.get(&once.key) {
            Some((sha256, reply)) => Some((sha256.clone(), reply.clone())),
            None => self
                .options
                .store
                .reader()
                .recall_answer(&once.key)
                .await
                .map_err(not_committed)?
                .and_then(|known| Some((known.request_sha256, serde_json::from_str(&known.body).ok()?))),
        };
        match known {
            Some((sha256, _)) if sha256 != once.request_sha256 => Err(EngineError::KeyReused),
            known => Ok(known.map(|(_, reply)| reply)),
        }
    }

    async fn recall_delivery(
        &self,
        repository: &RepositoryName,
        key: &str,
        draft: &Draft,
    ) -> Result<Option<Reply>, EngineError> {
        if let Some(reply) = draft.delivered.get(&(repository.clone(), key.to_owned())) {
            return Ok(Some(reply.clone()));
        }
        let reader = self.options.store.reader();
        let Some(delivery) = reader.delivery_by_key(repository, key).await.map_err(not_committed)? else {
            return Ok(None);
        };
        // Only what told changes has an answer of its own.
        let kept = reader.recall_answer(&delivery_answer(delivery)).await.map_err(not_committed)?;
        let kept = kept.and_then(|kept| serde_json::from_str(&kept.body).ok());
        Ok(Some(kept.unwrap_or(Reply::Delivered { delivery, repeat: true, sweep: false, changes: Vec::new() })))
    }

    async fn commit(&mut self, draft: Draft, now: Timestamp) -> Result<(), String> {
        if draft.events.is_empty() && draft.cursors.is_empty() && draft.answers.is_empty() {
            return Ok(());
        }
        let expected_head = *self.head.borrow();
        let events = draft.events.clone();
        let writing = Writing {
            expected_head,
            at: now,
            events: draft.events,
            blobs: draft.blobs,
            cursors: draft.cursors,
            answers: draft.answers,
        };
        match self.options.store.commit(writing).await {
            Ok(head) => {
                self.last_turn = now;
                self.publish(head, &events);
                Ok(())
            }
            Err(CommitError::HeadMoved { found, .. }) => {
                warn!(head = expected_head.0, found = found.0, "another master has written; the state is loaded again");
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

    fn publish(&self, head: Seq, events: &[EventBody]) {
        let catalog = self.catalog();
        let origin = |repository: &RepositoryName| (self.options.origin)(&catalog, repository);
        for (worker, command) in order::commands(&self.state, events, &origin) {
            self.options.dispatch.dispatch(worker, command);
        }
        self.head.send_replace(head);
    }

    /// Loads the state again, until it works.
    async fn reload(&mut self) {
        for attempt in 0.. {
            match self.options.store.load().await {
                Ok(state) => {
                    self.head.send_replace(state.head);
                    self.state = state;
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

/// The key under which the answer to a delivery is kept for its repetitions.
fn delivery_answer(delivery: DeliveryId) -> String {
    format!("delivery {delivery}")
}

fn not_committed(problem: StoreError) -> EngineError {
    EngineError::NotCommitted { why: problem.to_string() }
}
