//! Which events are worth telling, and what a happening says of them.
//!
//! What a happening needs to know besides its event is asked of [`Facts`], which the service answers from its tables.

use std::collections::BTreeSet;
use std::future::Future;

use gristmill_model::{
    BuildId, BuilderName, BuildsetId, Care, Catalog, Cause, ChangeId, Event, EventBody, IncidentId, MessageId,
    NotifierName, Outcome, Person, ProjectName, RepositoryName, Revision, SchedulerName, StampSet, Timestamp,
    Transition, WorkerName,
};

use crate::happening::{ExcerptLine, FailedStep, Happening, Suspect};

/// Commits that a message names; more are counted.
pub const SUSPECTS_SHOWN_MAX: usize = 20;
/// A repository is told to be failing when it has failed this often in a row: one glitch is no news.
pub const FAILURES_TOLD: u32 = 2;

/// What a happening must know besides its event, as things are when it is told. What is unknown is `None`.
pub trait Facts: Sync {
    /// Why something could not be read.
    type Error: Send;

    /// An incident with the builders and suspects that it has by now.
    fn incident(&self, id: IncidentId) -> impl Future<Output = Result<Option<IncidentFacts>, Self::Error>> + Send;

    /// A build.
    fn build(&self, id: BuildId) -> impl Future<Output = Result<Option<BuildFacts>, Self::Error>> + Send;

    /// The changes since a build's builder was last good, oldest first.
    fn culprits(&self, build: BuildId) -> impl Future<Output = Result<Vec<SuspectFacts>, Self::Error>> + Send;

    /// A message of the outbox.
    fn message(&self, id: MessageId) -> impl Future<Output = Result<Option<MessageFacts>, Self::Error>> + Send;
}

/// What is told of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncidentFacts {
    /// Its builders.
    pub builders: Vec<BuilderName>,
    /// The changes that may have done it, oldest first.
    pub suspects: Vec<SuspectFacts>,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// What is told of a build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildFacts {
    /// Its buildset.
    pub buildset: BuildsetId,
    /// The project.
    pub project: Option<ProjectName>,
    /// The branch that it counts for.
    pub branch: String,
    /// The scheduler that set it off.
    pub scheduler: SchedulerName,
    /// What it came to.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// What it was built from.
    pub stamps: StampSet,
    /// The worker.
    pub worker: WorkerName,
    /// One line on the end.
    pub summary: Option<String>,
    /// The step that failed, if one did.
    pub step: Option<FailedStep>,
    /// The lines of its log round the first error.
    pub excerpt: Vec<ExcerptLine>,
}

/// A change that may have done it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuspectFacts {
    /// Which.
    pub change: ChangeId,
    /// Where.
    pub repository: RepositoryName,
    /// The revision that it brought.
    pub revision: Option<Revision>,
    /// The newest commit's subject.
    pub title: String,
    /// Who wrote its commits, each once.
    pub authors: Vec<Person>,
}

/// What is told of a message that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    /// The notifier that gave up.
    pub notifier: NotifierName,
    /// Whether the message itself told of one that was given up.
    pub told_of_death: bool,
}

/// Makes a happening of an event that is worth one.
///
/// # Errors
/// If a fact cannot be read.
pub async fn happening<F: Facts>(facts: &F, catalog: &Catalog, event: &Event) -> Result<Option<Happening>, F::Error> {
    let (seq, at) = (event.seq, event.at);
    let system = |kind: &str, detail: String| Happening::of_system(seq, at, kind, detail);
    Ok(match &event.body {
        EventBody::IncidentOpened { incident, builder, build, .. }
        | EventBody::IncidentJoined { incident, builder, build, .. } => {
            Some(turned(facts, event, Transition::Broke, *incident, Some(builder), *build).await?)
        }
        EventBody::IncidentClosed { incident, build } => {
            Some(turned(facts, event, Transition::Fixed, *incident, None, *build).await?)
        }
        EventBody::BuilderTurned { builder, transition: Transition::StillFailing, build, .. } => {
            let mut happening = Happening::turned(seq, at, Transition::StillFailing, vec![builder.clone()]);
            add_build(facts, &mut happening, *build).await?;
            add_suspects(&mut happening, &facts.culprits(*build).await?);
            Some(happening)
        }
        EventBody::SourceFailing { repository, error, failures } if *failures == FAILURES_TOLD => {
            Some(of_source(catalog, repository, system("source.failing", error.clone())))
        }
        EventBody::SourceRecovered { repository, failures } if *failures >= FAILURES_TOLD => {
            let detail = format!("it had failed {failures} times in a row");
            Some(of_source(catalog, repository, system("source.recovered", detail)))
        }
        EventBody::CatalogRefused { problems } => Some(system("catalog.refused", problems.clone())),
        EventBody::InstanceRestored { head, taken, .. } => {
            let detail = format!(
                "it goes on from the backup of {}, event {head}; what happened after that is lost, and repositories \
                 are looked at again",
                taken.to_minute()
            );
            Some(system("instance.restored", detail))
        }
        EventBody::DoctorFound { check, detail } => Some(system("doctor.found", format!("{check}: {detail}"))),
        EventBody::DoctorCleared { check } => Some(system("doctor.cleared", format!("{check}: as it should be again"))),
        EventBody::WorkerHeld { worker, kind, hold } => {
            let until = hold.until.map(|until| format!(" until {}", until.to_minute())).unwrap_or_default();
            let reason = hold.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let detail = format!("{} by {}{until}{reason}", kind.as_str(), hold.by);
            Some(of_worker(catalog, worker, &detail, "worker.held", system))
        }
        EventBody::WorkerFreed { worker, kind, by } => {
            let detail = format!("its {} was ended by {by}", kind.as_str());
            Some(of_worker(catalog, worker, &detail, "worker.freed", system))
        }
        EventBody::WorkerAiling { worker, why } => Some(of_worker(catalog, worker, why, "worker.ailing", system)),
        // A start of the service is no worker's doing.
        EventBody::WorkerLeft { worker, why } if !why.starts_with("the service") => {
            Some(of_worker(catalog, worker, why, "worker.left", system))
        }
        EventBody::MessageDead { message, error } => {
            given_up(facts, system("message.dead", format!("message {message}: {error}")), *message).await?
        }
        _ => None,
    })
}

