//! Doing: a worker takes build orders, runs them, and says what happens.
//!
//! The worker dials out and never listens. It may be killed at any instruction: nothing that it holds is worth more than
//! another attempt. The service may go away at any time: running builds go on, and what they have to say is said when it
//! is back. Nothing untrusted (branches, revisions, paths, properties) reaches a shell's text or an option's place.
//!
//! Reading order: [`master`] (what the service looks like from here), [`options`], [`agent`] (the poll loop), `build`
//! (one order from first step to last), `lease` (how long it may), `conclude` (what the steps come to), `checkout`,
//! [`executor`] (processes), `log`, `spool` and `uplink` (what goes up), `steps` (what a step may do besides), `workspace`
//! and `environment` (what a step finds), [`labels`]; then [`remote`] (a service on another machine) and [`program`] (the
//! worker as a program of its own).

pub mod agent;
mod artifacts;
mod backoff;
mod build;
mod checkout;
mod conclude;
mod controls;
mod environment;
pub mod executor;
mod isolation;
pub mod labels;
mod lease;
mod log;
pub mod master;
pub mod options;
pub mod program;
pub mod remote;
#[doc(hidden)]
pub mod seams;
mod secrets;
mod spool;
mod steps;
mod tools;
mod uplink;
mod workspace;

pub use agent::{Handle, Status, Worker, WorkerError, run};
pub use backoff::Backoff;
pub use log::LogWriter;
pub use master::Master;
pub use options::Options;
pub use spool::SpoolLimits;
