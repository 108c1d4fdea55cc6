//! (being written)

pub mod ansi;
pub mod graph;
