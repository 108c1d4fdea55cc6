//! When to look next.

use std::time::Duration;

/// The shortest time between two looks that nobody asked for.
pub const POLL_MIN: Duration = Duration::from_secs(1);
/// The wait after the first failure; it doubles with each more.
pub const BACKOFF_MIN: Duration = Duration::from_secs(30);
/// The longest wait after failures.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

/// Chance from a seed: the same seed spreads the looks in the same way.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Begins a sequence of its own for each name.
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a, so that repositories with the same interval do not walk in step.
        Self(name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    /// Gives the next number (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Gives `span` with up to 10 % more or less.
    fn spread(&mut self, span: Duration) -> Duration {
        let permille = 900 + u32::try_from(self.draw() % 201).expect("it is below 201");
        span.saturating_mul(permille) / 1000
    }
}

/// Gives the time until the next look, after `failures` in a row.
pub fn next_look(poll: Duration, failures: u32, chance: &mut Chance) -> Duration {
    let span = match failures {
        0 => poll.max(POLL_MIN),
        _ => BACKOFF_MIN.saturating_mul(1 << (failures - 1).min(10)).min(BACKOFF_MAX),
    };
    chance.spread(span)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn failures_double_the_wait_up_to_a_quarter_of_an_hour() {
        let mut chance = Chance::new(1, "app");
        let waits: Vec<u64> =
            (1..=8).map(|failures| next_look(Duration::from_secs(60), failures, &mut chance).as_secs()).collect();
        for (wait, wanted) in waits.into_iter().zip([30, 60, 120, 240, 480, 900, 900, 900]) {
            assert!(wait * 10 >= wanted * 9 - 10 && wait * 10 <= wanted * 11, "{wait} for {wanted}");
        }
    }

    #[test]
    fn a_seed_repeats_itself_and_two_names_differ() {
        let waits = |name| {
            let mut chance = Chance::new(7, name);
            [0; 5].map(|failures| next_look(Duration::from_secs(60), failures, &mut chance))
        };
        assert_eq!(waits("app"), waits("app"));
        assert_ne!(waits("app"), waits("lib"));
    }

    proptest! {
        #[test]
        fn no_wait_is_shorter_or_longer_than_a_tenth_off(poll in 0u64..10_000_000, failures in any::<u32>(), seed: u64) {
            let wait = next_look(Duration::from_secs(poll), failures, &mut Chance::new(seed, "x"));
            prop_assert!(wait >= POLL_MIN * 9 / 10);
            let longest = if failures == 0 { Duration::from_secs(poll.max(1)) } else { BACKOFF_MAX };
            prop_assert!(wait <= longest * 11 / 10);
        }
    }
}
