//! The nouns of Gristmill: what every other part speaks of.
//!
//! No I/O, no clock, no randomness, no async. A type lives here when two of the parts (deciding, telling, doing, the
//! service) must mean the same thing by it. The dictionary of the project is this crate: one word per thing, used the
//! same in code, tables, URLs, pages and mails.
//!
//! Reading order: [`id`] and [`time`], [`outcome`], [`source`] (what moved), [`matching`] (which movements concern
//! whom), [`catalog`] with [`recipe`], [`step`] and [`graph`] (what is configured), [`build`] (what is made of it), [`reason`]
//! (why), [`event`] (what happened), [`message`] (what is told), [`protocol`] (what a worker and the service say).

pub mod build;
pub mod care;
pub mod catalog;
pub mod event;
pub mod graph;
pub mod id;
pub mod instance;
pub mod matching;
pub mod message;
#[doc(hidden)]
pub mod mutant;
pub mod outcome;
pub mod protocol;
pub mod provider;
pub mod reason;
pub mod recipe;
pub mod requirement;
pub mod source;
pub mod step;
pub mod time;
pub mod worker;

pub use build::*;
pub use care::*;
pub use catalog::*;
pub use event::{BuilderOnBranch, Event, EventBody};
pub use graph::*;
pub use id::*;
pub use instance::*;
pub use message::*;
pub use outcome::{Cause, Outcome, Transition};
pub use provider::*;
pub use reason::{HeldWorker, NeedState, Reason, Verdict, VerdictKind, WorkerMiss};
pub use recipe::*;
pub use source::*;
pub use step::{
    Artifact, Circumstances, Engine, Isolation, Limits, SecretForm, SecretUse, SoFar, StepCondition, TestCase,
    TestOutcome,
};
pub use time::Timestamp;
pub use worker::*;
