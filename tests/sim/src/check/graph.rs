//! Buildsets and their graphs: S6, S11, S12, S13, S22.

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_model::{
    BuildId, BuildState, Buildset, BuildsetId, Cause, Condition, Edge, Graph, NeedMode, NodeName, Outcome, Request,
    RequestState, Scheduler, SchedulerKind, SourceStamp, StepAction, Trigger,
};

use super::{Checked, Checker, Violation, must};
use crate::config::Config;
use crate::store::Store;
use crate::store::rows::BuildsetRow;

/// The worst of several outcomes: the table of S7, written down once more.
fn worst(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    const ORDER: [Outcome; 6] = [
        Outcome::Skipped,
        Outcome::Success,
        Outcome::Warnings,
        Outcome::Failure,
        Outcome::Exception,
        Outcome::Cancelled,
    ];
    let rank = |outcome: &Outcome| ORDER.iter().position(|one| one == outcome).unwrap_or(ORDER.len());
    outcomes.max_by_key(rank).unwrap_or(Outcome::Skipped)
}

fn meets(on: Condition, outcome: Outcome) -> bool {
    match on {
        Condition::Success => matches!(outcome, Outcome::Success | Outcome::Warnings),
        Condition::Failure => matches!(outcome, Outcome::Failure | Outcome::Exception),
        Condition::Finished => true,
    }
}

impl Checker {
    /// S22, S13: a buildset is decided under the configuration in force, with exactly its graph.
    pub(super) fn s22_buildset(
        &mut self,
        store: &Store,
        buildset: &Buildset,
        requests: &[Request],
        edges: &[Edge],
    ) -> Checked {
        self.count("S22");
        let config = self.in_force()?;
        let id = buildset.id;
        must(buildset.catalog == config.catalog.hash, "S22", || {
            format!("buildset {id} is decided under {}, and {} is in force", buildset.catalog, config.catalog.hash)
        })?;
        let Some(scheduler) = config.catalog.schedulers.get(&buildset.scheduler) else {
            return Err(Violation::new(
                "S22",
                format!("buildset {id} is of {}, which is not there", buildset.scheduler),
            ));
        };
        let named: BTreeMap<&NodeName, &Request> = requests.iter().map(|request| (&request.node, request)).collect();
        must(named.len() == requests.len() && named.keys().copied().eq(scheduler.graph.keys()), "S22", || {
            format!("buildset {id} has other nodes than the graph of {}", buildset.scheduler)
        })?;
        let mut wanted: Vec<Edge> = Vec::new();
        for (name, node) in &scheduler.graph {
            let request = named[name];
            let builder = &config.catalog.builders[&node.builder];
            let is_so =
                request.builder == node.builder && request.recipe == builder.digest && request.mode == node.mode;
            must(is_so, "S22", || format!("request {} of buildset {id} is not its node {name}", request.id))?;
            wanted.extend(node.needs.iter().map(|need| Edge {
                request: request.id,
                needs: named[&need.node].id,
                on: need.on,
            }));
        }
        let mut found = edges.to_vec();
        found.sort_unstable();
        wanted.sort_unstable();
        must(found == wanted, "S22", || format!("buildset {id} has other edges than its graph"))?;
        must(is_acyclic(&scheduler.graph), "S13", || format!("the graph of {} has a cycle", buildset.scheduler))?;
        self.s13_bounded(store, buildset)
    }

    /// S13: buildsets set each other off only so often.
    fn s13_bounded(&mut self, store: &Store, buildset: &Buildset) -> Checked {
        self.count("S13");
        let depth_of = |id: &BuildsetId| store.rows.buildsets.get(id).map_or(0, |row| row.buildset.depth);
        let wanted = match &buildset.trigger {
            Trigger::Upstream { buildsets } => buildsets.iter().map(depth_of).max().map_or(0, |depth| depth + 1),
            Trigger::Step { build, .. } => depth_of(&store.rows.builds[build].build.buildset) + 1,
            _ => 0,
        };
        must(buildset.depth == wanted && wanted <= 32, "S13", || {
            format!("buildset {} has depth {}, and {wanted} is right", buildset.id, buildset.depth)
        })
    }

