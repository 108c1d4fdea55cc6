//! The system's git as child processes: settings of its own, no prompt, no hook, no shell, no helper program.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_model::{Command, Limits, Timeouts};
use tokio::time::Instant;

use super::{CheckoutError, Mirrors};
use crate::LogWriter;
use crate::executor::{Apart, Executor, StepEnd, StepOrder, Stop};

/// The ways in which git may fetch. Anything else, such as `ext::`, would run a program of the URL's choice.
const PROTOCOLS: &str = "file:git:http:https:ssh";

/// Settings of all git processes, in place of the user's and the system's.
const GLOBAL: &str = "\
# Written by Gristmill; changes are lost.
[safe]
\tdirectory = *
[core]
\thooksPath = /dev/null
\tfsmonitor = false
[gc]
\tautoDetach = false
[maintenance]
\tautoDetach = false
[fetch]
\trecurseSubmodules = false
[submodule]
\trecurse = false
[advice]
\tdetachedHead = false
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
";

/// Settings of one folder. A build may have written others, which may be commands.
pub(super) fn settings(is_sha256: bool) -> &'static str {
    if is_sha256 {
        "[core]\n\trepositoryformatversion = 1\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n\
         [extensions]\n\tobjectFormat = sha256\n"
    } else {
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n"
    }
}

/// Writes the settings of all git processes into the worker's folder.
pub(crate) fn write_settings(data: &Path) -> io::Result<PathBuf> {
    let path = data.join("gitconfig");
    fs::write(&path, GLOBAL)?;
    Ok(path)
}

/// How a git process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Success,
    Failure,
    Overtime,
    Stopped,
}

impl Ended {
    pub(super) fn is_success(self) -> bool {
        self == Self::Success
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "succeeded",
            Self::Failure => "failed",
            Self::Overtime => "took too long",
            Self::Stopped => "was stopped",
        })
    }
}

/// Runs git for one checkout step.
pub(crate) struct Git<'a> {
    executor: &'a dyn Executor,
    stop: Stop,
    environment: BTreeMap<String, String>,
    timeouts: Timeouts,
    until: Instant,
    outside: PathBuf,
    mirrors: Option<Arc<Mirrors>>,
}

impl<'a> Git<'a> {
    /// `environment` is the step's; `data` is the worker's folder.
    pub(crate) fn new(
        executor: &'a dyn Executor,
        stop: Stop,
        mut environment: BTreeMap<String, String>,
        timeouts: Timeouts,
        data: &Path,
        mirrors: Option<Arc<Mirrors>>,
    ) -> Self {
        // A variable such as GIT_SSH_COMMAND or GIT_EXTERNAL_DIFF is a step's business, not the checkout's.
        environment.retain(|name, _| !name.starts_with("GIT_"));
        let global = data.join("gitconfig").display().to_string();
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", &global),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "true"),
            ("SSH_ASKPASS", "true"),
            ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            ("GIT_ALLOW_PROTOCOL", PROTOCOLS),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("LC_ALL", "C"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        Self {
            executor,
            stop,
            environment,
            timeouts,
            until: Instant::now() + timeouts.total,
            outside: data.to_owned(),
            mirrors,
        }
    }

    /// Runs git on the repository in `folder`, and on no other, even if that one is broken.
    pub(super) async fn run(
        &mut self,
        folder: &Path,
        arguments: &[&str],
        log: &mut LogWriter,
    ) -> Result<Ended, CheckoutError> {
        let mut environment = self.environment.clone();
        environment.insert("GIT_DIR".to_owned(), folder.join(".git").display().to_string());
        environment.insert("GIT_WORK_TREE".to_owned(), folder.display().to_string());
        self.execute(folder, environment, arguments, log).await
    }

    /// Gives the worker's mirrors, if it keeps any.
    pub(super) fn mirrors(&self) -> Option<Arc<Mirrors>> {
        self.mirrors.clone()
    }

    /// Waits for something as long as the step may go on.
    pub(super) async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, CheckoutError> {
        tokio::select! {
            biased;
            () = self.stop.asked.cancelled() => Err(CheckoutError::Ended(Ended::Stopped)),
            () = tokio::time::sleep_until(self.until) => Err(CheckoutError::Ended(Ended::Overtime)),
            value = wait => Ok(value),
        }
    }

    /// Runs git on a bare repository.
    pub(super) async fn run_bare(
        &mut self,
        folder: &Path,
        arguments: &[&str],
        log: &mut LogWriter,
    ) -> Result<Ended, CheckoutError> {
        let mut environment = self.environment.clone();
        environment.insert("GIT_DIR".to_owned(), folder.display().to_string());
        self.execute(folder, environment, arguments, log).await
    }

    /// Runs git outside of all repositories.
    pub(super) async fn run_outside(
        &mut self,
        arguments: &[&str],
        log: &mut LogWriter,
    ) -> Result<Ended, CheckoutError> {
        let mut environment = self.environment.clone();
        environment.insert("GIT_DIR".to_owned(), "/dev/null".to_owned());
        let folder = self.outside.clone();
        self.execute(&folder, environment, arguments, log).await
    }

    async fn execute(
        &self,
        folder: &Path,
        environment: BTreeMap<String, String>,
        arguments: &[&str],
        log: &mut LogWriter,
    ) -> Result<Ended, CheckoutError> {
        let words = std::iter::once("git").chain(arguments.iter().copied()).map(str::to_owned).collect();
        let total = self.until.saturating_duration_since(Instant::now());
        let step = StepOrder {
            command: Command::Arguments(words),
            folder: folder.to_owned(),
            environment,
            // A big fetch may be silent for long; a network that stands still is git's own to notice.
            timeouts: Timeouts { idle: total, total, ..self.timeouts },
            limits: Limits::default(),
            apart: Apart::default(),
        };
        let end = self.executor.run(&step, log, &self.stop).await.map_err(|source| CheckoutError::Git { source })?;
        match end {
            StepEnd::Exited { code: 0 } => Ok(Ended::Success),
            StepEnd::Exited { .. } | StepEnd::Signalled { .. } => Ok(Ended::Failure),
            StepEnd::Idle { .. } | StepEnd::Overtime { .. } => Err(CheckoutError::Ended(Ended::Overtime)),
            StepEnd::Stopped => Err(CheckoutError::Ended(Ended::Stopped)),
        }
    }
}
