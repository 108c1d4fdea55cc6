//! The short run: every target, a fixed number of changed inputs; and that a target can fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use gristmill_fuzz::hunt::{Catch, Effort, hunt};
use gristmill_fuzz::{TARGETS, Target, trial};

/// No target takes nearly as long; if one does, its inputs were not all tried, and the test says so.
const TIME_MAX: Duration = Duration::from_secs(120);

fn effort(executions: u64) -> Effort {
    Effort { executions, time: TIME_MAX, seed: 1, keeps: false }
}

/// Runs every second target from `first` on: two threads of tests share the work.
fn run_every_second(first: usize) {
    let mut failed = String::new();
    for target in TARGETS.iter().skip(first).step_by(2) {
        let caught = hunt(target, effort(target.short));
        println!("{}", caught.line(target));
        failed += &caught.report(target);
        assert!(!caught.failures.is_empty() || caught.executions >= target.short, "{} was not finished", target.name);
    }
    assert!(failed.is_empty(), "\n{failed}");
}

#[test]
fn no_input_breaks_a_claim_of_the_first_half() {
    run_every_second(0);
}

#[test]
fn no_input_breaks_a_claim_of_the_second_half() {
    run_every_second(1);
}

#[test]
fn targets_have_names_of_their_own_and_something_to_start_from() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TARGETS.len());
    for target in TARGETS {
        assert!(target.short > 0 && !target.claim.is_empty(), "{}", target.name);
        assert!(gristmill_fuzz::corpus::seeds(target).iter().any(|seed| !seed.is_empty()), "{}", target.name);
        // The one long enough for a limit to be met.
        let is_within = |seed: &Vec<u8>| seed.len() <= target.size_max;
        assert!(gristmill_fuzz::corpus::seeds(target).iter().all(is_within), "{}: a seed is too long", target.name);
    }
    let folder = gristmill_fuzz::corpus::crate_folder().join("corpus");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(gristmill_fuzz::target(&name).is_some(), "corpus/{name} is of no target");
    }
}

/// A bug that only three words in their order reach.
fn planted(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some((_, rest)) = text.split_once("begin") else { return };
    assert!(!rest.contains("rescue"), "the planted bug was found");
}

const PLANTED: Target = Target {
    words: &["begin", "rescue", "end"],
    seeds: || vec![b"one begin two end three".to_vec()],
    ..Target::new("planted", "nothing", planted)
};

fn only_failure(target: &Target, executions: u64) -> (String, Vec<u8>) {
    let Catch { mut failures, .. } = hunt(target, effort(executions));
    assert_eq!(failures.len(), 1, "{failures:?}");
    let (failure, input, path) = failures.remove(0);
    std::fs::remove_file(path.expect("the input was written")).unwrap();
    (failure.what, input)
}

#[test]
fn a_planted_bug_is_found_made_small_and_found_again() {
    let (what, input) = only_failure(&PLANTED, 5_000);
    assert_eq!(what, "the planted bug was found");
    assert_eq!(String::from_utf8(input.clone()).unwrap(), "beginrescue");
    assert_eq!(trial::run(&PLANTED, &input).unwrap_err().what, what);
    assert_eq!(trial::run(&PLANTED, b"begin"), Ok(()));
    assert_eq!(only_failure(&PLANTED, 5_000).1, input, "the same seed finds the same");
}

#[test]
fn a_panic_that_is_caught_or_in_another_task_counts() {
    let caught = |_: &[u8]| drop(std::panic::catch_unwind(|| assert_eq!(1, 2, "swallowed")));
    let target = Target::new("swallowed", "nothing", caught);
    assert!(trial::run(&target, b"").unwrap_err().what.contains("swallowed"));

    fn in_task(_: &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let _panicked = tokio::spawn(async { panic!("in a task") }).await;
        });
    }
    let target = Target::new("in-task", "nothing", in_task);
    assert_eq!(trial::run(&target, b"").unwrap_err().what, "in a task");
}

#[test]
fn an_input_that_costs_too_much_counts() {
    fn hoards(bytes: &[u8]) {
        let hoard = vec![1_u8; bytes.len() << 20];
        assert!(std::hint::black_box(hoard).len() > 1);
    }
    let target = Target { bytes_max: 3 << 20, ..Target::new("hoards", "nothing", hoards) };
    assert_eq!(trial::run(&target, b"ab"), Ok(()));
    assert!(trial::run(&target, b"abcd").unwrap_err().place.ends_with("too much memory"));

    fn dawdles(bytes: &[u8]) {
        let begin = trial::computed().unwrap_or_default();
        let worked = || trial::computed().map_or(Duration::MAX, |now| now.saturating_sub(begin));
        while !bytes.is_empty() && worked() < Duration::from_millis(40) {
            std::hint::black_box((0..1_000_u64).sum::<u64>());
        }
    }
    let target = Target { millis_max: 1, ..Target::new("dawdles", "nothing", dawdles) };
    assert_eq!(trial::run(&target, b""), Ok(()));
    assert!(trial::run(&target, b"x").unwrap_err().place.ends_with("too slow"));
}
