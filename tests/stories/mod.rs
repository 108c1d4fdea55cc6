//! Stories: the whole service on real input. They wait until nothing happens any more, never for time.

mod browser;
mod config;
mod crash;
mod graph;
mod hooks;
mod hostile;
mod keeping;
mod push;
mod telling;
