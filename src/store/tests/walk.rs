//! Random walks: whatever may happen next happens, in turns of random length, on each kind of database. After each turn
//! the tables are the fold; turns that cannot be are refused for the same row; and in the end all tables are the same.

use std::collections::BTreeSet;

use gristmill_model::*;
use gristmill_schedulers::State;
use gristmill_schedulers::state::OpenBuild;
use proptest::prelude::*;

use super::Kind;
use super::fixture::*;
use crate::store::{CommitError, StoreError};

/// What a walk has to remember beyond the state, to go only where the rules allow.
#[derive(Default)]
struct Walk {
    judged: BTreeSet<ChangeId>,
    completed: Vec<BuildsetId>,
    noted: BTreeSet<BuildsetId>,
    triggered: BTreeSet<BuildId>,
    clock: i64,
}

impl Walk {
    /// Lists what may happen next, by what it is about: a walk that chose among all of it would rarely finish a build.
    fn possible(&self, state: &State) -> Vec<Vec<EventBody>> {
        let mut possible = vec![self.of_sources(state), self.of_schedulers(state), of_incidents(state)];
        possible.push(state.requests.values().flat_map(of_request).collect());
        possible.push(lease(state).into_iter().collect());
        possible.extend(state.builds.values().map(|open| self.of_build(open, state)));
        for buildset in state.buildsets.keys() {
            if state.requests_of(*buildset).all(|request| request.outcome.is_some()) {
                let outcomes = state.requests_of(*buildset).filter_map(|request| request.outcome);
                possible.push(vec![completed(buildset.0, Outcome::combine(outcomes))]);
            }
        }
        possible.retain(|events| !events.is_empty());
        possible
    }

    fn of_sources(&self, state: &State) -> Vec<EventBody> {
        let number = state.last.change.0 + 1;
        let tip = state.tips.get("lib").and_then(|tips| tips.get("refs/heads/main"));
        let old = tip.and_then(|tip| tip.revision.clone());
        let mut moved = change(number, tip.map_or(1, |tip| tip.seq + 1), None, Some(number as u32));
        moved.old = old.clone();
        let mut possible = vec![
            EventBody::WorkerJoined { worker: worker(number as u32) },
            EventBody::RepositorySeen { repository: "lib".into() },
            EventBody::SourceFailing { repository: "lib".into(), error: "refused".into(), failures: number as u32 },
            EventBody::SourceRecovered { repository: "lib".into(), failures: 1 },
            EventBody::ChangeSeen { change: moved.clone() },
            EventBody::MessageQueued { message: message(state.last.message.0 + 1) },
        ];
        possible.push(match state.findings.contains_key("disk-space") {
            true => EventBody::DoctorCleared { check: "disk-space".into() },
            false => EventBody::DoctorFound { check: "disk-space".into(), detail: format!("{number} bytes") },
        });
        if old.is_some() {
            possible.push(EventBody::ChangeSeen { change: Change { new: None, movement: Movement::Deleted, ..moved } });
        }
        if tip.is_none() {
            let (repository, reference) = ("lib".into(), RefName::of_branch("main"));
            possible.push(EventBody::TipRecorded { repository, reference, revision: revision(9) });
        }
        if !state.workers.is_empty() {
            possible.push(EventBody::WorkerLeft { worker: "water".into(), why: "silent".into() });
        }
        possible
    }

