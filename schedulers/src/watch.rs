//! The watch over workers: who was heard of when, by a clock that never jumps, and what the engine is told of silence.
//!
//! Pure: whoever listens hands in the readings of its monotonic clock. Nobody is silent while nobody listens: a watch
//! that begins, or that stood still itself, takes every worker as heard just now (the grace of a restart).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gristmill_model::{Worker, WorkerName, mutant};

use crate::input::Input;
use crate::state::State;

/// A monotonic clock's reading: the time since a moment that is the same for all readings of one watch.
pub type Reading = Duration;

/// How often the watch looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A watch that did not look for so long stood still, and has heard nobody.
pub const STOOD_STILL: Duration = Duration::from_secs(25);
/// After so long a silence a worker is away: it gets no new builds.
pub const DETACHED_AFTER: Duration = Duration::from_secs(60);

/// Who was heard of when.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    heard: BTreeMap<WorkerName, Reading>,
    looked: Option<Reading>,
}

impl Watch {
    /// Notes that a worker was heard: any request of its own counts.
    pub fn heard(&mut self, worker: &WorkerName, now: Reading) {
        self.heard.insert(worker.clone(), now);
    }

    /// Gives for how long a worker has been silent; `None` if it was never heard and the watch has not looked since.
    pub fn silent(&self, worker: &WorkerName, now: Reading) -> Option<Duration> {
        self.heard.get(worker).map(|heard| now.saturating_sub(*heard))
    }

    /// Looks at all workers that the state knows; to be called every [`LOOK_EVERY`]. Gives what the engine is to be told:
    /// who is away, and of those with builds for how long nobody has heard of them. Linear in the workers.
    pub fn look(&mut self, state: &State, now: Reading) -> Vec<Input> {
        let stood_still = self.looked.is_none_or(|looked| now.saturating_sub(looked) > STOOD_STILL);
        self.looked = Some(now);
        self.heard.retain(|worker, _| state.workers.contains_key(worker));
        for worker in state.workers.keys() {
            let fresh = if mutant::is_on(111) { Duration::ZERO } else { now };
            let heard = self.heard.entry(worker.clone()).or_insert(fresh);
            if stood_still && !mutant::is_on(111) {
                *heard = now;
            }
        }
        due(state, |worker| self.silent(worker, now).unwrap_or_default())
    }
}

/// Lists what the engine is to be told of workers, of which each has been silent for as long as `silent` says: first who is
/// away, so that nothing that is lost is given to one of them; then who has builds. Whether a build is lost by it depends
/// on its builder's window, which the engine knows. Linear in the workers and the open builds.
pub fn due(state: &State, silent: impl Fn(&WorkerName) -> Duration) -> Vec<Input> {
    let detached: Vec<(&Worker, Duration)> = state
        .workers
        .values()
        .map(|worker| (worker, silent(&worker.name)))
        .filter(|(_, silent)| *silent >= DETACHED_AFTER)
        .collect();
    let busy: BTreeSet<&WorkerName> = state.builds.values().map(|open| &open.build.worker).collect();
    let away = detached.iter().filter(|(worker, _)| worker.connected).map(|(worker, silent)| {
        let why = format!("it was not heard of for {} s", silent.as_secs());
        Input::Gone { worker: worker.name.clone(), why }
    });
    let unheard = detached
        .iter()
        .filter(|(worker, _)| busy.contains(&worker.name))
        .map(|(worker, silent)| Input::Unheard { worker: worker.name.clone(), silent: *silent });
    away.chain(unheard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let mut state = State::default();
        let worker = gristmill_model::Worker { name: "w".into(), connected: true, ..Default::default() };
        state.workers.insert(worker.name.clone(), worker);
        state
    }

    fn at(seconds: u64) -> Reading {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_counts_only_while_somebody_listens() {
        let (mut watch, state) = (Watch::default(), state());
        assert!(watch.look(&state, at(1_000)).is_empty(), "a watch that begins has heard everybody");
        assert!((1..6).all(|ten| watch.look(&state, at(1_000 + 10 * ten)).is_empty()));
        let said = watch.look(&state, at(1_060));
        assert!(matches!(said.as_slice(), [Input::Gone { .. }]), "{said:?}");
        assert!(watch.look(&state, at(1_100)).is_empty(), "it stood still for 40 s, so it begins again");
        watch.heard(&"w".into(), at(1_105));
        assert_eq!(watch.silent(&"w".into(), at(1_110)), Some(at(5)));
        assert_eq!(watch.silent(&"other".into(), at(1_110)), None);
    }

    fn told(silent: u64, connected: bool, builds: usize, workers: &[&str]) -> String {
        let mut state = State::default();
        for name in workers {
            let worker = Worker { name: (*name).into(), connected, ..Default::default() };
            state.workers.insert(worker.name.clone(), worker);
            for _ in 0..builds {
                let id = gristmill_model::BuildId(1 + i64::try_from(state.builds.len()).expect("a few"));
                state.builds.insert(id, crate::fixture::open_build(id, name));
            }
        }
        let words = due(&state, |_| at(silent)).into_iter().map(|input| match input {
            Input::Gone { worker, .. } => format!("{worker} away"),
            Input::Unheard { worker, silent } => format!("{worker} unheard for {} s", silent.as_secs()),
            other => panic!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_silent_worker_is_late_then_detached_then_perhaps_lost() {
        assert_eq!(told(59, true, 1, &["one"]), "");
        assert_eq!(told(60, true, 1, &["one"]), "one away, one unheard for 60 s");
        assert_eq!(told(61, true, 0, &["one"]), "one away");
        assert_eq!(told(300, false, 1, &["one"]), "one unheard for 300 s");
        assert_eq!(told(4000, false, 0, &["one"]), "");
    }

    #[test]
    fn nothing_that_is_lost_is_given_to_a_worker_that_is_as_silent() {
        let words = "one away, two away, one unheard for 300 s, two unheard for 300 s";
        assert_eq!(told(300, true, 1, &["one", "two"]), words);
    }
}
