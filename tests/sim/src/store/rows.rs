//! The tables: what each event does to them, and what it must not do.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_model::{
    Build, BuildId, BuildState, BuilderName, Buildset, BuildsetId, Change, ChangeId, Delivery, DeliveryId, Digest,
    Edge, Event, EventBody, IncidentId, Message, MessageId, MessageState, Outcome, Pace, Rating, Recipe, RefName,
    RepositoryName, Request, RequestId, RequestState, Revision, Revoked, SchedulerName, Suspects, Timestamp, Token,
    TokenId, Trigger, Verdict, VerdictKind, Worker, WorkerName,
};
use gristmill_schedulers::state::UpstreamDone;

/// Where a ref is: revision, number, newest change.
pub(crate) type TipRow = (Option<Revision>, i64, Option<ChangeId>);

/// All tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// How repositories fare: seen, failures in a row.
    pub(crate) repositories: BTreeMap<RepositoryName, (bool, u32)>,
    /// Accepted tips: revision, number, newest change.
    pub(crate) tips: BTreeMap<(RepositoryName, RefName), TipRow>,
    /// Webhook requests.
    pub(crate) deliveries: BTreeMap<DeliveryId, Delivery>,
    /// Their keys.
    pub(crate) delivery_keys: BTreeMap<(RepositoryName, String), DeliveryId>,
    /// Changes.
    pub(crate) changes: BTreeMap<ChangeId, Change>,
    /// What schedulers made of them.
    pub(crate) verdicts: BTreeMap<(ChangeId, SchedulerName), Verdict>,
    /// Which of those hold their change.
    pub(crate) held: BTreeSet<(SchedulerName, ChangeId)>,
    /// Timed schedulers' last and next moments.
    pub(crate) timers: BTreeMap<SchedulerName, (Option<Timestamp>, Option<Timestamp>)>,
    /// Recipes.
    pub(crate) recipes: BTreeMap<Digest, Recipe>,
    /// Buildsets.
    pub(crate) buildsets: BTreeMap<BuildsetId, BuildsetRow>,
    /// Which are open.
    pub(crate) open_buildsets: BTreeSet<BuildsetId>,
    /// What set them off, per scheduler.
    pub(crate) trigger_keys: BTreeSet<(SchedulerName, String)>,
    /// Requests.
    pub(crate) requests: BTreeMap<RequestId, Request>,
    /// Builds.
    pub(crate) builds: BTreeMap<BuildId, BuildRow>,
    /// Which are unfinished.
    pub(crate) open_builds: BTreeSet<BuildId>,
    /// Completed buildsets that dependent schedulers have noted and not used, in order.
    pub(crate) unused: BTreeMap<SchedulerName, Vec<(SchedulerName, UpstreamDone)>>,
    /// All that were noted.
    pub(crate) noted: BTreeSet<(SchedulerName, BuildsetId)>,
    /// How builders fare on branches.
    pub(crate) standings: BTreeMap<(BuilderName, String), StandingRow>,
    /// Incidents.
    pub(crate) incidents: BTreeMap<IncidentId, IncidentRow>,
    /// Which are open.
    pub(crate) open_incidents: BTreeSet<IncidentId>,
    /// Messages.
    pub(crate) outbox: BTreeMap<MessageId, MessageRow>,
    /// Their keys.
    pub(crate) message_keys: BTreeMap<String, MessageId>,
    /// Which are due.
    pub(crate) due: BTreeSet<MessageId>,
    /// Workers.
    pub(crate) workers: BTreeMap<WorkerName, Worker>,
    /// Tokens by which workers join.
    pub(crate) tokens: BTreeMap<TokenId, Token>,
    /// Where builders' checkouts are, and how long their builds take.
    pub(crate) paces: BTreeMap<BuilderName, Pace>,
    /// How workers fare.
    pub(crate) ratings: BTreeMap<WorkerName, Rating>,
    /// When the last event happened.
    pub(crate) at: Timestamp,
}

/// A buildset with what was made with it.
#[derive(Debug, Clone)]
pub(crate) struct BuildsetRow {
    /// The buildset.
    pub(crate) buildset: Buildset,
    /// Its requests.
    pub(crate) requests: Vec<RequestId>,
    /// Its edges.
    pub(crate) edges: Vec<Edge>,
    /// Requests that are not settled.
    pub(crate) remaining: usize,
}

