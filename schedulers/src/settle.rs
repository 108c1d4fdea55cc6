//! Settling: what the end of a request sets off in its graph, and what the end of a buildset sets off beyond it.

use gristmill_model::matching::{Field, Subject, Values};
use gristmill_model::{
    BuildId, Buildset, BuildsetId, Cause, EventBody, NeedMode, Outcome, Reason, RequestId, RequestState, Scheduler,
    SchedulerKind, SchedulerName, StampSet, Trigger, mutant,
};

use crate::create::{self, Given};
use crate::state::UpstreamDone;
use crate::turn::Turn;

/// Lets everything happen that the settled request `first` sets off: releases, skips, the buildset's completion.
///
/// Linear in the edges that leave what settles.
pub fn after(turn: &mut Turn<'_>, first: RequestId) {
    let Some(buildset) = turn.state.requests.get(&first).map(|request| request.buildset) else { return };
    let mut settled = vec![first];
    while let Some(request) = settled.pop() {
        let waiting: Vec<RequestId> = turn
            .state
            .needed_by
            .get(&request)
            .map(|edges| edges.iter().map(|edge| edge.request).collect())
            .unwrap_or_default();
        for dependent in waiting {
            match stand(turn, dependent) {
                Stand::Waits => {}
                Stand::Released => turn.emit(EventBody::RequestReleased { request: dependent }),
                Stand::Skipped(reason) => {
                    turn.emit(EventBody::RequestSettled {
                        request: dependent,
                        outcome: Outcome::Skipped,
                        cause: Cause::Dependency,
                        reason: reason.to_string(),
                    });
                    settled.push(dependent);
                }
            }
        }
    }
    if mutant::is_on(24)
        && let Some(child) = turn.state.buildsets.get(&buildset).cloned()
    {
        wake_parent(turn, &child, Outcome::Success);
    }
    complete_if_over(turn, buildset);
}

/// Where a waiting request stands with its needs.
enum Stand {
    Waits,
    Released,
    Skipped(Reason),
}

fn stand(turn: &Turn<'_>, id: RequestId) -> Stand {
    let Some(request) = turn.state.requests.get(&id) else { return Stand::Waits };
    if request.state != RequestState::Waiting {
        return Stand::Waits;
    }
    let (mut met, mut open, mut unmet) = (0, 0, None);
    let edges = turn.state.needs.get(&id).map(Vec::as_slice).unwrap_or_default();
    for edge in edges {
        let Some(needed) = turn.state.requests.get(&edge.needs) else { continue };
        match needed.outcome {
            None => open += 1,
            Some(outcome) if edge.on.is_met_by(outcome) => met += 1,
            Some(outcome) => {
                unmet = Some(Reason::NeedNotMet { node: needed.node.clone(), outcome, on: edge.on });
            }
        }
    }
    match (request.mode, unmet) {
        (NeedMode::All, Some(reason)) => Stand::Skipped(reason),
        (NeedMode::All, None) if open == 0 => Stand::Released,
        (NeedMode::Any, _) if met > 0 => Stand::Released,
        (NeedMode::Any, Some(reason)) if open == 0 => Stand::Skipped(reason),
        _ => Stand::Waits,
    }
}

fn complete_if_over(turn: &mut Turn<'_>, id: BuildsetId) {
    if turn.state.requests_of(id).any(|request| request.state != RequestState::Settled && !mutant::is_on(18)) {
        return;
    }
    let Some(buildset) = turn.state.buildsets.get(&id).cloned() else { return };
    let outcomes = turn.state.requests_of(id).filter_map(|request| request.outcome);
    let outcome = Outcome::combine(outcomes.filter(|outcome| *outcome != Outcome::Exception || !mutant::is_on(20)));
    turn.emit(EventBody::BuildsetCompleted { buildset: id, outcome });
    if mutant::is_on(19) {
        turn.emit(EventBody::BuildsetCompleted { buildset: id, outcome });
    }
    wake_parent(turn, &buildset, outcome);
    wake_dependents(turn, &buildset, outcome);
}

/// Lets a suspended build go on whose step waits for this buildset (S12).
fn wake_parent(turn: &mut Turn<'_>, buildset: &Buildset, outcome: Outcome) {
    let Trigger::Step { build, step, wait: true } = buildset.trigger else { return };
    let waits =
        turn.state.builds.get(&build).is_some_and(|open| {
            open.waits_for == Some(buildset.id) && open.steps.get(&step).copied().flatten().is_none()
        });
    if waits {
        let cause = (!outcome.is_good()).then_some(Cause::Dependency);
        let summary = triggered_summary(buildset.id, outcome);
        turn.emit(EventBody::StepFinished { build, step, outcome, cause, summary, warnings: 0 });
        turn.emit(EventBody::BuildResumable { build });
    }
}

/// Says what a waiting trigger step came to.
pub fn triggered_summary(buildset: BuildsetId, outcome: Outcome) -> String {
    format!("buildset {buildset} ended with {outcome}")
}

/// A completed buildset, as something that a dependent scheduler's match can be asked about.
struct Completed<'a> {
    buildset: &'a Buildset,
    outcome: Outcome,
}

