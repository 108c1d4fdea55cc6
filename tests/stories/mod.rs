//! Stories: the whole service on real input. They wait until nothing happens any more, never for time.

mod browser;
mod config;
mod crash;
mod doctor;
mod graph;
mod hooks;
mod hostile;
mod keeping;
mod masters;
mod push;
mod steps;
mod telling;
mod workers;