/// A build with its steps.
#[derive(Debug, Clone)]
pub(crate) struct BuildRow {
    /// The build.
    pub(crate) build: Build,
    /// Its steps: outcome, triggered buildset.
    pub(crate) steps: BTreeMap<u32, (Option<Outcome>, Option<BuildsetId>)>,
}

/// How a builder fares on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandingRow {
    /// The last telling outcome.
    pub(crate) outcome: Outcome,
    /// The build that told.
    pub(crate) build: BuildId,
    /// What the last good build contained.
    pub(crate) good: BTreeMap<RepositoryName, ChangeId>,
    /// The incident that it belongs to.
    pub(crate) incident: Option<IncidentId>,
}

/// An incident.
#[derive(Debug, Clone)]
pub(crate) struct IncidentRow {
    /// The branch.
    pub(crate) branch: String,
    /// The first build that showed it.
    pub(crate) first_build: BuildId,
    /// Its builders: the build that broke, the build that was good again.
    pub(crate) builders: BTreeMap<BuilderName, (BuildId, Option<BuildId>)>,
    /// The changes that may have done it.
    pub(crate) suspects: Suspects,
    /// When it was opened.
    pub(crate) opened_at: Timestamp,
    /// Whether it is over.
    pub(crate) closed: bool,
}

