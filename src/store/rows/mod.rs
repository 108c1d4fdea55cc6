//! Which rows an event means: one file per noun, and one function that knows them all.
//!
//! The same events change the state by `State::apply`. A move that the rules do not allow hits no row here and takes the
//! whole turn back.

pub(super) mod build;
pub(super) mod buildset;
pub(super) mod catalog;
pub(super) mod change;
pub(super) mod delivery;
pub(super) mod finding;
pub(super) mod incident;
pub(super) mod instance;
pub(super) mod message;
pub(super) mod pace;
pub(super) mod rating;
pub(super) mod recipe;
pub(super) mod repository;
pub(super) mod request;
pub(super) mod result;
pub(super) mod standing;
pub(super) mod step;
pub(super) mod timer;
pub(super) mod token;
pub(super) mod upstream;
pub(super) mod verdict;
pub(super) mod worker;

use gristmill_model::{Cause, EventBody, Outcome, Seq, Timestamp};
use gristmill_schedulers::state::UpstreamDone;

use super::writes::Writes;

/// The statements that load the state. `CROSS JOIN` in them is the order in which SQLite must look: first at the few
/// that are open. Left to itself it reads everything that ever was.
#[cfg(test)]
pub(super) const LOADS: [&str; 19] = [
    build::LOAD_OPEN,
    buildset::LOAD_OPEN,
    finding::LOAD,
    incident::LOAD_OPEN,
    incident::LOAD_BUILDERS,
    pace::LOAD,
    rating::LOAD,
    recipe::LOAD,
    repository::LOAD,
    repository::LOAD_TIPS,
    request::LOAD_OPEN,
    request::LOAD_EDGES,
    standing::LOAD,
    step::LOAD_OPEN,
    timer::LOAD,
    token::LOAD,
    upstream::LOAD_UNUSED,
    verdict::LOAD_HELD,
    worker::LOAD,
];

/// How a step or a build ended.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    outcome: Outcome,
    cause: Option<Cause>,
    summary: &'a str,
    at: Timestamp,
}

/// Lists the rows of `events`, the first of which has the number after `before`, and all of which happened at `at`.
pub(super) fn write(writes: &mut Writes, before: Seq, at: Timestamp, events: &[EventBody]) {
    let mut seq = before;
    for body in events {
        seq = seq.next();
        write_one(writes, seq, at, body);
    }
}

