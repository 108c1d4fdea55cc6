//! How many workers of a provider there should be, and what follows for those that there are.
//!
//! Pure and level-triggered: it compares what is wanted with what the provider lists, and never remembers what it asked
//! for. So nothing leaks: an instance that nobody wanted is stopped, whoever started it, and one that was started by a
//! service that died right then is found by its name (the contract of Taskcluster's worker-manager and Buildomat's
//! factories).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gristmill_model::{HoldKind, Provider, RequestId, TokenId, WorkerName};

use crate::place::can_run;
use crate::state::State;

/// Ready requests that are looked at to see what is wanted.
pub const REQUESTS_LOOKED_AT_MAX: usize = 2_000;
/// The wait after the first failed start; it doubles with each that follows.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(30);
/// The longest wait after failed starts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(3600);

/// An instance as the provider lists it, and as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The name of its worker.
    pub worker: WorkerName,
    /// Since when it has been on the provider's list, at least.
    pub age: Duration,
    /// How long it has had no build, if it has joined.
    pub idle: Duration,
}

/// What a provider went through lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Starts that failed in a row.
    pub failures: u32,
    /// How long ago the last one failed.
    pub failed: Duration,
    /// Worker time spent within the last day.
    pub spent: Duration,
}

/// What is to be done with a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start one more.
    Start,
    /// Give this one no builds any more: it is to be stopped.
    Retire {
        /// Which.
        worker: WorkerName,
        /// Why.
        why: &'static str,
    },
    /// Stop this one.
    Stop {
        /// Which.
        worker: WorkerName,
        /// Why.
        why: &'static str,
        /// Whether it counts as a failed start.
        is_failure: bool,
    },
}

/// Why fewer are started than are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// There are as many as there may be.
    Max,
    /// Starts failed; it is tried again later.
    Backoff(Duration),
    /// The day's hours are spent.
    Hours,
}

/// Counts the ready requests that wait for a worker of this provider: no connected worker that takes builds has what
/// they require and a slot for them, and this provider's workers have. Linear in the requests looked at, times workers.
pub fn wanted(state: &State, provider: &Provider) -> u32 {
    let mut free: BTreeMap<&WorkerName, u32> = state
        .workers
        .values()
        .filter(|worker| worker.takes_builds())
        .map(|worker| (&worker.name, worker.slots))
        .collect();
    for open in state.builds.values().filter(|open| open.build.state.holds_slot()) {
        if let Some(slots) = free.get_mut(&open.build.worker) {
            *slots = slots.saturating_sub(1);
        }
    }
    let ready: Vec<RequestId> = state.ready.iter().take(REQUESTS_LOOKED_AT_MAX).map(|(_, request)| *request).collect();
    let mut waiting = 0;
    for request in ready {
        let recipe = state.requests.get(&request).and_then(|request| state.recipes.get(&request.recipe));
        let Some(recipe) = recipe else { continue };
        let taker = free
            .iter_mut()
            .filter(|(_, slots)| **slots > 0)
            .find(|(name, _)| state.workers.get(**name).is_some_and(|worker| can_run(worker, &recipe.requires)));
        match taker {
            Some((_, slots)) => *slots -= 1,
            None => waiting += u32::from(labels_meet(provider, &recipe.requires)),
        }
    }
    waiting
}

fn labels_meet(provider: &Provider, requires: &BTreeMap<String, String>) -> bool {
    let worker = gristmill_model::Worker { labels: provider.labels.clone(), ..gristmill_model::Worker::default() };
    can_run(&worker, requires)
}

/// Says what is to be done, and what keeps more from being started.
pub fn plan(
    state: &State,
    provider: &Provider,
    instances: &[Instance],
    record: Record,
) -> (Vec<Action>, Option<Limit>) {
    let mut actions = Vec::new();
    let (mut coming, mut staying) = (0, 0);
    let busy = busy(state);
    let mut idle: Vec<&Instance> = Vec::new();
    for instance in instances {
        match stage(state, provider, instance, &busy) {
            Stage::Coming => coming += 1,
            Stage::Works => staying += 1,
            Stage::Idles => idle.push(instance),
            Stage::Ends => {}
            Stage::Over { why, is_failure } => {
                actions.push(Action::Stop { worker: instance.worker.clone(), why, is_failure });
            }
        }
    }
    // Those that idle longest go first, and as many stay as are to be kept warm.
    idle.sort_by(|one, other| other.idle.cmp(&one.idle).then(one.worker.cmp(&other.worker)));
    let keep = usize::try_from(provider.min.saturating_sub(staying)).unwrap_or(usize::MAX);
    let surplus = idle.len().saturating_sub(keep);
    for instance in idle.iter().take(surplus).filter(|instance| instance.idle >= provider.idle) {
        actions.push(Action::Retire { worker: instance.worker.clone(), why: "it is idle" });
    }
    let there = u32::try_from(instances.len()).unwrap_or(u32::MAX);
    let for_waiting = wanted(state, provider).div_ceil(provider.slots.max(1)).saturating_sub(coming);
    let for_warmth = provider.min.saturating_sub(there);
    let (starts, limit) = limited(provider, for_waiting.max(for_warmth), there, record);
    actions.extend((0..starts).map(|_| Action::Start));
    (actions, limit)
}

