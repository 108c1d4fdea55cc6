//! Runs targets by hand; `docs/fuzzing.md` says how.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use gristmill_fuzz::coverage::Reached;
use gristmill_fuzz::hunt::{Effort, hunt};
use gristmill_fuzz::{TARGETS, Target, corpus, coverage, shrink, target, trial};

/// Bytes of an input that is kept for ever.
const KEPT_BYTES_MAX: usize = 4096;
/// Inputs of a target that are kept for ever.
const KEPT_MAX: usize = 16;

/// Hostile input for everything that reads what comes from outside.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the targets with what they claim.
    List,
    /// Searches, each target in a process of its own.
    Run(Run),
    /// Searches one target in this process.
    Hunt(Hunt),
    /// Runs one input, and says what it does.
    Repeat {
        /// The target.
        target: String,
        /// The input's file.
        file: PathBuf,
    },
    /// Makes a failing input small.
    Shrink {
        /// The target.
        target: String,
        /// The input's file.
        file: PathBuf,
    },
    /// Keeps the smallest found inputs that reach what the kept ones do not.
    Keep {
        /// These targets only.
        targets: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// These targets only.
    targets: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct Hunt {
    /// The target.
    target: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args, Clone, Copy)]
struct How {
    /// Inputs that are tried per target.
    #[arg(long, default_value_t = u64::MAX)]
    executions: u64,
    /// Seconds per target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What chance starts from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        What::List => list(),
        What::Run(run) => run_all(&run),
        What::Hunt(hunt) => hunt_one(named(&hunt.target)?, hunt.how),
        What::Repeat { target, file } => repeat(named(&target)?, &file),
        What::Shrink { target, file } => shrink_one(named(&target)?, &file),
        What::Keep { targets } => {
            for target in chosen(&targets)? {
                keep(target)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn named(name: &str) -> anyhow::Result<&'static Target> {
    target(name).with_context(|| format!("there is no target `{name}`; `gristmill-fuzz list` names them"))
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Target>> {
    match names {
        [] => Ok(TARGETS.iter().collect()),
        names => names.iter().map(|name| named(name)).collect(),
    }
}

fn list() -> anyhow::Result<ExitCode> {
    for target in TARGETS {
        println!("{:<18} {}", target.name, target.claim);
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a process per target, so that an input which kills one is only that target's failure.
fn run_all(run: &Run) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let mut failed = Vec::new();
    for target in chosen(&run.targets)? {
        let mut child = Command::new(&program)
            .args(["hunt", target.name, "--executions", &run.how.executions.to_string()])
            .args(["--seconds", &run.how.seconds.to_string(), "--seed", &run.how.seed.to_string()])
            .spawn()?;
        let id = child.id();
        let status = child.wait()?;
        if status.code().is_none() {
            let on_trial = corpus::trial_folder().join(format!("{}-{id}", target.name));
            println!("{}: killed ({status}) by the input {}", target.name, on_trial.display());
        }
        if !status.success() {
            failed.push(target.name);
        }
    }
    match failed.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        failed => bail!("these targets failed: {}", failed.join(", ")),
    }
}

fn hunt_one(target: &Target, how: How) -> anyhow::Result<ExitCode> {
    let How { executions, seconds, seed } = how;
    let keeps = coverage::is_there();
    let caught = hunt(target, Effort { executions, time: Duration::from_secs(seconds), seed, keeps });
    println!("{}", caught.line(target));
    print!("{}", caught.report(target));
    Ok(if caught.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn repeat(target: &Target, file: &PathBuf) -> anyhow::Result<ExitCode> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    match trial::run(target, &input) {
        Ok(()) => {
            println!("{}: {} bytes do no harm", target.name, input.len());
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            println!("{}: {}\n  at {}", target.name, failure.what, failure.place);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn shrink_one(target: &Target, file: &PathBuf) -> anyhow::Result<ExitCode> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let Err(failure) = trial::run(target, &input) else { bail!("it does no harm") };
    let smallest = shrink::shrink(target, &input, &failure);
    let path = corpus::keep(&corpus::failure_folder(), &format!("{}-", target.name), &smallest)?;
    println!("{} bytes: {}", smallest.len(), path.display());
    Ok(ExitCode::SUCCESS)
}

/// Adds found inputs to the kept ones, small ones first, as long as they reach something more.
fn keep(target: &Target) -> anyhow::Result<()> {
    if !coverage::is_there() {
        bail!("this build does not tell what an input reaches; use `tests/fuzz/long keep`");
    }
    let mut reached = Reached::default();
    let mut reaches_more = |input: &[u8]| {
        Reached::begin();
        let is_fine = trial::run(target, input).is_ok();
        reached.take_in() && is_fine
    };
    for seed in corpus::seeds(target) {
        reaches_more(&seed);
    }
    let mut found = corpus::read_all(&corpus::found_folder(target));
    found.retain(|(_, input)| input.len() <= KEPT_BYTES_MAX);
    found.sort_by_key(|(_, input)| input.len());
    let room = KEPT_MAX.saturating_sub(corpus::read_all(&corpus::kept_folder(target)).len());
    let mut kept = 0;
    // Every n-th is tried, so that what is kept is not only the smallest.
    let step = (found.len() / (4 * KEPT_MAX)).max(1);
    for (_, input) in found.iter().rev().step_by(step) {
        if kept < room && reaches_more(input) {
            corpus::keep(&corpus::kept_folder(target), "", input)?;
            kept += 1;
        }
    }
    println!("{:<18} {} found, {kept} kept", target.name, found.len());
    Ok(())
}
