//! Why: what a scheduler made of a change, and what a request waits for, as typed sentences.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::matching::Mismatch;
use crate::{
    BuildId, BuilderName, BuildsetId, ChangeId, Condition, HoldKind, NodeName, Outcome, Place, RepositoryName,
    RequestId, Revision, SchedulerName, Timestamp, WorkerName,
};

/// What one scheduler made of one change. There is exactly one per change and scheduler that was active (S3, S28).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The change.
    pub change: ChangeId,
    /// The scheduler.
    pub scheduler: SchedulerName,
    /// What it came to.
    #[serde(flatten)]
    pub kind: VerdictKind,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Where the scheduler is configured.
    pub place: Place,
    /// When it was given.
    pub at: Timestamp,
}

/// What a scheduler does with a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum VerdictKind {
    /// It made a buildset.
    Built {
        /// Which.
        buildset: BuildsetId,
    },
    /// It keeps the change for later.
    Held {
        /// Until when; `None` if it waits for something else, which the reasons name.
        until: Option<Timestamp>,
        /// The change's repository.
        repository: RepositoryName,
        /// Its branch or tag.
        branch: String,
        /// The revision that it brought.
        revision: Revision,
    },
    /// It does nothing.
    Nothing,
}

impl VerdictKind {
    /// Gives the word used everywhere.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Built { .. } => "built",
            Self::Held { .. } => "held",
            Self::Nothing => "nothing",
        }
    }
}

/// One typed sentence on why a decision was what it was, or on what is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Reason {
    /// Every field of the match said yes.
    Matches,
    /// A field said no.
    Mismatch {
        /// Which, what it saw and what it wanted.
        #[serde(flatten)]
        mismatch: Mismatch,
    },
    /// The list of files or commits was cut short, so the match was answered "maybe", which counts as yes.
    MatchedConservatively,
    /// The ref was deleted, and there is nothing to build.
    RefDeleted,
    /// The change is of a tag, and the scheduler's match names none.
    TagNotAsked,
    /// The change is held for more pushes.
    QuietPeriod {
        /// Until when.
        until: Timestamp,
        /// The quiet period in seconds.
        quiet_s: u64,
        /// The longest wait in seconds.
        at_most_s: u64,
    },
    /// The branch was quiet for long enough.
    Quiet {
        /// The newest change.
        since: ChangeId,
    },
    /// The longest wait was over.
    QuietAtMost {
        /// The change that had waited longest.
        first: ChangeId,
    },
    /// A newer change of the same branch is built in its place, together with it.
    BuiltWith {
        /// The newer one.
        change: ChangeId,
    },
    /// No tip of a codebase's branch is known yet.
    TipUnknown {
        /// Which repository.
        repository: crate::RepositoryName,
        /// Which branch.
        branch: String,
    },
    /// The scheduler builds none of the builders that use this repository.
    RepositoryNotBuilt {
        /// The codebases that it does use.
        codebases: Vec<crate::CodebaseName>,
    },
    /// Needs are not met.
    Needs {
        /// Which: node, what its request is at, how it must end.
        needs: Vec<NeedState>,
    },
    /// What it needed did not end as it must.
    NeedNotMet {
        /// The node it needed.
        node: NodeName,
        /// What that came to.
        outcome: Outcome,
        /// What it had to come to.
        on: Condition,
    },
    /// No worker that is known has what is required.
    NoWorkerCan {
        /// What is missing, per worker.
        missing: Vec<WorkerMiss>,
        /// What is required, as `label=value`.
        requires: Vec<String>,
    },
    /// Workers that could are away.
    WorkersAway {
        /// Which.
        workers: Vec<WorkerName>,
    },
    /// Workers that could are kept from new builds.
    WorkersHeld {
        /// Which, and by what.
        holds: Vec<HeldWorker>,
    },
    /// Workers that could are outside of their windows, or would be before it ended.
    WorkersClosed {
        /// Which.
        workers: Vec<WorkerName>,
        /// How long it is expected to take, in seconds, if that is known.
        expected_s: Option<u64>,
        /// When the next window opens.
        opens: Option<Timestamp>,
    },
    /// Workers that could are busy.
    WorkersBusy {
        /// The builds that hold their slots.
        builds: Vec<BuildId>,
        /// The place in the queue for them, from 1.
        position: usize,
    },
    /// No worker is there at all.
    NoWorkers,
    /// It is being built.
    Running {
        /// The attempt.
        build: BuildId,
        /// The worker.
        worker: WorkerName,
    },
    /// A step waits for a buildset that it triggered.
    TriggerWaits {
        /// Which.
        buildset: BuildsetId,
    },
    /// It is over.
    Settled {
        /// What it came to.
        outcome: Outcome,
    },
    /// Somebody cancelled it.
    CancelledBy {
        /// Who.
        by: String,
    },
    /// The attempt before ended for infrastructure reasons.
    Retried {
        /// Which attempt that was.
        build: BuildId,
    },
    /// Every attempt that was allowed has been made.
    RetriesExhausted {
        /// How many.
        attempts: u32,
    },
    /// A timed scheduler found no change that matches since its last buildset.
    NothingChanged,
    /// The scheduler is not woken by changes at all.
    NotWokenByChanges {
        /// Its kind, as configured.
        kind: String,
    },
    /// The change is kept for a timed scheduler's next moment.
    UntilFiring {
        /// When that is; `None` if there is none.
        next: Option<Timestamp>,
    },
    /// The moment of a timed scheduler came.
    Fired {
        /// The moment that was meant.
        nominal: Timestamp,
    },
    /// The scheduler that held the change is no longer configured.
    SchedulerRemoved,
    /// The timed scheduler is for another repository or branch.
    OtherTarget {
        /// Its repository.
        repository: RepositoryName,
        /// Its branch.
        branch: String,
    },
}