    fn of_schedulers(&self, state: &State) -> Vec<EventBody> {
        let next = state.last.buildset.0 + 1;
        let request = state.last.request.0 + 1;
        let mut possible = vec![
            buildset(next, "ci", by_person(), request..request + 1),
            buildset(next, "ci", by_person(), request..request + 3),
            buildset(next, "empty", by_person(), request..request),
            EventBody::TimerFired {
                scheduler: "nightly".into(),
                nominal: Some(Timestamp(self.clock)),
                next: Some(Timestamp(self.clock + 1)),
                nothing: None,
            },
        ];
        for number in 1..=state.last.change.0 {
            if !self.judged.contains(&ChangeId(number)) {
                possible.push(verdict(number, "ci", held(number as u32, Some(number))));
                possible.push(verdict(number, "ci", VerdictKind::Nothing));
                possible.push(verdict(number, "ci", VerdictKind::Built { buildset: BuildsetId(next) }));
            }
        }
        for buildset in self.completed.iter().filter(|buildset| !self.noted.contains(buildset)) {
            possible.push(EventBody::UpstreamNoted {
                scheduler: "deploy".into(),
                upstream: if buildset.0 % 2 == 0 { "ci".into() } else { "docs".into() },
                buildset: *buildset,
                outcome: Outcome::Success,
                meets: true,
                branch: "main".into(),
                stamps: stamps(),
                depth: 1,
                result: "waits".into(),
            });
        }
        if let Some(noted) = state.upstreams.get("deploy") {
            let buildsets = noted.values().map(|done| done.buildset).collect();
            possible.push(buildset(next, "deploy", Trigger::Upstream { buildsets }, request..request + 2));
        }
        possible
    }

    fn of_build(&self, open: &OpenBuild, state: &State) -> Vec<EventBody> {
        let build = open.build.id;
        let step = open.steps.len() as u32;
        let mut possible = vec![
            EventBody::BuildCancelAsked { build, by: "ada".into() },
            finished(build.0, Outcome::Success, false),
            finished(build.0, Outcome::Retry, true),
        ];
        match open.build.state {
            BuildState::Leased => possible.push(EventBody::BuildStarted { build }),
            BuildState::Running => possible.push(EventBody::StepStarted { build, step, name: "test".into() }),
            BuildState::Suspended => possible.push(EventBody::BuildResumable { build }),
            BuildState::Resumable => possible.push(resumed(build.0)),
            BuildState::Finished => {}
        }
        if let (BuildState::Running, Some((step, None))) = (open.build.state, open.steps.last_key_value()) {
            let (step, summary) = (*step, "exit code 2".to_owned());
            let outcome = Outcome::Failure;
            possible.push(EventBody::StepFinished {
                build,
                step,
                outcome,
                cause: Some(Cause::Test),
                summary,
                warnings: 0,
            });
        }
        let triggers_step = open.steps.last_key_value().filter(|_| !self.triggered.contains(&build));
        if let (BuildState::Running, Some((step, None))) = (open.build.state, triggers_step) {
            for wait in [true, false] {
                possible.push(EventBody::StepTriggered { build, step: *step, buildset: state.last.buildset, wait });
            }
        }
        possible
    }

    /// Remembers what happened.
    fn happened(&mut self, body: &EventBody) {
        self.clock += 1;
        match body {
            EventBody::VerdictGiven { verdict } if !matches!(verdict.kind, VerdictKind::Held { .. }) => {
                self.judged.insert(verdict.change);
            }
            // A deleted ref is never held.
            EventBody::ChangeSeen { change } if change.new.is_none() => {
                self.judged.insert(change.id);
            }
            EventBody::BuildsetCompleted { buildset, .. } => self.completed.push(*buildset),
            EventBody::StepTriggered { build, .. } => {
                self.triggered.insert(*build);
            }
            EventBody::UpstreamNoted { buildset, .. } => {
                self.noted.insert(*buildset);
            }
            _ => {}
        }
    }
}

fn of_request(request: &Request) -> Vec<EventBody> {
    let settled = EventBody::RequestSettled {
        request: request.id,
        outcome: Outcome::Skipped,
        cause: Cause::Dependency,
        reason: "a need".into(),
    };
    match request.state {
        RequestState::Waiting => vec![EventBody::RequestReleased { request: request.id }, settled],
        RequestState::Ready => vec![settled],
        RequestState::Leased | RequestState::Settled => vec![],
    }
}

