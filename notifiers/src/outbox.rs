//! The outbox's rules: what is sent when, what follows an attempt, when a message is given up.
//!
//! Pure: the message, the time and what the target said are arguments. The service sends and notes what these say.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill_model::{Message, MessageId, Timestamp, mutant};

use crate::delivery::{DeliveryError, FailureKind, Guarantee, Receipt};

/// Messages under way at once, per notifier.
pub const UNDER_WAY_MAX: usize = 8;
/// The longest attempt; notifiers have shorter limits of their own.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(300);
/// After this a message that may be repeated is given up.
pub const AGE_MAX: Duration = Duration::from_secs(3 * 24 * 3600);
/// After this a message that is only worth something at once (IRC) is given up.
pub const AGE_MAX_AT_ONCE: Duration = Duration::from_secs(3600);
/// Waits between attempts; the last one goes on until the message is too old.
const WAITS: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(12 * 3600),
];

/// A message that waits to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// It.
    pub message: Message,
    /// How often that was tried.
    pub attempts: u32,
    /// Whether its sending began and nobody saw the end.
    pub claimed: bool,
}

/// What to do with a message that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Send it.
    Send,
    /// Note first that it is being sent, so that a message whose end nobody saw is not sent twice; then send it.
    ClaimAndSend {
        /// When its end is in doubt.
        until: Timestamp,
    },
    /// Do not send it.
    Leave(End),
}

/// What became of a message, or of an attempt at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The target accepted it.
    Delivered {
        /// What it answered.
        receipt: String,
    },
    /// It is tried again.
    Deferred {
        /// Attempts made.
        attempts: u32,
        /// The error's text.
        error: String,
        /// When.
        due: Timestamp,
    },
    /// It is given up.
    Dead {
        /// The error's text.
        error: String,
    },
}

/// Messages of one notifier that are being sent: one per target at the most, so that a target's messages keep their
/// order, and one that hangs delays no other target.
#[derive(Debug, Clone, Default)]
pub struct UnderWay {
    messages: BTreeSet<MessageId>,
    targets: BTreeSet<String>,
}

impl UnderWay {
    /// Says whether a message is being sent.
    pub fn has(&self, message: MessageId) -> bool {
        self.messages.contains(&message)
    }

    /// Begins to send a message, if its turn has come; says whether it has.
    pub fn begin(&mut self, message: &Message) -> bool {
        if self.messages.len() >= UNDER_WAY_MAX || self.has(message.id) || self.targets.contains(&message.target) {
            return false;
        }
        self.targets.insert(message.target.clone());
        self.messages.insert(message.id)
    }

    /// Notes that an attempt has ended.
    pub fn end(&mut self, message: MessageId, target: &str) {
        self.messages.remove(&message);
        self.targets.remove(target);
    }
}

/// Says what to do with a message that is due at `now`.
pub fn plan(guarantee: Guarantee, waiting: &Waiting, now: Timestamp) -> Plan {
    match guarantee {
        Guarantee::AtLeastOnce => Plan::Send,
        Guarantee::AtMostOnce if waiting.claimed && !mutant::is_on(107) => {
            let error = "the service stopped while it was being sent; it is not repeated".to_owned();
            Plan::Leave(End::Dead { error })
        }
        Guarantee::AtMostOnce => Plan::ClaimAndSend { until: now.after(ATTEMPT_MAX) },
    }
}

/// Gives the failure of an attempt that was given up after [`ATTEMPT_MAX`].
pub fn no_answer() -> DeliveryError {
    DeliveryError::transient(format!("no answer within {} s", ATTEMPT_MAX.as_secs())).in_doubt()
}

/// Says what follows an attempt that ended at `now`.
pub fn conclude(
    guarantee: Guarantee,
    waiting: &Waiting,
    result: Result<&Receipt, &DeliveryError>,
    now: Timestamp,
) -> End {
    match result {
        Ok(receipt) => End::Delivered { receipt: receipt.as_str().to_owned() },
        Err(problem) if guarantee == Guarantee::AtMostOnce && problem.is_doubtful() && !mutant::is_on(108) => {
            End::Dead { error: problem.to_string() }
        }
        Err(problem) => after_failure(guarantee, waiting, problem, now),
    }
}

