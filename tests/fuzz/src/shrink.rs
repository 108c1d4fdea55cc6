//! Makes a failing input as small and plain as it can be while it still fails at the same place.

use std::time::{Duration, Instant};

use crate::Target;
use crate::trial::{self, Failure};

/// Tries in all.
const TRIES_MAX: usize = 4_000;
/// Time in all.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Gives the smallest input found that fails where `input` does.
pub fn shrink(target: &Target, input: &[u8], failure: &Failure) -> Vec<u8> {
    let (start, mut tries) = (Instant::now(), 0);
    let mut fails = |candidate: &[u8]| {
        tries += 1;
        let is_over = tries > TRIES_MAX || start.elapsed() > TIME_MAX;
        !is_over && trial::run(target, candidate).is_err_and(|other| other.place == failure.place)
    };
    let mut best = input.to_vec();
    let mut piece = best.len().next_power_of_two() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < best.len() {
            let mut candidate = best.clone();
            candidate.drain(at..(at + piece).min(best.len()));
            if fails(&candidate) {
                best = candidate;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    for at in 0..best.len() {
        for plain in [0, b'0', b'a', b' '] {
            let mut candidate = best.clone();
            candidate[at] = plain;
            if best[at] != plain && fails(&candidate) {
                best = candidate;
                break;
            }
        }
    }
    best
}
