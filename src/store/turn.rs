//! What a turn hands over to be committed.

use gristmill_model::{CatalogHash, DeliveryId, EventBody, Seq, Timestamp};

/// Limits on one turn.
pub mod limit {
    /// Events in one turn; more is refused, so that no transaction holds the database for long.
    pub const EVENTS_MAX: usize = 20_000;
}

/// Everything that one turn writes: all of it or nothing.
///
/// A turn without events is allowed; it may move cursors and keep answers, and the head stays.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Where the journal's head was when the turn was decided: the fence against another master.
    pub expected_head: Seq,
    /// The turn's time, which every event gets.
    pub at: Timestamp,
    /// What happened, in order. The first gets the number after `expected_head`.
    pub events: Vec<EventBody>,
    /// What belongs to these events and is too big or too raw to be in them.
    pub blobs: Vec<Blob>,
    /// Followers' cursors that move with this turn; never back, never past the new head.
    pub cursors: Vec<(String, Seq)>,
    /// Answers kept for callers who repeat themselves.
    pub answers: Vec<Answer>,
}

/// Bytes that belong to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blob {
    /// A webhook request as received. Every `delivery.accepted` must have one in its turn (S1).
    Delivery {
        /// Which.
        id: DeliveryId,
        /// The headers worth keeping, as JSON.
        headers: String,
        /// The body.
        body: Vec<u8>,
    },
    /// A configuration's text. A `catalog.activated` of a hash that was never stored must have one in its turn.
    Catalog {
        /// Its hash.
        hash: CatalogHash,
        /// The text.
        text: String,
    },
}

/// An answer kept under the key that a caller chose, so that a repeat gets the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The principal and the key it chose.
    pub key: String,
    /// SHA-256 (hexadecimal) of the request, so that the same key with another request is noticed.
    pub request_sha256: String,
    /// What was answered.
    pub body: String,
}
