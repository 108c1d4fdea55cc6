//! Deliberate bugs: each is one line at a place where it would be an easy mistake, switched on by its number
//! (`mutant::is_on`), and each must be found within a stated number of seeds. A test that cannot fail proves nothing.
//!
//! Numbers below 100 are those of the list of this field's known bugs; the others are our own.

/// A deliberate bug.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// Its number.
    pub number: u32,
    /// What it does wrong.
    pub name: &'static str,
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    Mutant { number: 1, name: "the epoch of a report is not checked" },
    Mutant { number: 5, name: "the epoch does not grow with a lease" },
    Mutant { number: 7, name: "time follows the machine's clock, back too" },
    Mutant { number: 10, name: "a build is tried again as soon as its worker is away" },
    Mutant { number: 13, name: "placement forgets what a worker has" },
    Mutant { number: 18, name: "a buildset is complete although requests are open" },
    Mutant { number: 19, name: "a buildset completes twice" },
    Mutant { number: 20, name: "an exception is left out of the worst" },
    Mutant { number: 21, name: "a wish to repeat becomes the result" },
    Mutant { number: 22, name: "a dependent builds against its condition" },
    Mutant { number: 23, name: "a dependent is noted and not made" },
    Mutant { number: 24, name: "a trigger step goes on with the first child's end" },
    Mutant { number: 25, name: "the child of an ended build goes on" },
    Mutant { number: 26, name: "a cancel overwrites a success that came first" },
    Mutant { number: 27, name: "the first scheduler does not see changes" },
    Mutant { number: 28, name: "a delivery is known by its id alone" },
    Mutant { number: 29, name: "a change is made although the tip is elsewhere" },
    Mutant { number: 30, name: "acknowledged before it is committed" },
    Mutant { number: 31, name: "acknowledged although the commit failed" },
    Mutant { number: 33, name: "what was held with a change is dropped" },
    Mutant { number: 35, name: "a quiet period without its longest wait" },
    Mutant { number: 36, name: "a moment that comes twice in summer time fires twice" },
    Mutant { number: 37, name: "missed moments are all made up" },
    Mutant { number: 38, name: "the cursor moves before the messages" },
    Mutant { number: 39, name: "delivered is noted before it is sent" },
    Mutant { number: 40, name: "a repeat has another key" },
    Mutant { number: 44, name: "a master goes on under a configuration that was replaced" },
    Mutant { number: 45, name: "a reload drops what is held" },
    Mutant { number: 47, name: "a master writes although another has written" },
    Mutant { number: 48, name: "a worker that comes back has its builds run again" },
    Mutant { number: 101, name: "what may never have reached a worker is not said again" },
    Mutant { number: 102, name: "a worker gets what it cannot run" },
    Mutant { number: 103, name: "a cancel does not reach what a step waits for" },
    Mutant { number: 104, name: "a repeated request is done again" },
    Mutant { number: 105, name: "blame is not counted from the last good build" },
    Mutant { number: 106, name: "a waiting build keeps its slot" },
    Mutant { number: 107, name: "what may not be repeated is sent after a crash" },
    Mutant { number: 108, name: "what may not be repeated is sent again in doubt" },
    Mutant { number: 109, name: "a message is given up after a minute" },
    Mutant { number: 110, name: "a build is lost at half of its window" },
    Mutant { number: 111, name: "silence counts while nobody listens" },
    Mutant { number: 112, name: "a worker that is held gets builds" },
    Mutant { number: 113, name: "a pause never ends" },
    Mutant { number: 114, name: "a pool has no limit" },
    Mutant { number: 115, name: "a token that was taken back admits" },
    Mutant { number: 116, name: "a worker goes on although nobody answers it" },
    Mutant { number: 117, name: "a step begins before its lease was heard of" },
    Mutant { number: 118, name: "a worker is forgotten although it is there" },
    Mutant { number: 119, name: "the last worker that can is quarantined" },
    Mutant { number: 120, name: "a build begins outside of its worker's windows" },
    Mutant { number: 121, name: "a build of a drained worker is not tried again" },
];

/// Runs seeds until one finds the bug; gives how many it took and what was found.
#[cfg(feature = "mutants")]
pub fn hunt(mutant: &Mutant, seeds_max: u64) -> Option<(u64, crate::Violation)> {
    gristmill_model::mutant::switch_on(mutant.number);
    let found = (1..=seeds_max).find_map(|seed| {
        let options = crate::Options { seed, hours: Some(1.5), ..crate::Options::default() };
        crate::run(&options).err().map(|failure| (seed, failure.violation))
    });
    gristmill_model::mutant::switch_on(0);
    found
}
