//! Makes a failing run smaller: a shorter first phase, fewer kinds of fault, fewer single faults. Each attempt is a whole
//! run; their number is bounded.

use std::collections::BTreeSet;

use crate::profile::Fault;
use crate::world::{Failure, Options, run};

/// Runs that may be spent on making one smaller.
const ATTEMPTS_MAX: usize = 60;

/// A failing run and the smallest one found that fails by the same rule.
#[derive(Debug)]
pub struct Shrunk {
    /// How it is run.
    pub options: Options,
    /// How it fails, with its timeline.
    pub failure: Box<Failure>,
    /// Runs that were tried.
    pub attempts: usize,
}

/// Makes a failing run smaller; `failure` is what it failed with.
pub fn shrink(options: &Options, failure: Box<Failure>) -> Shrunk {
    let mut shrunk = Shrunk { options: options.clone(), failure, attempts: 0 };
    shorten(&mut shrunk);
    disable(&mut shrunk);
    suppress(&mut shrunk);
    shorten(&mut shrunk);
    // Once more, written down.
    let traced = Options { trace: true, ..shrunk.options.clone() };
    if let Err(failure) = run(&traced) {
        shrunk.failure = failure;
    }
    shrunk
}

/// Keeps the smaller run if it still breaks the same rule.
fn attempt(shrunk: &mut Shrunk, smaller: Options) -> bool {
    if shrunk.attempts >= ATTEMPTS_MAX {
        return false;
    }
    shrunk.attempts += 1;
    match run(&smaller) {
        Err(failure) if failure.violation.rule == shrunk.failure.violation.rule => {
            shrunk.options = smaller;
            shrunk.failure = failure;
            true
        }
        _ => false,
    }
}

fn shorten(shrunk: &mut Shrunk) {
    let mut hours = shrunk.options.hours.unwrap_or(4.0);
    while hours > 0.05 {
        hours /= 2.0;
        if !attempt(shrunk, Options { hours: Some(hours), ..shrunk.options.clone() }) {
            break;
        }
    }
}

fn disable(shrunk: &mut Shrunk) {
    for fault in Fault::ALL {
        let mut disabled = shrunk.options.disabled.clone();
        if disabled.insert(*fault) {
            attempt(shrunk, Options { disabled, ..shrunk.options.clone() });
        }
    }
}

/// Bisects the list of single faults: halves, quarters, and so on are left out where they are not needed.
fn suppress(shrunk: &mut Shrunk) {
    let count = shrunk.failure.stats.fault_numbers;
    let mut size = count.div_ceil(2).max(1);
    while size >= 1 && shrunk.attempts < ATTEMPTS_MAX {
        let mut first = 1;
        while first <= count {
            let part: BTreeSet<u32> = (first..first + size).collect();
            let mut suppressed = shrunk.options.suppressed.clone();
            let before = suppressed.len();
            suppressed.extend(part);
            if suppressed.len() > before {
                attempt(shrunk, Options { suppressed, ..shrunk.options.clone() });
            }
            first += size;
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
}
