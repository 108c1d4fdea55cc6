//! The one trait that every way of delivering implements, and what comes back from it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::Message;

use crate::text;

/// A way to deliver a rendered message: mail, IRC, and what others add.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Delivers one message to its one target. [`Message::key`] is the same on every attempt.
    ///
    /// Returns only when the target has accepted the message, or when it is known or feared that it has not. May be
    /// dropped at any await; then the message counts as doubtful.
    ///
    /// # Errors
    /// Says whether another attempt makes sense ([`DeliveryError::is_transient`]) and when.
    async fn deliver(&self, message: &Message) -> Result<Receipt, DeliveryError>;

    /// Says what the outbox may count on, and so what it does after an end that it did not see (a crash, a drop).
    fn guarantee(&self) -> Guarantee;
}

/// What a notifier makes of repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Doubtful messages are repeated; the target can recognise the repeat (mail: the same Message-ID).
    AtLeastOnce,
    /// Doubtful messages are not repeated, because the target would show them twice (IRC).
    AtMostOnce,
}

/// What the target answered when it accepted: one line, without control characters, of at most
/// [`Receipt::BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(String);

impl Receipt {
    /// Bytes that are kept of an answer.
    pub const BYTES_MAX: usize = 300;

    /// Makes a receipt of an answer, which may be any text.
    pub fn new(answer: &str) -> Self {
        Self(text::one_line(answer, Self::BYTES_MAX))
    }

    /// Gives the answer.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a message was not delivered, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct DeliveryError {
    kind: FailureKind,
    doubtful: bool,
    problem: String,
}

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// This attempt failed; the next one may succeed.
    Transient,
    /// This message will never be accepted.
    Permanent,
    /// The way is closed for all messages of this notifier or target: nothing was tried. Not an attempt that counts
    /// against the message.
    NotNow {
        /// When it makes sense to look again.
        retry_after: Duration,
    },
}

impl DeliveryError {
    /// Bytes that are kept of an error's text.
    pub const BYTES_MAX: usize = 500;

    /// Makes the error of an attempt that may succeed if repeated.
    pub fn transient(problem: impl AsRef<str>) -> Self {
        Self::of(FailureKind::Transient, problem.as_ref())
    }

    /// Makes the error of a message that will never be accepted.
    pub fn permanent(problem: impl AsRef<str>) -> Self {
        Self::of(FailureKind::Permanent, problem.as_ref())
    }

    /// Makes the error of a way that is closed for now.
    pub fn not_now(problem: impl AsRef<str>, retry_after: Duration) -> Self {
        Self::of(FailureKind::NotNow { retry_after }, problem.as_ref())
    }

    /// Adds that the target may have accepted the message all the same.
    #[must_use]
    pub fn in_doubt(mut self) -> Self {
        self.doubtful = true;
        self
    }

    fn of(kind: FailureKind, problem: &str) -> Self {
        Self { kind, doubtful: false, problem: text::one_line(problem, Self::BYTES_MAX) }
    }

    /// Says whether another attempt makes sense.
    pub fn is_transient(&self) -> bool {
        !matches!(self.kind, FailureKind::Permanent)
    }

    /// Says whether the target may have accepted the message all the same.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Gives the time to wait, if the way itself is closed; otherwise the outbox's own backoff holds.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            FailureKind::NotNow { retry_after } => Some(retry_after),
            FailureKind::Transient | FailureKind::Permanent => None,
        }
    }

    /// Gives the sort of failure.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}