fn after_failure(guarantee: Guarantee, waiting: &Waiting, problem: &DeliveryError, now: Timestamp) -> End {
    let error = problem.to_string();
    let age_max = match guarantee {
        Guarantee::AtLeastOnce if mutant::is_on(109) => AGE_MAX_AT_ONCE / 60,
        Guarantee::AtLeastOnce => AGE_MAX,
        Guarantee::AtMostOnce => AGE_MAX_AT_ONCE,
    };
    let last = waiting.message.at.after(age_max);
    if !problem.is_transient() || now >= last {
        return End::Dead { error };
    }
    let (attempts, wait) = match problem.kind() {
        FailureKind::NotNow { retry_after } => (waiting.attempts, retry_after),
        FailureKind::Transient | FailureKind::Permanent => {
            let attempts = waiting.attempts + 1;
            (attempts, wait_after(attempts))
        }
    };
    End::Deferred { attempts, error, due: now.after(wait).min(last) }
}

fn wait_after(attempts: u32) -> Duration {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    WAITS[index.min(WAITS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(target: &str, id: i64) -> Waiting {
        let message = Message {
            id: MessageId(id),
            event: 1.into(),
            notifier: "mail".into(),
            target: target.to_owned(),
            because: String::new(),
            key: format!("key-{id}"),
            incident: None,
            subject: String::new(),
            text: String::new(),
            html: None,
            at: Timestamp::from_seconds(1_000),
        };
        Waiting { message, attempts: 0, claimed: false }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000 + seconds)
    }

    #[test]
    fn waits_grow_until_the_message_is_too_old() {
        let mut one = waiting("ada@example.org", 1);
        let refusal = DeliveryError::transient("451 later");
        let (mut now, mut waits) = (at(0), Vec::new());
        let error = loop {
            match conclude(Guarantee::AtLeastOnce, &one, Err(&refusal), now) {
                End::Deferred { attempts, due, .. } => {
                    waits.push(due.since(now).as_secs());
                    one.attempts = attempts;
                    now = due;
                }
                End::Dead { error } => break error,
                End::Delivered { .. } => unreachable!("it was refused"),
            }
        };
        assert_eq!(error, "451 later");
        assert_eq!(now, at(0).after(AGE_MAX), "the last attempt is made when the message is as old as it may be");
        assert_eq!(waits[..7], [5, 60, 600, 3600, 21_600, 43_200, 43_200]);
    }

    #[test]
    fn a_closed_way_is_no_attempt() {
        let one = waiting("#shop", 1);
        let closed = DeliveryError::not_now("not in the channel", Duration::from_secs(90));
        let end = conclude(Guarantee::AtMostOnce, &one, Err(&closed), at(10));
        let wanted = End::Deferred { attempts: 0, error: "not in the channel".to_owned(), due: at(100) };
        assert_eq!(end, wanted);
    }

    #[test]
    fn what_must_not_come_twice_is_claimed_first_and_not_repeated_in_doubt() {
        let mut one = waiting("#shop", 1);
        assert_eq!(plan(Guarantee::AtMostOnce, &one, at(0)), Plan::ClaimAndSend { until: at(300) });
        assert_eq!(plan(Guarantee::AtLeastOnce, &one, at(0)), Plan::Send);
        let doubt = no_answer();
        assert!(matches!(conclude(Guarantee::AtMostOnce, &one, Err(&doubt), at(1)), End::Dead { .. }));
        assert!(matches!(conclude(Guarantee::AtLeastOnce, &one, Err(&doubt), at(1)), End::Deferred { .. }));
        one.claimed = true;
        assert!(matches!(plan(Guarantee::AtMostOnce, &one, at(2)), Plan::Leave(End::Dead { .. })));
    }

    #[test]
    fn a_target_has_one_message_under_way() {
        let mut under_way = UnderWay::default();
        assert!(under_way.begin(&waiting("#shop", 1).message));
        assert!(!under_way.begin(&waiting("#shop", 2).message));
        for id in 3..10 {
            assert!(under_way.begin(&waiting(&format!("#{id}"), id).message));
        }
        assert!(!under_way.begin(&waiting("#eleven", 11).message), "{UNDER_WAY_MAX} are under way");
        under_way.end(1.into(), "#shop");
        assert!(under_way.begin(&waiting("#shop", 2).message));
    }
}
