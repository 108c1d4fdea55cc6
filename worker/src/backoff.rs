//! How long to wait before something is said again: at random up to a limit that doubles, so that a thousand workers do
//! not all come back at the same moment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits at random, up to limits that double from the first to the longest.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first limit.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Default for Backoff {
    /// From 20 ms to 10 s.
    fn default() -> Self {
        Self { first: Duration::from_millis(20), longest: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// Starts again from the first wait.
    pub(crate) fn begin(self) -> Waits {
        Waits { next: self.first, longest: self.longest, waited: Duration::ZERO }
    }
}

/// A series of waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    next: Duration,
    longest: Duration,
    waited: Duration,
}

impl Waits {
    /// Gives the next wait.
    pub(crate) fn next(&mut self) -> Duration {
        self.next_at(random())
    }

    fn next_at(&mut self, random: u32) -> Duration {
        let limit = self.next.min(self.longest);
        self.next = limit.saturating_mul(2);
        let wait = part(limit / 10, limit, random);
        self.waited += wait;
        wait
    }

    /// Gives how much has been waited so far.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }
}

/// Gives a random number. The standard library's hashers are keyed at random, which is as much as is needed here.
fn random() -> u32 {
    let hash = RandomState::new().hash_one(0_u8);
    u32::try_from(hash >> 32).expect("half of it is left")
}

/// Gives a span between two, by a random number.
fn part(from: Duration, to: Duration, random: u32) -> Duration {
    from + to.saturating_sub(from).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Gives a span from half to one and a half of this one.
pub(crate) fn jittered(span: Duration) -> Duration {
    part(span / 2, span.saturating_mul(3) / 2, random())
}

/// Gives a span from this one to a quarter more.
pub(crate) fn part_above(span: Duration) -> Duration {
    part(span, span.saturating_mul(5) / 4, random())
}

/// Gives a span within a tenth of this one.
pub(crate) fn around(span: Duration) -> Duration {
    part(span.saturating_mul(9) / 10, span.saturating_mul(11) / 10, random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_double_and_are_bounded() {
        let mut waits = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(100) }.begin();
        let millis: Vec<_> = (0..5).map(|_| waits.next_at(u32::MAX).as_millis()).collect();
        assert_eq!(millis, [20, 40, 80, 100, 100]);
        assert_eq!(waits.waited().as_millis(), 340);
        assert_eq!(waits.next_at(0).as_millis(), 10, "never at once");
    }

    #[test]
    fn workers_that_lost_the_service_at_once_do_not_come_back_at_once() {
        let longest = Duration::from_secs(30);
        let mut tenths = [0; 10];
        for _ in 0..1000 {
            let wait = Backoff { first: longest, longest }.begin().next();
            tenths[usize::try_from(wait.as_millis() / 3001).unwrap()] += 1;
        }
        // A tenth of them and a bit more in each tenth of the time but the first; fifteen standard deviations are left.
        assert!(tenths[1..].iter().all(|count| *count < 260), "{tenths:?}");
    }
}
