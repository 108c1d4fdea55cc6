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

use gristmill_model::{Cause, EventBody, Outcome, Seq, Timestamp, Verdict};
use gristmill_schedulers::state::UpstreamDone;

use super::StoreError;
use super::tx::Tx;

/// The statements that load the state. `CROSS JOIN` in them is the order in which SQLite must look: first at the few
/// that are open. Left to itself it reads everything that ever was.
#[cfg(test)]
pub(super) const LOADS: [&str; 17] = [
    build::LOAD_OPEN,
    buildset::LOAD_OPEN,
    finding::LOAD,
    incident::LOAD_OPEN,
    incident::LOAD_BUILDERS,
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

/// Writes the rows of `events`, the first of which has the number after `before`, and all of which happened at `at`.
pub(super) async fn write(
    tx: &mut Tx<'_>,
    before: Seq,
    at: Timestamp,
    events: &[EventBody],
) -> Result<Seq, StoreError> {
    let mut seq = before;
    for alike in events.chunk_by(|one, next| as_verdict(one).is_some() && as_verdict(next).is_some()) {
        let verdicts: Vec<&Verdict> = alike.iter().filter_map(as_verdict).collect();
        if !verdicts.is_empty() {
            verdict::given(tx, &verdicts).await?;
        }
        for body in alike {
            seq = seq.next();
            write_one(tx, seq, at, body).await?;
        }
    }
    Ok(seq)
}

fn as_verdict(body: &EventBody) -> Option<&Verdict> {
    match body {
        EventBody::VerdictGiven { verdict } => Some(verdict),
        _ => None,
    }
}

/// Writes the rows of event number `seq`, except for a verdict's, which come many at once.
async fn write_one(tx: &mut Tx<'_>, seq: Seq, at: Timestamp, body: &EventBody) -> Result<(), StoreError> {
    use EventBody as E;
    match body {
        E::CatalogRefused { .. } | E::ReportRefused { .. } | E::VerdictGiven { .. } => Ok(()),
        E::CatalogActivated { hash } => catalog::activated(tx, hash, at).await,
        E::DeliveryAccepted { delivery } => delivery::accepted(tx, delivery).await,
        E::DeliveryRead { delivery, result } => delivery::read(tx, *delivery, result).await,
        E::TipRecorded { repository, reference, revision } => {
            repository::tip_recorded(tx, repository, reference, revision).await
        }
        E::ChangeSeen { change } => change::seen(tx, change).await,
        E::RepositorySeen { repository } => repository::seen(tx, repository, at).await,
        E::SourceFailing { repository, error, failures } => {
            repository::failing(tx, repository, error, *failures, at).await
        }
        E::SourceRecovered { repository, .. } => repository::recovered(tx, repository, at).await,
        E::TimerFired { scheduler, nominal, next, nothing } => {
            timer::fired(tx, scheduler, *nominal, *next, nothing.as_deref(), at).await
        }
        E::RecipeRecorded { digest, recipe } => recipe::recorded(tx, digest, recipe).await,
        E::BuildsetCreated { buildset, requests, edges } => buildset::created(tx, buildset, requests, edges).await,
        E::RequestReleased { request } => request::released(tx, *request).await,
        E::RequestSettled { request, outcome, cause, reason } => {
            let end = End { outcome: *outcome, cause: Some(*cause), summary: reason, at };
            request::settled_without_build(tx, *request, end).await
        }
        E::BuildLeased { build } => build::leased(tx, build).await,
        E::BuildStarted { build } => build::started(tx, *build, at).await,
        E::StepStarted { build, step, name } => step::started(tx, *build, *step, name, at).await,
        E::StepFinished { build, step, outcome, cause, summary, warnings } => {
            step::finished(tx, *build, *step, End { outcome: *outcome, cause: *cause, summary, at }, *warnings).await
        }
        E::StepOutputs { build, step, outputs } => result::outputs(tx, *build, *step, outputs).await,
        E::StepTested { build, step, first, tests } => result::tests(tx, *build, *step, *first, tests).await,
        E::ArtifactStored { artifact } => result::artifact(tx, artifact).await,
        E::StepTriggered { build, step, buildset, wait } => step::triggered(tx, *build, *step, *buildset, *wait).await,
        E::BuildResumable { build } => build::resumable(tx, *build).await,
        E::BuildResumed { build, .. } => build::resumed(tx, *build).await,
        E::BuildCancelAsked { build, by } => build::cancel_asked(tx, *build, by).await,
        E::BuildFinished { build, outcome, cause, summary, retry } => {
            build::finished(tx, *build, End { outcome: *outcome, cause: *cause, summary, at }, *retry).await
        }
        E::BuildsetCompleted { buildset, outcome } => buildset::completed(tx, *buildset, *outcome, at).await,
        E::UpstreamNoted { scheduler, upstream, buildset, outcome, meets, branch, stamps, depth, result } => {
            let done = UpstreamDone {
                buildset: *buildset,
                outcome: *outcome,
                meets: *meets,
                branch: branch.clone(),
                stamps: stamps.clone(),
                depth: *depth,
            };
            upstream::noted(tx, (seq, at), scheduler, upstream, &done, result).await
        }
        E::BuilderTurned { builder, branch, outcome, build, contains, .. } => {
            standing::turned(tx, standing::Key { builder, branch }, *outcome, *build, contains, at).await
        }
        E::IncidentOpened { incident, branch, builder, build, suspects } => {
            incident::opened(tx, *incident, standing::Key { builder, branch }, *build, suspects, at).await
        }
        E::IncidentJoined { incident, builder, build, suspects } => {
            incident::joined(tx, *incident, builder, *build, suspects).await
        }
        E::IncidentEased { incident, builder, build } => incident::eased(tx, *incident, builder, *build).await,
        E::IncidentClosed { incident, .. } => incident::closed(tx, *incident, at).await,
        E::MessageQueued { message } => message::queued(tx, message).await,
        E::MessageDelivered { message, receipt } => message::delivered(tx, *message, receipt).await,
        E::MessageClaimed { message, until } => message::claimed(tx, *message, *until).await,
        E::MessageDeferred { message, attempts, error, due } => {
            message::deferred(tx, *message, *attempts, error, *due).await
        }
        E::MessageDead { message, error } => message::dead(tx, *message, error).await,
        E::InstanceRestored { instance, last, .. } => instance::restored(tx, *instance, last, at).await,
        E::RetentionRan { recipes, .. } => instance::recipes_retired(tx, recipes).await,
        E::DoctorFound { check, detail } => finding::found(tx, check, detail, at).await,
        E::DoctorCleared { check } => finding::cleared(tx, check).await,
        E::WorkerJoined { worker } => worker::joined(tx, worker).await,
        E::WorkerLeft { worker, .. } => worker::left(tx, worker, at).await,
        E::WorkerHeld { worker, kind, hold } => {
            worker::held(tx, worker, |holds| drop(holds.insert(*kind, hold.clone()))).await
        }
        E::WorkerFreed { worker, kind, .. } => worker::held(tx, worker, |holds| drop(holds.remove(kind))).await,
        E::WorkerForgotten { worker, .. } => worker::forgotten(tx, worker).await,
        E::TokenMade { token } => token::made(tx, token).await,
        E::TokenRevoked { token, by } => token::revoked(tx, token, by, at).await,
    }
}

/// Lists every statement, by file.
#[cfg(test)]
pub(super) fn statements() -> Vec<(&'static str, Vec<(&'static str, super::database::Text)>)> {
    vec![
        ("rows/build.rs", build::statements()),
        ("rows/buildset.rs", buildset::statements()),
        ("rows/catalog.rs", catalog::statements()),
        ("rows/change.rs", change::statements()),
        ("rows/delivery.rs", delivery::statements()),
        ("rows/finding.rs", finding::statements()),
        ("rows/incident.rs", incident::statements()),
        ("rows/instance.rs", instance::statements()),
        ("rows/message.rs", message::statements()),
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
