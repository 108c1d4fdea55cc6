//! What a builder does: the part of the configuration that a build is made from, snapshotted under its digest.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    CodebaseName, Digest, Isolation, Limits, Outcome, RepositoryName, SchedulerName, SecretUse, StepCondition,
};

/// Everything about a builder that a build depends on. Stored once under its digest, so that a build that is running or
/// waiting keeps its recipe when the configuration changes (S22).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recipe {
    /// The codebases it builds from.
    pub sources: BTreeMap<CodebaseName, SourceUse>,
    /// What it asks of a worker: label → wanted value.
    #[serde(default)]
    pub requires: BTreeMap<String, String>,
    /// Environment variables of every step.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The matrix row that this recipe was expanded for.
    #[serde(default)]
    pub matrix: BTreeMap<String, String>,
    /// The steps, in order.
    pub steps: Vec<StepRecipe>,
    /// How often an attempt that ended for infrastructure reasons is repeated.
    pub retries_max: u32,
    /// How long a worker that is not heard of may go on with a build before another one starts it; `None` for
    /// [`Recipe::ORPHAN_WINDOW`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphan_window: Option<Duration>,
    /// The secrets that its commands are given, by the name of the variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretUse>,
    /// What its commands are kept in.
    #[serde(default, skip_serializing_if = "Isolation::is_none")]
    pub isolation: Isolation,
}

impl Recipe {
    /// How long a worker that is not heard of may go on with a build, unless the builder says otherwise: long enough for
    /// an upgrade of the service or a reboot of its machine.
    pub const ORPHAN_WINDOW: Duration = Duration::from_secs(300);
    /// The same for a builder of whose builds two must never run: a deployment is rather started late.
    pub const ORPHAN_WINDOW_EXCLUSIVE: Duration = Duration::from_secs(120);
    /// The shortest that a builder may say: less than the rhythm of a worker's signs of life would end builds for nothing.
    pub const ORPHAN_WINDOW_MIN: Duration = Duration::from_secs(60);
    /// The longest that a builder may say.
    pub const ORPHAN_WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

    /// Gives how long a worker that is not heard of may go on. Its worker ends the build by itself after four fifths of
    /// it, so that two workers never run the same request.
    pub fn orphan_window(&self) -> Duration {
        self.orphan_window.unwrap_or(Self::ORPHAN_WINDOW)
    }

    /// Takes the digest of the canonical JSON.
    pub fn digest(&self) -> Digest {
        let json = serde_json::to_vec(self).expect("a recipe has only string keys");
        Digest::of(&json)
    }
}

/// How a builder uses one codebase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceUse {
    /// The repository it is kept in.
    pub repository: RepositoryName,
    /// The folder it is checked out to, from the build's own folder; empty for that folder itself.
    pub into: String,
    /// The branch to take when nothing else says which; `None` for the repository's default branch.
    pub branch: Option<String>,
}

/// One step of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecipe {
    /// Its name, unique in the recipe.
    pub name: String,
    /// What it does.
    pub action: StepAction,
    /// What its end means for the build.
    #[serde(default)]
    pub rules: StepRules,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Environment variables over the builder's.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The folder it runs in, from the build's own folder.
    #[serde(default)]
    pub folder: String,
    /// Whether it runs at all; without one it runs unless the build is halted.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<StepCondition>,
    /// Files that are followed while it runs, as further logs of it: name → path from its folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logs: BTreeMap<String, String>,
    /// Regular expressions; a line of output that one of them matches is a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The values that it writes to the file `$GRISTMILL_OUTPUT`, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Patterns of the JUnit reports that it writes, from its folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub junit: Vec<String>,
    /// Patterns of the files that are kept of it, from its folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// What it may use up.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl StepRecipe {
    /// The number of a step's log that holds what it prints; its followed files come after, in the order of their names.
    pub const OUTPUT_LOG: u32 = 0;

    /// Makes a step with nothing special about it.
    pub fn new(name: impl Into<String>, action: StepAction) -> Self {
        Self {
            name: name.into(),
            action,
            rules: StepRules::default(),
            timeouts: Timeouts::default(),
            environment: BTreeMap::new(),
            folder: String::new(),
            condition: None,
            logs: BTreeMap::new(),
            warnings: Vec::new(),
            outputs: Vec::new(),
            junit: Vec::new(),
            artifacts: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Gives the number of a followed file's log.
    pub fn log_number(&self, name: &str) -> Option<u32> {
        self.logs.keys().zip(Self::OUTPUT_LOG + 1..).find(|(known, _)| *known == name).map(|(_, number)| number)
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepAction {
    /// Brings the codebases to their stamps' exact revisions, with the system's git.
    Checkout {
        /// What is kept of an earlier build's files.
        method: CheckoutMethod,
    },
    /// Runs a command.
    Run {
        /// Which.
        command: Command,
    },
    /// Starts a triggerable scheduler's graph with this build's stamps.
    Trigger {
        /// Which.
        scheduler: SchedulerName,
        /// Whether the step lasts until that buildset completes. The worker's slot is free meanwhile.
        wait: bool,
        /// Properties handed over.
        #[serde(default)]
        properties: BTreeMap<String, String>,
    },
}

/// What a checkout keeps of an earlier build's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum CheckoutMethod {
    /// Everything untracked stays: fastest.
    #[default]
    Incremental,
    /// Untracked files go, ignored ones stay.
    Clean,
    /// Untracked and ignored files go.
    Fresh,
}

/// A command: a script for `sh -e`, or an argument list that no shell sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Text for `/bin/sh -e`.
    Script(String),
    /// Program and arguments.
    Arguments(Vec<String>),
}

/// What a step's end means for its build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct StepRules {
    /// What a failure means.
    pub on_failure: OnFailure,
    /// What warnings mean.
    pub on_warnings: OnWarnings,
    /// Whether it runs even after the build has been halted.
    pub always: bool,
    /// Exit codes with a meaning of their own; others: 0 is success, the rest failure.
    #[serde(default, with = "exit_codes")]
    pub exit: BTreeMap<i32, Outcome>,
}

