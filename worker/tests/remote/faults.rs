//! Whatever happens to single requests: each report counts once and in order, and the log is the same to the byte.

use crate::http::Fault;
use crate::world::{World, release, until};

/// Prints enough for several pieces, with a gate before the last part.
fn numbers(from: u32, to: u32) -> String {
    (from..=to).map(|number| format!("{number}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_may_go_wrong_in_every_way_and_at_every_place() {
    let faults = [Fault::CutBefore, Fault::CutAfter, Fault::CutInside, Fault::Doubled, Fault::Busy];
    for fault in faults {
        let world = World::start().await;
        world.service.change(|state| state.fault = Some(fault));
        let worker = world.worker(|_| {}).await;
        let lease = world.order(7, &[("count", "seq 1 60000"), ("test", "echo bad; exit 1")]);
        assert_eq!(world.ended(lease).await, "failure (test): step test: exit code 1", "{fault:?}");
        assert!(world.log(lease, 0) == format!("$ seq 1 60000\n{}", numbers(1, 60_000)), "{fault:?}");
        assert_eq!(world.log(lease, 1), "$ echo bad; exit 1\nbad\n", "{fault:?}");
        let (reports, counts) = {
            let state = world.service.state();
            (state.reports[&lease].len(), state.counts.clone())
        };
        assert_eq!(reports, 6, "{fault:?}");
        assert!(counts["logs"] >= 12 || fault == Fault::Doubled, "{fault:?}: {counts:?}");
        world.until_spool_is_empty().await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_back_with_less_of_a_log_gets_it_again() {
    let world = World::start().await;
    let worker = world.worker(|_| {}).await;
    let go = world.fifo("go");
    let text = format!("seq 1 60000; cat {}; seq 60001 80000", go.display());
    let lease = world.order(7, &[("count", &text)]);
    world.until_log(lease, 0, "\n60000\n").await;
    let key = (lease.0, lease.1, 0);
    world.service.change(|state| state.logs.get_mut(&key).unwrap().truncate(70_001));
    release(&go).await;
    assert_eq!(world.ended(lease).await, "success: 1 step");
    let printed = format!("$ {text}\n{}go\n{}", numbers(1, 60_000), numbers(60_001, 80_000));
    assert!(world.log(lease, 0) == printed, "{} bytes of {}", world.log(lease, 0).len(), printed.len());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_gone_ends_its_build_and_leaves_nothing_behind() {
    let world = World::start().await;
    let worker = world.worker(|_| {}).await;
    let lease = world.order(7, &[("work", "while :; do echo on; sleep 0.05; done")]);
    world.until_log(lease, 0, "\non\n").await;
    let reports = world.service.change(|state| {
        state.fenced.insert(lease);
        state.reports[&lease].len()
    });
    until("the build is forgotten", || worker.handle.status().builds.is_empty()).await;
    world.until_spool_is_empty().await;
    assert_eq!(world.service.state().reports[&lease].len(), reports, "nothing is said any more");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_is_begun_again_without_harm_to_a_build() {
    let world = World::start().await;
    let worker = world.worker(|_| {}).await;
    let go = world.fifo("go");
    let lease = world.order(7, &[("work", &format!("echo begun; cat {}", go.display()))]);
    world.until_log(lease, 0, "begun").await;
    world.service.change(|state| state.forget_sessions());
    release(&go).await;
    assert_eq!(world.ended(lease).await, "success: 1 step");
    let hellos = world.service.state().hellos.clone();
    assert!(hellos.len() >= 2 && hellos[1].builds.len() == 1, "{hellos:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_turned_away_says_why_and_asks_again() {
    let world = World::start().await;
    world.service.change(|state| state.turns_away = Some(403));
    let worker = world.worker(|_| {}).await;
    until("it says why", || worker.handle.status().trouble.is_some()).await;
    assert_eq!(worker.handle.status().trouble.unwrap(), "its token does not admit it (403)");
    world.service.change(|state| state.turns_away = None);
    world.service.until("the hello", |state| (!state.hellos.is_empty()).then_some(())).await;
    worker.stop().await;
}
