//! The fold: how each event changes the state. The tables change by the same events, in `store`; a test holds both
//! against each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_model::{
    Build, BuildId, BuildState, BuilderName, BuilderOnBranch, Buildset, BuildsetId, Cause, Change, ChangeId, Edge,
    Event, EventBody, Incident, IncidentId, Outcome, RefName, RepositoryName, Request, RequestId, RequestState,
    Revoked, Timestamp, TokenId, Verdict, VerdictKind, Worker, WorkerName, mutant,
};

use crate::state::{HeldChange, OpenBuild, Sight, Standing, State, Timer, Tip, UpstreamDone};

impl State {
    /// Folds one event in. Events must come in order, each exactly once.
    ///
    /// What an event names is there: whoever decides an event has looked. An event that names something unknown changes
    /// nothing, so that a fold over a journal whose beginning was retired still works.
    pub fn apply(&mut self, event: &Event) {
        self.head = event.seq;
        self.at = event.at;
        self.fold(event.at, &event.body);
    }

    /// One match over all kinds, long as it is: a kind that is forgotten here does not compile.
    fn fold(&mut self, at: Timestamp, body: &EventBody) {
        use EventBody as E;
        match body {
            E::CatalogActivated { .. }
            | E::CatalogRefused { .. }
            | E::DeliveryRead { .. }
            | E::ReportRefused { .. }
            | E::WorkerAiling { .. }
            | E::StepOutputs { .. }
            | E::StepTested { .. }
            | E::ArtifactStored { .. }
            | E::MessageDelivered { .. }
            | E::MessageClaimed { .. }
            | E::MessageDeferred { .. }
            | E::MessageDead { .. } => {}
            E::DeliveryAccepted { delivery } => self.last.delivery = delivery.id,
            E::MessageQueued { message } => self.last.message = message.id,
            E::TipRecorded { repository, reference, revision } => {
                let tip = Tip { revision: Some(revision.clone()), seq: 0, change: None };
                self.set_tip(repository, reference, tip);
            }
            E::ChangeSeen { change } => self.change_seen(change),
            E::RepositorySeen { repository } => self.sight(repository).seen = true,
            E::SourceFailing { repository, failures, .. } => self.sight(repository).failures = *failures,
            E::SourceRecovered { repository, .. } => self.sight(repository).failures = 0,
            E::VerdictGiven { verdict } => self.verdict_given(verdict),
            E::TimerFired { scheduler, nominal, next, .. } => {
                let nominal = nominal.or_else(|| self.timers.get(scheduler).and_then(|timer| timer.nominal));
                self.timers.insert(scheduler.clone(), Timer { nominal, next: *next });
            }
            E::RecipeRecorded { digest, recipe } => {
                self.recipes.insert(digest.clone(), Arc::new(recipe.clone()));
            }
            E::BuildsetCreated { buildset, requests, edges } => self.buildset_created(buildset, requests, edges),
            E::RequestReleased { request } => self.move_request(*request, RequestState::Ready),
            E::RequestSettled { request, outcome, cause, .. } => self.settle(*request, *outcome, Some(*cause), at),
            E::BuildLeased { build } => self.build_leased(build),
            E::BuildStarted { build } => self.with_build(*build, |open| {
                open.build.state = BuildState::Running;
                open.build.started_at = Some(at);
            }),
            E::StepStarted { build, step, .. } => self.with_build(*build, |open| {
                open.steps.insert(*step, None);
            }),
            E::StepFinished { build, step, outcome, .. } => self.with_build(*build, |open| {
                open.steps.insert(*step, Some(*outcome));
            }),
            E::StepTriggered { build, step, buildset, wait } => self.with_build(*build, |open| {
                if *wait && !mutant::is_on(106) {
                    open.build.state = BuildState::Suspended;
                    open.build.suspended_step = Some(*step);
                    open.waits_for = Some(*buildset);
                }
            }),
            E::BuildResumable { build } => self.with_build(*build, |open| open.build.state = BuildState::Resumable),
            E::BuildResumed { build, .. } => self.with_build(*build, |open| {
                open.build.state = BuildState::Running;
                open.build.suspended_step = None;
                open.waits_for = None;
            }),
            E::BuildCancelAsked { build, by } => self.with_build(*build, |open| open.build.cancel = Some(by.clone())),
            E::BuildFinished { build, outcome, cause, retry, .. } => {
                self.build_finished(*build, *outcome, *cause, *retry, at);
            }
            E::BuildsetCompleted { buildset, .. } => self.buildset_completed(*buildset),
            E::UpstreamNoted { scheduler, upstream, buildset, outcome, meets, branch, stamps, depth, .. } => {
                let done = UpstreamDone {
                    buildset: *buildset,
                    outcome: *outcome,
                    meets: *meets,
                    branch: branch.clone(),
                    stamps: stamps.clone(),
                    depth: *depth,
                };
                self.upstreams.entry(scheduler.clone()).or_default().insert(upstream.clone(), done);
            }
            E::BuilderTurned { builder, branch, outcome, build, contains, .. } => {
                self.builder_turned((builder.clone(), branch.clone()), *outcome, *build, contains);
            }
            E::IncidentOpened { incident, branch, builder, build, suspects } => {
                let opened = Incident {
                    id: *incident,
                    branch: branch.clone(),
                    first_build: *build,
                    builders: [(builder.clone(), *build)].into(),
                    fixed: BTreeMap::new(),
                    suspects: suspects.clone(),
                    opened_at: at,
                    closed_at: None,
                };
                self.incident_opened(builder, opened);
            }
            E::IncidentJoined { incident, builder, build, suspects } => {
                if let Some(open) = self.incidents.get_mut(incident) {
                    open.fixed.remove(builder);
                    open.builders.insert(builder.clone(), *build);
                    open.suspects = suspects.clone();
                    let branch = open.branch.clone();
                    self.mark_incident(builder, &branch, Some(*incident));
                }
            }
            E::IncidentEased { incident, builder, build } => self.incident_eased(*incident, builder, *build),
            E::IncidentClosed { incident, .. } => drop(self.incidents.remove(incident)),
            E::InstanceRestored { instance, last, .. } => {
                self.instance = *instance;
                self.last = *last;
            }
            E::RetentionRan { recipes, standings, .. } => {
                self.recipes.retain(|digest, _| !recipes.contains(digest));
                for BuilderOnBranch { builder, branch } in standings {
                    self.standings.remove(&(builder.clone(), branch.clone()));
                }
            }
            E::DoctorFound { check, detail } => drop(self.findings.insert(check.clone(), detail.clone())),
            E::DoctorCleared { check } => drop(self.findings.remove(check)),
            E::WorkerJoined { worker } => drop(self.workers.insert(worker.name.clone(), worker.clone())),
            E::WorkerHeld { worker, kind, hold } => {
                self.with_worker(worker, |worker| drop(worker.holds.insert(*kind, hold.clone())));
            }
            E::WorkerFreed { worker, kind, .. } => {
                self.with_worker(worker, |worker| drop(worker.holds.remove(kind)));
            }
            E::WorkerRated { worker, rating } => drop(self.ratings.insert(worker.clone(), rating.clone())),
            E::BuilderPaced { builder, pace } => drop(self.paces.insert(builder.clone(), pace.clone())),
            E::WorkerForgotten { worker, .. } => {
                self.ratings.remove(worker);
                self.workers.remove(worker);
            }
            E::TokenMade { token } => drop(self.tokens.insert(token.id.clone(), token.clone())),
            E::TokenRevoked { token, by } => self.token_revoked(token, by, at),
            E::TokenDropped { token } => drop(self.tokens.remove(token)),
            E::WorkerLeft { worker, .. } => self.with_worker(worker, |worker| {
                worker.connected = false;
                worker.since = at;
            }),
        }
    }

