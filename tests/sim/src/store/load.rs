//! A state made of the tables alone: what a restart would load.

use std::cmp::Reverse;
use std::sync::Arc;

use gristmill_model::{Incident, RequestState};
use gristmill_schedulers::State;
use gristmill_schedulers::state::{HeldChange, OpenBuild, Sight, Standing, Timer, Tip};

use super::Store;

impl Store {
    /// Makes the state of the tables.
    pub(crate) fn load(&self) -> State {
        let rows = &self.rows;
        let mut state = State { head: self.head(), at: rows.at, ..State::default() };
        state.last.change = rows.changes.keys().next_back().copied().unwrap_or_default();
        state.last.delivery = rows.deliveries.keys().next_back().copied().unwrap_or_default();
        state.last.buildset = rows.buildsets.keys().next_back().copied().unwrap_or_default();
        state.last.request = rows.requests.keys().next_back().copied().unwrap_or_default();
        state.last.build = rows.builds.keys().next_back().copied().unwrap_or_default();
        state.last.incident = rows.incidents.keys().next_back().copied().unwrap_or_default();
        state.last.message = rows.outbox.keys().next_back().copied().unwrap_or_default();
        for (name, (seen, failures)) in &rows.repositories {
            state.repositories.insert(name.clone(), Sight { seen: *seen, failures: *failures });
        }
        for ((repository, reference), (revision, seq, change)) in &rows.tips {
            let tip = Tip { revision: revision.clone(), seq: *seq, change: *change };
            state.tips.entry(repository.clone()).or_default().insert(reference.clone(), tip);
        }
        for (name, (nominal, next)) in &rows.timers {
            state.timers.insert(name.clone(), Timer { nominal: *nominal, next: *next });
        }
        for (digest, recipe) in &rows.recipes {
            state.recipes.insert(digest.clone(), Arc::new(recipe.clone()));
        }
        state.workers = rows.workers.clone();
        state.tokens = rows.tokens.clone();
        state.paces = rows.paces.clone();
        state.ratings = rows.ratings.clone();
        self.load_held(&mut state);
        self.load_buildsets(&mut state);
        self.load_builds(&mut state);
        self.load_standings(&mut state);
        for (scheduler, noted) in &rows.unused {
            let latest = state.upstreams.entry(scheduler.clone()).or_default();
            latest.extend(noted.iter().cloned());
        }
        state
    }

    fn load_held(&self, state: &mut State) {
        for (scheduler, id) in &self.rows.held {
            let verdict = &self.rows.verdicts[&(*id, scheduler.clone())];
            let change = &self.rows.changes[id];
            let gristmill_model::VerdictKind::Held { until, .. } = &verdict.kind else { continue };
            let held = HeldChange {
                change: *id,
                revision: change.new.clone().unwrap_or_default(),
                at: verdict.at,
                until: *until,
            };
            let key = (change.repository.clone(), change.reference.short().to_owned());
            state.held.entry(scheduler.clone()).or_default().entry(key).or_default().push(held);
        }
    }

    fn load_buildsets(&self, state: &mut State) {
        for id in &self.rows.open_buildsets {
            let row = &self.rows.buildsets[id];
            state.buildsets.insert(*id, row.buildset.clone());
            for request in &row.requests {
                let request = &self.rows.requests[request];
                if request.state == RequestState::Ready {
                    state.ready.insert((Reverse(row.buildset.priority), request.id));
                }
                state.first_request.entry(*id).or_insert(request.id);
                state.requests.insert(request.id, request.clone());
            }
            for edge in &row.edges {
                state.needs.entry(edge.request).or_default().push(*edge);
                state.needed_by.entry(edge.needs).or_default().push(*edge);
            }
        }
    }

    fn load_builds(&self, state: &mut State) {
        for id in &self.rows.open_builds {
            let row = &self.rows.builds[id];
            let triggered = row.build.suspended_step.and_then(|step| row.steps.get(&step));
            let open = OpenBuild {
                build: row.build.clone(),
                steps: row.steps.iter().map(|(number, (outcome, _))| (*number, *outcome)).collect(),
                waits_for: triggered.and_then(|(_, buildset)| *buildset),
            };
            state.builds.insert(*id, open);
        }
    }

    fn load_standings(&self, state: &mut State) {
        for (key, row) in &self.rows.standings {
            let standing =
                Standing { outcome: row.outcome, build: row.build, good: row.good.clone(), incident: row.incident };
            state.standings.insert(key.clone(), standing);
        }
        for id in &self.rows.open_incidents {
            let row = &self.rows.incidents[id];
            let fixed = row.builders.iter().filter_map(|(name, (_, fixed))| Some((name.clone(), (*fixed)?)));
            let incident = Incident {
                id: *id,
                branch: row.branch.clone(),
                first_build: row.first_build,
                builders: row.builders.iter().map(|(name, (broke, _))| (name.clone(), *broke)).collect(),
                fixed: fixed.collect(),
                suspects: row.suspects.clone(),
                opened_at: row.opened_at,
                closed_at: None,
            };
            state.incidents.insert(*id, incident);
        }
    }
}
