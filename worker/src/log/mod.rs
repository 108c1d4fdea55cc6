//! What a step prints, on its way up.

mod spool;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use spool::{Next, Spool, compress};
pub use writer::LogWriter;
