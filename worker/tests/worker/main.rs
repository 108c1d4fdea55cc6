//! The worker against a service in memory, with real processes and real git repositories.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod apart;
mod builds;
mod checkouts;
mod service;
mod steps;
mod trees;
mod troubles;
mod world;
