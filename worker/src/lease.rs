//! How long a build may go on while the service is not heard of.
//!
//! A worker ends its builds after four fifths of their orphan window, counted from the moment at which it *sent* the last
//! request that was answered. The service counts the whole window from the moment at which it *received* that request,
//! which is later: so it gives the build to another worker only after this one has ended it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::protocol::wire::HoldRequest;
use gristmill_model::protocol::{ArtifactPiece, Hello, LogAppend, Refusal, Report, Secrets, Welcome, WorkerCommand};
use gristmill_model::time::say_span;
use gristmill_model::{BuildId, WorkerName};
use nix::time::{ClockId, clock_gettime};

use crate::Master;

/// A moment since the machine started, by a clock that neither jumps nor rests while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Duration);

impl Moment {
    fn now() -> Self {
        let clock = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux has this clock");
        Self(Duration::from(clock))
    }
}

/// Says whether a lease is over by the worker's own count.
fn is_over(heard: Moment, window: Duration, now: Moment) -> bool {
    now.0.saturating_sub(heard.0) >= own_window(window)
}

/// Gives how long the worker itself goes on: the rest is for clocks that run unevenly, and for killing.
fn own_window(window: Duration) -> Duration {
    window.saturating_mul(4) / 5
}

/// Says why a build was ended.
pub(crate) fn silence(window: Duration) -> String {
    format!("the service was not heard of for {}: the lease is over", say_span(own_window(window)))
}

/// When the service was heard last.
#[derive(Debug)]
pub(crate) struct Heard(AtomicU64);

impl Heard {
    /// Counts from now.
    pub(crate) fn new() -> Arc<Self> {
        let heard = Self(AtomicU64::new(0));
        heard.note(Moment::now());
        Arc::new(heard)
    }

    /// Notes when a request was sent that is answered now. Requests may be answered in any order.
    fn note(&self, sent: Moment) {
        self.0.fetch_max(u64::try_from(sent.0.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Says whether a lease with this window is over.
    pub(crate) fn is_over(&self, window: Duration) -> bool {
        is_over(self.last(), window, Moment::now())
    }

    fn last(&self) -> Moment {
        Moment(Duration::from_nanos(self.0.load(Ordering::Relaxed)))
    }
}

/// A service that is listened to: each answer renews the leases.
pub(crate) struct Witness {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) heard: Arc<Heard>,
}

impl Witness {
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let sent = Moment::now();
        let answer = answer.await;
        if is_answer(&answer) {
            self.heard.note(sent);
        }
        answer
    }
}

/// Says whether the service has heard the worker. One that cannot take anything now has perhaps not.
fn is_answer<T>(answer: &Result<T, Refusal>) -> bool {
    matches!(answer, Ok(_) | Err(Refusal::Fenced { .. } | Refusal::Offset { .. }))
}

#[async_trait]
impl Master for Witness {
    async fn hello(&self, hello: Hello) -> Result<Welcome, Refusal> {
        self.ask(self.master.hello(hello)).await
    }

    async fn poll(&self, worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        self.ask(self.master.poll(worker)).await
    }

    async fn report(&self, worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refusal> {
        self.ask(self.master.report(worker, reports)).await
    }

    async fn append_log(&self, worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        self.ask(self.master.append_log(worker, piece)).await
    }

    async fn secrets(&self, worker: &WorkerName, build: BuildId, epoch: i64, step: u32) -> Result<Secrets, Refusal> {
        self.ask(self.master.secrets(worker, build, epoch, step)).await
    }

    async fn append_artifact(&self, worker: &WorkerName, piece: ArtifactPiece) -> Result<u64, Refusal> {
        self.ask(self.master.append_artifact(worker, piece)).await
    }

    async fn beat(&self, worker: &WorkerName) -> Result<Duration, Refusal> {
        self.ask(self.master.beat(worker)).await
    }

    async fn hold(&self, worker: &WorkerName, wish: HoldRequest) -> Result<(), Refusal> {
        self.ask(self.master.hold(worker, wish)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn a_lease_is_over_after_four_fifths_of_its_window() {
        let window = Duration::from_secs(300);
        assert!(!is_over(at(1000), window, at(1239)));
        assert!(is_over(at(1000), window, at(1240)));
        assert!(!is_over(at(1000), window, at(900)), "an answer may be newer than the look");
        assert_eq!(silence(window), "the service was not heard of for 4 m: the lease is over");
    }

    #[test]
    fn the_newest_request_that_was_answered_counts_whichever_is_answered_last() {
        let heard = Heard(AtomicU64::new(0));
        heard.note(at(50));
        heard.note(at(20));
        assert_eq!(heard.last(), at(50));
    }

    #[test]
    fn only_who_was_heard_has_renewed_its_leases() {
        assert!(is_answer(&Ok(())) && is_answer::<()>(&Err(Refusal::Offset { length: 3 })));
        let why = || "no".to_owned();
        assert!(!is_answer::<()>(&Err(Refusal::Unavailable { why: why() })));
        assert!(!is_answer::<()>(&Err(Refusal::Rejected { why: why() })));
    }
}
