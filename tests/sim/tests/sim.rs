//! The simulator's own tests: a modest number of seeds, seeds that once failed, determinism, shrinking, and the failures of
//! comparable systems as scenarios, each under its id.

use std::collections::BTreeSet;
use std::path::Path;

use gristmill_sim::{Fault, Options, Scenario, Stats, report, run};

fn hold(options: &Options) -> Stats {
    run(options).unwrap_or_else(|_| {
        let traced = run(&Options { trace: true, ..options.clone() }).expect_err("it failed a moment ago");
        panic!("{}", report::tell(options, &traced))
    })
}

fn short(seed: u64) -> Options {
    Options { seed, hours: Some(0.5), ..Options::default() }
}

/// Seeds with these faults alone, each with its probability per opportunity; gives how many faults there were.
fn scenario(name: u64, faults: &[(Fault, f64)], start: Option<i64>) -> Stats {
    let mut sum = Stats::default();
    for seed in name * 1_000..name * 1_000 + 4 {
        let scenario = Scenario { faults: Some(faults.to_vec()), start };
        let stats = hold(&Options { seed, hours: Some(0.5), scenario, ..Options::default() });
        sum.faults += stats.faults;
        sum.builds += stats.builds;
        sum.messages += stats.messages;
        for (rule, count) in stats.checks {
            *sum.checks.entry(rule).or_default() += count;
        }
    }
    assert!(sum.builds > 20, "only {} builds were made", sum.builds);
    assert!(sum.faults > 0 || faults.is_empty(), "no fault came");
    sum
}

#[test]
fn seeds_that_once_failed_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_none_or(|extension| extension != "seed") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let words: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
        let value = |flag: &str| words.iter().position(|word| *word == flag).and_then(|place| words.get(place + 1));
        let seed = value("--seed").and_then(|seed| seed.parse().ok());
        let hours = value("--hours").and_then(|hours| hours.parse().ok());
        let disabled = value("--without").map(|list| list.split(',').filter_map(Fault::parse).collect());
        let seed = seed.unwrap_or_else(|| panic!("{} names no seed", path.display()));
        hold(&Options { seed, hours, disabled: disabled.unwrap_or_default(), ..Options::default() });
    }
}

#[test]
fn fresh_seeds_hold() {
    const SEEDS: u64 = 40;
    let (mut builds, mut faults) = (0, 0);
    let mut rules = BTreeSet::new();
    for seed in 1..=SEEDS {
        let stats = hold(&short(seed));
        builds += stats.builds;
        faults += stats.faults;
        rules.extend(stats.checks.into_keys());
    }
    // Less work than this means that something was passed over.
    assert!(builds > 50 * SEEDS, "only {builds} builds");
    assert!(faults > 10 * SEEDS, "only {faults} faults");
    let wanted = [
        "L2", "L9", "S1", "S10", "S11", "S12", "S13", "S15", "S16", "S17", "S19", "S2", "S20", "S21", "S22", "S28",
        "S3", "S4", "S5", "S6", "S8", "S9", "fold", "journal", "load",
    ];
    assert!(wanted.iter().all(|rule| rules.contains(rule)), "not looked at: {wanted:?} against {rules:?}");
}

#[test]
fn a_seed_gives_the_same_history_twice() {
    for seed in [3, 10, 27] {
        let options = Options { full_hash: true, ..short(seed) };
        let (first, second) = (hold(&options), hold(&options));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert!(first.events > 100, "seed {seed} made only {} events", first.events);
    }
    assert_ne!(hold(&short(3)).hash, hold(&short(10)).hash);
}

#[test]
fn r1_a_service_that_starts_again_lets_running_builds_be() {
    // Checked by L9: what a worker still has when it introduces itself again is neither ended nor run again.
    let stats = scenario(1, &[(Fault::MasterCrash, 0.01)], None);
    assert!(stats.checks["L9"] > 0, "no worker came back with a build");
}

#[test]
fn r2_no_build_runs_for_ever_after_its_worker_was_lost() {
    scenario(2, &[(Fault::WorkerCrash, 0.05), (Fault::WorkerFreeze, 0.05)], None);
}

#[test]
fn r4_what_is_not_leased_is_not_ended() {
    let stats = scenario(4, &[(Fault::WorkerLies, 0.2), (Fault::LinkDoubled, 0.1)], None);
    assert!(stats.checks["S9"] > 100);
}

#[test]
fn r5_a_child_that_is_waited_for_survives_a_restart() {
    let stats = scenario(5, &[(Fault::MasterCrash, 0.02), (Fault::LinkLost, 0.05)], None);
    assert!(stats.checks["S12"] > 0);
}

#[test]
fn r6_no_change_is_missed_over_a_reconfigure() {
    scenario(6, &[(Fault::HookLost, 0.5), (Fault::LookFails, 0.3), (Fault::ReadFails, 0.02)], None);
}

#[test]
fn r7_a_build_that_ends_while_the_configuration_changes_ends() {
    scenario(7, &[(Fault::StoreBusy, 0.05), (Fault::CommitUnknown, 0.05)], None);
}

#[test]
fn r10_after_the_faults_everything_goes_on() {
    let all = [(Fault::LinkLost, 0.3), (Fault::WorkerFreeze, 0.2), (Fault::StoreBusy, 0.2), (Fault::MasterCrash, 0.01)];
    scenario(10, &all, None);
}

#[test]
fn r12_no_event_is_passed_over_by_the_announcer() {
    let stats = scenario(12, &[(Fault::MasterCrash, 0.01), (Fault::CommitUnknown, 0.03)], None);
    assert!(stats.messages > 0 && stats.checks["S17"] > 0);
}

#[test]
fn r15_nothing_is_acknowledged_before_it_is_kept() {
    let stats = scenario(15, &[(Fault::MasterCrash, 0.02), (Fault::StoreBusy, 0.05)], None);
    assert!(stats.checks["S1"] > 500);
}

#[test]
fn r16_an_old_lease_has_no_effect() {
    scenario(16, &[(Fault::WorkerCrash, 0.05), (Fault::LinkDoubled, 0.2), (Fault::WorkerLies, 0.2)], None);
}

#[test]
fn r17_a_crash_of_the_service_loses_no_running_build() {
    scenario(17, &[(Fault::MasterCrash, 0.03)], None);
}

#[test]
fn r19_a_night_in_which_clocks_change_fires_each_moment_once() {
    // 90 minutes before Berlin leaves summer time, and two hours before it begins.
    for (name, start) in [(19, 1_792_884_600), (20, 1_774_738_800)] {
        let mut checks = 0;
        for seed in name * 1_000..name * 1_000 + 4 {
            let scenario = Scenario { faults: Some(vec![(Fault::ClockJump, 0.01)]), start: Some(start) };
            let stats = hold(&Options { seed, hours: Some(3.0), scenario, ..Options::default() });
            checks += stats.checks["S19"];
        }
        assert!(checks > 0);
    }
}
