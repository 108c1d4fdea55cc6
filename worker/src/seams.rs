//! Ways in for `tests/fuzz` to what is nobody else's business. Not part of what this crate offers.

use std::collections::BTreeMap;

use gristmill_model::StepRecipe;
use gristmill_model::protocol::{BuildOrder, LogAddress, LogAppend, Refusal};

use crate::log::{Next, Spool};

/// Composes the environment of one step, from the worker's own and the order.
pub fn environment(
    own: &BTreeMap<String, String>,
    order: &BuildOrder,
    step: &StepRecipe,
    lease: &str,
) -> BTreeMap<String, String> {
    let own = own.iter().map(|(name, value)| (name.into(), value.into()));
    crate::environment::of_step(&crate::environment::base(own), order, step, lease)
}

/// The unacknowledged pieces of one log.
#[derive(Debug)]
pub struct LogSpool(Spool);

impl LogSpool {
    /// Makes an empty one.
    pub fn new(log: LogAddress) -> Self {
        Self(Spool::new(log))
    }

    /// Takes a compressed piece, which begins at `offset` of what the step printed.
    pub fn push(&mut self, offset: u64, length: u32, frame: Vec<u8>) {
        self.0.push(offset, length, frame);
    }

    /// Gives what is to be sent next.
    pub fn front(&self) -> Option<&LogAppend> {
        self.0.front()
    }

    /// Reads the service's answer to it; `false` if the log is given up.
    pub fn answered(&mut self, answer: Result<u64, Refusal>) -> bool {
        self.0.answered(answer) != Next::Fenced
    }
}
