//! Delivery: brings what is in the outbox to its targets, one task per notifier.
//!
//! Level-triggered: it looks at what is due, whatever woke it. A target that hangs or refuses delays no other: each
//! message has its own attempts and its own next time, and a target has one message under way at most, so that its
//! messages keep their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gristmill_model::{MessageId, NotifierName};
use gristmill_notifiers::outbox::{self, ATTEMPT_MAX, End, Plan, Waiting};
use gristmill_notifiers::{DeliveryError, Notifier, Receipt};
use gristmill_schedulers::Input;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Engine;
use crate::chain::chain;
use crate::clock::Clock;
use crate::store::Reader;

/// Due messages looked at at once.
const LOOKED_AT: u32 = 500;
/// The longest sleep between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a stop waits for what is under way.
const STOP_MAX: Duration = Duration::from_secs(5);
/// The wait after a failure of the database.
const RETRY: Duration = Duration::from_secs(1);

/// Counts what is being delivered, over all notifiers, and tells of each beginning and end.
#[derive(Debug, Clone)]
pub struct UnderWay {
    /// How many.
    pub count: Arc<AtomicUsize>,
    /// Woken at each beginning and end.
    pub moved: Arc<Notify>,
}

impl UnderWay {
    fn begin(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

/// One notifier's deliveries.
pub struct Deliverer {
    /// The notifier's name.
    pub name: NotifierName,
    /// The notifier.
    pub notifier: Arc<dyn Notifier>,
    /// Takes what became of each.
    pub engine: Engine,
    /// Has the outbox.
    pub reader: Reader,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Counts what is under way.
    pub under_way: UnderWay,
}

impl std::fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliverer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Deliverer {
    /// Delivers until stopped. What does not end soon after is in doubt, as after a crash.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut head = this.engine.head();
        let mut under_way: JoinSet<(MessageId, String)> = JoinSet::new();
        let mut begun = outbox::UnderWay::default();
        loop {
            head.borrow_and_update();
            let wait = match this.due(&begun).await {
                Ok((due, wait)) => {
                    for waiting in due {
                        if begun.begin(&waiting.message) {
                            this.under_way.begin();
                            under_way.spawn(Arc::clone(&this).deliver(waiting));
                        }
                    }
                    wait
                }
                Err(why) => {
                    error!("the outbox of {} cannot be read: {why}", this.name);
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = under_way.join_next() => if let Ok((id, target)) = ended {
                    begun.end(id, &target);
                },
                changed = head.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
        // Those that end in time are not in doubt.
        let ended = async { while under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            warn!("messages to {} were still being sent when the service stopped", this.name);
        }
    }

    /// Lists what is due and not under way, and how long to wait for the next.
    async fn due(&self, begun: &outbox::UnderWay) -> Result<(Vec<Waiting>, Duration), String> {
        let now = self.clock.now();
        let mut due = self.reader.due_messages(&self.name, now, LOOKED_AT).await.map_err(|problem| chain(&problem))?;
        due.retain(|waiting| !begun.has(waiting.message.id));
        let next = self.reader.next_due(&self.name).await.map_err(|problem| chain(&problem))?;
        let wait = next.filter(|next| *next > now).map_or(LOOK_EVERY, |next| next.since(now)).min(LOOK_EVERY);
        Ok((due, wait))
    }

    /// Tries one message and notes what became of it.
    async fn deliver(self: Arc<Self>, waiting: Waiting) -> (MessageId, String) {
        if let Some(end) = self.attempt(&waiting).await {
            self.note(waiting.message.id, as_input(waiting.message.id, end)).await;
        }
        self.under_way.end();
        (waiting.message.id, waiting.message.target)
    }

    /// Does what the rules of the outbox say; gives nothing if the message is to be looked at again.
    async fn attempt(&self, waiting: &Waiting) -> Option<End> {
        let message = waiting.message.id;
        let guarantee = self.notifier.guarantee();
        match outbox::plan(guarantee, waiting, self.clock.now()) {
            Plan::Leave(end) => return Some(end),
            Plan::ClaimAndSend { until } => {
                if let Err(problem) = self.engine.submit(Input::Claim { message, until }).await {
                    warn!("message {message} is not sent yet: {problem}");
                    return None;
                }
            }
            Plan::Send => {}
        }
        let result = self.send(waiting).await;
        let end = outbox::conclude(guarantee, waiting, result.as_ref(), self.clock.now());
        match &end {
            End::Delivered { receipt } => info!("message {message} reached {}: {receipt}", self.name),
            End::Deferred { error, .. } => warn!("message {message} to {} has to wait: {error}", self.name),
            End::Dead { error } => warn!("message {message} to {} is given up: {error}", self.name),
        }
        Some(end)
    }

    async fn send(&self, waiting: &Waiting) -> Result<Receipt, DeliveryError> {
        let attempt = tokio::time::timeout(ATTEMPT_MAX, self.notifier.deliver(&waiting.message)).await;
        attempt.unwrap_or_else(|_| Err(outbox::no_answer()))
    }

    /// Tells the engine, again and again: what is not noted would be sent twice. It may have been noted although the
    /// engine did not hear of it, or by another master; then it must not be noted twice.
    async fn note(&self, message: MessageId, input: Input) {
        while let Err(problem) = self.engine.submit(input.clone()).await {
            if problem == super::EngineError::Stopped {
                return;
            }
            error!("what became of a message to {} cannot be noted: {problem}", self.name);
            if self.reader.is_due(message).await.is_ok_and(|is_due| !is_due) {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn as_input(message: MessageId, end: End) -> Input {
    match end {
        End::Delivered { receipt } => Input::Delivered { message, receipt },
        End::Deferred { attempts, error, due } => Input::Deferred { message, attempts, error, due },
        End::Dead { error } => Input::Dead { message, error },
    }
}