/// Where an instance stands.
enum Stage {
    /// It has not said hello yet.
    Coming,
    /// It has builds.
    Works,
    /// It has none.
    Idles,
    /// It gets none any more, and has some left.
    Ends,
    /// It is to be stopped.
    Over { why: &'static str, is_failure: bool },
}

fn stage(state: &State, provider: &Provider, instance: &Instance, busy: &BTreeSet<&WorkerName>) -> Stage {
    if token_of(state, &instance.worker).is_none() {
        // Started by a service that died before it could note it, or dismissed and still there. The start itself notes
        // the token first, so a new one is never taken for one of these.
        return Stage::Over { why: "nobody knows it", is_failure: false };
    }
    let Some(worker) = state.workers.get(&instance.worker) else {
        return match instance.age >= provider.start {
            true => Stage::Over { why: "it did not join in time", is_failure: true },
            false => Stage::Coming,
        };
    };
    let is_busy = busy.contains(&worker.name);
    let retires = worker.holds.contains_key(&HoldKind::Drain) || worker.holds.contains_key(&HoldKind::Quarantine);
    match (is_busy, retires, worker.connected) {
        (true, true, _) => Stage::Ends,
        (true, false, _) => Stage::Works,
        (false, true, _) => Stage::Over { why: "it has no builds left", is_failure: false },
        (false, false, true) => Stage::Idles,
        (false, false, false) if instance.idle >= provider.start => {
            Stage::Over { why: "it is not heard of any more", is_failure: false }
        }
        (false, false, false) => Stage::Coming,
    }
}

fn limited(provider: &Provider, wanted: u32, there: u32, record: Record) -> (u32, Option<Limit>) {
    if wanted == 0 {
        return (0, None);
    }
    let wait = backoff(record.failures);
    if record.failures > 0 && record.failed < wait {
        return (0, Some(Limit::Backoff(wait - record.failed)));
    }
    let budget = provider.hours_max.map(|hours| Duration::from_secs(u64::from(hours) * 3600));
    if budget.is_some_and(|budget| record.spent >= budget) {
        return (0, Some(Limit::Hours));
    }
    let room = provider.max.saturating_sub(there);
    // After a failure one is tried before more are.
    let starts = wanted.min(room).min(if record.failures > 0 { 1 } else { u32::MAX });
    (starts, (starts < wanted && record.failures == 0).then_some(Limit::Max))
}

/// Gives the wait after so many failed starts in a row.
pub fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

fn busy(state: &State) -> BTreeSet<&WorkerName> {
    state.builds.values().map(|open| &open.build.worker).collect()
}

/// Finds the token that was made for this one worker.
pub fn token_of(state: &State, worker: &WorkerName) -> Option<TokenId> {
    let is_of = |token: &&gristmill_model::Token| {
        token.revoked.is_none()
            && matches!(&token.admits, gristmill_model::Admits::Worker { worker: named } if named == worker)
    };
    state.tokens.values().find(is_of).map(|token| token.id.clone())
}

#[cfg(test)]
mod tests {
    use gristmill_model::{Admits, Hold, ProviderKind, Timestamp, Token, Worker};

    use super::*;

