//! When something that failed is tried again: exponentially later, up to a cap, with jitter.
//!
//! Pure: the chance is an argument.

use std::time::Duration;

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Backoff {
    /// Gives the wait after `failures` failures in a row (from 1), between half of it and all of it by `chance`.
    ///
    /// Half is kept so that a target that is down is never hammered, however chance falls.
    pub fn wait(self, failures: u32, chance: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let whole = self.base.saturating_mul(1 << doublings).min(self.cap);
        let thousandths = u32::try_from(chance % 501).unwrap_or(0) + 500;
        whole.saturating_mul(thousandths) / 1000
    }
}

/// Draws chances for jitter: good enough to spread retries, good for nothing else.
#[cfg(any(feature = "irc", test))]
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

#[cfg(any(feature = "irc", test))]
impl Dice {
    /// Starts from a seed of this process.
    pub(crate) fn new() -> Self {
        use std::hash::BuildHasher as _;
        Self(std::hash::RandomState::new().hash_one("gristmill"))
    }

    /// Gives the next chance.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(600) };
        let said: Vec<u64> = (1..=9).map(|failures| backoff.wait(failures, 500).as_secs()).collect();
        assert_eq!(said, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff.wait(u32::MAX, 500), Duration::from_secs(600));
        assert_eq!(backoff.wait(0, 500), Duration::from_secs(5));
    }

    #[test]
    fn chance_never_halves_a_wait_further() {
        let backoff = Backoff { base: Duration::from_secs(4), cap: Duration::from_secs(60) };
        let mut dice = Dice::new();
        for failures in 1..200 {
            let wait = backoff.wait(failures, dice.next());
            let whole = backoff.wait(failures, 500);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
    }
}
