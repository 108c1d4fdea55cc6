//! Watches over workers that fall silent: a lease is running, late, detached, lost (D4).
//!
//! What is to be done about whom is [`due`], a pure function; [`run`] is the thin task around it. Silence is measured by
//! this master's own monotonic clock, and only while it listened: a master that has just begun to lead, or that could not
//! look for a while, blames nobody for its own absence.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gristmill_model::WorkerName;
use gristmill_schedulers::{Input, State};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Fleet;
use super::roster::DETACHED;
use crate::engine::{Engine, EngineError};

/// How often somebody looks who has fallen silent.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A look that comes so much later than it should shows that nobody could be heard either.
const DEAF_AFTER: Duration = Duration::from_secs(10);

/// Tells monotonic time. Tests move it forward; nobody else can.
#[derive(Debug, Clone)]
pub struct Stopwatch(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    begun: Instant,
    moved_milliseconds: AtomicU64,
    moved: Notify,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self(Arc::new(Hands { begun: Instant::now(), moved_milliseconds: AtomicU64::new(0), moved: Notify::new() }))
    }
}

impl Stopwatch {
    /// Gives the time since it was made.
    pub fn now(&self) -> Duration {
        self.0.begun.elapsed() + Duration::from_millis(self.0.moved_milliseconds.load(Ordering::Relaxed))
    }

    /// Moves it forward, and has whoever watches look at once.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.moved_milliseconds.fetch_add(by, Ordering::Relaxed);
        self.0.moved.notify_one();
    }

    /// Waits until a test has moved it.
    async fn moved(&self) {
        self.0.moved.notified().await;
    }
}

/// A worker, as far as the watch looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub name: WorkerName,
    /// Whether it counts as there.
    pub connected: bool,
    /// Whether it has builds.
    pub has_builds: bool,
}

/// Lists what is to be told to the engine about workers, of which each has been silent for as long as `silent` says: first
/// who is gone, so that nothing that is lost is given to one of them. Whether a build is lost by it depends on its
/// builder's window, which the engine knows.
pub fn due(workers: &[Watched], silent: impl Fn(&WorkerName) -> Duration) -> Vec<Input> {
    let detached: Vec<(&Watched, Duration)> =
        workers.iter().map(|worker| (worker, silent(&worker.name))).filter(|(_, silent)| *silent >= DETACHED).collect();
    let gone = detached.iter().filter(|(worker, _)| worker.connected).map(|(worker, silent)| {
        let why = format!("it was not heard of for {} s", silent.as_secs());
        Input::Gone { worker: worker.name.clone(), why }
    });
    let unheard = detached
        .iter()
        .filter(|(worker, _)| worker.has_builds)
        .map(|(worker, silent)| Input::Unheard { worker: worker.name.clone(), silent: *silent });
    gone.chain(unheard).collect()
}

/// Watches until stopped.
pub async fn run(engine: Engine, fleet: Fleet, stop: CancellationToken) {
    let clock = fleet.clock().clone();
    loop {
        let asleep = Instant::now();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = clock.moved() => {}
        }
        let looked = stop.run_until_cancelled(look(&engine, &fleet, asleep)).await;
        match looked {
            None => return,
            Some(Ok(())) => {}
            Some(Err(problem)) => tracing::debug!("who has fallen silent is not looked at: {problem}"),
        }
    }
}

/// Looks once. `asleep` is when the sleep before it began.
async fn look(engine: &Engine, fleet: &Fleet, asleep: Instant) -> Result<(), EngineError> {
    let (known, workers) = engine
        .look(|_, state| (state.workers.keys().cloned().collect::<BTreeSet<WorkerName>>(), watched(state)))
        .await?;
    if asleep.elapsed() >= LOOK_EVERY + DEAF_AFTER {
        // Whoever spoke meanwhile was not heard by an engine that did not answer this question either.
        fleet.was_deaf();
    }
    fleet.keep_only(|worker| known.contains(worker));
    let mut answers = Vec::new();
    for input in due(&workers, |worker| fleet.silent(worker)) {
        // Together they are one turn, or few: nobody comes back between its going and its loss.
        answers.push(engine.post(input).await?);
    }
    for answer in answers {
        answer.receive().await?;
    }
    Ok(())
}

fn watched(state: &State) -> Vec<Watched> {
    let has_builds = |name: &WorkerName| state.builds.values().any(|open| open.build.worker == *name);
    let workers = state.workers.values().map(|worker| Watched {
        name: worker.name.clone(),
        connected: worker.connected,
        has_builds: has_builds(&worker.name),
    });
    workers.filter(|worker| worker.connected || worker.has_builds).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn told(silent: u64, connected: bool, has_builds: bool) -> String {
        let worker = Watched { name: "one".into(), connected, has_builds };
        in_words(&due(&[worker], |_| Duration::from_secs(silent)))
    }

    fn in_words(inputs: &[Input]) -> String {
        let words = inputs.iter().map(|input| match input {
            Input::Gone { worker, why } => format!("{worker} gone: {why}"),
            Input::Unheard { worker, silent } => format!("{worker} unheard for {} s", silent.as_secs()),
            other => panic!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn nothing_that_is_lost_is_given_to_a_worker_that_is_as_silent() {
        let worker = |name: &str| Watched { name: name.into(), connected: true, has_builds: true };
        let told = in_words(&due(&[worker("one"), worker("two")], |_| Duration::from_secs(300)));
        expect![
            "one gone: it was not heard of for 300 s, two gone: it was not heard of for 300 s, one unheard for 300 s, two unheard for 300 s"
        ]
        .assert_eq(&told);
    }

    #[test]
    fn a_silent_worker_is_late_then_detached_then_perhaps_lost() {
        expect![""].assert_eq(&told(59, true, true));
        expect!["one gone: it was not heard of for 60 s, one unheard for 60 s"].assert_eq(&told(60, true, true));
        expect!["one gone: it was not heard of for 61 s"].assert_eq(&told(61, true, false));
        expect!["one unheard for 300 s"].assert_eq(&told(300, false, true));
        expect![""].assert_eq(&told(4000, false, false));
    }

    #[test]
    fn the_clock_only_goes_forward() {
        let clock = Stopwatch::default();
        let before = clock.now();
        clock.advance(Duration::from_secs(301));
        assert!(clock.now() >= before + Duration::from_secs(301));
    }
}