    fn provider() -> Provider {
        Provider {
            kind: ProviderKind::Process,
            labels: [("os".to_owned(), "linux".to_owned())].into(),
            slots: 2,
            min: 0,
            max: 3,
            idle: minutes(10),
            start: minutes(5),
            hours_max: Some(8),
        }
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    /// A state with as many ready requests that require this, on no workers.
    fn waiting(count: i64, requires: &[(&str, &str)]) -> State {
        let mut state = State::default();
        let requires = requires.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let recipe = gristmill_model::Recipe { requires, ..gristmill_model::Recipe::default() };
        let digest = recipe.digest();
        state.recipes.insert(digest.clone(), std::sync::Arc::new(recipe));
        for id in (1..=count).map(RequestId) {
            let request = gristmill_model::Request {
                id,
                buildset: gristmill_model::BuildsetId(1),
                node: "test".into(),
                builder: "test".into(),
                recipe: digest.clone(),
                digest: digest.clone(),
                mode: gristmill_model::NeedMode::All,
                state: gristmill_model::RequestState::Ready,
                attempts: 0,
                epoch: 0,
                outcome: None,
                cause: None,
                created_at: Timestamp(1),
                settled_at: None,
            };
            state.requests.insert(id, request);
            state.ready.insert((std::cmp::Reverse(0), id));
        }
        state
    }

    fn admit(state: &mut State, worker: &str) {
        let token = Token {
            id: TokenId(format!("token of {worker}")),
            admits: Admits::Worker { worker: worker.into() },
            sha256: String::new(),
            owner: None,
            made_at: Timestamp(1),
            made_by: "provider cloud".to_owned(),
            expires_at: None,
            revoked: None,
        };
        state.tokens.insert(token.id.clone(), token);
    }

    fn join(state: &mut State, worker: &str) {
        admit(state, worker);
        let labels = provider().labels;
        let joined = Worker { name: worker.into(), labels, slots: 2, connected: true, ..Worker::default() };
        state.workers.insert(joined.name.clone(), joined);
    }

    fn instance(worker: &str, age: u64, idle: u64) -> Instance {
        Instance { worker: worker.into(), age: minutes(age), idle: minutes(idle) }
    }

    fn planned(state: &State, instances: &[Instance]) -> (Vec<Action>, Option<Limit>) {
        plan(state, &provider(), instances, Record::default())
    }

    fn stop(worker: &str, why: &'static str, is_failure: bool) -> Action {
        Action::Stop { worker: worker.into(), why, is_failure }
    }

    #[test]
    fn as_many_are_started_as_what_waits_needs_and_no_more_than_there_may_be() {
        assert_eq!(planned(&waiting(0, &[]), &[]), (vec![], None));
        assert_eq!(planned(&waiting(3, &[("os", "linux")]), &[]), (vec![Action::Start; 2], None));
        assert_eq!(planned(&waiting(20, &[]), &[]), (vec![Action::Start; 3], Some(Limit::Max)));
        assert_eq!(planned(&waiting(3, &[("os", "plan9")]), &[]), (vec![], None), "they could not run it");
    }

    #[test]
    fn those_that_are_there_or_on_their_way_count() {
        let mut state = waiting(3, &[]);
        join(&mut state, "cloud-1");
        admit(&mut state, "cloud-2");
        let coming = instance("cloud-2", 1, 1);
        assert_eq!(planned(&state, &[instance("cloud-1", 9, 1), coming]), (vec![], None));
    }

    #[test]
    fn one_that_does_not_join_is_stopped_and_starts_wait_longer_and_longer() {
        let mut state = waiting(9, &[]);
        admit(&mut state, "cloud-1");
        let (actions, _) = planned(&state, &[instance("cloud-1", 5, 5)]);
        assert_eq!(actions.first(), Some(&stop("cloud-1", "it did not join in time", true)));
        let after = |failures, failed| {
            let record = Record { failures, failed, ..Record::default() };
            plan(&waiting(9, &[]), &provider(), &[], record)
        };
        assert_eq!(after(2, BACKOFF_FIRST), (vec![], Some(Limit::Backoff(BACKOFF_FIRST))));
        assert_eq!(after(2, BACKOFF_FIRST * 2), (vec![Action::Start], None), "one is tried");
        assert_eq!(backoff(40), BACKOFF_MAX);
    }

    #[test]
    fn an_idle_one_is_retired_first_and_stopped_when_it_has_no_build() {
        let mut state = waiting(0, &[]);
        join(&mut state, "cloud-1");
        assert_eq!(planned(&state, &[instance("cloud-1", 30, 9)]), (vec![], None));
        let retire = Action::Retire { worker: "cloud-1".into(), why: "it is idle" };
        assert_eq!(planned(&state, &[instance("cloud-1", 30, 10)]), (vec![retire], None));
        let drain = Hold { by: "provider cloud".to_owned(), ..Hold::default() };
        state.workers.get_mut("cloud-1").expect("it joined").holds.insert(HoldKind::Drain, drain);
        assert_eq!(
            planned(&state, &[instance("cloud-1", 30, 10)]).0,
            [stop("cloud-1", "it has no builds left", false)]
        );
    }

    #[test]
    fn what_nobody_knows_is_stopped_and_as_many_stay_as_are_to_be_kept_warm() {
        let mut state = waiting(0, &[]);
        assert_eq!(planned(&state, &[instance("cloud-9", 0, 0)]).0, [stop("cloud-9", "nobody knows it", false)]);
        for worker in ["cloud-1", "cloud-2"] {
            join(&mut state, worker);
        }
        let warm = Provider { min: 1, ..provider() };
        let instances = [instance("cloud-1", 30, 20), instance("cloud-2", 30, 25)];
        let (actions, _) = plan(&state, &warm, &instances, Record::default());
        assert_eq!(actions, [Action::Retire { worker: "cloud-2".into(), why: "it is idle" }]);
        assert_eq!(plan(&waiting(0, &[]), &warm, &[], Record::default()).0, [Action::Start]);
    }

    #[test]
    fn a_spent_day_starts_nothing() {
        let record = Record { spent: Duration::from_secs(8 * 3600), ..Record::default() };
        assert_eq!(plan(&waiting(9, &[]), &provider(), &[], record), (vec![], Some(Limit::Hours)));
    }
}
