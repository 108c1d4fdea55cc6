//! Placement: which ready request runs on which idle worker.
//!
//! Pure and level-triggered: it looks at the state, never at what woke it. Fairness is decided here and nowhere else.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_model::{
    Build, BuildState, Care, Catalog, EventBody, Outcome, Pace, RequestId, Timestamp, Worker, WorkerName, mutant,
    requirement,
};

use crate::settle::triggered_summary;
use crate::state::{OpenBuild, State};
use crate::turn::Turn;
use crate::window::{self, Opening};

/// Gives slots to builds that may go on, then to ready requests: higher priority first, then older.
///
/// Of the workers that have a free slot, what is required, and time left in their window, those with the highest priority
/// are meant; of these the one that ran the builder last (its checkout is warm), else the one with the most free slots,
/// else the first by name. A window is kept by what is known of the builder's last good builds; where nothing is known, a
/// build may begin as long as the window is open: its timeouts say nothing of how long it takes.
///
/// Stops as soon as no slot is free, so its cost is the number of leases given plus the requests that no free worker
/// can run, times the workers; and each worker's windows once.
pub fn place(turn: &mut Turn<'_>) {
    let mut free = free_slots(turn);
    resume(turn, &mut free);
    free.retain(|_, free| free.takes_new);
    if free.values().all(|free| free.slots == 0) {
        return;
    }
    let ready: Vec<RequestId> = turn.state.ready.iter().map(|(_, request)| *request).collect();
    for request in ready {
        if free.values().all(|free| free.slots == 0) {
            return;
        }
        if let Some(worker) = choose(turn, request, &free) {
            free.get_mut(&worker).expect("a chosen worker is among the free").slots -= 1;
            lease(turn, request, worker);
        }
    }
}

/// What a worker has left.
#[derive(Debug, Clone, Copy)]
struct Free {
    slots: u32,
    /// Whether it is given new builds; those it has may go on in any case.
    takes_new: bool,
    priority: i32,
    opening: Opening,
}

impl Free {
    fn of(turn: &Turn<'_>, worker: &Worker) -> Self {
        let care = Care::of(&turn.catalog.care, &worker.name);
        let opening = care.map_or(Opening::Always, |care| window::look(&care.windows, turn.now));
        let takes_new = worker.takes_builds() || mutant::is_on(112);
        Self { slots: worker.slots, takes_new, priority: care.map_or(0, |care| care.priority), opening }
    }
}

/// Counts each connected worker's free slots.
fn free_slots(turn: &Turn<'_>) -> BTreeMap<WorkerName, Free> {
    let mut free: BTreeMap<WorkerName, Free> = turn
        .state
        .workers
        .values()
        .filter(|worker| worker.connected)
        .map(|worker| (worker.name.clone(), Free::of(turn, worker)))
        .collect();
    for open in turn.state.builds.values().filter(|open| open.build.state.holds_slot()) {
        if let Some(Free { slots, .. }) = free.get_mut(&open.build.worker) {
            *slots = slots.saturating_sub(u32::from(!mutant::is_on(13)));
        }
    }
    free
}

fn resume(turn: &mut Turn<'_>, free: &mut BTreeMap<WorkerName, Free>) {
    let resumable: Vec<OpenBuild> =
        turn.state.builds.values().filter(|open| open.build.state == BuildState::Resumable).cloned().collect();
    for open in resumable {
        if let Some(free) = free.get_mut(&open.build.worker).filter(|free| free.slots > 0) {
            free.slots -= 1;
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

/// Chooses a worker for a request, as [`place`] says.
fn choose(turn: &Turn<'_>, request: RequestId, free: &BTreeMap<WorkerName, Free>) -> Option<WorkerName> {
    let request = turn.state.requests.get(&request)?;
    let requires = &turn.state.recipes.get(&request.recipe)?.requires;
    let pace = turn.state.paces.get(&request.builder);
    let is_warm = |name: &WorkerName| pace.is_some_and(|pace| pace.worker == *name);
    let rank =
        |(name, free): &(&WorkerName, &Free)| (free.priority, is_warm(name), free.slots, Reverse((*name).clone()));
    free.iter()
        .filter(|(_, free)| free.slots > 0 && fits(free.opening, pace.and_then(Pace::expected), turn.now))
        .filter(|(name, _)| turn.state.workers.get(*name).is_some_and(|worker| can_run(worker, requires)))
        .max_by_key(rank)
        .map(|(name, _)| name.clone())
}

/// Says whether a build may begin now that is expected to take so long.
pub fn fits(opening: Opening, expected: Option<Duration>, now: Timestamp) -> bool {
    match opening {
        Opening::Always => true,
        Opening::Closed { .. } => mutant::is_on(120),
        Opening::Open { until, .. } => now.after(expected.unwrap_or_default()) <= until || mutant::is_on(120),
    }
}

/// Gives the next moment at which a window opens for work that waits.
pub fn next_due(catalog: &Catalog, state: &State, now: Timestamp) -> Option<Timestamp> {
    if state.ready.is_empty() || catalog.care.iter().all(|care| care.windows.is_empty()) {
        return None;
    }
    let able = state.workers.values().filter(|worker| worker.takes_builds());
    let cares = able.filter_map(|worker| Care::of(&catalog.care, &worker.name));
    cares.filter_map(|care| window::look(&care.windows, now).next()).min()
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