impl Subject for Completed<'_> {
    fn values(&self, field: Field) -> Values {
        let all = match field {
            Field::Branch => vec![self.buildset.branch.clone()],
            Field::Project => self.buildset.project.iter().map(|project| project.0.clone()).collect(),
            Field::Repository => self.buildset.stamps.values().map(|stamp| stamp.repository.0.clone()).collect(),
            Field::Scheduler => vec![self.buildset.scheduler.0.clone()],
            Field::Outcome => vec![self.outcome.as_str().to_owned()],
            Field::Event => vec!["buildset.completed".to_owned()],
            _ => Vec::new(),
        };
        Values { all, incomplete: false }
    }
}

fn wake_dependents(turn: &mut Turn<'_>, buildset: &Buildset, outcome: Outcome) {
    let catalog = turn.catalog;
    for (name, scheduler) in &catalog.schedulers {
        if let SchedulerKind::Dependent { upstream, on } = &scheduler.kind
            && upstream.contains(&buildset.scheduler)
        {
            let refused =
                scheduler.when.check(&Completed { buildset, outcome }).err().map(|mismatch| mismatch.to_string());
            let meets = refused.is_none() && (on.is_met_by(outcome) || mutant::is_on(22));
            let why_not = refused.unwrap_or_else(|| format!("it ended with {outcome}, and {} is wanted", on.as_str()));
            note_upstream(turn, name, scheduler, upstream, buildset, outcome, meets.then_some(()).ok_or(why_not));
        }
    }
}

/// Notes a completed upstream, and builds if all upstreams are there (S11).
fn note_upstream(
    turn: &mut Turn<'_>,
    name: &SchedulerName,
    scheduler: &Scheduler,
    upstream: &[SchedulerName],
    buildset: &Buildset,
    outcome: Outcome,
    verdict: Result<(), String>,
) {
    let meets = verdict.is_ok();
    let mut done = turn.state.upstreams.get(name).cloned().unwrap_or_default();
    let this = UpstreamDone {
        buildset: buildset.id,
        outcome,
        meets,
        branch: buildset.branch.clone(),
        stamps: buildset.stamps.clone(),
        depth: buildset.depth,
    };
    done.insert(buildset.scheduler.clone(), this);
    let plan = verdict.and_then(|()| join(upstream, &done)).and_then(|joined| {
        // A tip that is not known cannot be waited for here: what no upstream froze was never looked at.
        let stamps = create::freeze(turn, &scheduler.graph, None, &joined.given.stamps);
        stamps.map(|_| joined).map_err(|missing| missing.to_string())
    });
    let result = plan.as_ref().map_or_else(|why_not| format!("nothing: {why_not}"), |_| "built".to_owned());
    turn.emit(EventBody::UpstreamNoted {
        scheduler: name.clone(),
        upstream: buildset.scheduler.clone(),
        buildset: buildset.id,
        outcome,
        meets,
        branch: buildset.branch.clone(),
        stamps: buildset.stamps.clone(),
        depth: buildset.depth,
        result,
    });
    if let Ok(joined) = plan.map_err(drop).and_then(|joined| if mutant::is_on(23) { Err(()) } else { Ok(joined) }) {
        let trigger = Trigger::Upstream { buildsets: joined.buildsets };
        create::create_given(turn, name, scheduler, None, trigger, joined.given)
            .expect("its stamps could be frozen a moment ago");
    }
}

/// All upstreams together.
struct Joined {
    buildsets: Vec<BuildsetId>,
    given: Given,
}

/// Puts the upstreams' stamps together, or says what is still missing.
fn join(
    upstream: &[SchedulerName],
    done: &std::collections::BTreeMap<SchedulerName, UpstreamDone>,
) -> Result<Joined, String> {
    let mut stamps = StampSet::new();
    let mut buildsets = Vec::new();
    let (mut depth, mut branch) = (0, None);
    for name in upstream {
        let Some(one) = done.get(name) else { return Err(format!("waits for {name}")) };
        if !one.meets {
            return Err(format!("waits for {name}, whose last buildset {} ended with {}", one.buildset, one.outcome));
        }
        for (codebase, stamp) in &one.stamps {
            if let Some(other) = stamps.insert(codebase.clone(), stamp.clone())
                && other.revision != stamp.revision
            {
                let (left, right) = (other.revision.short().to_owned(), stamp.revision.short());
                return Err(format!("waits until its upstreams agree on {codebase}: {left} and {right}"));
            }
        }
        buildsets.push(one.buildset);
        depth = depth.max(one.depth + 1);
        branch.get_or_insert_with(|| one.branch.clone());
    }
    if depth > Buildset::DEPTH_MAX {
        return Err(format!("{} buildsets set each other off already", Buildset::DEPTH_MAX));
    }
    Ok(Joined { buildsets, given: Given { stamps, branch, depth, ..Given::default() } })
}

/// Settles a request without a build, and lets happen what that sets off.
pub fn settle_without_build(turn: &mut Turn<'_>, request: RequestId, outcome: Outcome, cause: Cause, reason: String) {
    turn.emit(EventBody::RequestSettled { request, outcome, cause, reason });
    after(turn, request);
}

/// The builds of a buildset that are not over.
pub fn open_builds(turn: &Turn<'_>, buildset: BuildsetId) -> Vec<BuildId> {
    turn.state.builds.values().filter(|open| open.build.buildset == buildset).map(|open| open.build.id).collect()
}