    /// S11: stamps are frozen as they should be: given ones first, then what set it off, then tips.
    pub(super) fn s11_stamps(&mut self, store: &Store, buildset: &Buildset) -> Checked {
        self.count("S11");
        let config = self.in_force()?;
        let scheduler = &config.catalog.schedulers[&buildset.scheduler];
        let builders = scheduler.graph.values().map(|node| &config.catalog.builders[&node.builder]);
        let mut uses = BTreeMap::new();
        for builder in builders {
            uses.extend(builder.recipe.sources.iter());
        }
        must(buildset.stamps.keys().eq(uses.keys().copied()), "S11", || {
            format!("buildset {} has stamps of {:?}", buildset.id, buildset.stamps.keys())
        })?;
        let given: Vec<&SourceStamp> = match &buildset.trigger {
            Trigger::Upstream { buildsets } => {
                buildsets.iter().flat_map(|id| store.rows.buildsets[id].buildset.stamps.values()).collect()
            }
            Trigger::Step { build, .. } => {
                let parent = store.rows.builds[build].build.buildset;
                store.rows.buildsets[&parent].buildset.stamps.values().collect()
            }
            Trigger::Person { .. } => return Ok(()),
            _ => Vec::new(),
        };
        for (codebase, used) in uses {
            let found = &buildset.stamps[codebase];
            let tip = |branch: &str| {
                let key = (used.repository.clone(), gristmill_model::RefName::of_branch(branch));
                let (revision, _, change) = store.rows.tips.get(&key)?.clone();
                Some(SourceStamp { repository: key.0, branch: branch.to_owned(), revision: revision?, change })
            };
            let frozen = given.iter().find(|stamp| stamp.repository == used.repository).map(|stamp| (*stamp).clone());
            let primary = || primary(store, buildset, scheduler).filter(|stamp| stamp.repository == used.repository);
            let wanted = frozen.or_else(primary).or_else(|| tip(used.branch.as_deref().unwrap_or("main")));
            must(wanted.as_ref() == Some(found), "S11", || {
                format!("buildset {} freezes {found:?}, and {wanted:?} is right", buildset.id)
            })?;
        }
        Ok(())
    }

    /// S6: a buildset completes once, when all is settled, with the worst of its outcomes.
    pub(super) fn s6_completed(&mut self, store: &Store, id: BuildsetId, outcome: Outcome) -> Checked {
        self.count("S6");
        let row = &store.rows.buildsets[&id];
        must(row.buildset.outcome.is_none(), "S6", || format!("buildset {id} completes a second time"))?;
        must(row.remaining == 0, "S6", || format!("buildset {id} completes with {} requests open", row.remaining))?;
        let outcomes: Vec<Outcome> = row.requests.iter().filter_map(|id| store.rows.requests[id].outcome).collect();
        let wanted = worst(outcomes.iter().copied());
        must(outcome == wanted, "S6", || {
            format!("buildset {id} comes to {outcome}, and {wanted} is right of {outcomes:?}")
        })?;
        // By the graph, from the results of what ran: what ran should have, what was skipped should not have.
        let mut memo = BTreeMap::new();
        for request in &row.requests {
            oracle(store, row, &store.rows.requests[request], &mut memo)?;
        }
        Ok(())
    }

    /// S6: a buildset is complete if and only if all its requests are settled.
    pub(super) fn s6_whole(&mut self, store: &Store, id: BuildsetId) -> Checked {
        self.count("S6");
        let row = &store.rows.buildsets[&id];
        let is_over = row.buildset.outcome.is_some();
        must(is_over == (row.remaining == 0), "S6", || {
            format!(
                "buildset {id} has {} open requests, and is{} complete",
                row.remaining,
                if is_over { "" } else { " not" }
            )
        })
    }

    /// S11: a request waits, is free or is skipped exactly as its needs say.
    pub(super) fn s11_needs(&mut self, store: &Store, id: BuildsetId) -> Checked {
        self.count("S11");
        let row = &store.rows.buildsets[&id];
        for request in &row.requests {
            let request = &store.rows.requests[request];
            let is_cancelled = request.outcome == Some(Outcome::Cancelled) && request.cause == Some(Cause::Person);
            if is_cancelled {
                continue;
            }
            let wanted = stand(store, row, request);
            let fits = match wanted {
                Stand::Waits => request.state == RequestState::Waiting,
                Stand::Skips => request.outcome == Some(Outcome::Skipped) && request.attempts == 0,
                Stand::Runs => {
                    request.state != RequestState::Waiting && !(request.outcome.is_some() && request.attempts == 0)
                }
            };
            must(fits, "S11", || {
                format!(
                    "request {} is {} ({:?}), and by its needs it {wanted:?}",
                    request.id,
                    request.state.as_str(),
                    request.outcome
                )
            })?;
        }
        Ok(())
    }

