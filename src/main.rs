//! `gristmill`: the service and its command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use gristmill::cli;
use gristmill::cli::args::{Cli, Command, LogFormat};
use gristmill::sources::register_transports;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    if let Some(told) = cli::worker_program(&typed) {
        return gristmill_worker::program::run(told);
    }
    let cli = Cli::parse();
    log_to_standard_error(&cli);
    // Before anything makes a TLS connection: the one cryptography in this program is ring.
    rustls::crypto::ring::default_provider().install_default().expect("nothing runs before main");
    // Before any thread uses libgit2.
    register_transports();
    cli::run(cli)
}

/// Sends the program's own log where it does not mix with results. `GRISTMILL_LOG` says how much, such as
/// `gristmill=debug`.
fn log_to_standard_error(cli: &Cli) {
    let serves = matches!(&cli.command, Some(Command::Serve(args)) if !args.demo);
    let usual = match (serves, cli.global.verbose) {
        (_, 2..) => "debug",
        (true, _) => "info",
        (false, _) => "warn",
    };
    let filter = EnvFilter::try_from_env("GRISTMILL_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colored).with_writer(std::io::stderr);
    // What cannot be written is left out: saying so would be written to the same place, and panic there.
    let builder = builder.log_internal_errors(false);
    match cli.global.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}