/// Lists the rows of event number `seq`.
fn write_one(writes: &mut Writes, seq: Seq, at: Timestamp, body: &EventBody) {
    use EventBody as E;
    match body {
        E::CatalogRefused { .. } | E::ReportRefused { .. } | E::WorkerAiling { .. } => {}
        E::VerdictGiven { verdict } => verdict::given(writes, verdict),
        E::CatalogActivated { hash } => catalog::activated(writes, hash, at),
        E::DeliveryAccepted { delivery } => delivery::accepted(writes, delivery),
        E::DeliveryRead { delivery, result } => delivery::read(writes, *delivery, result),
        E::TipRecorded { repository, reference, revision } => {
            repository::tip_recorded(writes, repository, reference, revision);
        }
        E::ChangeSeen { change } => change::seen(writes, change),
        E::RepositorySeen { repository } => repository::seen(writes, repository, at),
        E::SourceFailing { repository, error, failures } => {
            repository::failing(writes, repository, error, *failures, at);
        }
        E::SourceRecovered { repository, .. } => repository::recovered(writes, repository, at),
        E::TimerFired { scheduler, nominal, next, nothing } => {
            timer::fired(writes, scheduler, *nominal, *next, nothing.as_deref(), at);
        }
        E::RecipeRecorded { digest, recipe } => recipe::recorded(writes, digest, recipe),
        E::BuildsetCreated { buildset, requests, edges } => buildset::created(writes, buildset, requests, edges),
        E::RequestReleased { request } => request::released(writes, *request),
        E::RequestSettled { request, outcome, cause, reason } => {
            let end = End { outcome: *outcome, cause: Some(*cause), summary: reason, at };
            request::settled_without_build(writes, *request, end);
        }
        E::BuildLeased { build } => build::leased(writes, build),
        E::BuildStarted { build } => build::started(writes, *build, at),
        E::StepStarted { build, step, name } => step::started(writes, *build, *step, name, at),
        E::StepFinished { build, step, outcome, cause, summary, warnings } => {
            let end = End { outcome: *outcome, cause: *cause, summary, at };
            step::finished(writes, *build, *step, end, *warnings);
        }
        E::StepOutputs { build, step, outputs } => result::outputs(writes, *build, *step, outputs),
        E::StepTested { build, step, first, tests } => result::tests(writes, *build, *step, *first, tests),
        E::ArtifactStored { artifact } => result::artifact(writes, artifact),
        E::StepTriggered { build, step, buildset, wait } => step::triggered(writes, *build, *step, *buildset, *wait),
        E::BuildResumable { build } => build::resumable(writes, *build),
        E::BuildResumed { build, .. } => build::resumed(writes, *build),
        E::BuildCancelAsked { build, by } => build::cancel_asked(writes, *build, by),
        E::BuildFinished { build, outcome, cause, summary, retry } => {
            build::finished(writes, *build, End { outcome: *outcome, cause: *cause, summary, at }, *retry);
        }
        E::BuildsetCompleted { buildset, outcome } => buildset::completed(writes, *buildset, *outcome, at),
        E::UpstreamNoted { scheduler, upstream, buildset, outcome, meets, branch, stamps, depth, result } => {
            let done = UpstreamDone {
                buildset: *buildset,
                outcome: *outcome,
                meets: *meets,
                branch: branch.clone(),
                stamps: stamps.clone(),
                depth: *depth,
            };
            upstream::noted(writes, (seq, at), scheduler, upstream, &done, result);
        }
        E::BuilderTurned { builder, branch, outcome, build, contains, .. } => {
            standing::turned(writes, standing::Key { builder, branch }, *outcome, *build, contains, at);
        }
        E::IncidentOpened { incident, branch, builder, build, suspects } => {
            incident::opened(writes, *incident, standing::Key { builder, branch }, *build, suspects, at);
        }
        E::IncidentJoined { incident, builder, build, suspects } => {
            incident::joined(writes, *incident, builder, *build, suspects);
        }
        E::IncidentEased { incident, builder, build } => incident::eased(writes, *incident, builder, *build),
        E::IncidentClosed { incident, .. } => incident::closed(writes, *incident, at),
        E::MessageQueued { message } => message::queued(writes, message),
        E::MessageDelivered { message, receipt } => message::delivered(writes, *message, receipt),
        E::MessageClaimed { message, until } => message::claimed(writes, *message, *until),
        E::MessageDeferred { message, attempts, error, due } => {
            message::deferred(writes, *message, *attempts, error, *due);
        }
        E::MessageDead { message, error } => message::dead(writes, *message, error),
        E::InstanceRestored { instance, last, .. } => instance::restored(writes, *instance, last, at),
        E::RetentionRan { recipes, standings, .. } => {
            instance::recipes_retired(writes, recipes);
            standing::retired(writes, standings);
        }
        E::DoctorFound { check, detail } => finding::found(writes, check, detail, at),
        E::DoctorCleared { check } => finding::cleared(writes, check),
        E::WorkerJoined { worker } => worker::joined(writes, worker),
        E::WorkerLeft { worker, .. } => worker::left(writes, worker, at),
        E::WorkerHeld { worker, kind, hold } => worker::held(writes, worker, *kind, hold),
        E::WorkerFreed { worker, kind, .. } => worker::freed(writes, worker, *kind),
        E::WorkerRated { worker, rating } => rating::rated(writes, worker, rating),
        E::BuilderPaced { builder, pace } => pace::paced(writes, builder, pace),
        E::WorkerForgotten { worker, .. } => {
            rating::forgotten(writes, worker);
            worker::forgotten(writes, worker);
        }
        E::TokenMade { token } => token::made(writes, token),
        E::TokenDropped { token } => token::dropped(writes, token),
        E::TokenRevoked { token, by } => token::revoked(writes, token, by, at),
    }
}

/// Lists every statement, by file.
#[cfg(test)]
pub(super) fn statements() -> Vec<(&'static str, Vec<(&'static str, super::database::Text)>)> {
    vec![
        ("rows/build.rs", build::statements()),
        ("rows/buildset.rs", buildset::statements()),
        ("rows/catalog.rs", catalog::statements()),
        ("rows/delivery.rs", delivery::statements()),
        ("rows/finding.rs", finding::statements()),
        ("rows/incident.rs", incident::statements()),
        ("rows/instance.rs", instance::statements()),
        ("rows/message.rs", message::statements()),
        ("rows/pace.rs", pace::statements()),
        ("rows/rating.rs", rating::statements()),
        ("rows/recipe.rs", recipe::statements()),
        ("rows/repository.rs", repository::statements()),
        ("rows/request.rs", request::statements()),
        ("rows/result.rs", result::statements()),
        ("rows/standing.rs", standing::statements()),
        ("rows/step.rs", step::statements()),
        ("rows/timer.rs", timer::statements()),
        ("rows/token.rs", token::statements()),
        ("rows/upstream.rs", upstream::statements()),
        ("rows/verdict.rs", verdict::statements()),
        ("rows/worker.rs", worker::statements()),
    ]
}
