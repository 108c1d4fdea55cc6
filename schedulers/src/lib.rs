//! Deciding: filters, scheduler kinds, the graph, placement, reasons.
//!
//! Pure: no I/O, no clock, no randomness, no async. A decision depends on the catalog, the state, the input and `now`,
//! and on nothing else, so that it can be simulated, replayed and explained.

mod apply;
mod care;
pub mod create;
pub mod cron;
pub mod decide;
pub mod explain;
pub mod finding;
pub mod input;
pub mod judge;
pub mod latent;
pub mod order;
pub mod people;
pub mod place;
pub mod report;
mod results;
pub mod retention;
pub mod round;
pub mod settle;
pub mod sight;
pub mod standing;
pub mod state;
pub mod timed;
pub mod turn;
pub mod watch;
pub mod window;
pub mod worker;

pub use decide::{close, decide, next_due};
pub use explain::explain;
pub use input::{Input, Reply};
pub use round::{Draft, Once, Round};
pub use state::State;
pub use turn::Turn;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
