//! What a step prints, on its way up.

mod spool;
mod writer;

pub(crate) use spool::{Next, Spool};
pub use writer::LogWriter;
