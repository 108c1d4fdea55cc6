//! Watches over workers that fall silent: a lease is running, late, detached, lost (D4).
//!
//! What is to be done about whom is [`due`], which the simulator asks as well; [`run`] is the thin task around it. Silence is measured by
//! this master's own monotonic clock, and only while it listened: a master that has just begun to lead, or that could not
//! look for a while, blames nobody for its own absence.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gristmill_model::WorkerName;
use gristmill_schedulers::watch::{LOOK_EVERY, due};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::engine::{Engine, EngineError};

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
    let known = engine.look(|_, state| state.workers.keys().cloned().collect::<BTreeSet<WorkerName>>()).await?;
    if asleep.elapsed() >= LOOK_EVERY + DEAF_AFTER {
        // Whoever spoke meanwhile was not heard by an engine that did not answer this question either.
        fleet.was_deaf();
    }
    fleet.keep_only(|worker| known.contains(worker));
    let mut answers = Vec::new();
    let heard = fleet.clone();
    for input in engine.look(move |_, state| due(state, |worker| heard.silent(worker))).await? {
        // Together they are one turn, or few: nobody comes back between its going and its loss.
        answers.push(engine.post(input).await?);
    }
    for answer in answers {
        answer.receive().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_only_goes_forward() {
        let clock = Stopwatch::default();
        let before = clock.now();
        clock.advance(Duration::from_secs(301));
        assert!(clock.now() >= before + Duration::from_secs(301));
    }
}
