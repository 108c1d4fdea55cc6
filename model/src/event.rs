//! What happened: facts in the past tense, numbered, never edited.
//!
//! An event says enough that its rows can be written from it and the open state folded from it, and nothing else does
//! either. New fields are optional with a default; a new meaning is a new kind; a kind is never reused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Artifact, Build, BuildId, BuilderName, Buildset, BuildsetId, CatalogHash, Cause, Change, ChangeId, Delivery,
    DeliveryId, Digest, Edge, Hold, HoldKind, IncidentId, InstanceEpoch, LastIds, Message, MessageId, Outcome, Pace,
    Rating, Recipe, RefName, RepositoryName, Request, RequestId, Revision, SchedulerName, Seq, StampSet, Suspects,
    TestCase, Timestamp, Token, TokenId, Transition, Verdict, Worker, WorkerName,
};

/// One numbered fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the journal.
    pub seq: Seq,
    /// When it was committed.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// A builder on a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderOnBranch {
    /// The builder.
    pub builder: BuilderName,
    /// The branch or tag, by its short name.
    pub branch: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum EventBody {
    /// A configuration came into force.
    #[serde(rename = "catalog.activated")]
    CatalogActivated {
        /// Which.
        hash: CatalogHash,
    },
    /// A configuration was refused; the one before stays in force.
    #[serde(rename = "catalog.refused")]
    CatalogRefused {
        /// The mistakes, as they are shown to people.
        problems: String,
    },
    /// A webhook request was accepted; its body is stored beside it.
    #[serde(rename = "delivery.accepted")]
    DeliveryAccepted {
        /// Which.
        delivery: Delivery,
    },
    /// A webhook request was read.
    #[serde(rename = "delivery.read")]
    DeliveryRead {
        /// Which.
        delivery: DeliveryId,
        /// What came of it, in a sentence.
        result: String,
    },
    /// A ref was seen for the first time, and its tip recorded without making a change of it.
    #[serde(rename = "tip.recorded")]
    TipRecorded {
        /// Where.
        repository: RepositoryName,
        /// Which ref.
        reference: RefName,
        /// Its tip.
        revision: Revision,
    },
    /// A ref moved: the tip and the change in one.
    #[serde(rename = "change.seen")]
    ChangeSeen {
        /// What moved.
        change: Change,
    },
    /// A repository was swept for the first time.
    #[serde(rename = "repository.seen")]
    RepositorySeen {
        /// Which.
        repository: RepositoryName,
    },
    /// A repository could not be read.
    #[serde(rename = "source.failing")]
    SourceFailing {
        /// Which.
        repository: RepositoryName,
        /// The error's text.
        error: String,
        /// How often in a row.
        failures: u32,
    },
    /// A repository can be read again.
    #[serde(rename = "source.recovered")]
    SourceRecovered {
        /// Which.
        repository: RepositoryName,
        /// How often it had failed.
        failures: u32,
    },
    /// A scheduler said what it makes of a change. A later verdict of the same pair replaces a held one.
    #[serde(rename = "verdict.given")]
    VerdictGiven {
        /// What.
        verdict: Verdict,
    },
    /// A timed scheduler's moment came; the next one is set.
    #[serde(rename = "timer.fired")]
    TimerFired {
        /// Whose.
        scheduler: SchedulerName,
        /// The moment that was meant; `None` when the first moment is set.
        nominal: Option<Timestamp>,
        /// The next one; `None` if there is none.
        next: Option<Timestamp>,
        /// Why nothing was built, if nothing was.
        nothing: Option<String>,
    },
    /// A recipe was used for the first time.
    #[serde(rename = "recipe.recorded")]
    RecipeRecorded {
        /// Its digest.
        digest: Digest,
        /// What it is.
        recipe: Recipe,
    },
    /// Requests were made together.
    #[serde(rename = "buildset.created")]
    BuildsetCreated {
        /// The buildset.
        buildset: Buildset,
        /// Its requests: waiting or ready.
        requests: Vec<Request>,
        /// What needs what.
        edges: Vec<Edge>,
    },
    /// A request's needs are met.
    #[serde(rename = "request.released")]
    RequestReleased {
        /// Which.
        request: RequestId,
    },
    /// A request ended without a build of its own.
    #[serde(rename = "request.settled")]
    RequestSettled {
        /// Which.
        request: RequestId,
        /// With what.
        outcome: Outcome,
        /// Whose doing it was.
        cause: Cause,
        /// Why, in a sentence.
        reason: String,
    },
    /// A worker was given a request.
    #[serde(rename = "build.leased")]
    BuildLeased {
        /// The new attempt.
        build: Build,
    },
    /// The worker began.
    #[serde(rename = "build.started")]
    BuildStarted {
        /// Which.
        build: BuildId,
    },
    /// A step began.
    #[serde(rename = "step.started")]
    StepStarted {
        /// Whose.
        build: BuildId,
        /// Which, from 0.
        step: u32,
        /// Its name.
        name: String,
    },
    /// A step ended.
    #[serde(rename = "step.finished")]
    StepFinished {
        /// Whose.
        build: BuildId,
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
    /// A step gave values out, for later steps and for people.
    #[serde(rename = "step.outputs")]
    StepOutputs {
        /// Whose.
        build: BuildId,
        /// Which.
        step: u32,
        /// The values by name.
        outputs: BTreeMap<String, String>,
    },
    /// A step reported what its tests came to.
    #[serde(rename = "step.tested")]
    StepTested {
        /// Whose.
        build: BuildId,
        /// Which.
        step: u32,
        /// The number of the first of these tests in the step.
        first: u32,
        /// They.
        tests: Vec<TestCase>,
    },
    /// A file of a build was kept.
    #[serde(rename = "artifact.stored")]
    ArtifactStored {
        /// It.
        artifact: Artifact,
    },
    /// A trigger step set a buildset off.
    #[serde(rename = "step.triggered")]
    StepTriggered {
        /// Whose.
        build: BuildId,
        /// Which.
        step: u32,
        /// What it set off.
        buildset: BuildsetId,
        /// Whether it waits: then the build is suspended and its slot free.
        wait: bool,
    },
    /// The buildset that a suspended build waits for has completed.
    #[serde(rename = "build.resumable")]
    BuildResumable {
        /// Which.
        build: BuildId,
    },
    /// A build whose trigger step is over goes on; a suspended one has its slot again.
    #[serde(rename = "build.resumed")]
    BuildResumed {
        /// Which.
        build: BuildId,
        /// The step that waited; unknown in events of before it was noted.
        #[serde(default)]
        step: Option<u32>,
        /// What the trigger step came to.
        outcome: Outcome,
        /// One line on it.
        summary: String,
    },
    /// Somebody asked for a build's end; the worker is told.
    #[serde(rename = "build.cancel-asked")]
    BuildCancelAsked {
        /// Which.
        build: BuildId,
        /// Who.
        by: String,
    },
    /// An attempt ended. With `retry` the request is ready again, otherwise it is settled.
    #[serde(rename = "build.finished")]
    BuildFinished {
        /// Which.
        build: BuildId,
        /// With what.
        outcome: Outcome,
        /// Whose fault a bad end was.
        cause: Option<Cause>,
        /// One line on it.
        summary: String,
        /// Whether another attempt follows.
        retry: bool,
    },
    /// A worker said something under a lease that is no longer its own (S9).
    #[serde(rename = "report.refused")]
    ReportRefused {
        /// Who.
        worker: WorkerName,
        /// About which build.
        build: BuildId,
        /// Under which epoch.
        epoch: i64,
        /// Why it was refused.
        why: String,
    },
    /// All requests of a buildset are settled.
    #[serde(rename = "buildset.completed")]
    BuildsetCompleted {
        /// Which.
        buildset: BuildsetId,
        /// With what.
        outcome: Outcome,
    },
    /// A dependent scheduler took a completed buildset into account.
    #[serde(rename = "upstream.noted")]
    UpstreamNoted {
        /// Whose.
        scheduler: SchedulerName,
        /// The scheduler of the completed buildset.
        upstream: SchedulerName,
        /// Which buildset.
        buildset: BuildsetId,
        /// What it came to.
        outcome: Outcome,
        /// Whether that meets the dependent scheduler's condition.
        meets: bool,
        /// The branch that it counted for.
        branch: String,
        /// The stamps that it was made from: what the dependent scheduler freezes.
        stamps: StampSet,
        /// How many buildsets set each other off before it.
        #[serde(default)]
        depth: u32,
        /// What came of it, in a sentence.
        result: String,
    },
    /// A builder's state on a branch was told by a build: broke, still failing, fixed, passing.
    #[serde(rename = "builder.turned")]
    BuilderTurned {
        /// Which builder.
        builder: BuilderName,
        /// On which branch.
        branch: String,
        /// How.
        transition: Transition,
        /// The outcome that told.
        outcome: Outcome,
        /// Whose fault a bad one is.
        cause: Option<Cause>,
        /// The build that told.
        build: BuildId,
        /// For a good outcome: per repository, the newest change that it contains.
        #[serde(default)]
        contains: BTreeMap<RepositoryName, ChangeId>,
    },
    /// Something broke for a culprit range that had broken nothing yet.
    #[serde(rename = "incident.opened")]
    IncidentOpened {
        /// Its number.
        incident: IncidentId,
        /// The branch.
        branch: String,
        /// The builder.
        builder: BuilderName,
        /// The build that showed it.
        build: BuildId,
        /// The changes that may have done it.
        suspects: Suspects,
    },
    /// Another builder broke for the same culprit range.
    #[serde(rename = "incident.joined")]
    IncidentJoined {
        /// Its number.
        incident: IncidentId,
        /// The builder.
        builder: BuilderName,
        /// The build that showed it.
        build: BuildId,
        /// The changes that may have done it, narrowed.
        suspects: Suspects,
    },
    /// One of an incident's builders is good again.
    #[serde(rename = "incident.eased")]
    IncidentEased {
        /// Its number.
        incident: IncidentId,
        /// The builder.
        builder: BuilderName,
        /// The build that showed it.
        build: BuildId,
    },
    /// All of an incident's builders are good again.
    #[serde(rename = "incident.closed")]
    IncidentClosed {
        /// Its number.
        incident: IncidentId,
        /// The build that showed it.
        build: BuildId,
    },
    /// A message was put into the outbox.
    #[serde(rename = "message.queued")]
    MessageQueued {
        /// It.
        message: Message,
    },
    /// A target accepted a message.
    #[serde(rename = "message.delivered")]
    MessageDelivered {
        /// Which.
        message: MessageId,
        /// What the target answered.
        receipt: String,
    },
    /// A message that must not be sent twice is about to be sent. If nothing else is heard of it by then, its end is in
    /// doubt, and it is given up.
    #[serde(rename = "message.claimed")]
    MessageClaimed {
        /// Which.
        message: MessageId,
        /// When its end is in doubt.
        until: Timestamp,
    },
    /// A target did not accept a message; it is tried again.
    #[serde(rename = "message.deferred")]
    MessageDeferred {
        /// Which.
        message: MessageId,
        /// Attempts made.
        attempts: u32,
        /// The error's text.
        error: String,
        /// When it is tried again.
        due: Timestamp,
    },
    /// A message was given up.
    #[serde(rename = "message.dead")]
    MessageDead {
        /// Which.
        message: MessageId,
        /// The last error's text.
        error: String,
    },
    /// The service looked at itself, and something is not as it should be.
    #[serde(rename = "doctor.found")]
    DoctorFound {
        /// Which check found it.
        check: String,
        /// What it found, in plain words. Not told again while it stays.
        detail: String,
    },
    /// What the service had found of itself is as it should be again.
    #[serde(rename = "doctor.cleared")]
    DoctorCleared {
        /// Which check had found it.
        check: String,
    },
    /// A worker joined, or introduced itself again.
    #[serde(rename = "worker.joined")]
    WorkerJoined {
        /// It.
        worker: Worker,
    },
    /// Something keeps new builds from a worker from now on; a hold of the same kind is replaced.
    #[serde(rename = "worker.held")]
    WorkerHeld {
        /// Which.
        worker: WorkerName,
        /// What kind.
        #[serde(rename = "hold_kind")]
        kind: HoldKind,
        /// Who, why, until when.
        hold: Hold,
    },
    /// It does not any more.
    #[serde(rename = "worker.freed")]
    WorkerFreed {
        /// Which.
        worker: WorkerName,
        /// What kind of hold.
        #[serde(rename = "hold_kind")]
        kind: HoldKind,
        /// Who ended it.
        by: String,
    },
    /// A worker fares otherwise than before.
    #[serde(rename = "worker.rated")]
    WorkerRated {
        /// Which.
        worker: WorkerName,
        /// How it fares now.
        rating: Rating,
    },
    /// A worker fails again and again, and goes on all the same, because nobody else could do its work.
    #[serde(rename = "worker.ailing")]
    WorkerAiling {
        /// Which.
        worker: WorkerName,
        /// The evidence, and why it goes on.
        why: String,
    },
    /// A builder's newest checkout is elsewhere, or its builds take notably longer or shorter.
    #[serde(rename = "builder.paced")]
    BuilderPaced {
        /// Which.
        builder: BuilderName,
        /// What is known now.
        pace: Pace,
    },
    /// A worker is not expected back.
    #[serde(rename = "worker.forgotten")]
    WorkerForgotten {
        /// Which.
        worker: WorkerName,
        /// Who said so.
        by: String,
    },
    /// A token by which workers join was made.
    #[serde(rename = "token.made")]
    TokenMade {
        /// It, without its secret.
        token: Token,
    },
    /// A token admits nobody any more.
    #[serde(rename = "token.revoked")]
    TokenRevoked {
        /// Which.
        token: TokenId,
        /// Who took it back.
        by: String,
    },
    /// A token of a worker that is gone for good is not kept any longer.
    #[serde(rename = "token.dropped")]
    TokenDropped {
        /// Which.
        token: TokenId,
    },
    /// The installation was restored from a backup: the first event after those of the backup. Its own number and
    /// `last` leave room for the numbers that were given out after the backup, and are lost with what they named.
    #[serde(rename = "instance.restored")]
    InstanceRestored {
        /// Which installation it is now.
        instance: InstanceEpoch,
        /// Where the journal was in the backup.
        head: Seq,
        /// When the backup was taken.
        taken: Timestamp,
        /// The numbers that count as given out from now on.
        last: LastIds,
    },
    /// What is too old to be kept was deleted.
    #[serde(rename = "retention.ran")]
    RetentionRan {
        /// How many of each were deleted, by the noun's name.
        deleted: BTreeMap<String, u64>,
        /// Recipes that nothing refers to any more, which go with this event.
        #[serde(default)]
        recipes: Vec<Digest>,
        /// Standings on branches that are gone, which go with this event.
        #[serde(default)]
        standings: Vec<BuilderOnBranch>,
    },
    /// A worker went.
    #[serde(rename = "worker.left")]
    WorkerLeft {
        /// Which.
        worker: WorkerName,
        /// Why.
        why: String,
    },
}

impl EventBody {
    /// Gives the kind's name, as it stands in the journal.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CatalogActivated { .. } => "catalog.activated",
            Self::CatalogRefused { .. } => "catalog.refused",
            Self::DeliveryAccepted { .. } => "delivery.accepted",
            Self::DeliveryRead { .. } => "delivery.read",
            Self::TipRecorded { .. } => "tip.recorded",
            Self::ChangeSeen { .. } => "change.seen",
            Self::RepositorySeen { .. } => "repository.seen",
            Self::SourceFailing { .. } => "source.failing",
            Self::SourceRecovered { .. } => "source.recovered",
            Self::VerdictGiven { .. } => "verdict.given",
            Self::TimerFired { .. } => "timer.fired",
            Self::RecipeRecorded { .. } => "recipe.recorded",
            Self::BuildsetCreated { .. } => "buildset.created",
            Self::RequestReleased { .. } => "request.released",
            Self::RequestSettled { .. } => "request.settled",
            Self::BuildLeased { .. } => "build.leased",
            Self::BuildStarted { .. } => "build.started",
            Self::StepStarted { .. } => "step.started",
            Self::StepFinished { .. } => "step.finished",
            Self::StepOutputs { .. } => "step.outputs",
            Self::StepTested { .. } => "step.tested",
            Self::ArtifactStored { .. } => "artifact.stored",
            Self::StepTriggered { .. } => "step.triggered",
            Self::BuildResumable { .. } => "build.resumable",
            Self::BuildResumed { .. } => "build.resumed",
            Self::BuildCancelAsked { .. } => "build.cancel-asked",
            Self::BuildFinished { .. } => "build.finished",
            Self::ReportRefused { .. } => "report.refused",
            Self::BuildsetCompleted { .. } => "buildset.completed",
            Self::UpstreamNoted { .. } => "upstream.noted",
            Self::BuilderTurned { .. } => "builder.turned",
            Self::IncidentOpened { .. } => "incident.opened",
            Self::IncidentJoined { .. } => "incident.joined",
            Self::IncidentEased { .. } => "incident.eased",
            Self::IncidentClosed { .. } => "incident.closed",
            Self::MessageQueued { .. } => "message.queued",
            Self::MessageDelivered { .. } => "message.delivered",
            Self::MessageClaimed { .. } => "message.claimed",
            Self::MessageDeferred { .. } => "message.deferred",
            Self::MessageDead { .. } => "message.dead",
            Self::DoctorFound { .. } => "doctor.found",
            Self::DoctorCleared { .. } => "doctor.cleared",
            Self::WorkerJoined { .. } => "worker.joined",
            Self::WorkerHeld { .. } => "worker.held",
            Self::WorkerFreed { .. } => "worker.freed",
            Self::WorkerRated { .. } => "worker.rated",
            Self::WorkerAiling { .. } => "worker.ailing",
            Self::BuilderPaced { .. } => "builder.paced",
            Self::WorkerForgotten { .. } => "worker.forgotten",
            Self::TokenMade { .. } => "token.made",
            Self::TokenRevoked { .. } => "token.revoked",
            Self::TokenDropped { .. } => "token.dropped",
            Self::InstanceRestored { .. } => "instance.restored",
            Self::RetentionRan { .. } => "retention.ran",
            Self::WorkerLeft { .. } => "worker.left",
        }
    }
}
