//! The worker against a service in memory, with real processes and real git repositories.

mod builds;
mod checkouts;
mod service;
mod trees;
mod troubles;
mod world;
