//! The part of a worker that runs one step in one kind of isolation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::time::say_span;
use gristmill_model::{Command, Isolation, Limits, Timeouts};
use tokio_util::sync::CancellationToken;

use crate::LogWriter;

pub(crate) mod process;
pub(crate) mod sweep;

pub use process::Processes;

/// Runs steps.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Runs one step to its end, its limit, or `stop`, whichever comes first. Nothing that is still in the step's own
    /// process group survives its limit or its stop.
    async fn run(&self, step: &StepOrder, output: &mut LogWriter, stop: &Stop) -> Result<StepEnd, ExecutorError>;
}

/// One step, ready to be run.
#[derive(Debug, Clone)]
pub struct StepOrder {
    /// What is run.
    pub command: Command,
    /// Where; it exists.
    pub folder: PathBuf,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// What it may use up.
    pub limits: Limits,
    /// How it is kept apart from the rest of the machine.
    pub apart: Apart,
}

/// How a step is kept apart from the rest of the machine, and what it must see all the same.
#[derive(Debug, Clone, Default)]
pub struct Apart {
    /// By what.
    pub isolation: Isolation,
    /// The build's own folder.
    pub workspace: PathBuf,
    /// The step's own folder, if it has one.
    pub scratch: Option<PathBuf>,
    /// The worker's own folder, which no step that is kept apart sees.
    pub data: PathBuf,
    /// Names of the variables that are secrets: their values stand in no argument.
    pub secret: BTreeSet<String>,
    /// Names of the variables that say something about the worker's own machine.
    pub native: BTreeSet<String>,
}

/// The two ways in which a step is ended from outside.
#[derive(Debug, Clone)]
pub struct Stop {
    /// TERM, the step's own grace, KILL.
    pub asked: CancellationToken,
    /// TERM, two seconds at the most, KILL: nobody waits for the end any more.
    pub at_once: CancellationToken,
}

/// How a step's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// By itself, with this code.
    Exited {
        /// The code.
        code: i32,
    },
    /// By a signal that was not ours.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// It printed nothing for too long, and was ended.
    Idle {
        /// For how long.
        span: Duration,
    },
    /// It took too long altogether, and was ended.
    Overtime {
        /// How long it might take.
        span: Duration,
    },
    /// It was stopped from outside.
    Stopped,
}

impl fmt::Display for StepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit code {code}"),
            Self::Signalled { signal } => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "ended by signal {signal} ({name})"),
                Err(_) => write!(f, "ended by signal {signal}"),
            },
            Self::Idle { span } => write!(f, "no output for {}", say_span(*span)),
            Self::Overtime { span } => write!(f, "took longer than {}", say_span(*span)),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// Why a step could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The argument list is empty.
    #[error("there is no program to run: the argument list is empty")]
    Empty,
    /// The program is not there: what a shell says with 127.
    #[error("cannot run `{program}`: it is not in PATH")]
    NotFound {
        /// Which.
        program: String,
    },
    /// The program may not be executed: what a shell says with 126.
    #[error("cannot run `{program}`: it is not executable")]
    NotExecutable {
        /// Which.
        program: String,
    },
    /// The arguments or the environment are larger than the system takes.
    #[error("cannot run `{program}`: arguments or environment are too long for this system")]
    TooLong {
        /// Which.
        program: String,
    },
    /// The system could not start it.
    #[error("cannot start `{program}`")]
    Spawn {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}
