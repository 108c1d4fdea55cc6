//! The service: everything that does I/O on the master's side.
//!
//! In reading order: [`config`] makes a catalog of a file; [`sources`] notice that refs move; [`engine`] takes inputs,
//! decides in turns and is the only writer; [`leader`] is which master does where there are several; [`store`] keeps rows
//! and journal; [`fleet`] speaks with workers; [`logs`] keeps what steps print; [`keeping`] takes and restores backups;
//! [`web`] shows it all; [`cli`] is the command line, and [`demo`] its first run;
//! [`service`] puts it all together; [`clock`] is the one place that asks what time it is.

pub mod artifacts;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod engine;
pub mod fleet;
pub mod keeping;
pub mod latent;
pub mod leader;
pub mod logs;
#[doc(hidden)]
pub mod seams;
pub mod secrets;
pub mod service;
pub mod sources;
pub mod store;
pub mod web;

#[cfg(test)]
#[path = "../tests/support/postgres.rs"]
mod postgres;
