//! Hostile input for everything that reads what comes from outside.
//!
//! A [`Target`] is a function over bytes that panics when a claim about the product does not hold; each claim is more than
//! "it does not panic". The same functions serve a short run with every test run, which changes kept inputs blindly and a
//! fixed number of times, and a long one (`tests/fuzz/long`), whose build tells which places an input reaches, so that
//! inputs which reach something new are kept and changed further. All is determined by a seed.
//!
//! In reading order: `targets`; [`trial`] runs one input within limits of time and memory; [`hunt`] searches; [`mutate`]
//! changes inputs; [`source`] makes structure of bytes; [`shrink`](mod@shrink) makes a failing input small; [`corpus`]
//! keeps inputs; [`coverage`] and [`memory`] count.

#![expect(clippy::unwrap_used, reason = "a target that cannot go on must fail")]

pub mod corpus;
pub mod coverage;
pub mod hunt;
pub mod memory;
pub mod mutate;
pub mod random;
pub mod shrink;
pub mod source;
mod targets;
pub mod trial;

pub use targets::TARGETS;

/// Bytes of memory that one input may cost, unless a target says otherwise.
pub const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Milliseconds that one input may take in an optimised build, unless a target says otherwise.
pub const MILLIS_MAX: u64 = 100;

/// Something that reads input, and what must hold of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, as said on the command line.
    pub name: &'static str,
    /// What must hold, in a sentence.
    pub claim: &'static str,
    /// Panics if it does not.
    pub run: fn(&[u8]),
    /// What it starts from, besides the kept inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that mean something to it.
    pub words: &'static [&'static str],
    /// Bytes of an input.
    pub size_max: usize,
    /// Executions of the short run.
    pub short: u64,
    /// Milliseconds that one input may take in an optimised build.
    pub millis_max: u64,
    /// Bytes of memory that one input may cost.
    pub bytes_max: u64,
}

impl Target {
    /// A target with the usual limits, without seeds and words of its own.
    pub const fn new(name: &'static str, claim: &'static str, run: fn(&[u8])) -> Self {
        Self {
            name,
            claim,
            run,
            seeds: Vec::new,
            words: &[],
            size_max: 4096,
            short: 500,
            millis_max: MILLIS_MAX,
            bytes_max: BYTES_MAX,
        }
    }
}

/// Finds a target by its name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
