//! Whether the machine's clock can be trusted with deleting: a clock that jumps ahead makes everything look old, and what
//! was deleted by it does not come back when it is set right.

use std::time::Duration;

use gristmill_model::Timestamp;

/// How far wall and monotonic clock may part between two looks.
const DRIFT_MAX: Duration = Duration::from_secs(3600);
/// How long a clock that has jumped must be steady before it is trusted again: long enough for a person to notice.
const STEADY_FOR: Duration = Duration::from_secs(24 * 3600);

/// Watches the wall clock by the monotonic one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    /// Both clocks as they were looked at last.
    last: (Timestamp, Duration),
    /// When the clock is trusted again, by the monotonic one.
    from: Duration,
}

impl Steady {
    /// Begins with a clock that is trusted. `elapsed` is the monotonic clock, from whatever beginning.
    pub(super) fn new(wall: Timestamp, elapsed: Duration) -> Self {
        Self { last: (wall, elapsed), from: elapsed }
    }

    /// Looks again, and says whether the clock is to be trusted now.
    pub(super) fn look(&mut self, wall: Timestamp, elapsed: Duration) -> bool {
        let (wall_before, before) = self.last;
        let expected = wall_before.after(elapsed.saturating_sub(before));
        let parted = wall.since(expected).max(expected.since(wall));
        if parted > DRIFT_MAX {
            self.from = elapsed + STEADY_FOR;
        }
        self.last = (wall, elapsed);
        elapsed >= self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    #[test]
    fn a_clock_that_goes_as_it_should_is_trusted() {
        let start = Timestamp::from_seconds(1_795_518_131);
        let mut steady = Steady::new(start, HOUR);
        assert!((2..1000).all(|hours| steady.look(start.after(HOUR * (hours - 1)), HOUR * hours)));
    }

    #[test]
    fn a_clock_that_jumped_is_trusted_after_a_day_and_a_jump_back_begins_that_anew() {
        let start = Timestamp::from_seconds(1_795_518_131);
        let mut steady = Steady::new(start, Duration::ZERO);
        let ahead = start.after(YEAR);
        assert!(!steady.look(ahead.after(HOUR), HOUR), "a year ahead");
        assert!(!steady.look(ahead.after(HOUR * 20), HOUR * 20));
        assert!(!steady.look(start.after(HOUR * 21), HOUR * 21), "set right");
        assert!(!steady.look(start.after(HOUR * 44), HOUR * 44));
        assert!(steady.look(start.after(HOUR * 45), HOUR * 45));
    }
}