    /// S11: every dependent scheduler notes a completed buildset in the same turn, once, and builds if all are there.
    pub(super) fn s11_dependents(&mut self, store: &Store, id: BuildsetId, config: &Arc<Config>) -> Checked {
        let done = &store.rows.buildsets[&id].buildset;
        for (name, scheduler) in &config.catalog.schedulers {
            let SchedulerKind::Dependent { upstream, on } = &scheduler.kind else { continue };
            if !upstream.contains(&done.scheduler) {
                continue;
            }
            self.count("S11");
            must(store.rows.noted.contains(&(name.clone(), id)), "S11", || {
                format!("{name} does not note buildset {id}")
            })?;
            let outcome = done.outcome.unwrap_or(Outcome::Skipped);
            let wish = &config.wishes[name];
            let wants = meets(*on, outcome) && wish.branch.is_none_or(|branch| done.branch == branch);
            let used = |buildsets: &[BuildsetId]| buildsets.contains(&id);
            let mine = store.rows.buildsets.values().rev().take(200);
            let built = mine
                .filter(|row| row.buildset.scheduler == *name)
                .any(|row| matches!(&row.buildset.trigger, Trigger::Upstream { buildsets } if used(buildsets)));
            must(!built || wants, "S11", || format!("{name} builds after buildset {id}, which came to {outcome}"))?;
            let is_alone = upstream.len() == 1;
            let depth = done.depth + 1;
            if is_alone && wants && !built && depth <= 32 {
                must(self.is_frozen_out(store, done, scheduler, config), "S11", || {
                    format!("{name} does not build after buildset {id}, which came to {outcome}")
                })?;
            }
        }
        Ok(())
    }

    /// Says whether a tip that no upstream froze is not known.
    fn is_frozen_out(&self, store: &Store, done: &Buildset, scheduler: &Scheduler, config: &Config) -> bool {
        let builders = scheduler.graph.values().map(|node| &config.catalog.builders[&node.builder]);
        builders.flat_map(|builder| builder.recipe.sources.values()).any(|used| {
            let key = (
                used.repository.clone(),
                gristmill_model::RefName::of_branch(used.branch.as_deref().unwrap_or("main")),
            );
            let is_known = store.rows.tips.get(&key).is_some_and(|(revision, ..)| revision.is_some());
            !is_known && !done.stamps.values().any(|stamp| stamp.repository == used.repository)
        })
    }

    /// S12: a step sets off what it names, once, and only a step that waits suspends its build.
    pub(super) fn s12_triggered(
        &mut self,
        store: &Store,
        build: BuildId,
        step: u32,
        buildset: BuildsetId,
        wait: bool,
    ) -> Checked {
        self.count("S12");
        let made = store.rows.buildsets.get(&buildset).map(|row| &row.buildset.trigger);
        let wanted = Trigger::Step { build, step, wait };
        must(made == Some(&wanted), "S12", || {
            format!("step {step} of build {build} triggers buildset {buildset}: {made:?}")
        })?;
        let row = &store.rows.builds[&build].build;
        let recipe = &store.rows.recipes[&store.rows.requests[&row.request].recipe];
        let action = recipe.steps.get(step as usize).map(|step| &step.action);
        let is_so = matches!(action, Some(StepAction::Trigger { wait: waits, .. }) if *waits == wait);
        must(is_so && row.cancel.is_none(), "S12", || format!("step {step} of build {build} should trigger nothing"))
    }

    /// S12: a waiting build goes on when its child is complete, with the child's outcome.
    pub(super) fn s12_parent(&mut self, store: &Store, child: BuildsetId) -> Checked {
        self.count("S12");
        let done = &store.rows.buildsets[&child].buildset;
        let Trigger::Step { build, step, wait: true } = done.trigger else { return Ok(()) };
        let row = &store.rows.builds[&build];
        let waits = row.build.state == BuildState::Suspended
            && row.steps.get(&step).is_some_and(|(_, triggered)| *triggered == Some(child));
        must(!waits, "S12", || format!("build {build} still waits for buildset {child}, which is complete"))?;
        let outcome = row.steps.get(&step).and_then(|(outcome, _)| *outcome);
        // A worker may end the step that waits; then nobody wants the child any more.
        let was_ended = self.impatient.contains(&build);
        let is_gone = row.build.state == BuildState::Finished || row.build.cancel.is_some();
        let is_own = is_gone || was_ended || outcome == done.outcome;
        must(is_own, "S12", || {
            format!("step {step} of build {build} came to {outcome:?}, and buildset {child} to {:?}", done.outcome)
        })
    }

