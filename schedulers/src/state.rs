//! The state: everything open, nothing finished. Loaded from the tables, kept current by [`State::apply`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_model::{
    Build, BuildId, BuilderName, Buildset, BuildsetId, ChangeId, Digest, Edge, Incident, IncidentId, InstanceEpoch,
    LastIds, Outcome, Pace, Rating, Recipe, RefName, RepositoryName, Request, RequestId, Revision, SchedulerName, Seq,
    StampSet, Timestamp, Token, TokenId, Worker, WorkerName,
};

/// Everything open. `BTreeMap` throughout, so that iteration never depends on chance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The journal's head: the number of the last event that is folded in.
    pub head: Seq,
    /// Which installation this is: higher after each restore of a backup.
    pub instance: InstanceEpoch,
    /// When that event happened: the next one happens no earlier, whatever the machine's clock says.
    pub at: Timestamp,
    /// The last number given out, per noun.
    pub last: LastIds,
    /// Repositories that were seen, and how they fare.
    pub repositories: BTreeMap<RepositoryName, Sight>,
    /// Accepted tips.
    pub tips: BTreeMap<RepositoryName, BTreeMap<RefName, Tip>>,
    /// Changes that a scheduler holds, per branch. The value is never empty.
    pub held: BTreeMap<SchedulerName, BTreeMap<BranchKey, Vec<HeldChange>>>,
    /// Timed schedulers' last and next moments.
    pub timers: BTreeMap<SchedulerName, Timer>,
    /// Every recipe that was recorded and is still referred to.
    pub recipes: BTreeMap<Digest, Arc<Recipe>>,
    /// Open buildsets.
    pub buildsets: BTreeMap<BuildsetId, Buildset>,
    /// Requests of open buildsets, settled ones included: all of a buildset leave when it completes.
    pub requests: BTreeMap<RequestId, Request>,
    /// Ready requests in the order in which they are placed: higher priority first, then older. Derived.
    pub ready: BTreeSet<(Reverse<i32>, RequestId)>,
    /// The first request of each open buildset; the others follow it without gaps.
    pub first_request: BTreeMap<BuildsetId, RequestId>,
    /// Edges of open buildsets, by the request that waits.
    pub needs: BTreeMap<RequestId, Vec<Edge>>,
    /// The same edges, by the request that is needed.
    pub needed_by: BTreeMap<RequestId, Vec<Edge>>,
    /// Unfinished builds.
    pub builds: BTreeMap<BuildId, OpenBuild>,
    /// Workers known.
    pub workers: BTreeMap<WorkerName, Worker>,
    /// Where each builder's newest checkout is, and how long its builds take.
    pub paces: BTreeMap<BuilderName, Pace>,
    /// How workers fare that had trouble lately.
    pub ratings: BTreeMap<WorkerName, Rating>,
    /// Tokens by which workers join, revoked ones included.
    pub tokens: BTreeMap<TokenId, Token>,
    /// What the last telling build said of a builder on a branch.
    pub standings: BTreeMap<(BuilderName, String), Standing>,
    /// Open incidents.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Completed buildsets that a dependent scheduler has noted and not yet built on: scheduler → upstream scheduler →
    /// the newest buildset. All of a scheduler's are used up when it makes a buildset.
    pub upstreams: BTreeMap<SchedulerName, BTreeMap<SchedulerName, UpstreamDone>>,
    /// What the service found wrong with itself and has not found mended: the check, and its words.
    pub findings: BTreeMap<String, String>,
}

/// A branch (or tag) of a repository.
pub type BranchKey = (RepositoryName, String);

/// How a repository fares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// Whether it has been swept at least once.
    pub seen: bool,
    /// How often in a row it could not be read.
    pub failures: u32,
}

/// Where a ref is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    /// The revision; `None` if the ref is gone.
    pub revision: Option<Revision>,
    /// How often it moved; 0 if its tip was only recorded.
    pub seq: i64,
    /// The newest change of it.
    pub change: Option<ChangeId>,
}

/// A change that waits for its branch to be quiet, or for a tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldChange {
    /// Which.
    pub change: ChangeId,
    /// The revision that it brought.
    pub revision: Revision,
    /// When it was held.
    pub at: Timestamp,
    /// When it is due; `None` if it waits for a tip.
    pub until: Option<Timestamp>,
}

/// A timed scheduler's moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The last one that fired.
    pub nominal: Option<Timestamp>,
    /// The next one.
    pub next: Option<Timestamp>,
}

/// An unfinished build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBuild {
    /// The build.
    pub build: Build,
    /// Steps that began, by number, with their outcome once they have one.
    pub steps: BTreeMap<u32, Option<Outcome>>,
    /// The buildset that the suspended step waits for.
    pub waits_for: Option<BuildsetId>,
}

/// What the last telling build said of a builder on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The outcome.
    pub outcome: Outcome,
    /// The build.
    pub build: BuildId,
    /// Per repository, the newest change that the last good build contained.
    pub good: BTreeMap<RepositoryName, ChangeId>,
    /// The open incident that it belongs to.
    pub incident: Option<IncidentId>,
}

/// A completed buildset that a dependent scheduler has taken into account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamDone {
    /// Which.
    pub buildset: BuildsetId,
    /// What it came to.
    pub outcome: Outcome,
    /// Whether that meets the dependent scheduler's condition.
    pub meets: bool,
    /// The branch that it counted for.
    pub branch: String,
    /// The stamps that it was made from.
    pub stamps: StampSet,
    /// How many buildsets set each other off before it.
    pub depth: u32,
}