/// Tells of a worker, and whose it is by the configuration.
fn of_worker(
    catalog: &Catalog,
    worker: &WorkerName,
    detail: &str,
    kind: &'static str,
    system: impl Fn(&'static str, String) -> Happening,
) -> Happening {
    let owner = Care::of(&catalog.care, worker).and_then(|care| care.owner.as_ref());
    let owner = owner.map(|owner| format!(" (its owner: {owner})")).unwrap_or_default();
    system(kind, format!("{worker}{owner}: {detail}"))
}

fn of_source(catalog: &Catalog, repository: &RepositoryName, mut happening: Happening) -> Happening {
    happening.projects = catalog.projects_of(repository);
    happening.repository = Some(repository.clone());
    happening
}

/// Tells that a message was given up, by other notifiers than the one that gave up. That such news could not be told is
/// no news again: two notifiers that both fail would tell of each other without end.
async fn given_up<F: Facts>(
    facts: &F,
    mut happening: Happening,
    message: MessageId,
) -> Result<Option<Happening>, F::Error> {
    let Some(dead) = facts.message(message).await? else { return Ok(Some(happening)) };
    if dead.told_of_death {
        return Ok(None);
    }
    happening.notifier = Some(dead.notifier);
    Ok(Some(happening))
}

/// Tells of an incident that broke or was fixed, with all builders that it has by now.
async fn turned<F: Facts>(
    facts: &F,
    event: &Event,
    transition: Transition,
    incident: IncidentId,
    first: Option<&BuilderName>,
    build: BuildId,
) -> Result<Happening, F::Error> {
    let known = facts.incident(incident).await?;
    let mut happening = Happening::turned(event.seq, event.at, transition, builders(first, known.as_ref()));
    happening.incident = Some(incident);
    add_build(facts, &mut happening, build).await?;
    if let Some(known) = known {
        happening.since = Some(known.opened_at);
        if transition == Transition::Broke {
            add_suspects(&mut happening, &known.suspects);
        } else {
            add_suspects(&mut happening, &facts.culprits(build).await?);
        }
    }
    Ok(happening)
}

async fn add_build<F: Facts>(facts: &F, happening: &mut Happening, build: BuildId) -> Result<(), F::Error> {
    let Some(facts) = facts.build(build).await? else { return Ok(()) };
    happening.build = Some(build);
    happening.buildset = Some(facts.buildset);
    happening.projects = facts.project.into_iter().collect();
    happening.branch = Some(facts.branch);
    happening.scheduler = Some(facts.scheduler);
    happening.outcome = facts.outcome;
    happening.cause = facts.cause;
    happening.stamps = facts.stamps;
    happening.worker = Some(facts.worker);
    happening.detail = facts.summary;
    happening.step = facts.step;
    happening.excerpt = facts.excerpt;
    Ok(())
}

/// Lists an incident's builders, the one that showed it first.
fn builders(first: Option<&BuilderName>, incident: Option<&IncidentFacts>) -> Vec<BuilderName> {
    let mut seen = BTreeSet::new();
    first
        .into_iter()
        .chain(incident.into_iter().flat_map(|incident| &incident.builders))
        .filter(|builder| seen.insert((*builder).clone()))
        .cloned()
        .collect()
}

/// Names the newest commits first, one line per author and change.
fn add_suspects(happening: &mut Happening, suspects: &[SuspectFacts]) {
    let all: Vec<Suspect> = suspects
        .iter()
        .rev()
        .flat_map(|suspect| {
            suspect.authors.iter().map(|author| Suspect {
                change: suspect.change,
                repository: suspect.repository.clone(),
                revision: suspect.revision.clone().unwrap_or_default(),
                author: author.clone(),
                subject: suspect.title.clone(),
            })
        })
        .collect();
    happening.suspects_more = all.len().saturating_sub(SUSPECTS_SHOWN_MAX);
    happening.suspects = all.into_iter().take(SUSPECTS_SHOWN_MAX).collect();
}
