//! How a running build is told what has changed since its order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use gristmill_model::Outcome;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::executor::Stop;

/// The levers of one build. The agent pulls them, the build looks at them.
#[derive(Debug)]
pub(crate) struct Controls {
    /// Fenced, or the worker stops: everything ends, nothing is said.
    pub(crate) at_once: CancellationToken,
    /// A person wants it to end. Follows `at_once`.
    pub(crate) asked: CancellationToken,
    cancelled_by: OnceLock<String>,
    trigger: Mutex<TriggerWait>,
    resumed: Notify,
    /// The number of the poll that had begun last when the service acknowledged a trigger.
    acknowledged_at_poll: AtomicU64,
}

/// Where a build stands with its trigger steps.
#[derive(Debug, Default)]
struct TriggerWait {
    is_waiting: bool,
    has_been_resumed: bool,
    answer: Option<(Outcome, String)>,
}

impl Controls {
    pub(crate) fn new(worker_stops: &CancellationToken) -> Self {
        let at_once = worker_stops.child_token();
        Self {
            asked: at_once.child_token(),
            at_once,
            cancelled_by: OnceLock::new(),
            trigger: Mutex::default(),
            resumed: Notify::new(),
            acknowledged_at_poll: AtomicU64::new(0),
        }
    }

    /// Ends the build on somebody's wish. Only the first wish counts; says whether this was it.
    pub(crate) fn cancel(&self, by: &str) -> bool {
        let is_first = self.cancelled_by.set(by.to_owned()).is_ok();
        self.asked.cancel();
        is_first
    }

    /// Says who cancelled the build, if somebody did.
    pub(crate) fn cancelled_by(&self) -> Option<&str> {
        self.cancelled_by.get().map(String::as_str)
    }

    /// Gives what ends a step. One that begins after the build was cancelled, because it always runs, is not ended by the
    /// same wish.
    pub(crate) fn stop(&self, is_after_cancel: bool) -> Stop {
        let asked = if is_after_cancel { self.at_once.clone() } else { self.asked.clone() };
        Stop { asked, at_once: self.at_once.clone() }
    }

    /// Notes that the service has taken a trigger, while poll number `poll` was the newest.
    pub(crate) fn trigger_acknowledged(&self, poll: u64) {
        self.acknowledged_at_poll.store(poll, Ordering::Release);
    }

    /// Hands over the end of a triggered buildset, which poll number `poll` brought.
    ///
    /// The same answer may be brought more than once, and it does not name its step. So after the first one only those
    /// count that were asked for when the service knew of the step that waits now; a real one is given again.
    pub(crate) fn resume(&self, poll: u64, outcome: Outcome, summary: String) -> bool {
        let mut trigger = self.trigger.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = !trigger.has_been_resumed || poll > self.acknowledged_at_poll.load(Ordering::Acquire);
        let is_taken = trigger.is_waiting && is_fresh;
        if is_taken {
            *trigger = TriggerWait { is_waiting: false, has_been_resumed: true, answer: Some((outcome, summary)) };
            self.resumed.notify_one();
        }
        // A stale answer is answered by silence, and given again or not.
        is_taken
    }

    /// Begins to wait for a trigger's end; to be called before the service learns of the trigger.
    pub(crate) fn expect_resume(&self) {
        let mut trigger = self.trigger.lock().unwrap_or_else(PoisonError::into_inner);
        trigger.is_waiting = true;
        trigger.answer = None;
        // Until the service has acknowledged it, no answer can be meant for this step, if another one was before it.
        if trigger.has_been_resumed {
            self.acknowledged_at_poll.store(u64::MAX, Ordering::Release);
        }
    }

    /// Waits for a trigger's end.
    pub(crate) async fn resumed(&self) -> (Outcome, String) {
        loop {
            self.resumed.notified().await;
            let mut trigger = self.trigger.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = trigger.answer.take() {
                return answer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(controls: &Controls) -> Option<Outcome> {
        tokio::select! {
            biased;
            (outcome, _) = controls.resumed() => Some(outcome),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn an_answer_to_an_earlier_trigger_is_not_taken_for_the_next_one() {
        let controls = Controls::new(&CancellationToken::new());
        controls.resume(1, Outcome::Failure, String::new());
        controls.expect_resume();
        assert_eq!(answer(&controls).await, None, "nobody waited for the first one");
        controls.resume(1, Outcome::Success, String::new());
        assert_eq!(answer(&controls).await, Some(Outcome::Success));

        controls.expect_resume();
        controls.resume(2, Outcome::Success, String::new());
        assert_eq!(answer(&controls).await, None, "the service does not know yet that a second step waits");
        controls.trigger_acknowledged(2);
        controls.resume(2, Outcome::Success, String::new());
        assert_eq!(answer(&controls).await, None, "this poll had begun before the service knew");
        controls.resume(3, Outcome::Warnings, String::new());
        assert_eq!(answer(&controls).await, Some(Outcome::Warnings));
    }

    #[test]
    fn the_first_wish_to_cancel_counts() {
        let controls = Controls::new(&CancellationToken::new());
        assert!(controls.cancel("ada"));
        assert!(!controls.cancel("bob"));
        assert_eq!(controls.cancelled_by(), Some("ada"));
        assert!(controls.asked.is_cancelled() && !controls.at_once.is_cancelled());
        assert!(controls.stop(false).asked.is_cancelled() && !controls.stop(true).asked.is_cancelled());
    }
}
