//! Which places of the program an input reaches, where the program was built to say so (`tests/fuzz/long`).
//!
//! The compiler then keeps a counter per edge and tells, before `main`, where the counters are. Without that, nothing is
//! ever new, and inputs are chosen blindly.
#![expect(unsafe_code, reason = "the compiler tells by two raw pointers where its counters are")]

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Counters that are looked at together.
const CHUNK: usize = 128;

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Is called before `main` by each part that was built with counters; all of them name the same range.
///
/// # Safety
/// `start` and `stop` are the ends of one range of counters that lives as long as the program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    // SAFETY: both are ends of the same range, as the caller promises.
    let length = unsafe { stop.offset_from(start) };
    START.store(start, Ordering::Relaxed);
    LENGTH.store(usize::try_from(length).unwrap_or(0), Ordering::Relaxed);
}

/// The counters of the program. Only one thread may look at a time: `hunt` has one in a process that is guided.
fn counters() -> &'static mut [u8] {
    let start = START.load(Ordering::Relaxed);
    if start.is_null() {
        return &mut [];
    }
    // SAFETY: the range was told by the compiler's own code. Counters are changed without order by whoever runs; a count
    // that is off by one does no harm.
    unsafe { std::slice::from_raw_parts_mut(start, LENGTH.load(Ordering::Relaxed)) }
}

/// Says whether the program has counters.
pub fn is_there() -> bool {
    !START.load(Ordering::Relaxed).is_null()
}

/// What has been reached so far, and how often at once: a bit per class of counts.
#[derive(Debug, Default)]
pub struct Reached {
    classes: Vec<u8>,
    edges: usize,
}

impl Reached {
    /// Sets all counters back.
    pub fn begin() {
        counters().fill(0);
    }

    /// Takes in what was reached since [`Reached::begin`]; says whether something of it is new.
    pub fn take_in(&mut self) -> bool {
        let counters = counters();
        self.classes.resize(counters.len(), 0);
        let mut is_new = false;
        for (chunk, known) in counters.chunks(CHUNK).zip(self.classes.chunks_mut(CHUNK)) {
            // Nearly all are 0, and this is the form that the compiler makes wide instructions of.
            if chunk.iter().fold(0, |any, count| any | *count) == 0 {
                continue;
            }
            for (count, known) in chunk.iter().zip(known).filter(|(count, _)| **count > 0) {
                let class = class_of(*count);
                if *known & class == 0 {
                    self.edges += usize::from(*known == 0);
                    *known |= class;
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// Counts the edges that were reached.
    pub fn edges(&self) -> usize {
        self.edges
    }
}

/// Puts counts together that mean about the same.
fn class_of(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..8 => 8,
        8..16 => 16,
        16..32 => 32,
        32..128 => 64,
        128.. => 128,
    }
}