    /// S12: nothing that an ended build waited for goes on as if it were wanted.
    pub(super) fn s12_child(&mut self, store: &Store, build: BuildId) -> Checked {
        self.count("S12");
        let row = &store.rows.builds[&build];
        for (_, child) in row.steps.values() {
            let Some(child) = child.and_then(|child| store.rows.buildsets.get(&child)) else { continue };
            if !matches!(child.buildset.trigger, Trigger::Step { wait: true, .. }) || child.buildset.outcome.is_some() {
                continue;
            }
            let open = store.rows.open_builds.iter().map(|id| &store.rows.builds[id].build);
            let mut wanted = open.filter(|one| one.buildset == child.buildset.id && one.cancel.is_none());
            let free = child.requests.iter().map(|id| store.rows.requests[id].state);
            let is_free = free.into_iter().any(|state| matches!(state, RequestState::Ready | RequestState::Waiting));
            must(wanted.next().is_none() && !is_free, "S12", || {
                format!("build {build} is over, and buildset {} that it waited for goes on", child.buildset.id)
            })?;
        }
        Ok(())
    }
}

/// Where a request should stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Waits,
    Skips,
    Runs,
}

fn stand(store: &Store, row: &BuildsetRow, request: &Request) -> Stand {
    let (mut met, mut open, mut unmet) = (0, 0, 0);
    for edge in row.edges.iter().filter(|edge| edge.request == request.id) {
        match store.rows.requests[&edge.needs].outcome {
            None => open += 1,
            Some(outcome) if meets(edge.on, outcome) => met += 1,
            Some(_) => unmet += 1,
        }
    }
    decide(request.mode, met, open, unmet)
}

fn decide(mode: NeedMode, met: usize, open: usize, unmet: usize) -> Stand {
    match mode {
        _ if met + open + unmet == 0 => Stand::Runs,
        NeedMode::All if unmet > 0 => Stand::Skips,
        NeedMode::All if open > 0 => Stand::Waits,
        NeedMode::All => Stand::Runs,
        NeedMode::Any if met > 0 => Stand::Runs,
        NeedMode::Any if open > 0 => Stand::Waits,
        NeedMode::Any => Stand::Skips,
    }
}

/// The graph, played through from the results of what ran: gives what a request should have come to.
fn oracle(
    store: &Store,
    row: &BuildsetRow,
    request: &Request,
    memo: &mut BTreeMap<gristmill_model::RequestId, Outcome>,
) -> Result<Outcome, Violation> {
    if let Some(known) = memo.get(&request.id) {
        return Ok(*known);
    }
    let (mut met, mut unmet) = (0, 0);
    for edge in row.edges.iter().filter(|edge| edge.request == request.id) {
        let needed = oracle(store, row, &store.rows.requests[&edge.needs], memo)?;
        if meets(edge.on, needed) { met += 1 } else { unmet += 1 }
    }
    let found = request.outcome.unwrap_or(Outcome::Retry);
    let runs = decide(request.mode, met, 0, unmet) == Stand::Runs;
    let fits = match found {
        Outcome::Cancelled => true,
        Outcome::Retry => false,
        Outcome::Skipped if request.attempts == 0 => !runs,
        _ => runs,
    };
    must(fits, "S6", || {
        format!(
            "request {} came to {found}, and by its graph it {}",
            request.id,
            if runs { "runs" } else { "is skipped" }
        )
    })?;
    memo.insert(request.id, found);
    Ok(found)
}

/// What set a buildset off, as a stamp.
fn primary(store: &Store, buildset: &Buildset, scheduler: &Scheduler) -> Option<SourceStamp> {
    match &buildset.trigger {
        Trigger::Changes { changes } => {
            let change = &store.rows.changes[changes.last()?];
            Some(SourceStamp {
                repository: change.repository.clone(),
                branch: change.reference.short().to_owned(),
                revision: change.new.clone()?,
                change: Some(change.id),
            })
        }
        Trigger::Time { .. } => {
            let (SchedulerKind::Periodic { target, .. } | SchedulerKind::Nightly { target, .. }) = &scheduler.kind
            else {
                return None;
            };
            let key = (target.repository.clone(), gristmill_model::RefName::of_branch(&target.branch));
            let (revision, _, change) = store.rows.tips.get(&key)?.clone();
            Some(SourceStamp { repository: key.0, branch: target.branch.clone(), revision: revision?, change })
        }
        _ => None,
    }
}

/// Says whether a graph has no cycle (S13), by taking away what needs nothing until nothing is left.
fn is_acyclic(graph: &Graph) -> bool {
    let mut left: Vec<&NodeName> = graph.keys().collect();
    while !left.is_empty() {
        let before = left.len();
        let kept: Vec<&NodeName> = left
            .iter()
            .filter(|name| graph[**name].needs.iter().any(|need| left.contains(&&need.node)))
            .copied()
            .collect();
        left = kept;
        if left.len() == before {
            return false;
        }
    }
    true
}
