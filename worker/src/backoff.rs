//! How long to wait before something is said again.

use std::time::Duration;

/// Waits that double from the first to the longest.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first wait.
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
        let wait = self.next.min(self.longest);
        self.next = wait.saturating_mul(2);
        self.waited += wait;
        wait
    }

    /// Gives how much has been waited so far.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_bounded() {
        let mut waits = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(100) }.begin();
        let millis: Vec<_> = (0..5).map(|_| waits.next().as_millis()).collect();
        assert_eq!(millis, [20, 40, 80, 100, 100]);
        assert_eq!(waits.waited().as_millis(), 340);
    }
}
