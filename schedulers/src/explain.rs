//! Why a request is where it is. Computed from the state when it is asked for, so that it is never stale.

use gristmill_model::requirement::Said;
use gristmill_model::{
    BuildState, Care, Catalog, HeldWorker, HoldKind, NeedState, Pace, Reason, Request, RequestId, RequestState,
    Timestamp, Worker, WorkerMiss,
};

use crate::place::{can_run, fits, has};
use crate::state::State;
use crate::window::{self, Opening};

/// How many workers or needs a reason lists.
const LISTED_MAX: usize = 20;

/// Gives the reasons for where a request stands, the telling one first. `None` if it is not open.
///
/// Linear in the workers, the running builds and the ready requests before it.
pub fn explain(catalog: &Catalog, state: &State, id: RequestId, now: Timestamp) -> Option<Vec<Reason>> {
    let request = state.requests.get(&id)?;
    Some(match request.state {
        RequestState::Waiting => vec![needs(state, request)],
        RequestState::Ready => ready(catalog, state, request, now),
        RequestState::Leased => leased(state, request),
        RequestState::Settled => request.outcome.map(|outcome| Reason::Settled { outcome }).into_iter().collect(),
    })
}

fn needs(state: &State, request: &Request) -> Reason {
    let edges = state.needs.get(&request.id).map(Vec::as_slice).unwrap_or_default();
    let needs = edges
        .iter()
        .filter_map(|edge| Some((edge, state.requests.get(&edge.needs)?)))
        .filter(|(_, needed)| needed.state != RequestState::Settled)
        .take(LISTED_MAX)
        .map(|(edge, needed)| NeedState {
            node: needed.node.clone(),
            request: needed.id,
            builder: needed.builder.clone(),
            state: if needed.state == RequestState::Leased { "running" } else { needed.state.as_str() }.to_owned(),
            on: edge.on,
        })
        .collect();
    Reason::Needs { needs }
}

fn ready(catalog: &Catalog, state: &State, request: &Request, now: Timestamp) -> Vec<Reason> {
    let Some(recipe) = state.recipes.get(&request.recipe) else { return Vec::new() };
    if state.workers.is_empty() {
        return vec![Reason::NoWorkers];
    }
    let able: Vec<&Worker> = state.workers.values().filter(|worker| can_run(worker, &recipe.requires)).collect();
    if able.is_empty() {
        let requires = recipe.requires.iter().map(|(label, wanted)| Said(label, wanted).to_string()).collect();
        return vec![Reason::NoWorkerCan { missing: misses(state, recipe), requires }];
    }
    if able.iter().all(|worker| !worker.connected) {
        return vec![Reason::WorkersAway { workers: able.iter().map(|worker| worker.name.clone()).collect() }];
    }
    let there: Vec<&Worker> = able.into_iter().filter(|worker| worker.connected).collect();
    let able: Vec<&Worker> = there.iter().copied().filter(|worker| worker.holds.is_empty()).collect();
    if able.is_empty() {
        return vec![Reason::WorkersHeld {
            holds: there.iter().flat_map(|worker| holds(worker)).take(LISTED_MAX).collect(),
        }];
    }
    let opening = |worker: &Worker| {
        Care::of(&catalog.care, &worker.name).map_or(Opening::Always, |care| window::look(&care.windows, now))
    };
    let expected = state.paces.get(&request.builder).and_then(Pace::expected);
    if able.iter().all(|worker| !fits(opening(worker), expected, now)) {
        return vec![Reason::WorkersClosed {
            workers: able.iter().map(|worker| worker.name.clone()).take(LISTED_MAX).collect(),
            expected_s: expected.map(|expected| expected.as_secs()),
            opens: able.iter().filter_map(|worker| opening(worker).next()).min(),
        }];
    }
    let builds = state
        .builds
        .values()
        .filter(|open| open.build.state.holds_slot() && able.iter().any(|worker| worker.name == open.build.worker))
        .map(|open| open.build.id)
        .collect();
    let position = state.ready.iter().take_while(|(_, other)| *other != request.id).count() + 1;
    vec![Reason::WorkersBusy { builds, position }]
}

/// Lists what keeps work from a worker.
fn holds(worker: &Worker) -> impl Iterator<Item = HeldWorker> {
    worker.holds.iter().map(|(kind, hold)| HeldWorker {
        worker: worker.name.clone(),
        kind: *kind,
        by: hold.by.clone(),
        until: hold.until.filter(|_| *kind != HoldKind::Drain),
    })
}

/// Names what each worker lacks first.
fn misses(state: &State, recipe: &gristmill_model::Recipe) -> Vec<WorkerMiss> {
    state
        .workers
        .values()
        .take(LISTED_MAX)
        .filter_map(|worker| {
            let (label, _) = recipe.requires.iter().find(|(label, wanted)| !has(worker, label, wanted))?;
            let has = worker.labels.get(label).cloned();
            Some(WorkerMiss { worker: worker.name.clone(), label: label.clone(), has })
        })
        .collect()
}

fn leased(state: &State, request: &Request) -> Vec<Reason> {
    let Some(open) = state.builds.values().find(|open| open.build.request == request.id) else { return Vec::new() };
    let build = &open.build;
    match (build.state, open.waits_for) {
        (BuildState::Suspended, Some(buildset)) => vec![Reason::TriggerWaits { buildset }],
        _ => vec![Reason::Running { build: build.id, worker: build.worker.clone() }],
    }
}
