//! Change sources: what notices that refs move, and never decides what that means.
//!
//! The truth is the tip that the engine has accepted. Interval, file watch, webhook and people are equal ways to make
//! us look again; a look compares and reports, and the engine accepts what fits (compare-and-set). So a missed, doubled
//! or reordered hint costs time, never a change.
//!
//! In reading order: [`git`] looks at one repository; [`pace`] says when to look next; [`pool`] is where looking blocks;
//! [`watch`] notices movements on this machine; [`service`] keeps a task per repository that puts them together;
//! [`webhook`] takes hints from elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use gristmill_model::{Catalog, RepositoryName};
use gristmill_schedulers::input::{Input, Reply, Tips};

pub mod git;
mod keeper;
pub mod pace;
pub mod pool;
pub mod service;
pub mod watch;
pub mod webhook;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use git::register_transports;
pub use service::{Handle, Options, Secrets, SourceStatus, Sources, SweepReport};

/// What sources need of the engine.
#[async_trait]
pub trait Accept: Send + Sync + 'static {
    /// Hands an input over and waits until its turn is committed.
    ///
    /// # Errors
    /// In words, if it was not; nothing is changed then, and it may be handed over again.
    async fn accept(&self, input: Input) -> Result<Reply, String>;

    /// Gives the accepted tips of a repository; `None` if it was never seen.
    async fn tips(&self, repository: &RepositoryName) -> Option<Tips>;

    /// Gives the configuration in force.
    fn catalog(&self) -> Arc<Catalog>;
}
