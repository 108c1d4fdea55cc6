//! `gristmill completions`: a completion script for a shell.

use std::io::Write;

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs};
use super::exit::{Exit, Failure};

pub(crate) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    // Into memory first: a reader that goes away must not end the program by panic.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gristmill", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