    fn builder_turned(
        &mut self,
        key: (BuilderName, String),
        outcome: Outcome,
        build: BuildId,
        contains: &BTreeMap<RepositoryName, ChangeId>,
    ) {
        let before = self.standings.remove(&key);
        let (good, incident) = before.map_or_else(Default::default, |standing| (standing.good, standing.incident));
        let good = if outcome.is_good() { contains.clone() } else { good };
        self.standings.insert(key, Standing { outcome, build, good, incident });
    }

    fn incident_opened(&mut self, builder: &BuilderName, opened: Incident) {
        let (incident, branch) = (opened.id, opened.branch.clone());
        self.last.incident = incident;
        self.incidents.insert(incident, opened);
        self.mark_incident(builder, &branch, Some(incident));
    }

    fn with_worker(&mut self, worker: &WorkerName, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.workers.get_mut(worker) {
            change(worker);
        }
    }

    fn token_revoked(&mut self, token: &TokenId, by: &str, at: Timestamp) {
        if let Some(token) = self.tokens.get_mut(token) {
            token.revoked = Some(Revoked { at, by: by.to_owned() });
        }
    }

    fn sight(&mut self, repository: &RepositoryName) -> &mut Sight {
        self.repositories.entry(repository.clone()).or_default()
    }

    fn set_tip(&mut self, repository: &RepositoryName, reference: &RefName, tip: Tip) {
        self.tips.entry(repository.clone()).or_default().insert(reference.clone(), tip);
    }

    fn change_seen(&mut self, change: &Change) {
        self.last.change = change.id;
        let tip = Tip { revision: change.new.clone(), seq: change.seq, change: Some(change.id) };
        self.set_tip(&change.repository, &change.reference, tip);
    }

