//! What is made of changes: buildsets, requests, edges, builds, steps, incidents, workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    BuildId, BuilderName, BuildsetId, CatalogHash, Cause, ChangeId, Condition, Digest, IncidentId, NeedMode, NodeName,
    Outcome, ProjectName, RepositoryName, RequestId, SchedulerName, StampSet, Timestamp, WorkerName,
};

/// Requests made together for one stamp set. It ends with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buildset {
    /// Its number.
    pub id: BuildsetId,
    /// The scheduler that made it.
    pub scheduler: SchedulerName,
    /// The project of that scheduler.
    pub project: Option<ProjectName>,
    /// What set it off.
    pub trigger: Trigger,
    /// The frozen input: no build of it ever asks "what is newest?".
    pub stamps: StampSet,
    /// The branch that its outcome counts for.
    pub branch: String,
    /// Values given by whoever set it off.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Requests with a higher one go first.
    pub priority: i32,
    /// How many buildsets set each other off before this one; at most [`Buildset::DEPTH_MAX`] (S13).
    #[serde(default)]
    pub depth: u32,
    /// The configuration it was decided under (S22).
    pub catalog: CatalogHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// When that was.
    pub completed_at: Option<Timestamp>,
}

impl Buildset {
    /// How many buildsets may set each other off in a row.
    pub const DEPTH_MAX: u32 = 32;
}

/// What set a buildset off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Trigger {
    /// Changes that matched, oldest first.
    Changes {
        /// Which.
        changes: Vec<ChangeId>,
    },
    /// The clock.
    Time {
        /// The moment that was meant, of which there is one firing at the most (S19).
        nominal: Timestamp,
        /// The changes since the last time.
        changes: Vec<ChangeId>,
    },
    /// The ends of other buildsets (S11).
    Upstream {
        /// Which, one per upstream scheduler.
        buildsets: Vec<BuildsetId>,
    },
    /// A trigger step (S12).
    Step {
        /// The build that has the step.
        build: BuildId,
        /// The step's number in it.
        step: u32,
        /// Whether that step waits.
        wait: bool,
    },
    /// A person or program.
    Person {
        /// Who.
        by: String,
        /// Why, in their words.
        reason: Option<String>,
    },
}

/// The wish for one builder to be run on one buildset's stamps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// The buildset it belongs to.
    pub buildset: BuildsetId,
    /// Its node's name in that buildset's graph.
    pub node: NodeName,
    /// The builder.
    pub builder: BuilderName,
    /// The recipe it will be built by, whatever the configuration says by then.
    pub recipe: Digest,
    /// Recipe, stamps used and parameters together: equal digests mean equal builds.
    pub digest: Digest,
    /// Whether all needs must be met, or one is enough.
    pub mode: NeedMode,
    /// Where it stands.
    pub state: RequestState,
    /// Attempts made.
    pub attempts: u32,
    /// Grows with each lease; what a worker says under an older one is refused (S8, S9).
    pub epoch: i64,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
}

/// Where a request stands. Only the moves of [`RequestState::may_become`] exist (S10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// Needs are not met yet.
    Waiting,
    /// Free to be placed.
    Ready,
    /// A worker has it.
    Leased,
    /// Over.
    Settled,
}

impl RequestState {
    /// Says whether a request in this state may move to `next`.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Waiting, Self::Ready | Self::Settled)
                | (Self::Ready, Self::Leased | Self::Settled)
                | (Self::Leased, Self::Ready | Self::Settled)
        )
    }

    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Settled => "settled",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Ready, Self::Leased, Self::Settled].into_iter().find(|state| state.as_str() == word)
    }
}

/// "This request needs that one."
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// The request that waits.
    pub request: RequestId,
    /// The request it needs.
    pub needs: RequestId,
    /// How that must end.
    pub on: Condition,
}

/// One attempt to fulfil a request on one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its number.
    pub id: BuildId,
    /// The request.
    pub request: RequestId,
    /// The request's buildset.
    pub buildset: BuildsetId,
    /// The request's builder.
    pub builder: BuilderName,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The lease's epoch: the request's at the time.
    pub epoch: i64,
    /// The worker.
    pub worker: WorkerName,
    /// Where it stands.
    pub state: BuildState,
    /// Whether somebody asked for its end, and who.
    pub cancel: Option<String>,
    /// The number of the step that waits for a triggered buildset, while one does.
    pub suspended_step: Option<u32>,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// One line on the end, such as `step test: exit code 2`.
    pub summary: Option<String>,
    /// When the lease was given.
    pub leased_at: Timestamp,
    /// When the worker began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Build {
    /// Who asked for the end of a build that is to be tried again elsewhere, as its worker is drained.
    pub const HANDED_OVER: &'static str = "the drain's deadline";

    /// Says whether it was asked to end so that another worker can have its request.
    pub fn is_handed_over(&self) -> bool {
        self.cancel.as_deref() == Some(Self::HANDED_OVER)
    }
}

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildState {
    /// The worker has not begun.
    Leased,
    /// The worker works.
    Running,
    /// A trigger step waits for its buildset; the worker's slot is free.
    Suspended,
    /// That buildset has completed; the build waits for a slot to go on.
    Resumable,
    /// Over.
    Finished,
}

impl BuildState {
    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Resumable => "resumable",
            Self::Finished => "finished",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Leased, Self::Running, Self::Suspended, Self::Resumable, Self::Finished]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Says whether it holds a slot of its worker.
    pub fn holds_slot(self) -> bool {
        matches!(self, Self::Leased | Self::Running)
    }
}

/// One step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The build.
    pub build: BuildId,
    /// Its number in the build, from 0.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// One line on the end, such as `exit code 2` or `no output for 20 m`.
    pub summary: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The buildset that a trigger step started.
    pub triggered: Option<BuildsetId>,
}

/// Which changes may have done something: per repository, a range of one branch.
pub type Suspects = BTreeMap<RepositoryName, SuspectRange>;

/// The changes of one repository's branch with `after < id <= upto`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectRange {
    /// The branch.
    pub branch: String,
    /// The newest change that was still good; or the one before the first that was built, if nothing ever was good.
    pub after: ChangeId,
    /// The newest change that is bad.
    pub upto: ChangeId,
}

impl SuspectRange {
    /// Gives what both ranges suspect, if they suspect anything in common.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let after = self.after.max(other.after);
        let upto = self.upto.min(other.upto);
        (self.branch == other.branch && after < upto).then(|| Self { branch: self.branch.clone(), after, upto })
    }
}

/// What one culprit range broke, over however many builders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// The branch that is broken.
    pub branch: String,
    /// The first build that showed it.
    pub first_build: BuildId,
    /// Builders that are broken by it, and the build that showed each.
    pub builders: BTreeMap<BuilderName, BuildId>,
    /// Builders that were broken by it and are good again.
    pub fixed: BTreeMap<BuilderName, BuildId>,
    /// The changes that may have done it.
    pub suspects: Suspects,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When the last of its builders became good again.
    pub closed_at: Option<Timestamp>,
}
