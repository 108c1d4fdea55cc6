//! One input on one target: caught, timed and weighed.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use crate::{Target, coverage, memory};

/// How often an input that took too long is tried again before it counts: the machine may have been busy.
const SECOND_LOOKS: usize = 3;
/// How much slower a build without optimisation may be.
const UNOPTIMISED: u32 = 20;

/// Why an input fails a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was said.
    pub what: String,
    /// Where in the source; failures of one place count as the same.
    pub place: String,
}

thread_local! {
    static ON_TRIAL: Cell<bool> = const { Cell::new(false) };
    static PANICKED: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Panics of threads that a target started.
static ELSEWHERE: Mutex<Vec<Failure>> = Mutex::new(Vec::new());

/// Keeps what a panic says, instead of printing it, while a target runs. A panic that the code under test catches, or that
/// ends another task or thread, is kept as well.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let what = info.payload_as_str().unwrap_or("a panic without words").to_owned();
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            let is_of_test = std::thread::current().name().is_none_or(|name| !is_helper(name));
            if ON_TRIAL.get() {
                PANICKED.with_borrow_mut(|known| {
                    known.get_or_insert(Failure { what, place });
                });
            } else if is_of_test {
                usual(info);
            } else {
                ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner).push(Failure { what, place });
            }
        }));
    });
}

/// Says whether a thread is one that the product starts.
fn is_helper(name: &str) -> bool {
    name.starts_with("tokio") || name.starts_with("sqlx") || name.starts_with("gristmill")
}

/// Runs a target on an input.
///
/// # Errors
/// If it panicked, took longer than the target allows, or held more memory.
pub fn run(target: &Target, input: &[u8]) -> Result<(), Failure> {
    let allowed = allowance(target);
    let mut took = once(target, input)?;
    for _ in 0..SECOND_LOOKS {
        if took <= allowed {
            return Ok(());
        }
        // On a busy machine the clock on the wall says little.
        let before = computed();
        let waited = once(target, input)?;
        let worked = before.and_then(|before| computed()?.checked_sub(before));
        took = took.min(worked.unwrap_or(waited));
    }
    if took <= allowed {
        return Ok(());
    }
    let what = format!("{} bytes take {} ms, and {} are allowed", input.len(), took.as_millis(), allowed.as_millis());
    Err(Failure { what, place: format!("{}: too slow", target.name) })
}

/// Gives how long this thread has computed so far, where the system says so.
pub fn computed() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// Gives how long one input may take.
pub fn allowance(target: &Target) -> Duration {
    // Only `tests/fuzz/long` builds with counters, and it builds with optimisation.
    let factor = if coverage::is_there() { 1 } else { UNOPTIMISED };
    Duration::from_millis(target.millis_max) * factor
}

fn once(target: &Target, input: &[u8]) -> Result<Duration, Failure> {
    listen();
    let start = Instant::now();
    ON_TRIAL.set(true);
    let peak = memory::peak_of(|| {
        // The failure is kept by `listen`.
        let _panicked = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    });
    ON_TRIAL.set(false);
    let took = start.elapsed();
    let elsewhere = ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(failure) = PANICKED.take().or(elsewhere) {
        return Err(failure);
    }
    if peak > target.bytes_max {
        let what = format!("{} bytes make {peak} bytes of memory, and {} are allowed", input.len(), target.bytes_max);
        return Err(Failure { what, place: format!("{}: too much memory", target.name) });
    }
    Ok(took)
}
