//! `gristmill-worker`: runs builds of a service on this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    gristmill_worker::program::run(std::env::args_os())
}
