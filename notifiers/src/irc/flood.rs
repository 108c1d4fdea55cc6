//! How fast we speak: a token bucket, so that no server has a reason to cut us off.
//!
//! Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How fast lines may follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// Lines that may go at once after a silence.
    pub burst: u32,
    /// The time between lines after that.
    pub every: Duration,
}

impl Default for Flood {
    /// Four lines, then one in two seconds: what servers with RFC 2813's penalties take for ever.
    fn default() -> Self {
        Self { burst: 4, every: Duration::from_secs(2) }
    }
}

/// The bucket: full when the virtual time of the next line is not later than now.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    flood: Flood,
    /// When all lines written so far are paid for.
    paid_at: Instant,
}

impl Bucket {
    pub(super) fn new(flood: Flood, now: Instant) -> Self {
        Self { flood, paid_at: now }
    }

    /// Gives the time at which one more line may go.
    pub(super) fn ready_at(&self) -> Instant {
        let credit = self.flood.every.saturating_mul(self.flood.burst.saturating_sub(1));
        self.paid_at.checked_sub(credit).unwrap_or(self.paid_at)
    }

    /// Takes one line's worth, if it is there, and says whether it was.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_ready = self.ready_at() <= now;
        if is_ready {
            self.spend(now);
        }
        is_ready
    }

    /// Pays for a line that could not wait.
    pub(super) fn spend(&mut self, now: Instant) {
        self.paid_at = self.paid_at.max(now) + self.flood.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_at_once_then_one_in_two_seconds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Flood::default(), start);
        let mut times = Vec::new();
        for millis in (0..20_000).step_by(100) {
            let now = start + Duration::from_millis(millis);
            while bucket.take(now) {
                times.push(millis);
            }
        }
        assert_eq!(times, [0, 0, 0, 0, 2000, 4000, 6000, 8000, 10000, 12000, 14000, 16000, 18000]);
    }

    #[test]
    fn silence_fills_it_again_and_no_more_than_that() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Flood::default(), start);
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| bucket.take(later)).count(), 4);
        bucket.spend(later);
        assert!(!bucket.take(later + Duration::from_secs(2)), "what could not wait is paid for");
        assert!(bucket.take(later + Duration::from_secs(4)));
    }
}
