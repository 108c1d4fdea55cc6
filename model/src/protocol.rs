//! What a worker and the service say to each other.
//!
//! The worker dials out. It says [`Hello`], then asks for commands (a long poll, which is also its heartbeat), reports
//! what happens in [`Report`]s, and appends log bytes by offset. Everything may be repeated: commands are given again
//! until they are acknowledged, reports carry a sequence number per lease, log bytes carry their offset. Everything
//! that a worker says about a build carries the lease's epoch and is refused under an older one (S9). The built-in
//! worker speaks the same without a socket.

pub mod wire;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    About, BuildId, BuilderName, Cause, Outcome, ProjectName, Recipe, SchedulerName, StampSet, Timestamp, TokenId,
    WorkerName,
};

/// Limits of the protocol.
pub mod limit {
    /// Uncompressed bytes of log in one frame.
    pub const FRAME_BYTES_MAX: usize = 64 * 1024;
    /// Bytes of log of one step; what comes after is dropped with an explicit remark, and the tail is kept.
    pub const LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;
    /// Bytes of a summary line.
    pub const SUMMARY_BYTES_MAX: usize = 500;
    /// Reports in one request.
    pub const REPORTS_MAX: usize = 256;
    /// Bytes of a request with reports: 200 tests with their messages, escaped, and room.
    pub const REPORTS_BYTES_MAX: usize = 3 * 1024 * 1024;
}

/// A worker introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// Who it is. For a remote worker this is filled in by the service, from its credential alone.
    #[serde(default)]
    pub worker: WorkerName,
    /// What it is and has.
    pub labels: BTreeMap<String, String>,
    /// How many builds it runs at once.
    pub slots: u32,
    /// The builds it still has, with their epochs.
    pub builds: Vec<Held>,
    /// What it says of its own program.
    #[serde(default)]
    pub about: About,
    /// The token that it joined by; filled in by the service, never read from outside.
    #[serde(skip)]
    pub token: Option<TokenId>,
    /// The public key that it proved to have; filled in by the service, never read from outside.
    #[serde(skip)]
    pub key: Option<String>,
}

/// A build that a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub build: BuildId,
    /// Under which epoch.
    pub epoch: i64,
}

/// The service answers a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Of the builds that the worker said it has: those that are no longer its own, and must be stopped.
    pub stop: Vec<Held>,
}

/// What the service wants of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "most commands are orders")]
pub enum WorkerCommand {
    /// Run this.
    Start {
        /// Everything there is to know about it.
        order: BuildOrder,
    },
    /// A waiting trigger step is over; go on with the next step.
    Resume {
        /// Which build.
        build: BuildId,
        /// Under which epoch.
        epoch: i64,
        /// The step that is over, so that a repeated command is not taken for the next one's; whichever waits if unknown.
        #[serde(default)]
        step: Option<u32>,
        /// What the step came to.
        outcome: Outcome,
        /// One line on it.
        summary: String,
    },
    /// End this build: TERM, grace, KILL; report it as cancelled.
    Cancel {
        /// Which build.
        build: BuildId,
        /// Under which epoch.
        epoch: i64,
        /// Who asked for it, for the log.
        by: String,
    },
}

/// Everything a worker must know to run one build, and nothing to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOrder {
    /// The build.
    pub build: BuildId,
    /// The lease's epoch.
    pub epoch: i64,
    /// Which attempt it is.
    pub attempt: u32,
    /// The builder: its workspace is kept from build to build.
    pub builder: BuilderName,
    /// Its project.
    pub project: Option<ProjectName>,
    /// The scheduler that set it off.
    pub scheduler: SchedulerName,
    /// The branch that it counts for.
    pub branch: String,
    /// The revisions, frozen.
    pub stamps: StampSet,
    /// Where each repository of the stamps is fetched from.
    pub origins: BTreeMap<crate::RepositoryName, Origin>,
    /// What to do.
    pub recipe: Recipe,
    /// Values given by whoever set it off; they become environment variables `GRISTMILL_PROPERTY_<NAME>`.
    pub properties: BTreeMap<String, String>,
    /// When the lease was given.
    pub at: Timestamp,
}

/// Where a repository is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// Its URL or path.
    pub url: String,
    /// The service's own mirror of it, for the worker on the same machine. Remote workers never see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
}

/// Something that a worker has to say about a build, numbered from 1 per lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// About which build.
    pub build: BuildId,
    /// Under which epoch.
    pub epoch: i64,
    /// Its number in this lease; a number that was seen before is acknowledged and passed over.
    pub seq: u64,
    /// What.
    pub body: ReportBody,
}

