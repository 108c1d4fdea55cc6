//! The worker as a program of its own: `gristmill-worker`, and the same as a subcommand of the service's program.
//!
//! Reading order: `args` (what may be typed), `agent` (the program that works), `control` (the socket by which the other
//! commands speak with it), `until` (moments that people write).

mod agent;
mod args;
mod control;
mod until;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// What the program ends with. The numbers are those of `gristmill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Usage = 2,
    NotReached = 4,
    NotPermitted = 5,
    Broken = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program could not do what it was asked for.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }
}

/// Runs the program to its end. `args` begins with the program's own name. The program's log goes to standard error,
/// unless the caller has said before where it goes.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Nobody is left to tell if standard error is gone.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let result = match &args.command {
        None => agent::run(&args),
        Some(command) => command_to_agent(&args, command),
    };
    match result {
        Ok(text) => {
            if !text.is_empty() {
                // Whoever does not read it did not want it.
                writeln!(std::io::stdout(), "{text}").ok();
            }
            Exit::Done.into()
        }
        Err(failure) => {
            writeln!(std::io::stderr(), "error: {}", failure.message).ok();
            failure.exit.into()
        }
    }
}

fn command_to_agent(args: &Args, command: &Command) -> Result<String, Failure> {
    let ask = args::ask_of(command, until::now_us()).map_err(|why| Failure::new(Exit::Usage, why))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Broken, format!("cannot begin: {error}")))?;
    runtime.block_on(control::ask(&args.data, &ask))
}
