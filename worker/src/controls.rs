//! How a running build is told what has changed since its order.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gristmill_model::Outcome;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::executor::Stop;

/// The levers of one build. The agent pulls them, the build looks at them.
#[derive(Debug)]
pub(crate) struct Controls {
    /// Fenced, or the worker stops: everything ends, nothing is said.
    pub(crate) silent: CancellationToken,
    /// Everything ends, and that is said if it may be. Follows `silent`.
    pub(crate) at_once: CancellationToken,
    /// A person wants it to end. Follows `at_once`.
    asked: CancellationToken,
    cancelled_by: OnceLock<String>,
    lost: OnceLock<String>,
    /// How long the service may be silent; `None` for what runs nothing.
    pub(crate) window: Option<Duration>,
    trigger: Mutex<TriggerWait>,
    resumed: Notify,
}

/// Where a build stands with its trigger steps.
#[derive(Debug, Default)]
enum TriggerWait {
    /// No step waits.
    #[default]
    Idle,
    /// This step waits.
    Waiting(u32),
    /// Its buildset has completed.
    Over(Outcome, String),
}

impl Controls {
    pub(crate) fn new(worker_stops: &CancellationToken, window: Option<Duration>) -> Self {
        let silent = worker_stops.child_token();
        let at_once = silent.child_token();
        Self {
            silent,
            window,
            lost: OnceLock::new(),
            asked: at_once.child_token(),
            at_once,
            cancelled_by: OnceLock::new(),
            trigger: Mutex::default(),
            resumed: Notify::new(),
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

    /// Ends the build at once for a reason around it, which is reported: another attempt may do better.
    pub(crate) fn lose(&self, why: &str) {
        // Only the first reason counts.
        self.lost.set(why.to_owned()).ok();
        self.at_once.cancel();
    }

    /// Says why the build was ended from around it, if it was.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Waits until somebody wants the build to end, for whichever reason.
    pub(crate) async fn ended(&self) {
        self.asked.cancelled().await;
    }

    /// Gives what ends a step. One that begins after the build was cancelled, because it always runs, is not ended by the
    /// same wish.
    pub(crate) fn stop(&self, is_after_cancel: bool) -> Stop {
        let asked = if is_after_cancel { self.at_once.clone() } else { self.asked.clone() };
        Stop { asked, at_once: self.at_once.clone() }
    }

    /// Begins to wait for a trigger's end; to be called before the service learns of the trigger.
    pub(crate) fn expect_resume(&self, step: u32) {
        *self.trigger() = TriggerWait::Waiting(step);
    }

    /// Hands over the end of a triggered buildset; says whether a step waited for it. The same may be handed over more
    /// than once.
    pub(crate) fn resume(&self, step: Option<u32>, outcome: Outcome, summary: String) -> bool {
        let mut trigger = self.trigger();
        let is_meant = matches!(*trigger, TriggerWait::Waiting(waiting) if step.is_none_or(|step| step == waiting));
        if is_meant {
            *trigger = TriggerWait::Over(outcome, summary);
            self.resumed.notify_one();
        }
        is_meant
    }

    /// Waits for the end that was [expected](Self::expect_resume).
    pub(crate) async fn resumed(&self) -> (Outcome, String) {
        loop {
            let notified = self.resumed.notified();
            {
                let mut trigger = self.trigger();
                match std::mem::take(&mut *trigger) {
                    TriggerWait::Over(outcome, summary) => return (outcome, summary),
                    other => *trigger = other,
                }
            }
            notified.await;
        }
    }

    fn trigger(&self) -> MutexGuard<'_, TriggerWait> {
        self.trigger.lock().unwrap_or_else(PoisonError::into_inner)
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
        let controls = Controls::new(&CancellationToken::new(), None);
        assert!(!controls.resume(Some(0), Outcome::Failure, String::new()), "nobody waits");
        controls.expect_resume(0);
        assert_eq!(answer(&controls).await, None);
        assert!(controls.resume(Some(0), Outcome::Success, String::new()));
        assert!(!controls.resume(Some(0), Outcome::Success, String::new()), "it is said already");
        assert_eq!(answer(&controls).await, Some(Outcome::Success));

        controls.expect_resume(1);
        assert!(!controls.resume(Some(0), Outcome::Success, String::new()), "it is another step that waits");
        assert_eq!(answer(&controls).await, None);
        assert!(controls.resume(None, Outcome::Warnings, String::new()));
        assert_eq!(answer(&controls).await, Some(Outcome::Warnings));
    }

    #[test]
    fn the_first_wish_to_cancel_counts() {
        let controls = Controls::new(&CancellationToken::new(), None);
        assert!(controls.cancel("ada"));
        assert!(!controls.cancel("bob"));
        assert_eq!(controls.cancelled_by(), Some("ada"));
        assert!(!controls.at_once.is_cancelled());
        assert!(controls.stop(false).asked.is_cancelled() && !controls.stop(true).asked.is_cancelled());
    }
}