/// A message of the outbox.
#[derive(Debug, Clone)]
pub(crate) struct MessageRow {
    /// It.
    pub(crate) message: Message,
    /// Where it stands.
    pub(crate) state: MessageState,
    /// Attempts made.
    pub(crate) attempts: u32,
    /// Whether it is being sent, and must not be sent twice.
    pub(crate) claimed: bool,
    /// When it is due.
    pub(crate) due: Timestamp,
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Rows {
    /// Applies one event.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), String> {
        use EventBody as E;
        let at = event.at;
        self.at = at;
        match &event.body {
            E::CatalogActivated { .. }
            | E::CatalogRefused { .. }
            | E::DeliveryRead { .. }
            | E::ReportRefused { .. } => {}
            E::DeliveryAccepted { delivery } => {
                let key = (delivery.repository.clone(), delivery.key.clone());
                let known = self.delivery_keys.insert(key, delivery.id);
                must(known.is_none(), || format!("delivery {} was received before", delivery.key))?;
                self.deliveries.insert(delivery.id, delivery.clone());
            }
            E::TipRecorded { repository, reference, revision } => {
                let key = (repository.clone(), reference.clone());
                let known = self.tips.insert(key, (Some(revision.clone()), 0, None));
                must(known.is_none(), || format!("{repository} {reference} was known"))?;
            }
            E::ChangeSeen { change } => self.change_seen(change)?,
            E::RepositorySeen { repository } => self.repositories.entry(repository.clone()).or_default().0 = true,
            E::SourceFailing { repository, failures, .. } => {
                self.repositories.entry(repository.clone()).or_default().1 = *failures;
            }
            E::SourceRecovered { repository, .. } => self.repositories.entry(repository.clone()).or_default().1 = 0,
            E::VerdictGiven { verdict } => self.verdict_given(verdict)?,
            E::TimerFired { scheduler, nominal, next, .. } => {
                let row = self.timers.entry(scheduler.clone()).or_default();
                if let Some(nominal) = nominal {
                    must(row.0.is_none_or(|last| last < *nominal), || format!("{scheduler} fired {nominal} before"))?;
                    row.0 = Some(*nominal);
                }
                row.1 = *next;
            }
            E::RecipeRecorded { digest, recipe } => {
                let known = self.recipes.insert(digest.clone(), recipe.clone());
                must(known.is_none(), || format!("recipe {digest} was known"))?;
            }
            E::BuildsetCreated { buildset, requests, edges } => self.buildset_created(buildset, requests, edges)?,
            E::RequestReleased { request } => {
                self.move_request(*request, &[RequestState::Waiting], RequestState::Ready)?;
            }
            E::RequestSettled { request, outcome, cause, .. } => {
                let from = [RequestState::Waiting, RequestState::Ready];
                self.settle(*request, &from, *outcome, Some(*cause), at)?;
            }
            E::BuildLeased { .. }
            | E::BuildStarted { .. }
            | E::StepStarted { .. }
            | E::StepFinished { .. }
            | E::StepOutputs { .. }
            | E::StepTested { .. }
            | E::ArtifactStored { .. }
            | E::StepTriggered { .. }
            | E::BuildResumable { .. }
            | E::BuildResumed { .. }
            | E::BuildCancelAsked { .. }
            | E::BuildFinished { .. } => self.apply_build(event)?,
            E::BuildsetCompleted { buildset, outcome } => {
                must(self.open_buildsets.remove(buildset), || format!("buildset {buildset} is not open"))?;
                let row = self.buildsets.get_mut(buildset).ok_or("an open buildset has a row")?;
                must(row.remaining == 0, || format!("buildset {buildset} has {} open requests", row.remaining))?;
                row.buildset.outcome = Some(*outcome);
                row.buildset.completed_at = Some(at);
            }
            E::UpstreamNoted { scheduler, upstream, buildset, outcome, meets, branch, stamps, depth, .. } => {
                must(self.noted.insert((scheduler.clone(), *buildset)), || {
                    format!("{scheduler} noted {buildset} before")
                })?;
                let done = UpstreamDone {
                    buildset: *buildset,
                    outcome: *outcome,
                    meets: *meets,
                    branch: branch.clone(),
                    stamps: stamps.clone(),
                    depth: *depth,
                };
                self.unused.entry(scheduler.clone()).or_default().push((upstream.clone(), done));
            }
            E::BuilderTurned { .. }
            | E::IncidentOpened { .. }
            | E::IncidentJoined { .. }
            | E::IncidentEased { .. }
            | E::IncidentClosed { .. } => self.apply_standing(event)?,
            E::MessageQueued { .. }
            | E::MessageDelivered { .. }
            | E::MessageClaimed { .. }
            | E::MessageDeferred { .. }
            | E::MessageDead { .. } => self.apply_message(event)?,
            E::DoctorFound { .. } | E::DoctorCleared { .. } | E::InstanceRestored { .. } | E::RetentionRan { .. } => {
                return Err(format!("{} does not happen in this world", event.body.kind()));
            }
            E::WorkerJoined { worker } => {
                self.workers.insert(worker.name.clone(), worker.clone());
            }
            E::WorkerHeld { worker, kind, hold } => {
                let row = self.workers.get_mut(worker).ok_or_else(|| format!("worker {worker} is unknown"))?;
                row.holds.insert(*kind, hold.clone());
            }
            E::WorkerFreed { worker, kind, .. } => {
                let row = self.workers.get_mut(worker).ok_or_else(|| format!("worker {worker} is unknown"))?;
                must(row.holds.remove(kind).is_some(), || format!("worker {worker} was not held"))?;
            }
            E::WorkerAiling { .. } => {}
            E::WorkerRated { worker, rating } => drop(self.ratings.insert(worker.clone(), rating.clone())),
            E::BuilderPaced { builder, pace } => drop(self.paces.insert(builder.clone(), pace.clone())),
            E::WorkerForgotten { worker, .. } => {
                self.ratings.remove(worker);
                self.workers.remove(worker).ok_or_else(|| format!("worker {worker} is unknown"))?;
            }
            E::TokenMade { token } => {
                let before = self.tokens.insert(token.id.clone(), token.clone());
                must(before.is_none(), || format!("token {} is there already", token.id))?;
            }
            E::TokenRevoked { token, by } => {
                let row = self.tokens.get_mut(token).ok_or_else(|| format!("token {token} is unknown"))?;
                must(row.revoked.is_none(), || format!("token {token} was revoked already"))?;
                row.revoked = Some(Revoked { at, by: by.clone() });
            }
            E::TokenDropped { token } => {
                self.tokens.remove(token).ok_or_else(|| format!("token {token} is unknown"))?;
            }
            E::WorkerLeft { worker, .. } => {
                let row = self.workers.get_mut(worker).ok_or_else(|| format!("worker {worker} is unknown"))?;
                row.connected = false;
                row.since = at;
            }
        }
        Ok(())
    }

    fn change_seen(&mut self, change: &Change) -> Result<(), String> {
        let key = (change.repository.clone(), change.reference.clone());
        let (revision, seq, _) = self.tips.get(&key).cloned().unwrap_or_default();
        must(revision == change.old && seq + 1 == change.seq, || {
            format!("change {} does not begin where {} {} is", change.id, key.0, key.1)
        })?;
        self.tips.insert(key, (change.new.clone(), change.seq, Some(change.id)));
        must(self.changes.insert(change.id, change.clone()).is_none(), || format!("change {} was known", change.id))
    }

