//! What a step may ask for besides its command, and what comes out of it: conditions, limits, isolation, secrets,
//! outputs, tests, artifacts. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::matching::{BadPattern, Field, Patterns};
use crate::{BuildId, Digest, Outcome, Timestamp};

/// Bounds of what a step asks for and of what comes out of it (E7).
pub mod limit {
    /// Files that are followed by one step.
    pub const LOGS_MAX: usize = 8;
    /// Patterns of warnings of one step.
    pub const WARNINGS_MAX: usize = 20;
    /// Bytes of one pattern.
    pub const PATTERN_BYTES_MAX: usize = 1024;
    /// Bytes that a pattern may have when it is compiled.
    pub const PATTERN_PROGRAM_BYTES_MAX: usize = 1024 * 1024;
    /// Outputs of one step.
    pub const OUTPUTS_MAX: usize = 64;
    /// Bytes of one output.
    pub const OUTPUT_BYTES_MAX: usize = 4096;
    /// Bytes of the file that outputs are written to.
    pub const OUTPUT_FILE_BYTES_MAX: u64 = 64 * 1024;
    /// Tests that are kept of one step; the failed ones first.
    pub const TESTS_MAX: usize = 10_000;
    /// Tests in one report.
    pub const TESTS_AT_ONCE: usize = 200;
    /// Bytes of a test's message.
    pub const TEST_MESSAGE_BYTES_MAX: usize = 4096;
    /// Bytes of a test's or a suite's name.
    pub const TEST_NAME_BYTES_MAX: usize = 500;
    /// Files that are kept of one build.
    pub const ARTIFACTS_MAX: usize = 1_000;
    /// Bytes of one of them.
    pub const ARTIFACT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
    /// Bytes of its path.
    pub const ARTIFACT_PATH_BYTES_MAX: usize = 500;
    /// Bytes of a file's piece on its way to the service.
    pub const ARTIFACT_PIECE_BYTES_MAX: usize = 1024 * 1024;
    /// Secrets of one builder.
    pub const SECRETS_MAX: usize = 64;
    /// Bytes of one secret.
    pub const SECRET_BYTES_MAX: usize = 64 * 1024;
}

/// When a step runs: all that is named must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StepCondition {
    /// How the build must have fared so far.
    #[serde(default)]
    pub outcome: SoFar,
    /// Patterns for the branch; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branch: Vec<String>,
    /// Patterns for properties, by name. One that was not given has no value, and nothing accepts it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Vec<String>>,
    /// The same for outputs of earlier steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Vec<String>>,
}

/// How a build must have fared for a step to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SoFar {
    /// Nothing has halted it; what every step waits for that says nothing else.
    #[default]
    Going,
    /// Nothing has halted it, and nothing failed.
    Success,
    /// Something failed, whether it halted the build or not.
    Failure,
    /// However it fared, and even if it was cancelled.
    Always,
}

/// What a condition looks at.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// What the steps before add up to.
    pub outcome: Outcome,
    /// The branch that the build counts for.
    pub branch: &'a str,
    /// The build's properties.
    pub properties: &'a BTreeMap<String, String>,
    /// What earlier steps gave out.
    pub outputs: &'a BTreeMap<String, String>,
}

impl StepCondition {
    /// Says whether a step is looked at again once the build is halted.
    pub fn outlives_halt(&self) -> bool {
        matches!(self.outcome, SoFar::Failure | SoFar::Always)
    }

    /// Says whether a step runs even in a build that was cancelled.
    pub fn outlives_cancel(&self) -> bool {
        self.outcome == SoFar::Always
    }

    /// Reads its patterns.
    ///
    /// # Errors
    /// The first pattern that cannot be read.
    pub fn check(&self) -> Result<(), BadPattern> {
        read(Field::Branch, &self.branch)?;
        self.properties.values().chain(self.outputs.values()).try_for_each(|texts| read(VALUE, texts).map(drop))
    }

    /// Asks; a no says in one line what said it. A pattern that cannot be read, which no configuration lets through,
    /// accepts nothing.
    ///
    /// # Errors
    /// Why the step does not run.
    pub fn holds(&self, at: &Circumstances<'_>) -> Result<(), String> {
        match (self.outcome, at.outcome.is_bad()) {
            (SoFar::Success, true) => return Err(format!("not after {}", at.outcome)),
            (SoFar::Failure, false) => return Err("only after a failure".to_owned()),
            _ => {}
        }
        if !self.branch.is_empty() {
            accepts(Field::Branch, "branch", &self.branch, Some(at.branch))?;
        }
        for (what, wanted, there) in
            [("property", &self.properties, at.properties), ("output", &self.outputs, at.outputs)]
        {
            for (name, patterns) in wanted {
                accepts(VALUE, &format!("{what} {name}"), patterns, there.get(name).map(String::as_str))?;
            }
        }
        Ok(())
    }
}

/// A value is a text and no path: `*` goes over slashes in it, as in a message.
const VALUE: Field = Field::Message;

fn read(field: Field, texts: &[String]) -> Result<Patterns, BadPattern> {
    Patterns::parse(field, texts.iter().map(String::as_str))
}

fn accepts(field: Field, what: &str, texts: &[String], value: Option<&str>) -> Result<(), String> {
    let wanted = texts.join(", ");
    match value {
        Some(value) if read(field, texts).is_ok_and(|patterns| patterns.accepts(value)) => Ok(()),
        Some(value) => Err(format!("{what} `{value}` does not match {wanted}")),
        None => Err(format!("{what} has no value, and {wanted} is wanted")),
    }
}