/// Exit codes as JSON's keys, which are texts. Inside a tagged enum serde does not read numbers out of them by itself.
mod exit_codes {
    use std::collections::BTreeMap;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::Outcome;

    pub(super) fn serialize<S: Serializer>(exit: &BTreeMap<i32, Outcome>, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: BTreeMap<String, Outcome> =
            exit.iter().map(|(code, outcome)| (code.to_string(), *outcome)).collect();
        texts.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<i32, Outcome>, D::Error> {
        let texts = BTreeMap::<String, Outcome>::deserialize(deserializer)?;
        let read = |(code, outcome): (String, Outcome)| code.parse().map(|code| (code, outcome)).map_err(Error::custom);
        texts.into_iter().map(read).collect()
    }
}

/// What a step's failure means for the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The build fails, and only `always` steps still run (Buildbot: haltOnFailure and flunkOnFailure).
    #[default]
    Halt,
    /// The build fails in the end, and the other steps run (flunkOnFailure).
    Continue,
    /// The build has warnings (warnOnFailure).
    Warn,
    /// The build does not care.
    Ignore,
}

/// What a step's warnings mean for the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum OnWarnings {
    /// The build has warnings (warnOnWarnings).
    #[default]
    Warn,
    /// The build fails (flunkOnWarnings).
    Fail,
    /// The build does not care.
    Ignore,
}

impl StepRules {
    /// Says what exit code `code` comes to.
    pub fn outcome_of_exit(&self, code: i32) -> Outcome {
        let default = if code == 0 { Outcome::Success } else { Outcome::Failure };
        self.exit.get(&code).copied().unwrap_or(default)
    }

    /// Says what a step's outcome adds to its build's, and whether it halts it.
    pub fn effect_of(&self, outcome: Outcome) -> (Outcome, bool) {
        match outcome {
            Outcome::Failure => match self.on_failure {
                OnFailure::Halt => (Outcome::Failure, true),
                OnFailure::Continue => (Outcome::Failure, false),
                OnFailure::Warn => (Outcome::Warnings, false),
                OnFailure::Ignore => (Outcome::Success, false),
            },
            Outcome::Warnings => match self.on_warnings {
                OnWarnings::Warn => (Outcome::Warnings, false),
                OnWarnings::Fail => (Outcome::Failure, self.on_failure == OnFailure::Halt),
                OnWarnings::Ignore => (Outcome::Success, false),
            },
            Outcome::Exception | Outcome::Retry | Outcome::Cancelled => (outcome, true),
            Outcome::Success | Outcome::Skipped => (outcome, false),
        }
    }
}

/// How long a step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Without any output.
    pub idle: Duration,
    /// Altogether.
    pub total: Duration,
    /// Between TERM and KILL.
    pub grace: Duration,
}

impl Default for Timeouts {
    /// 20 minutes without output, 4 hours altogether, 10 seconds from TERM to KILL.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(20 * 60),
            total: Duration::from_secs(4 * 3600),
            grace: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventBody;

    #[test]
    fn a_recipe_survives_the_journal() {
        let action = StepAction::Run { command: Command::Script("exit 3".to_owned()) };
        let step = StepRecipe {
            rules: StepRules { exit: [(3, Outcome::Warnings), (-1, Outcome::Failure)].into(), ..StepRules::default() },
            condition: Some(StepCondition { outcome: crate::SoFar::Failure, ..StepCondition::default() }),
            limits: Limits { memory: Some(1 << 30), ..Limits::default() },
            ..StepRecipe::new("test", action)
        };
        let recipe = Recipe {
            sources: BTreeMap::new(),
            requires: BTreeMap::new(),
            environment: BTreeMap::new(),
            matrix: BTreeMap::new(),
            steps: vec![step],
            retries_max: 1,
            ..Recipe::default()
        };
        let event = EventBody::RecipeRecorded { digest: recipe.digest(), recipe };
        let json = serde_json::to_string(&event).expect("an event is plain data");
        assert_eq!(serde_json::from_str::<EventBody>(&json).expect("it reads back"), event);
    }

    #[test]
    fn what_a_step_does_not_use_does_not_change_its_digest() {
        let json = serde_json::to_string(&StepRecipe::new(
            "checkout",
            StepAction::Run { command: Command::Arguments(vec![]) },
        ));
        let json = json.expect("a step is plain data");
        for word in ["if", "logs", "warnings", "outputs", "junit", "artifacts", "limits"] {
            assert!(!json.contains(&format!("\"{word}\"")), "{json}");
        }
    }
}
