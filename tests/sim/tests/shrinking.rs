//! A failing seed is made smaller and told on one screen. It takes a deliberate bug to have one.
#![cfg(feature = "mutants")]

use gristmill_model::mutant;
use gristmill_sim::{Options, report, run, shrink};

#[test]
fn a_failing_seed_is_made_smaller_and_told_on_one_screen() {
    // Blame is not counted from the last good build: needs no fault at all.
    mutant::switch_on(105);
    let failing = (1..50).map(|seed| Options { seed, hours: Some(2.0), ..Options::default() });
    let (options, failure) = failing
        .filter_map(|options| run(&options).err().map(|failure| (options, failure)))
        .find(|(_, failure)| failure.stats.faults > 0)
        .expect("one of fifty seeds finds it after a fault");
    let shrunk = shrink(&options, failure.clone());
    assert_eq!(shrunk.failure.violation.rule, failure.violation.rule);
    assert!(shrunk.attempts <= 60);
    assert!(shrunk.options.hours < options.hours || shrunk.options.disabled.len() > options.disabled.len());
    let told = report::tell(&shrunk.options, &shrunk.failure);
    assert!(told.lines().count() <= 50, "{} lines", told.lines().count());
    assert!(told.contains(&format!("--seed {}", options.seed)), "{told}");
    // The command that it names repeats it.
    let again = run(&shrunk.options).expect_err("it fails again");
    assert_eq!(again.violation, shrunk.failure.violation);
}
