//! Deliberate bugs, for the simulator that must find them: `mutant::is_on(7)` is the constant `false` in every build but
//! one with the feature `mutants`, which no release build can have.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!(
    "deliberate bugs are for the simulator alone: build without the feature `mutants`, or with debug assertions"
);

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Switches one deliberate bug on in this thread, and all others off; 0 is none.
#[cfg(feature = "mutants")]
pub fn switch_on(number: u32) {
    ACTIVE.set(number);
}

/// Says whether a deliberate bug is on.
#[cfg(feature = "mutants")]
pub fn is_on(number: u32) -> bool {
    ACTIVE.get() == number
}

/// Says whether a deliberate bug is on: never.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_on(_number: u32) -> bool {
    false
}
