//! Steps that do not want to end, and what they leave behind.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use gristmill_model::StepRecipe;
use gristmill_model::protocol::WorkerCommand;

use crate::service::Ended;
use crate::world::{StepExt, World, is_alive, pids, script, until_dead};

/// Starts a child, an orphaned grandchild, a daemon in a session of its own, one that has shut all its files, and one
/// that ignores TERM; prints their numbers.
const TREE: &str = r#"
rm -f pids
sleep 1000 & echo "pid $!" >> pids
(sleep 1000 & echo "pid $!" >> pids)
setsid sh -c 'echo "pid $$" >> pids; exec sleep 1000' &
setsid sh -c 'echo "pid $$" >> pids; exec sleep 1000 <&- >&- 2>&-' &
sh -c 'trap "" TERM; echo "pid $$" >> pids; while :; do sleep 1000; done' &
until [ "$(wc -l < pids)" = 5 ]; do sleep 0.01; done
cat pids
"#;

/// How many numbers that is.
const TREE_COUNT: usize = 5;

fn tree(rest: &str) -> StepRecipe {
    script("work", &format!("{TREE}{rest}"))
}

async fn check_nothing_left(ended: &Ended) {
    let pids = pids(&ended.log(0));
    assert_eq!(pids.len(), TREE_COUNT, "{}", ended.log(0));
    until_dead(&pids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ends_by_itself_leaves_nothing_behind_after_its_build() {
    let world = World::start().await;
    let ended = world.run(vec![tree("exit 0")]).await;
    assert_eq!(ended.end(), "success: 1 step");
    let log = ended.log(0);
    assert!(log.contains("gristmill: another process still holds the output open"), "{log}");
    assert!(log.contains("processes were left behind: killed\n"), "{log}");
    check_nothing_left(&ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_reaches_its_limit_leaves_nothing_behind() {
    let world = World::start().await;
    let limited = tree("wait; wait").but(|step| step.timeouts.idle = Duration::from_secs(3));
    let ended = world.run(vec![limited]).await;
    assert_eq!(ended.end(), "failure (limit): step work: no output for 3 s");
    check_nothing_left(&ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_leaves_nothing_behind_and_its_always_steps_still_run() {
    let world = World::start().await;
    let always = script("clean", "echo cleaned; exit 1").but(|step| step.rules.always = true);
    let order = world.order(vec![tree("echo begun; wait; wait"), script("never", "true"), always]);
    let (build, epoch) = (order.build, order.epoch);
    world.service.command(WorkerCommand::Start { order });
    world.service.until_log(build, 0, "\nbegun\n").await;
    world.service.command(WorkerCommand::Cancel { build, epoch, by: "ada".to_owned() });
    let ended = world.service.ended((build, epoch)).await;
    assert_eq!(ended.end(), "cancelled (person): cancelled by ada");
    let ran: Vec<u32> = ended.steps().iter().map(|(step, ..)| *step).collect();
    assert_eq!(ran, [0, 2]);
    assert!(ended.log(0).contains("gristmill: cancelled by ada\n"), "{}", ended.log(0));
    check_nothing_left(&ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_lives_from_step_to_step_but_not_longer_than_its_build() {
    let world = World::start().await;
    let start = script("serve", "setsid sleep 1000 >/dev/null 2>&1 & echo $! > server; echo pid $!");
    let ended = world.run(vec![start, script("use", "kill -0 $(cat server); echo it lives")]).await;
    assert_eq!(ended.end(), "success: 2 steps");
    let log = ended.log(1);
    assert!(log.contains("it lives\ngristmill: 1 process was left behind: killed\n"), "{log}");
    until_dead(&pids(&ended.log(0))).await;
}

/// Runs a script until it has printed `begun`, cancels its build, and gives the log.
async fn cancelled(text: &str, grace: Duration) -> String {
    let world = World::start().await;
    let order = world.order(vec![script("work", text).but(|step| step.timeouts.grace = grace)]);
    let (build, epoch) = (order.build, order.epoch);
    world.service.command(WorkerCommand::Start { order });
    world.service.until_log(build, 0, "\nbegun\n").await;
    world.service.command(WorkerCommand::Cancel { build, epoch, by: "ada".to_owned() });
    let ended = world.service.ended((build, epoch)).await;
    assert_eq!(ended.end(), "cancelled (person): cancelled by ada");
    ended.log(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ignores_term_is_killed_after_its_grace() {
    let text = "trap '' TERM; echo begun; while :; do sleep 1000; done";
    let log = cancelled(text, Duration::from_millis(200)).await;
    assert!(log.contains("begun\ngristmill: did not end within 200 ms: killed\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_clean_up_within_its_grace() {
    let text = "trap 'echo tidy; exit 0' TERM; echo begun; while :; do sleep 0.01; done";
    let log = cancelled(text, Duration::from_secs(60)).await;
    assert!(log.contains("\ntidy\n") && !log.contains("killed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_is_ended_too() {
    let world = World::start().await;
    let asleep =
        script("work", "echo pid $$; kill -STOP $$").but(|step| step.timeouts.idle = Duration::from_millis(400));
    let ended = world.run(vec![asleep]).await;
    assert_eq!(ended.end(), "failure (limit): step work: no output for 400 ms");
    until_dead(&pids(&ended.log(0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_that_holds_the_output_open_does_not_hold_up_the_step() {
    let world = World::start().await;
    let since = Instant::now();
    let ended = world.run(vec![script("work", "sleep 1000 & echo pid $!; exit 5")]).await;
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert_eq!(ended.end(), "failure (code): step work: exit code 5");
    until_dead(&pids(&ended.log(0))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_closes_its_output_is_waited_for() {
    let world = World::start().await;
    let note = world.path("note");
    let text = format!("exec >&- 2>&-; sleep 0.4; echo over > {}; exit 6", note.display());
    let ended = world.run(vec![script("work", &text)]).await;
    assert_eq!(ended.end(), "failure (code): step work: exit code 6");
    assert_eq!(std::fs::read_to_string(note).unwrap(), "over\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_kills_itself_says_by_which_signal() {
    let world = World::start().await;
    let ended = world.run(vec![script("work", "kill -SEGV $$")]).await;
    assert_eq!(ended.end(), "failure (code): step work: ended by signal 11 (SIGSEGV)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_prints_without_end_keeps_head_and_tail_and_says_what_is_missing() {
    let world = World::start_with(|options| options.log_bytes_max = 1024 * 1024).await;
    let flood = script("work", "echo first; yes '0123456789'").but(|step| step.timeouts.total = Duration::from_secs(2));
    let ended = world.run(vec![flood]).await;
    assert_eq!(ended.end(), "failure (limit): step work: took longer than 2 s");
    let log = ended.log(0);
    assert!(log.len() <= 1024 * 1024, "{} bytes", log.len());
    assert!(log.starts_with("$ echo first; yes '0123456789'\nfirst\n0123456789\n"));
    let remarks: Vec<&str> = log.lines().filter(|line| line.starts_with("gristmill: ")).collect();
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(remarks.iter().any(|line| line.ends_with("bytes are left out here: the log is longer than it may be")));
    let tail = log.rsplit_once("longer than it may be\n").unwrap().1;
    assert!(tail.len() > 200 * 1024 && tail.starts_with("0123456789\n"), "{} bytes of tail", tail.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_kills_its_builds_and_says_nothing_more() {
    let mut world = World::start().await;
    let order = world.order(vec![tree("echo begun; wait; wait"), script("after", "true")]);
    let (build, epoch) = (order.build, order.epoch);
    world.service.command(WorkerCommand::Start { order });
    let log = world.service.until_log(build, 0, "\nbegun\n").await;
    world.stop().await;
    until_dead(&pids(&log)).await;
    let seen = world.service.state().builds[&(build, epoch)].clone();
    assert_eq!(seen.reports.len(), 2, "{:?}", seen.reports);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sweeps_up_what_its_killed_predecessor_left() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("worker");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("token"), "0123456789abcdef").unwrap();
    let sleeper = |lease: &str| {
        let mut command = std::process::Command::new("sleep");
        command.arg("1000").env("GRISTMILL_LEASE", lease).process_group(0).stdout(Stdio::null()).spawn().unwrap()
    };
    let (mut own, mut other) = (sleeper("0123456789abcdef-7-1"), sleeper("fedcba9876543210-7-1"));
    let mut world = World::start_with(|options| options.data.clone_from(&data)).await;
    assert!(!is_alive(i32::try_from(own.id()).unwrap()), "it is ended before the first order is asked for");
    assert!(is_alive(i32::try_from(other.id()).unwrap()), "other workers' processes are not touched");
    world.stop().await;
    other.kill().unwrap();
    other.wait().unwrap();
    own.wait().unwrap();
}
