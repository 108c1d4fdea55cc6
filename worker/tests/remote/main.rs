//! The remote worker against a service that speaks HTTP, and misbehaves in every way that networks and services do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod faults;
mod http;
mod leases;
mod program;
mod restarts;
mod service;
mod world;