fn of_incidents(state: &State) -> Vec<EventBody> {
    let build = state.last.build.0;
    let mut possible = vec![turned("linux", Outcome::Failure, build), turned("linux", Outcome::Success, build)];
    let next = IncidentId(state.last.incident.0 + 1);
    for ((builder, branch), standing) in &state.standings {
        let (builder, branch, build) = (builder.clone(), branch.clone(), BuildId(build));
        possible.push(match standing.incident {
            None => {
                let suspects = suspects(1, 2);
                EventBody::IncidentOpened { incident: next, branch, builder, build, suspects }
            }
            Some(incident) => EventBody::IncidentEased { incident, builder, build },
        });
    }
    for incident in state.incidents.values() {
        let build = BuildId(build);
        let builder = BuilderName::from("linux");
        possible.push(EventBody::IncidentJoined { incident: incident.id, builder, build, suspects: suspects(2, 4) });
        if incident.builders.len() == incident.fixed.len() {
            possible.push(EventBody::IncidentClosed { incident: incident.id, build });
        }
    }
    possible
}

/// Gives a lease for a ready request as the engine would.
fn lease(state: &State) -> Option<EventBody> {
    let (_, request) = state.ready.first()?;
    let request = &state.requests[request];
    Some(build(state.last.build.0 + 1, request.id.0, request.buildset.0, request.attempts + 1))
}

/// The same world on each kind of database.
struct Both([World; 2]);

impl Both {
    async fn new() -> Self {
        Self([World::new(Kind::Sqlite).await, World::new(Kind::Postgres).await])
    }

    async fn happen(&mut self, events: Vec<EventBody>) {
        for world in &mut self.0 {
            world.happen(events.clone()).await;
        }
    }

    /// Has happen again what happened, and then what cannot: both refuse, and at the same row.
    async fn refuse(&mut self, mut events: Vec<EventBody>) {
        events.push(verdict(i64::MAX, "ci", VerdictKind::Nothing));
        let mut refusals = Vec::new();
        for world in &mut self.0 {
            let turn = world.turn(events.clone());
            match world.store.commit(turn).await {
                Err(CommitError::Store(StoreError::Inconsistent { table, id, .. })) => refusals.push((table, id)),
                other => panic!("it should have been refused: {other:?}"),
            }
            // That nothing of it was written is seen after the next turn.
        }
        assert_eq!(refusals[0], refusals[1]);
    }

    /// Compares every row of every table.
    async fn compare(&self) {
        let [sqlite, postgres] = &self.0;
        let (sqlite, postgres) = (dump(sqlite).await, dump(postgres).await);
        assert!(sqlite.len() > 20, "{:?}", sqlite.keys());
        assert_eq!(sqlite.keys().collect::<Vec<_>>(), postgres.keys().collect::<Vec<_>>());
        for (table, rows) in &sqlite {
            assert_eq!(rows, &postgres[table], "{table}");
        }
    }

    async fn restart(self) {
        for world in self.0 {
            world.restart().await;
        }
    }
}

/// Gives the turns of a walk, the first of which records the recipe.
pub(super) fn history(choices: impl IntoIterator<Item = (u16, bool)>) -> Vec<Vec<EventBody>> {
    let (mut walk, mut ahead, mut turns) = (Walk::default(), State::default(), vec![vec![recipe_recorded()]]);
    ahead.apply(&Event { seq: Seq(1), at: Timestamp(0), body: recipe_recorded() });
    let mut events = Vec::new();
    for (choice, turn_ends) in choices {
        let mut possible = walk.possible(&ahead);
        let subject = usize::from(choice) % possible.len();
        let choice = usize::from(choice) / possible.len();
        let mut possible = possible.swap_remove(subject);
        let body = possible.swap_remove(choice % possible.len());
        walk.happened(&body);
        ahead.apply(&Event { seq: ahead.head.next(), at: Timestamp(0), body: body.clone() });
        events.push(body);
        if turn_ends {
            turns.push(std::mem::take(&mut events));
        }
    }
    turns.push(events);
    turns
}

async fn walk(choices: Vec<(u16, bool)>) {
    let mut both = Both::new().await;
    for events in history(choices) {
        both.happen(events.clone()).await;
        if !events.is_empty() {
            both.refuse(events).await;
        }
    }
    both.compare().await;
    both.restart().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tables_are_the_fold_of_whatever_happens(choices in prop::collection::vec(any::<(u16, bool)>(), 1..150)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(walk(choices));
    }
}
