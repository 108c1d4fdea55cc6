//! The command line: one file per subcommand.
//!
//! In reading order: [`args`] is what may be typed; [`exit`] what a command comes to; [`terminal`] colours, signs and
//! the cleaning of untrusted text; [`client`] speaks with a running service and [`view`] is what it answers;
//! [`narrate`] puts events into lines and
//! [`tell`] prints them; then the commands.

pub mod args;
pub mod client;
pub mod exit;
pub mod narrate;
pub mod tell;
pub mod terminal;
pub mod view;

mod backup;
mod cancel;
mod check;
mod completions;
mod doctor;
mod explain;
mod force;
mod graph;
mod init;
mod logs;
mod replay;
mod restore;
mod retention;
mod run;
mod schema;
mod serve;
mod status;
mod sweep;
mod thing;
mod tokens;
pub(crate) mod watch;
mod why;
pub mod workers;

pub use run::run;
pub use workers::program as worker_program;