    fn verdict_given(&mut self, verdict: &Verdict) -> Result<(), String> {
        let key = (verdict.change, verdict.scheduler.clone());
        let before = self.verdicts.insert(key, verdict.clone());
        let place = (verdict.scheduler.clone(), verdict.change);
        let replaces = before.is_none_or(|before| matches!(before.kind, VerdictKind::Held { .. }));
        must(replaces, || format!("{} had its verdict on change {}", place.0, place.1))?;
        match verdict.kind {
            VerdictKind::Held { .. } => self.held.insert(place),
            _ => self.held.remove(&place),
        };
        Ok(())
    }

    fn buildset_created(&mut self, buildset: &Buildset, requests: &[Request], edges: &[Edge]) -> Result<(), String> {
        let key = (buildset.scheduler.clone(), trigger_key(buildset));
        must(self.trigger_keys.insert(key.clone()), || format!("{} was set off by {} before", key.0, key.1))?;
        for request in requests {
            must(request.buildset == buildset.id, || format!("request {} is of another buildset", request.id))?;
            must(self.recipes.contains_key(&request.recipe), || format!("recipe of {} is unknown", request.id))?;
            must(self.requests.insert(request.id, request.clone()).is_none(), || {
                format!("request {} was known", request.id)
            })?;
        }
        if matches!(buildset.trigger, Trigger::Upstream { .. }) {
            self.unused.remove(&buildset.scheduler);
        }
        let row = BuildsetRow {
            buildset: buildset.clone(),
            requests: requests.iter().map(|request| request.id).collect(),
            edges: edges.to_vec(),
            remaining: requests.len(),
        };
        self.open_buildsets.insert(buildset.id);
        must(self.buildsets.insert(buildset.id, row).is_none(), || format!("buildset {} was known", buildset.id))
    }

    fn move_request(&mut self, id: RequestId, from: &[RequestState], to: RequestState) -> Result<(), String> {
        let row = self.requests.get_mut(&id).ok_or_else(|| format!("request {id} is unknown"))?;
        must(from.contains(&row.state), || {
            format!("request {id} goes from {} to {}", row.state.as_str(), to.as_str())
        })?;
        row.state = to;
        Ok(())
    }

    fn settle(
        &mut self,
        id: RequestId,
        from: &[RequestState],
        outcome: Outcome,
        cause: Option<gristmill_model::Cause>,
        at: Timestamp,
    ) -> Result<(), String> {
        self.move_request(id, from, RequestState::Settled)?;
        let row = self.requests.get_mut(&id).ok_or("it was moved a moment ago")?;
        (row.outcome, row.cause, row.settled_at) = (Some(outcome), cause, Some(at));
        let buildset = self.buildsets.get_mut(&row.buildset).ok_or("a request has a buildset")?;
        buildset.remaining = buildset.remaining.checked_sub(1).ok_or("more requests settled than there are")?;
        Ok(())
    }

    fn open(&mut self, id: BuildId, states: &[BuildState]) -> Result<&mut BuildRow, String> {
        let row = self.builds.get_mut(&id).ok_or_else(|| format!("build {id} is unknown"))?;
        let state = row.build.state;
        must(states.contains(&state), || format!("build {id} is {}", state.as_str()))?;
        Ok(row)
    }

    /// Refuses what is said of a step that has not begun, or is over.
    fn running_step(&mut self, build: BuildId, step: u32) -> Result<(), String> {
        let states = [BuildState::Leased, BuildState::Running, BuildState::Suspended, BuildState::Resumable];
        let known = self.open(build, &states)?.steps.get(&step).map(|(outcome, _)| *outcome);
        must(known == Some(None), || format!("step {step} of build {build} does not run"))
    }