/// What a worker reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum ReportBody {
    /// The build began.
    Started,
    /// A step began.
    StepStarted {
        /// Which, from 0.
        step: u32,
    },
    /// A step ended.
    StepFinished {
        /// Which.
        step: u32,
        /// With what.
        outcome: Outcome,
        /// Whose fault a bad end was.
        cause: Option<Cause>,
        /// One line on it.
        summary: String,
        /// Lines of its output that are warnings.
        #[serde(default)]
        warnings: u64,
    },
    /// A step that runs gave values out, before its end.
    StepOutputs {
        /// Which.
        step: u32,
        /// The values by name, within [`crate::step::limit`].
        outputs: BTreeMap<String, String>,
    },
    /// A step that runs tested something, before its end.
    StepTests {
        /// Which.
        step: u32,
        /// The number of the first of them in the step.
        first: u32,
        /// What the tests came to, at most [`crate::step::limit::TESTS_AT_ONCE`].
        tests: Vec<crate::TestCase>,
    },
    /// A file of a step that runs is with the service, before the step's end.
    ArtifactStored {
        /// Which step.
        step: u32,
        /// The file's path from the step's folder.
        path: String,
        /// Its bytes.
        bytes: u64,
        /// SHA-256 of its bytes.
        digest: crate::Digest,
    },
    /// A trigger step was reached. The service starts the buildset; a waiting step goes on by [`WorkerCommand::Resume`].
    TriggerReached {
        /// Which step.
        step: u32,
    },
    /// The build ended.
    Finished {
        /// With what: `Retry` asks for another attempt, which the service may refuse.
        outcome: Outcome,
        /// Whose fault a bad end was.
        cause: Option<Cause>,
        /// One line on it.
        summary: String,
    },
}

/// Which log of a build: what a step prints, `stdout` and `stderr` in order of arrival, or a file that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogAddress {
    /// The build.
    pub build: BuildId,
    /// The lease's epoch: a retry never meets its predecessor's bytes.
    pub epoch: i64,
    /// The step's number.
    pub step: u32,
    /// Which of the step's logs: 0 is what it prints, the others are its followed files in the order of their names.
    #[serde(default)]
    pub log: u32,
}

impl LogAddress {
    /// Names the log of what a step prints.
    pub fn output(build: BuildId, epoch: i64, step: u32) -> Self {
        Self { build, epoch, step, log: crate::StepRecipe::OUTPUT_LOG }
    }
}

/// A piece of a log, compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAppend {
    /// Which log.
    pub log: LogAddress,
    /// Where the piece begins in the uncompressed log.
    pub offset: u64,
    /// How many bytes it has uncompressed, at most [`limit::FRAME_BYTES_MAX`].
    pub length: u32,
    /// One zstd frame.
    pub frame: Vec<u8>,
}

/// What the service answers to a worker that asks for a step's secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Secrets {
    /// Here they are.
    Given {
        /// The values by the names of their variables.
        values: BTreeMap<String, String>,
    },
    /// The build may not have one of them, or it cannot be read; asking again changes nothing.
    Denied {
        /// Why, without any value.
        why: String,
    },
}

impl std::fmt::Debug for Secrets {
    /// Names what there is; a value is never written anywhere.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given { values } => f.debug_struct("Given").field("names", &values.keys()).finish_non_exhaustive(),
            Self::Denied { why } => f.debug_struct("Denied").field("why", why).finish(),
        }
    }
}

/// A piece of a file on its way to the service's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactPiece {
    /// The build.
    pub build: BuildId,
    /// The lease's epoch.
    pub epoch: i64,
    /// SHA-256 of the whole file.
    pub digest: crate::Digest,
    /// Bytes of the whole file, at most [`crate::step::limit::ARTIFACT_BYTES_MAX`].
    pub total: u64,
    /// Where the piece begins.
    pub offset: u64,
    /// It; at most [`crate::step::limit::ARTIFACT_PIECE_BYTES_MAX`]. Empty to ask how much is there.
    pub bytes: Vec<u8>,
}

/// Why the service did not take what a worker said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The lease is no longer the worker's: it must stop the build and forget it.
    #[error("the lease of build {build} under epoch {epoch} is no longer yours")]
    Fenced {
        /// Which build.
        build: BuildId,
        /// Under which epoch.
        epoch: i64,
    },
    /// The piece does not begin where the stored log ends: send from there.
    #[error("the log ends at {length}")]
    Offset {
        /// Where it ends.
        length: u64,
    },
    /// The service cannot take it now: say it again later.
    #[error("the service cannot take it now: {why}")]
    Unavailable {
        /// Why.
        why: String,
    },
    /// The service does not take this worker, and will not before somebody mends something: its token, its program.
    #[error("{why}")]
    Rejected {
        /// What is wrong, and what to do.
        why: String,
    },
}
