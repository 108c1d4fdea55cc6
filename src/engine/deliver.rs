//! Delivery: brings what is in the outbox to its targets, one task per notifier.
//!
//! Level-triggered: it looks at what is due, whatever woke it. A target that hangs or refuses delays no other: each
//! message has its own attempts and its own next time, and a target has one message under way at most, so that its
//! messages keep their order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gristmill_model::{MessageId, NotifierName, Timestamp};
use gristmill_notifiers::delivery::FailureKind;
use gristmill_notifiers::{DeliveryError, Guarantee, Notifier};
use gristmill_schedulers::Input;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Engine;
use crate::chain::chain;
use crate::clock::Clock;
use crate::store::{DueMessage, Reader};

/// Messages under way at once, per notifier.
const UNDER_WAY_MAX: usize = 8;
/// Due messages looked at at once.
const LOOKED_AT: u32 = 500;
/// The longest attempt; notifiers have shorter limits of their own.
const ATTEMPT_MAX: Duration = Duration::from_secs(300);
/// Waits between attempts; the last one goes on until the message is too old.
const WAITS: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(12 * 3600),
];
/// After this a message that may be repeated is given up.
const AGE_MAX: Duration = Duration::from_secs(3 * 24 * 3600);
/// After this a message that is only worth something at once (IRC) is given up.
const AGE_MAX_AT_ONCE: Duration = Duration::from_secs(3600);
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
        let (mut ids, mut targets) = (BTreeSet::new(), BTreeSet::new());
        loop {
            head.borrow_and_update();
            let wait = match this.due(&ids).await {
                Ok((due, wait)) => {
                    for message in due {
                        let is_free = under_way.len() < UNDER_WAY_MAX && !targets.contains(&message.message.target);
                        if is_free {
                            targets.insert(message.message.target.clone());
                            ids.insert(message.message.id);
                            this.under_way.begin();
                            under_way.spawn(Arc::clone(&this).deliver(message));
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
                    ids.remove(&id);
                    targets.remove(&target);
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
    async fn due(&self, under_way: &BTreeSet<MessageId>) -> Result<(Vec<DueMessage>, Duration), String> {
        let now = self.clock.now();
        let mut due = self.reader.due_messages(&self.name, now, LOOKED_AT).await.map_err(|problem| chain(&problem))?;
        due.retain(|message| !under_way.contains(&message.message.id));
        let next = self.reader.next_due(&self.name).await.map_err(|problem| chain(&problem))?;
        let wait = next.filter(|next| *next > now).map_or(LOOK_EVERY, |next| next.since(now)).min(LOOK_EVERY);
        Ok((due, wait))
    }

    /// Tries one message and notes what became of it.
    async fn deliver(self: Arc<Self>, due: DueMessage) -> (MessageId, String) {
        let id = due.message.id;
        let target = due.message.target.clone();
        let result = match self.notifier.guarantee() {
            Guarantee::AtLeastOnce => self.attempt(&due).await,
            Guarantee::AtMostOnce => self.attempt_once(&due).await,
        };
        if let Some(input) = result {
            self.note(input).await;
        }
        self.under_way.end();
        (id, target)
    }

    async fn attempt(&self, due: &DueMessage) -> Option<Input> {
        let message = due.message.id;
        match self.send(due).await {
            Ok(receipt) => Some(Input::Delivered { message, receipt }),
            Err(problem) => Some(self.after_failure(due, &problem, due.attempts + 1)),
        }
    }

    /// Notes the attempt before it is made, so that a message whose end nobody saw is not sent twice.
    async fn attempt_once(&self, due: &DueMessage) -> Option<Input> {
        let message = due.message.id;
        if due.claimed {
            let error = "the service stopped while it was being sent; it is not repeated".to_owned();
            return Some(Input::Dead { message, error });
        }
        let claim = Input::Claim { message, until: self.clock.now().after(ATTEMPT_MAX) };
        if let Err(problem) = self.engine.submit(claim).await {
            warn!("message {message} is not sent yet: {problem}");
            return None;
        }
        Some(match self.send(due).await {
            Ok(receipt) => Input::Delivered { message, receipt },
            Err(problem) if problem.is_doubtful() => Input::Dead { message, error: problem.to_string() },
            Err(problem) => self.after_failure(due, &problem, due.attempts + 1),
        })
    }

    async fn send(&self, due: &DueMessage) -> Result<String, DeliveryError> {
        let attempt = tokio::time::timeout(ATTEMPT_MAX, self.notifier.deliver(&due.message)).await;
        let receipt = attempt.unwrap_or_else(|_| {
            let problem = format!("no answer within {} s", ATTEMPT_MAX.as_secs());
            Err(DeliveryError::transient(problem).in_doubt())
        })?;
        info!("message {} reached {}: {receipt}", due.message.id, self.name);
        Ok(receipt.as_str().to_owned())
    }

    fn after_failure(&self, due: &DueMessage, problem: &DeliveryError, attempts: u32) -> Input {
        let message = due.message.id;
        let error = problem.to_string();
        let age_max = match self.notifier.guarantee() {
            Guarantee::AtLeastOnce => AGE_MAX,
            Guarantee::AtMostOnce => AGE_MAX_AT_ONCE,
        };
        let now = self.clock.now();
        let last = due.message.at.after(age_max);
        if !problem.is_transient() || now >= last {
            warn!("message {message} to {} is given up: {error}", self.name);
            return Input::Dead { message, error };
        }
        warn!("message {message} to {} has to wait: {error}", self.name);
        let (attempts, wait) = match problem.kind() {
            FailureKind::NotNow { retry_after } => (due.attempts, retry_after),
            _ => (attempts, wait_after(attempts)),
        };
        Input::Deferred { message, attempts, error, due: sooner(now.after(wait), last) }
    }

    /// Tells the engine, again and again: what is not noted would be sent twice.
    async fn note(&self, input: Input) {
        while let Err(problem) = self.engine.submit(input.clone()).await {
            if problem == super::EngineError::Stopped {
                return;
            }
            error!("what became of a message to {} cannot be noted: {problem}", self.name);
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn wait_after(attempts: u32) -> Duration {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    WAITS[index.min(WAITS.len() - 1)]
}

fn sooner(left: Timestamp, right: Timestamp) -> Timestamp {
    left.min(right)
}