/// What a step may use up. What is not said is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory: of each process, and of all together where the system keeps count of groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Bytes of one file that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Time on a processor, of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Duration>,
    /// How much it stands back behind others: 0 to 19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<u8>,
}

impl Limits {
    /// Says whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What commands are kept in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Isolation {
    /// Nothing: they are processes of the worker's own user.
    #[default]
    None,
    /// Bubblewrap: the system read-only, a `/tmp` of their own, the build's folder.
    Bubblewrap {
        /// Whether they see the network.
        network: bool,
    },
    /// A container.
    Container {
        /// The image.
        image: String,
        /// What runs it.
        engine: Engine,
        /// Whether they see the network.
        network: bool,
    },
}

impl Isolation {
    /// Says whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Gives the label that a worker must have.
    pub fn label(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Bubblewrap { .. } => Some("isolation.bubblewrap"),
            Self::Container { engine: Engine::Docker, .. } => Some("isolation.docker"),
            Self::Container { engine: Engine::Podman, .. } => Some("isolation.podman"),
        }
    }
}

/// A program that runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Docker.
    #[default]
    Docker,
    /// Podman.
    Podman,
}

impl Engine {
    /// Gives the program's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// A secret that a builder's commands are given. Its value is in no recipe, order, row or event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Its name in the configuration.
    pub from: String,
    /// How they are given it.
    #[serde(rename = "as")]
    pub form: SecretForm,
}

/// How a command is given a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretForm {
    /// As an environment variable.
    #[default]
    Env,
    /// As a file that only the step's user reads; the variable has its path.
    File,
}

/// What one test of a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCase {
    /// The suite or class that it belongs to.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// What it came to.
    pub outcome: TestOutcome,
    /// How long it took, in microseconds; 0 if nobody says.
    #[serde(default)]
    pub micros: u64,
    /// What it said, at most [`limit::TEST_MESSAGE_BYTES_MAX`].
    #[serde(default)]
    pub message: String,
}

/// What a test came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestOutcome {
    /// It failed.
    Failed,
    /// It could not be run to its end.
    Error,
    /// It was left out.
    Skipped,
    /// It passed.
    Passed,
}

impl TestOutcome {
    /// All of them, the ones to look at first.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Error, Self::Skipped, Self::Passed];

    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Passed => "passed",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

impl fmt::Display for TestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file that is kept of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The build.
    pub build: BuildId,
    /// The step that made it.
    pub step: u32,
    /// Its path from the step's folder, with `/`.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes: where it is kept.
    pub digest: Digest,
    /// When it was stored.
    pub at: Timestamp,
}

/// Says whether a text may be an artifact's path: relative, without `..`, printable, at most
/// [`limit::ARTIFACT_PATH_BYTES_MAX`].
pub fn is_artifact_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= limit::ARTIFACT_PATH_BYTES_MAX
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Says whether a text may be the name of an output: it becomes part of a variable's name.
pub fn is_output_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 70
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: &StepCondition, outcome: Outcome, wanted: &str) {
        let properties = BTreeMap::from([("stage".to_owned(), "beta/2".to_owned())]);
        let outputs = BTreeMap::from([("changed".to_owned(), "yes".to_owned())]);
        let at = Circumstances { outcome, branch: "release/2", properties: &properties, outputs: &outputs };
        assert_eq!(condition.holds(&at).map_or_else(|why| why, |()| "runs".to_owned()), wanted);
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_condition_says_what_kept_a_step_from_running() {
        let any = StepCondition::default();
        check(&any, Outcome::Warnings, "runs");
        check(&any, Outcome::Failure, "runs");
        let good = StepCondition { outcome: SoFar::Success, ..any.clone() };
        check(&good, Outcome::Failure, "not after failure");
        let failed = StepCondition { outcome: SoFar::Failure, ..any.clone() };
        check(&failed, Outcome::Success, "only after a failure");
        check(&failed, Outcome::Failure, "runs");
        let branch = StepCondition { branch: texts(&["main", "release/*"]), ..any.clone() };
        check(&branch, Outcome::Success, "runs");
        let other = StepCondition { branch: texts(&["!release/*"]), ..any.clone() };
        check(&other, Outcome::Success, "branch `release/2` does not match !release/*");
        let property = StepCondition { properties: [("stage".to_owned(), texts(&["beta*"]))].into(), ..any.clone() };
        check(&property, Outcome::Skipped, "runs");
        let none = StepCondition { properties: [("goal".to_owned(), texts(&["*"]))].into(), ..any.clone() };
        check(&none, Outcome::Success, "property goal has no value, and * is wanted");
        let output = StepCondition { outputs: [("changed".to_owned(), texts(&["no"]))].into(), ..any };
        check(&output, Outcome::Success, "output changed `yes` does not match no");
    }

    #[test]
    fn a_condition_with_a_bad_pattern_is_named_and_accepts_nothing() {
        let bad = StepCondition { branch: texts(&["re:("]), ..StepCondition::default() };
        assert_eq!(bad.check().expect_err("it cannot be read").to_string(), "pattern `re:(`: unclosed group");
        check(&bad, Outcome::Success, "branch `release/2` does not match re:(");
    }

    #[test]
    fn paths_of_artifacts_stay_where_they_are() {
        for path in ["a", "dist/a.tar.gz", "über/ä", "a b", "..a"] {
            assert!(is_artifact_path(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a", "a\nb", "a\\b"] {
            assert!(!is_artifact_path(path), "{path:?}");
        }
        assert!(is_output_name("version-2") && !is_output_name("2") && !is_output_name("a=b") && !is_output_name(""));
    }
}
