//! What a turn hands over to be committed.

pub use gristmill_schedulers::round::{Answer, Blob, Draft as Turn};

/// Limits on one turn.
pub mod limit {
    /// Events in one turn; more is refused, so that no transaction holds the database for long.
    pub const EVENTS_MAX: usize = 20_000;
}
