//! What comes into a turn, and what is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use gristmill_model::protocol::{Hello, Report, Welcome};
use gristmill_model::{
    BuildId, BuilderOnBranch, BuildsetId, Catalog, ChangeId, DeliveryId, Digest, Hold, HoldKind, Message, MessageId,
    RefName, RepositoryName, RequestId, Revision, SchedulerName, Seq, Sighting, Timestamp, Token, TokenId, WorkerName,
};

/// Something that somebody wants the engine to know or to do.
#[derive(Debug, Clone)]
pub enum Input {
    /// A configuration was read and found good.
    Activate {
        /// It.
        catalog: Arc<Catalog>,
        /// Its text, which is stored beside it.
        text: String,
    },
    /// A configuration was read and found bad.
    Refuse {
        /// The mistakes, as they are shown to people.
        problems: String,
    },
    /// A source looked at a repository.
    Sight(Sighting),
    /// A source could not look.
    SightFailed {
        /// At which repository.
        repository: RepositoryName,
        /// The error's text.
        error: String,
    },
    /// A signed webhook request.
    Deliver(NewDelivery),
    /// What came of reading a delivery that asked for a sweep.
    DeliveryRead {
        /// Which.
        delivery: DeliveryId,
        /// In a sentence.
        result: String,
    },
    /// A worker introduces itself.
    Hello(Hello),
    /// A worker went.
    Gone {
        /// Which.
        worker: WorkerName,
        /// Why.
        why: String,
    },
    /// A worker is over for good, and with it what it had.
    Ended {
        /// Which.
        worker: WorkerName,
        /// Why.
        why: String,
    },
    /// A worker reports.
    Report {
        /// Who says it, by its credential.
        worker: WorkerName,
        /// What.
        report: Report,
    },
    /// Somebody starts a force scheduler.
    Force {
        /// Which.
        scheduler: SchedulerName,
        /// The values said.
        parameters: BTreeMap<String, String>,
        /// Who.
        by: String,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// Nobody has heard of a worker for a while, by a monotonic clock and while somebody listened.
    Unheard {
        /// Which.
        worker: WorkerName,
        /// For how long.
        silent: Duration,
    },
    /// New builds are to be kept from a worker.
    Hold {
        /// Which.
        worker: WorkerName,
        /// How.
        kind: HoldKind,
        /// Who, why, until when.
        hold: Hold,
    },
    /// A hold is to end.
    Free {
        /// Of which worker.
        worker: WorkerName,
        /// Which; all of them if it is not said.
        kind: Option<HoldKind>,
        /// Who says so.
        by: String,
    },
    /// A worker is not expected back.
    Forget {
        /// Which.
        worker: WorkerName,
        /// Who says so.
        by: String,
    },
    /// A worker of a provider exists no longer: its token and what is known of it may go.
    Dismiss {
        /// Which.
        worker: WorkerName,
        /// Its token.
        token: TokenId,
    },
    /// A token by which workers join is made.
    MakeToken {
        /// It, without its secret.
        token: Token,
    },
    /// A token is taken back.
    RevokeToken {
        /// Which.
        token: TokenId,
        /// Who says so.
        by: String,
    },
    /// Somebody wants something ended.
    Cancel {
        /// What.
        what: Cancel,
        /// Who.
        by: String,
    },
    /// The announcer has read the journal up to `to` and has these messages for the outbox.
    Announce {
        /// Where its cursor was.
        from: Seq,
        /// Where it is now.
        to: Seq,
        /// What is to be told.
        messages: Vec<Message>,
    },
    /// A target accepted a message.
    Delivered {
        /// Which.
        message: MessageId,
        /// What it answered.
        receipt: String,
    },
    /// A message that must not be sent twice is about to be sent.
    Claim {
        /// Which.
        message: MessageId,
        /// When its end is in doubt.
        until: Timestamp,
    },
    /// A target did not accept a message.
    Deferred {
        /// Which.
        message: MessageId,
        /// Attempts made.
        attempts: u32,
        /// The error's text.
        error: String,
        /// When to try again.
        due: Timestamp,
    },
    /// A message is given up.
    Dead {
        /// Which.
        message: MessageId,
        /// The last error's text.
        error: String,
    },
    /// Retention has deleted what is too old.
    Retired {
        /// How many of each, by the noun's name.
        deleted: BTreeMap<String, u64>,
        /// Recipes that no stored request refers to any more.
        recipes: Vec<Digest>,
        /// Standings on branches that have been gone for long.
        standings: Vec<BuilderOnBranch>,
    },
    /// The service looked at itself: every check that there is, with what it came to.
    Examine {
        /// The checks, each once.
        examined: Vec<Examined>,
    },
    /// Nothing but the passing of time.
    Tick,
}

/// What one check of the service's own data came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Which check.
    pub check: String,
    /// What it came to.
    pub result: Examination,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examination {
    /// All is as it should be.
    Sound,
    /// Something is not, in plain words.
    Found(String),
    /// It could not look; what it knew before still holds.
    NotLooked,
}

/// A signed webhook request whose raw form is kept.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// The repository whose hook was called.
    pub repository: RepositoryName,
    /// The sender's own delivery id.
    pub key: String,
    /// The event's name.
    pub event: String,
    /// SHA-256 of the body, hexadecimal.
    pub sha256: String,
    /// The headers worth keeping, as JSON.
    pub headers: String,
    /// The body as received.
    pub body: Vec<u8>,
    /// The movement that it tells completely, if it does. Anything else asks for a sweep.
    pub sighting: Option<Sighting>,
}

/// What is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// A build.
    Build(BuildId),
    /// A request, with its build if it has one.
    Request(RequestId),
    /// All of a buildset.
    Buildset(BuildsetId),
}

/// What the engine answers, after the turn is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// The sighting was judged.
    Sighted {
        /// The changes made of it.
        changes: Vec<ChangeId>,
        /// Refs whose accepted tip is not what the source started from: look again.
        look_again: Vec<RefName>,
    },
    /// The delivery is stored.
    Delivered {
        /// Its number.
        delivery: DeliveryId,
        /// Whether it had been received before.
        repeat: bool,
        /// Whether the repository must be swept to know what it means.
        sweep: bool,
        /// The changes made of it.
        changes: Vec<ChangeId>,
    },
    /// The worker is known.
    Welcome(Welcome),
    /// The buildset is made.
    Forced {
        /// Which.
        buildset: BuildsetId,
    },
    /// How many builds and requests will end or have ended by this.
    Cancelled {
        /// Builds that are told to end.
        builds: usize,
        /// Requests settled at once.
        requests: usize,
    },
    /// It was not done, and nothing was changed.
    Refused(Denial),
}

/// Why something that was asked for was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "denial", rename_all = "kebab-case")]
pub enum Denial {
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What was named.
        what: String,
    },
    /// What was said cannot be taken.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which value.
        field: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// It is not possible as things stand.
    #[error("{why}")]
    NotNow {
        /// Why.
        why: String,
    },
    /// The worker's lease is over (S9).
    #[error("the lease of build {build} under epoch {epoch} is over")]
    Fenced {
        /// Which build.
        build: BuildId,
        /// Under which epoch.
        epoch: i64,
    },
}

/// The tips that a source compares with.
pub type Tips = BTreeMap<RefName, Option<Revision>>;