/// A need, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedState {
    /// The node.
    pub node: NodeName,
    /// Its request.
    pub request: RequestId,
    /// Its builder.
    pub builder: BuilderName,
    /// A word on where it stands.
    pub state: String,
    /// How it must end.
    pub on: Condition,
}

/// A worker that is kept from new builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldWorker {
    /// Which.
    pub worker: WorkerName,
    /// How.
    #[serde(rename = "hold_kind")]
    pub kind: HoldKind,
    /// Who wants it.
    pub by: String,
    /// Until when, if it ends by itself.
    pub until: Option<Timestamp>,
}

/// What a worker lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerMiss {
    /// The worker.
    pub worker: WorkerName,
    /// The label that is required.
    pub label: String,
    /// What the worker has there.
    pub has: Option<String>,
}

impl fmt::Display for Reason {
    /// Writes the sentence; the same words on pages, in the terminal, in mails.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches => f.write_str("every field of the rule matches"),
            Self::Mismatch { mismatch } => mismatch.fmt(f),
            Self::MatchedConservatively => {
                f.write_str("the list of files was cut short, so the rule was taken to match")
            }
            Self::RefDeleted => f.write_str("the branch was deleted, so there is nothing to build"),
            Self::TagNotAsked => f.write_str("tag: the rule names no tag, and this is one"),
            Self::QuietPeriod { until, quiet_s, at_most_s } => write!(
                f,
                "held until {} UTC for more pushes (quiet {quiet_s} s, at most {at_most_s} s)",
                until.to_clock()
            ),
            Self::Quiet { since } => write!(f, "the branch was quiet since change {since}"),
            Self::QuietAtMost { first } => write!(f, "change {first} had waited as long as allowed"),
            Self::BuiltWith { change } => write!(f, "built together with the newer change {change}"),
            Self::TipUnknown { repository, branch } => {
                write!(f, "waits until branch `{branch}` of {repository} has been seen")
            }
            Self::RepositoryNotBuilt { codebases } => {
                let names: Vec<&str> = codebases.iter().map(crate::CodebaseName::as_str).collect();
                write!(f, "repository: its builders use only {}", names.join(", "))
            }
            Self::Needs { needs } => {
                f.write_str("waits for ")?;
                for (index, need) in needs.iter().enumerate() {
                    let comma = if index == 0 { "" } else { " and " };
                    write!(f, "{comma}{} ({})", need.node, need.state)?;
                }
                Ok(())
            }
            Self::NeedNotMet { node, outcome, on } => {
                write!(f, "it needs {node} to end with {}, and that ended with {outcome}", on.as_str())
            }
            Self::NoWorkerCan { missing, requires } => {
                write!(f, "no worker can ever run this: needs {}", requires.join(", "))?;
                for miss in missing {
                    let has = miss.has.as_deref();
                    let has = has.map_or(format!("no {}", miss.label), |value| format!("{}={value}", miss.label));
                    write!(f, "; {} has {has}", miss.worker)?;
                }
                Ok(())
            }
            Self::WorkersAway { workers } => {
                let names: Vec<&str> = workers.iter().map(WorkerName::as_str).collect();
                write!(f, "the workers that can are away: {}", names.join(", "))
            }
            Self::WorkersHeld { holds } => {
                f.write_str("the workers that can are held: ")?;
                for (index, held) in holds.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} ({} by {}", held.worker, held.kind.as_str(), held.by)?;
                    match held.until {
                        Some(until) => write!(f, " until {})", until.to_minute())?,
                        None => f.write_str(")")?,
                    }
                }
                Ok(())
            }
            Self::WorkersClosed { workers, expected_s, opens } => {
                let names: Vec<&str> = workers.iter().map(WorkerName::as_str).collect();
                write!(f, "the windows of the workers that can leave no time for it: {}", names.join(", "))?;
                if let Some(expected) = expected_s {
                    write!(f, "; it takes about {}", crate::time::say_span(Duration::from_secs(*expected)))?;
                }
                match opens {
                    Some(opens) => write!(f, "; the next one opens at {}", opens.to_minute()),
                    None => f.write_str("; none ever opens"),
                }
            }
            Self::WorkersBusy { builds, position } => {
                let ids: Vec<String> = builds.iter().take(5).map(ToString::to_string).collect();
                write!(f, "the workers that can are busy (builds {}), {position}. in line", ids.join(", "))
            }
            Self::NoWorkers => f.write_str("no worker has joined yet"),
            Self::Running { build, worker } => write!(f, "build {build} runs on {worker}"),
            Self::TriggerWaits { buildset } => write!(f, "a step waits for buildset {buildset}"),
            Self::Settled { outcome } => write!(f, "it ended with {outcome}"),
            Self::CancelledBy { by } => write!(f, "cancelled by {by}"),
            Self::Retried { build } => {
                write!(f, "build {build} ended for infrastructure reasons, so it is tried again")
            }
            Self::RetriesExhausted { attempts } => {
                write!(f, "all {attempts} attempts ended for infrastructure reasons")
            }
            Self::NotWokenByChanges { kind } => write!(f, "a {kind} scheduler is not woken by changes"),
            Self::UntilFiring { next: Some(next) } => write!(f, "kept for the next firing at {}", next.to_minute()),
            Self::UntilFiring { next: None } => f.write_str("kept, but the scheduler has no next firing"),
            Self::Fired { nominal } => write!(f, "the moment {} came", nominal.to_minute()),
            Self::SchedulerRemoved => f.write_str("the scheduler that held it is no longer configured"),
            Self::OtherTarget { repository, branch } => {
                write!(f, "the scheduler is for branch `{branch}` of {repository}")
            }
            Self::NothingChanged => f.write_str("nothing that matches came since the last time"),
        }
    }
}
