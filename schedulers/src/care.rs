//! Care: what the builds that end on a worker say of it, and of their builder.
//!
//! A worker whose builds end for infrastructure's sake again and again is quarantined, unless nobody else could do its
//! work: then it is told that it ails. All of it is worked out of the builds that ended, and kept by events of its own, so
//! that a restart knows the same.

use std::time::Duration;

use gristmill_model::{
    Build, BuildId, Care, Cause, EventBody, Hold, HoldKind, Outcome, Quarantine, Rated, Rating, WorkerName, mutant,
};

use crate::place::can_run;
use crate::turn::Turn;

/// Builds that are named as evidence.
const EVIDENCE_MAX: usize = 8;

/// Takes into account that a build ended.
pub(crate) fn ended(turn: &mut Turn<'_>, build: &Build, outcome: Outcome, cause: Option<Cause>) {
    pace(turn, build, outcome);
    rate(turn, build, outcome, cause);
}

/// Notes where the builder's newest checkout is, and how long its good builds take.
fn pace(turn: &mut Turn<'_>, build: &Build, outcome: Outcome) {
    let Some(started) = build.started_at else { return };
    let took: Option<Duration> = outcome.is_good().then(|| turn.now.since(started));
    let before = turn.state.paces.get(&build.builder);
    let after = before.cloned().unwrap_or_default().after(&build.worker, took);
    if before.is_none_or(|before| before.is_news(&after)) {
        turn.emit(EventBody::BuilderPaced { builder: build.builder.clone(), pace: after });
    }
}

/// Notes how its worker fares.
fn rate(turn: &mut Turn<'_>, build: &Build, outcome: Outcome, cause: Option<Cause>) {
    let failed = cause == Some(Cause::Infrastructure) && matches!(outcome, Outcome::Retry | Outcome::Exception);
    let tells = failed || outcome.is_good() || outcome == Outcome::Failure;
    let before = turn.state.ratings.get(&build.worker);
    if !turn.state.workers.contains_key(&build.worker) || !tells || (before.is_none() && !failed) {
        return;
    }
    let mut rating = before.cloned().unwrap_or_default();
    add(&mut rating, build.id, failed, outcome.is_good());
    let care = Care::of(&turn.catalog.care, &build.worker);
    let rule = care.map(|care| care.quarantine).unwrap_or_default();
    let evidence = if failed { evidence(&rating, &rule) } else { None };
    let is_held = turn.state.workers[&build.worker].holds.contains_key(&HoldKind::Quarantine);
    let told = evidence.filter(|_| !is_held).map(|evidence| decide(turn, build, &rule, &mut rating, evidence));
    if turn.state.ratings.get(&build.worker) != Some(&rating) {
        turn.emit(EventBody::WorkerRated { worker: build.worker.clone(), rating });
    }
    if let Some(event) = told {
        turn.emit(event);
    }
}

/// Adds a build to a worker's rating, and forgets what is long ago.
fn add(rating: &mut Rating, build: BuildId, failed: bool, is_good: bool) {
    if failed || !rating.recent.is_empty() {
        rating.recent.push(Rated { build, failed });
    }
    let surplus = rating.recent.len().saturating_sub(Quarantine::RECENT);
    rating.recent.drain(..surplus);
    if rating.recent.iter().all(|rated| !rated.failed) {
        rating.recent.clear();
    }
    if is_good {
        rating.quarantines = 0;
    }
}

/// Says why a worker is to be quarantined, if it is.
fn evidence(rating: &Rating, rule: &Quarantine) -> Option<String> {
    let failed: Vec<BuildId> = rating.recent.iter().filter(|rated| rated.failed).map(|rated| rated.build).collect();
    let in_a_row = rating.recent.iter().rev().take_while(|rated| rated.failed).count();
    let is_over = |count: usize, limit: u32| limit > 0 && count >= limit as usize;
    let list = |builds: &[BuildId]| {
        let from = builds.len().saturating_sub(EVIDENCE_MAX);
        builds[from..].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    if is_over(in_a_row, rule.in_a_row) {
        let last = &failed[failed.len() - in_a_row..];
        return Some(format!("{in_a_row} builds in a row ended for infrastructure's sake: {}", list(last)));
    }
    is_over(failed.len(), rule.of_recent).then(|| {
        let of = rating.recent.len();
        format!("{} of the last {of} builds ended for infrastructure's sake: {}", failed.len(), list(&failed))
    })
}

/// Holds the worker, or tells that it ails if nobody else could run the build.
fn decide(turn: &Turn<'_>, build: &Build, rule: &Quarantine, rating: &mut Rating, evidence: String) -> EventBody {
    let worker = build.worker.clone();
    rating.recent.clear();
    if is_last(turn, build, &worker) && !mutant::is_on(119) {
        let why = format!("{evidence}; it goes on, because no other worker can run {} now", build.builder);
        return EventBody::WorkerAiling { worker, why };
    }
    let until = Some(turn.now.after(rule.lasts(rating.quarantines)));
    rating.quarantines += 1;
    let hold = Hold { by: "the service".to_owned(), reason: Some(evidence), at: turn.now, until };
    EventBody::WorkerHeld { worker, kind: HoldKind::Quarantine, hold }
}

/// Says whether no other worker could take a build's work now.
fn is_last(turn: &Turn<'_>, build: &Build, worker: &WorkerName) -> bool {
    let recipe = turn.state.requests.get(&build.request).and_then(|request| turn.state.recipes.get(&request.recipe));
    let Some(recipe) = recipe else { return true };
    let mut others = turn.state.workers.values().filter(|other| other.name != *worker && other.takes_builds());
    !others.any(|other| can_run(other, &recipe.requires))
}
