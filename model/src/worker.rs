//! Workers: what they are and have, what keeps work from them, and by which token they may join.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use std::time::Duration;

use crate::{BuildId, PoolName, Timestamp, TokenId, WorkerName};

/// A worker as it introduced itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Worker {
    /// Its name.
    pub name: WorkerName,
    /// What it is and has: `os`, `arch`, tools.
    pub labels: BTreeMap<String, String>,
    /// How many builds it runs at once.
    pub slots: u32,
    /// Whether it is there.
    pub connected: bool,
    /// When that last changed.
    pub since: Timestamp,
    /// What it says of its own program.
    #[serde(default)]
    pub about: About,
    /// The token that it joined by; `None` for the built-in worker.
    #[serde(default)]
    pub token: Option<TokenId>,
    /// The public key that it proved to have, hexadecimal; `None` where its token alone names it.
    #[serde(default)]
    pub key: Option<String>,
    /// What keeps new builds from it, at most one of each kind.
    #[serde(default)]
    pub holds: BTreeMap<HoldKind, Hold>,
}

impl Worker {
    /// Says whether it may be given a build.
    pub fn takes_builds(&self) -> bool {
        self.connected && self.holds.is_empty()
    }
}

/// What a worker says of its own program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct About {
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The name of the machine that it runs on.
    #[serde(default)]
    pub host: String,
    /// The newest version of the worker protocol that it speaks; 0 for the built-in worker.
    #[serde(default)]
    pub protocol: u32,
}

/// What may keep new builds from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldKind {
    /// Somebody wants it to rest.
    Pause,
    /// It is about to go: running builds end, or are ended at the deadline.
    Drain,
    /// It failed too often by its own fault.
    Quarantine,
}

impl HoldKind {
    /// Gives the word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Drain => "drain",
            Self::Quarantine => "quarantine",
        }
    }
}

/// One thing that keeps new builds from a worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hold {
    /// Who wants it.
    pub by: String,
    /// Why, in their words, or the evidence.
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// A pause and a quarantine end by themselves at this moment; a drain ends running builds at it.
    pub until: Option<Timestamp>,
}

/// What is known of a builder's builds: where the last one ran, and how long good ones take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pace {
    /// The worker that has its newest checkout.
    pub worker: WorkerName,
    /// How many good builds the mean is of, at most [`Pace::RUNS_MAX`].
    pub runs: u32,
    /// The mean of the last good builds, newer ones counting more.
    pub mean: Duration,
}

impl Pace {
    /// Good builds that a mean remembers.
    pub const RUNS_MAX: u32 = 8;

    /// Gives what is known after one more build: `took` is said of a good one.
    #[must_use]
    pub fn after(&self, worker: &WorkerName, took: Option<Duration>) -> Self {
        let Some(took) = took else { return Self { worker: worker.clone(), ..self.clone() } };
        let runs = (self.runs + 1).min(Self::RUNS_MAX);
        let mean = (self.mean * (runs - 1) + took) / runs;
        Self {
            worker: worker.clone(),
            runs,
            mean: Duration::from_millis(mean.as_millis().try_into().unwrap_or(u64::MAX)),
        }
    }

    /// Gives how long a build is expected to take, if good ones have run.
    pub fn expected(&self) -> Option<Duration> {
        (self.runs > 0).then_some(self.mean)
    }

    /// Says whether another pace says notably more: another worker, the first good builds, or a mean that is a tenth off.
    pub fn is_news(&self, other: &Self) -> bool {
        let tenth = self.mean / 10;
        self.worker != other.worker
            || (self.runs != other.runs && other.runs < 3)
            || other.mean > self.mean + tenth
            || other.mean + tenth < self.mean
    }
}

/// How a worker fares: its last builds since something went wrong by its own fault. Empty while nothing does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rating {
    /// Its last builds, the oldest first.
    pub recent: Vec<Rated>,
    /// How often in a row it was quarantined: the next one lasts longer.
    pub quarantines: u32,
}

/// A build that ended on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rated {
    /// Which.
    pub build: BuildId,
    /// Whether it ended for infrastructure's sake.
    pub failed: bool,
}

/// A token by which workers join. The secret itself is shown once, when it is made, and is kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its public part.
    pub id: TokenId,
    /// Whom it admits.
    pub admits: Admits,
    /// The SHA-256 of the secret part, hexadecimal. A fast hash is right for a secret of 256 random bits.
    pub sha256: String,
    /// Who is told of what becomes of its workers, and may control just these.
    #[serde(default)]
    pub owner: Option<String>,
    /// When it was made.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// From when on it admits nobody any more; workers that are there then stay until they must join again.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When somebody took it back, and who.
    #[serde(default)]
    pub revoked: Option<Revoked>,
}

/// Whom a token admits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Admits {
    /// One worker, which gets its name from it.
    Worker {
        /// The name.
        worker: WorkerName,
    },
    /// Any number of workers up to `max`, which are told apart by the keys that they made at their first start.
    Pool {
        /// The pool's name; its workers are called `pool-` and the first characters of their keys.
        pool: PoolName,
        /// How many there may be at once.
        max: u32,
    },
}

/// The end of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
}
