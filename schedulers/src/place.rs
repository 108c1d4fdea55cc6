//! Placement: which ready request runs on which idle worker.
//!
//! Pure and level-triggered: it looks at the state, never at what woke it. Fairness is decided here and nowhere else.

use std::collections::BTreeMap;

use gristmill_model::{Build, BuildState, EventBody, Outcome, RequestId, Worker, WorkerName, mutant, requirement};

use crate::settle::triggered_summary;
use crate::state::OpenBuild;
use crate::turn::Turn;

/// Gives slots to builds that may go on, then to ready requests: higher priority first, then older.
///
/// Stops as soon as no slot is free, so its cost is the number of leases given plus the requests that no free worker
/// can run, times the workers.
pub fn place(turn: &mut Turn<'_>) {
    let mut free = free_slots(turn);
    resume(turn, &mut free);
    if free.values().all(|slots| *slots == 0) {
        return;
    }
    let ready: Vec<RequestId> = turn.state.ready.iter().map(|(_, request)| *request).collect();
    for request in ready {
        if free.values().all(|slots| *slots == 0) {
            return;
        }
        if let Some(worker) = choose(turn, request, &free) {
            *free.get_mut(&worker).expect("a chosen worker is among the free") -= 1;
            lease(turn, request, worker);
        }
    }
}

/// Counts each connected worker's free slots.
fn free_slots(turn: &Turn<'_>) -> BTreeMap<WorkerName, u32> {
    let mut free: BTreeMap<WorkerName, u32> = turn
        .state
        .workers
        .values()
        .filter(|worker| worker.takes_builds() || (worker.connected && mutant::is_on(112)))
        .map(|worker| (worker.name.clone(), worker.slots))
        .collect();
    for open in turn.state.builds.values().filter(|open| open.build.state.holds_slot()) {
        if let Some(slots) = free.get_mut(&open.build.worker) {
            *slots = slots.saturating_sub(u32::from(!mutant::is_on(13)));
        }
    }
    free
}

fn resume(turn: &mut Turn<'_>, free: &mut BTreeMap<WorkerName, u32>) {
    let resumable: Vec<OpenBuild> =
        turn.state.builds.values().filter(|open| open.build.state == BuildState::Resumable).cloned().collect();
    for open in resumable {
        if let Some(slots) = free.get_mut(&open.build.worker).filter(|slots| **slots > 0) {
            *slots -= 1;
            let step = open.build.suspended_step.and_then(|step| open.steps.get(&step).copied().flatten());
            let outcome = step.unwrap_or(Outcome::Exception);
            let summary = open.waits_for.map(|buildset| triggered_summary(buildset, outcome)).unwrap_or_default();
            turn.emit(EventBody::BuildResumed {
                build: open.build.id,
                step: open.build.suspended_step,
                outcome,
                summary,
            });
        }
    }
}

/// Chooses the worker with the most free slots that has what is required; the first by name among equals.
fn choose(turn: &Turn<'_>, request: RequestId, free: &BTreeMap<WorkerName, u32>) -> Option<WorkerName> {
    let request = turn.state.requests.get(&request)?;
    let requires = &turn.state.recipes.get(&request.recipe)?.requires;
    free.iter()
        .filter(|(_, slots)| **slots > 0)
        .filter(|(name, _)| turn.state.workers.get(*name).is_some_and(|worker| can_run(worker, requires)))
        .max_by(|(left, left_slots), (right, right_slots)| left_slots.cmp(right_slots).then(right.cmp(left)))
        .map(|(name, _)| name.clone())
}

/// Says whether a worker has what is required.
pub fn can_run(worker: &Worker, requires: &BTreeMap<String, String>) -> bool {
    requires.iter().all(|(label, wanted)| has(worker, label, wanted) || mutant::is_on(102))
}

/// Says whether a worker's label is what is wanted of it.
pub fn has(worker: &Worker, label: &str, wanted: &str) -> bool {
    requirement::meets(wanted, worker.labels.get(label).map(String::as_str))
}

fn lease(turn: &mut Turn<'_>, id: RequestId, worker: WorkerName) {
    let request = turn.state.requests.get(&id).expect("ready requests are open");
    let build = Build {
        id: turn.next_build(),
        request: id,
        buildset: request.buildset,
        builder: request.builder.clone(),
        attempt: request.attempts + 1,
        epoch: match mutant::is_on(5) {
            true => request.epoch,
            false => turn.state.instance.lease_after(request.epoch),
        },
        worker,
        state: BuildState::Leased,
        cancel: None,
        suspended_step: None,
        outcome: None,
        cause: None,
        summary: None,
        leased_at: turn.now,
        started_at: None,
        finished_at: None,
    };
    turn.emit(EventBody::BuildLeased { build });
}
