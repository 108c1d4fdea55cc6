//! What is told: rendered messages, as they wait in the outbox.

use serde::{Deserialize, Serialize};

use crate::{IncidentId, MessageId, NotifierName, Seq, Timestamp};

/// A rendered message for one recipient of one notifier. A notifier sees this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number; 0 until the engine gives one.
    pub id: MessageId,
    /// The event that it tells of.
    pub event: Seq,
    /// Which notifier delivers it.
    pub notifier: NotifierName,
    /// A mail address or a channel.
    pub target: String,
    /// Why this recipient: `author of a1b2c3d4`, `gristmill.yaml:52`.
    pub because: String,
    /// The same for the same happening and recipient on every attempt, so that repeats can be recognised: unique.
    pub key: String,
    /// The incident, which is also the mail thread.
    pub incident: Option<IncidentId>,
    /// One line: a mail's subject, or all that IRC says.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML, for those who can show it.
    pub html: Option<String>,
    /// When it was written.
    pub at: Timestamp,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// To be delivered.
    Due,
    /// Accepted by the target.
    Delivered,
    /// Given up, with the last error kept.
    Dead,
}

impl MessageState {
    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}
