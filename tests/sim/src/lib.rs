//! The deterministic simulator: the real deciding and telling, in a world where time is a number and everything may fail.
//!
//! One seed makes one world ([`world`]): configurations ([`config`]), repositories ([`git`]), masters ([`master`]) on one
//! store in memory ([`store`]), workers ([`worker`]), hooks, people and targets. Which faults exist in it, and how often
//! they come, the seed draws first ([`profile`]). In a first phase anything may fail; then nothing does any more, and
//! everything must come to its end ([`end`]). After every commit the invariants are looked at ([`check`]). A seed that
//! fails is made smaller ([`mod@shrink`]) and told ([`report`]); [`mutants`] are deliberate bugs that must be found.
//!
//! What is real in it: the rounds of `gristmill-schedulers`, the outbox, routes and happenings of `gristmill-notifiers`.
//! What is written here once more, small enough to be compared by eye: the shell that reads, commits and sends
//! (`src/engine` in the service), the worker's reactions, and the tables.

mod care;
mod check;
mod config;
mod end;
mod git;
mod master;
mod mutants;
mod outside;
mod profile;
pub mod report;
mod rng;
mod shrink;
mod store;
mod telling;
mod worker;
mod world;

pub use check::Violation;
#[cfg(feature = "mutants")]
pub use mutants::hunt;
pub use mutants::{MUTANTS, Mutant};
pub use profile::Fault;
pub use shrink::{Shrunk, shrink};
pub use world::{Failure, Options, Scenario, Stats, run};