    fn verdict_given(&mut self, verdict: &Verdict) {
        let held = self.held.entry(verdict.scheduler.clone()).or_default();
        held.retain(|_, changes| {
            changes.retain(|held| held.change != verdict.change);
            !changes.is_empty()
        });
        if let VerdictKind::Held { until, repository, branch, revision } = &verdict.kind {
            let change =
                HeldChange { change: verdict.change, revision: revision.clone(), at: verdict.at, until: *until };
            let changes = held.entry((repository.clone(), branch.clone())).or_default();
            let place = changes.partition_point(|other| other.change < change.change);
            changes.insert(place, change);
        }
        if held.is_empty() {
            self.held.remove(&verdict.scheduler);
        }
    }

    fn buildset_created(&mut self, buildset: &Buildset, requests: &[Request], edges: &[Edge]) {
        self.last.buildset = buildset.id;
        if matches!(buildset.trigger, gristmill_model::Trigger::Upstream { .. }) {
            self.upstreams.remove(&buildset.scheduler);
        }
        self.buildsets.insert(buildset.id, buildset.clone());
        if let Some(first) = requests.first() {
            self.first_request.insert(buildset.id, first.id);
        }
        for request in requests {
            self.last.request = self.last.request.max(request.id);
            self.requests.insert(request.id, request.clone());
            self.move_request(request.id, request.state);
        }
        for edge in edges {
            self.needs.entry(edge.request).or_default().push(*edge);
            self.needed_by.entry(edge.needs).or_default().push(*edge);
        }
    }

    /// Moves a request, and keeps the index of ready ones. Logarithmic.
    fn move_request(&mut self, id: RequestId, next: RequestState) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.state = next;
        let priority = self.buildsets.get(&request.buildset).map_or(0, |buildset| buildset.priority);
        let place = (std::cmp::Reverse(priority), id);
        if next == RequestState::Ready {
            self.ready.insert(place);
        } else {
            self.ready.remove(&place);
        }
    }

    fn settle(&mut self, request: RequestId, outcome: Outcome, cause: Option<Cause>, at: Timestamp) {
        self.move_request(request, RequestState::Settled);
        if let Some(request) = self.requests.get_mut(&request) {
            request.outcome = Some(outcome);
            request.cause = cause;
            request.settled_at = Some(at);
        }
    }

    fn build_leased(&mut self, build: &Build) {
        self.last.build = build.id;
        self.move_request(build.request, RequestState::Leased);
        if let Some(request) = self.requests.get_mut(&build.request) {
            request.attempts = build.attempt;
            request.epoch = build.epoch;
        }
        let open = OpenBuild { build: build.clone(), steps: BTreeMap::new(), waits_for: None };
        self.builds.insert(build.id, open);
    }

    fn with_build(&mut self, build: BuildId, change: impl FnOnce(&mut OpenBuild)) {
        if let Some(open) = self.builds.get_mut(&build) {
            change(open);
        }
    }

    fn build_finished(&mut self, build: BuildId, outcome: Outcome, cause: Option<Cause>, retry: bool, at: Timestamp) {
        let Some(open) = self.builds.remove(&build) else { return };
        if retry {
            self.move_request(open.build.request, RequestState::Ready);
        } else {
            self.settle(open.build.request, outcome, cause, at);
        }
    }

    /// Linear in the buildset's requests and the requests between its first and last.
    fn buildset_completed(&mut self, buildset: BuildsetId) {
        self.buildsets.remove(&buildset);
        let gone: Vec<RequestId> = self.requests_of(buildset).map(|request| request.id).collect();
        self.first_request.remove(&buildset);
        for request in gone {
            self.requests.remove(&request);
            self.needs.remove(&request);
            self.needed_by.remove(&request);
        }
    }

    fn mark_incident(&mut self, builder: &BuilderName, branch: &str, incident: Option<IncidentId>) {
        if let Some(standing) = self.standings.get_mut(&(builder.clone(), branch.to_owned())) {
            standing.incident = incident;
        }
    }

    fn incident_eased(&mut self, incident: IncidentId, builder: &BuilderName, build: BuildId) {
        let Some(open) = self.incidents.get_mut(&incident) else { return };
        open.fixed.insert(builder.clone(), build);
        let branch = open.branch.clone();
        self.mark_incident(builder, &branch, None);
    }

    /// Lists the requests of an open buildset, in order. A buildset's requests are numbered without gaps, starting at
    /// [`State::first_request`].
    pub fn requests_of(&self, buildset: BuildsetId) -> impl Iterator<Item = &Request> {
        let first = self.first_request.get(&buildset).copied().unwrap_or(RequestId(i64::MAX));
        self.requests.range(first..).map(|(_, request)| request).take_while(move |request| request.buildset == buildset)
    }
}
