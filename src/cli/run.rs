//! From what was typed to the command that does it, and from what that came to, to the exit code.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::args::{Cli, Command, DEFAULT_FILE, Global, ServeArgs};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::terminal::{Ink, Look, complain, line};
use super::{
    backup, cancel, check, completions, doctor, explain, force, graph, init, logs, replay, restore, retention, schema,
    serve, status, sweep, watch, why, workers,
};

/// What every command is given.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) look: Look,
}

impl Context {
    /// Makes the client for the service that the flags name.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.global)
    }

    /// Prints an answer as it came.
    pub(crate) fn json(&self, value: &Value) -> Result<(), Failure> {
        Ok(line(&format!("{value:#}"))?)
    }

    /// Prints one of several objects: each on a line of its own.
    pub(crate) fn json_line(&self, value: &Value) -> Result<(), Failure> {
        Ok(line(&value.to_string())?)
    }

    /// Prints a line for people: unless only results are wanted, or a program reads.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.global.quiet || self.global.json { Ok(()) } else { Ok(line(text)?) }
    }

    /// Prints a result.
    pub(crate) fn result(&self, text: &str) -> Result<(), Failure> {
        Ok(line(text)?)
    }
}

/// Runs a command to its end and gives the process's exit code.
pub fn run(cli: Cli) -> ExitCode {
    let Cli { command, global } = cli;
    let command = command.unwrap_or_else(|| default_command(Path::new(DEFAULT_FILE).exists()));
    let context = Context { look: Look::detect(global.color), global };
    let exit = match dispatch(&context, command) {
        Ok(exit) => exit,
        Err(failure) => {
            report(&context, &failure);
            failure.exit
        }
    };
    ExitCode::from(exit.code())
}

/// What `gristmill` alone does: what runs here, or, where nothing is set up, how it looks when something is.
fn default_command(file_is_near: bool) -> Command {
    if file_is_near { Command::Status } else { Command::Serve(ServeArgs { demo: true, ..ServeArgs::default() }) }
}

fn dispatch(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => wait_for(serve::run(context, args)),
        Command::Init(args) => init::run(context, &args),
        Command::Check(args) => check::run(context, &args),
        Command::Schema => schema::run(context),
        Command::Explain(args) => explain::run(context, &args),
        Command::Status => wait_for(status::run(context)),
        Command::Doctor(args) => wait_for(doctor::run(context, args)),
        Command::Force(args) => wait_for(force::run(context, args)),
        Command::Cancel(args) => wait_for(cancel::run(context, &args)),
        Command::Why(args) => wait_for(why::run(context, &args)),
        Command::Watch(args) => wait_for(watch::run(context, &args)),
        Command::Logs(args) => wait_for(logs::run(context, &args)),
        Command::Graph(args) => wait_for(graph::run(context, &args)),
        Command::Sweep(args) => wait_for(sweep::run(context, &args)),
        Command::Replay(args) => wait_for(replay::run(context, &args)),
        Command::Backup(args) => wait_for(backup::run(context, args)),
        Command::Restore(args) => wait_for(restore::run(context, args)),
        Command::Retention(args) => wait_for(retention::run(context, args)),
        Command::Worker(args) => wait_for(workers::run(context, args)),
        Command::Completions(args) => completions::run(&args),
    }
}

fn wait_for(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command)
}

/// Says on standard error what went wrong; with `--json` as one object on standard output as well.
fn report(context: &Context, failure: &Failure) {
    if failure.message.is_empty() {
        return;
    }
    if context.global.json {
        let object = serde_json::json!({"error": {
            "exit": failure.exit.code(), "message": failure.message, "hint": failure.hint,
        }});
        if context.json(&object).is_ok() {
            return;
        }
    }
    complain(&format!("{} {failure}", context.look.paint(Ink::Red, "gristmill:")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gristmill_alone_shows_the_demo_where_nothing_is_set_up() {
        assert!(matches!(default_command(true), Command::Status));
        assert!(matches!(default_command(false), Command::Serve(ServeArgs { demo: true, .. })));
    }
}
