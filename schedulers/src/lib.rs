//! Deciding: filters, scheduler kinds, the graph, placement, reasons.
//!
//! Pure: no I/O, no clock, no randomness, no async. A decision depends on the catalog, the state, the input and `now`,
//! and on nothing else, so that it can be simulated, replayed and explained.

mod apply;
pub mod cron;
pub mod input;
pub mod state;

pub use input::{Input, Reply};
pub use state::State;