    fn apply_build(&mut self, event: &Event) -> Result<(), String> {
        use BuildState::{Leased, Resumable, Running, Suspended};
        use EventBody as E;
        const OPEN: [BuildState; 4] = [Leased, Running, Suspended, Resumable];
        match &event.body {
            E::BuildLeased { build } => {
                self.move_request(build.request, &[RequestState::Ready], RequestState::Leased)?;
                let request = self.requests.get_mut(&build.request).ok_or("it was moved a moment ago")?;
                let grows = request.attempts < build.attempt && request.epoch < build.epoch;
                must(grows, || format!("build {} is no newer attempt", build.id))?;
                (request.attempts, request.epoch) = (build.attempt, build.epoch);
                self.open_builds.insert(build.id);
                let row = BuildRow { build: build.clone(), steps: BTreeMap::new() };
                must(self.builds.insert(build.id, row).is_none(), || format!("build {} was known", build.id))?;
            }
            E::BuildStarted { build } => {
                let row = self.open(*build, &[Leased])?;
                (row.build.state, row.build.started_at) = (Running, Some(event.at));
            }
            E::StepStarted { build, step, .. } => {
                let row = self.open(*build, &OPEN)?;
                let known = row.steps.insert(*step, (None, None));
                must(known.is_none(), || format!("step {step} of build {build} was known"))?;
            }
            E::StepFinished { build, step, outcome, .. } => {
                let row = self.open(*build, &OPEN)?.steps.get_mut(step);
                let row = row.ok_or_else(|| format!("step {step} of build {build} is unknown"))?;
                must(row.0.is_none(), || format!("step {step} of build {build} is over"))?;
                row.0 = Some(*outcome);
            }
            E::StepOutputs { build, step, .. } | E::StepTested { build, step, .. } => {
                self.running_step(*build, *step)?;
            }
            E::ArtifactStored { artifact } => self.running_step(artifact.build, artifact.step)?,
            E::StepTriggered { build, step, buildset, wait } => {
                let row = self.open(*build, &[Running])?;
                let triggered =
                    row.steps.get_mut(step).ok_or_else(|| format!("step {step} of build {build} is unknown"))?;
                must(triggered.1.is_none(), || format!("step {step} of build {build} triggered before"))?;
                triggered.1 = Some(*buildset);
                if *wait {
                    (row.build.state, row.build.suspended_step) = (Suspended, Some(*step));
                }
            }
            E::BuildResumable { build } => self.open(*build, &[Suspended])?.build.state = Resumable,
            E::BuildResumed { build, .. } => {
                let row = self.open(*build, &[Running, Resumable])?;
                (row.build.state, row.build.suspended_step) = (Running, None);
            }
            E::BuildCancelAsked { build, by } => self.open(*build, &OPEN)?.build.cancel = Some(by.clone()),
            E::BuildFinished { build, outcome, cause, retry, .. } => {
                let row = self.open(*build, &OPEN)?;
                (row.build.state, row.build.outcome) = (BuildState::Finished, Some(*outcome));
                (row.build.cause, row.build.finished_at) = (*cause, Some(event.at));
                row.build.suspended_step = None;
                let request = row.build.request;
                self.open_builds.remove(build);
                if *retry {
                    self.move_request(request, &[RequestState::Leased], RequestState::Ready)?;
                } else {
                    self.settle(request, &[RequestState::Leased], *outcome, *cause, event.at)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_standing(&mut self, event: &Event) -> Result<(), String> {
        use EventBody as E;
        match &event.body {
            E::BuilderTurned { builder, branch, outcome, build, contains, .. } => {
                let row = self.standings.entry((builder.clone(), branch.clone())).or_insert_with(|| StandingRow {
                    outcome: *outcome,
                    build: *build,
                    good: BTreeMap::new(),
                    incident: None,
                });
                (row.outcome, row.build) = (*outcome, *build);
                if outcome.is_good() {
                    row.good = contains.clone();
                }
            }
            E::IncidentOpened { incident, branch, builder, build, suspects } => {
                let row = IncidentRow {
                    branch: branch.clone(),
                    first_build: *build,
                    builders: [(builder.clone(), (*build, None))].into(),
                    suspects: suspects.clone(),
                    opened_at: event.at,
                    closed: false,
                };
                self.open_incidents.insert(*incident);
                must(self.incidents.insert(*incident, row).is_none(), || format!("incident {incident} was known"))?;
                self.mark(builder, branch, Some(*incident))?;
            }
            E::IncidentJoined { incident, builder, build, suspects } => {
                let row = self.open_incident(*incident)?;
                row.builders.insert(builder.clone(), (*build, None));
                row.suspects = suspects.clone();
                let branch = row.branch.clone();
                self.mark(builder, &branch, Some(*incident))?;
            }
            E::IncidentEased { incident, builder, build } => {
                let row = self.open_incident(*incident)?;
                let broken = row.builders.get_mut(builder).ok_or_else(|| format!("{builder} is not of {incident}"))?;
                broken.1 = Some(*build);
                let branch = row.branch.clone();
                self.mark(builder, &branch, None)?;
            }
            E::IncidentClosed { incident, .. } => {
                self.open_incident(*incident)?.closed = true;
                self.open_incidents.remove(incident);
            }
            _ => {}
        }
        Ok(())
    }

    fn open_incident(&mut self, id: IncidentId) -> Result<&mut IncidentRow, String> {
        let row = self.incidents.get_mut(&id).ok_or_else(|| format!("incident {id} is unknown"))?;
        must(!row.closed, || format!("incident {id} is closed"))?;
        Ok(row)
    }

    fn mark(&mut self, builder: &BuilderName, branch: &str, incident: Option<IncidentId>) -> Result<(), String> {
        let row = self.standings.get_mut(&(builder.clone(), branch.to_owned()));
        row.ok_or_else(|| format!("{builder} on {branch} has no standing"))?.incident = incident;
        Ok(())
    }

    /// Says whether what events say of messages can be said, each for itself: two services on one store, or one that does
    /// not know whether it committed, may say the same twice, and the second time is refused.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub(crate) fn check_messages(&self, events: &[EventBody]) -> Result<(), String> {
        use EventBody as E;
        let mut over = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for body in events {
            let (id, ends, claims) = match body {
                E::MessageQueued { message } => {
                    let is_new = !self.message_keys.contains_key(&message.key) && keys.insert(&message.key);
                    must(is_new, || format!("message {} is queued already", message.key))?;
                    continue;
                }
                E::MessageDelivered { message, .. } | E::MessageDead { message, .. } => (message, true, false),
                E::MessageDeferred { message, .. } => (message, false, false),
                E::MessageClaimed { message, .. } => (message, false, true),
                _ => continue,
            };
            let row = self.outbox.get(id).ok_or_else(|| format!("message {id} is unknown"))?;
            let can = row.state == MessageState::Due && !over.contains(id) && !(claims && row.claimed);
            must(can, || format!("message {id} is {}", row.state.as_str()))?;
            if ends {
                over.insert(id);
            }
        }
        Ok(())
    }

    fn apply_message(&mut self, event: &Event) -> Result<(), String> {
        use EventBody as E;
        if let E::MessageQueued { message } = &event.body {
            let row = MessageRow {
                message: message.clone(),
                state: MessageState::Due,
                attempts: 0,
                claimed: false,
                due: message.at,
            };
            self.due.insert(message.id);
            self.outbox.insert(message.id, row);
            let known = self.message_keys.insert(message.key.clone(), message.id);
            return must(known.is_none(), || format!("message {} is queued already", message.key));
        }
        let (E::MessageDelivered { message: id, .. }
        | E::MessageClaimed { message: id, .. }
        | E::MessageDeferred { message: id, .. }
        | E::MessageDead { message: id, .. }) = &event.body
        else {
            return Ok(());
        };
        let row = self.outbox.get_mut(id).ok_or_else(|| format!("message {id} is unknown"))?;
        must(row.state == MessageState::Due, || format!("message {id} is {}", row.state.as_str()))?;
        let claimed = std::mem::replace(&mut row.claimed, false);
        match &event.body {
            E::MessageDelivered { .. } => {
                (row.state, row.attempts) = (MessageState::Delivered, row.attempts + 1);
            }
            E::MessageClaimed { until, .. } => {
                must(!claimed, || format!("message {id} is claimed"))?;
                (row.claimed, row.due) = (true, *until);
            }
            E::MessageDeferred { attempts, due, .. } => (row.attempts, row.due) = (*attempts, *due),
            _ => row.state = MessageState::Dead,
        }
        if row.state != MessageState::Due {
            self.due.remove(id);
        }
        Ok(())
    }
}

/// What set a buildset off, in a word: the same thing cannot set the same scheduler off twice. Only a person can.
fn trigger_key(buildset: &Buildset) -> String {
    match &buildset.trigger {
        Trigger::Changes { changes } => format!("change {:?}", changes.iter().max()),
        Trigger::Time { nominal, .. } => format!("time {}", nominal.0),
        Trigger::Upstream { buildsets } => format!("upstream {buildsets:?}"),
        Trigger::Step { build, step, .. } => format!("step {build} {step}"),
        Trigger::Person { .. } => format!("person {}", buildset.id),
    }
}
