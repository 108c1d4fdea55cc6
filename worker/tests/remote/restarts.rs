//! The worker's process is killed, and starts again.

use crate::world::{World, release, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_worker_was_killed_is_told_to_its_end_by_the_next_one() {
    let world = World::start().await;
    let mut process = world.process(&[]);
    let lease = world.order(7, &[("compile", "true"), ("test", "echo begun; sleep 600")]);
    world.until_log(lease, 1, "\nbegun\n").await;
    process.kill();
    let _again = world.process(&[]);
    assert_eq!(world.ended(lease).await, "retry (infrastructure): the worker was restarted while step test ran");
    let expected = "$ echo begun; sleep 600\nbegun\n\ngristmill: the worker was restarted while step test ran\n";
    assert_eq!(world.log(lease, 1), expected);
    let hellos = world.service.state().hellos.clone();
    let named = hellos.iter().any(|hello| hello.builds.iter().any(|held| held.build.0 == 7));
    assert!(named, "it says that it still has the build: {hellos:?}");
    world.until_spool_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_build_said_while_the_service_was_away_outlives_the_worker() {
    let world = World::start().await;
    let mut process = world.process(&[]);
    let (go, over) = (world.fifo("go"), world.path("over"));
    let text = format!("echo begun; cat {}; seq 1 200000; echo x > {}", go.display(), over.display());
    let lease = world.order(7, &[("count", &text), ("last", "echo end")]);
    world.until_log(lease, 0, "\nbegun\n").await;
    world.service.change(|state| state.is_away = true);
    release(&go).await;
    until("the build has ended", || over.exists() && is_complete(&world)).await;
    process.kill();
    world.service.change(|state| state.is_away = false);
    let _again = world.process(&[]);
    assert_eq!(world.ended(lease).await, "success: 2 steps");
    let numbers: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(world.log(lease, 0) == format!("$ {text}\nbegun\ngo\n{numbers}"));
    assert_eq!(world.log(lease, 1), "$ echo end\nend\n");
}

/// Says whether the end of build 7 is spooled.
fn is_complete(world: &World) -> bool {
    let Ok(entries) = std::fs::read_dir(world.data().join("spool/7-1")) else { return false };
    let has_end = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(12).any(|window| window == b"\"finished\",\"")
    };
    entries.filter_map(Result::ok).any(|entry| has_end(entry.path()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_was_given_away_meanwhile_is_forgotten() {
    let world = World::start().await;
    let mut process = world.process(&[]);
    let lease = world.order(7, &[("work", "echo begun; sleep 600")]);
    world.until_log(lease, 0, "\nbegun\n").await;
    process.kill();
    let reports = world.service.change(|state| {
        state.fenced.insert(lease);
        state.reports[&lease].len()
    });
    let _again = world.process(&[]);
    world.until_spool_is_empty().await;
    assert_eq!(world.service.state().reports[&lease].len(), reports);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_spool_is_cut_off_and_the_rest_is_told() {
    let world = World::start().await;
    let mut process = world.process(&[]);
    let lease = world.order(7, &[("work", "echo begun; sleep 600")]);
    world.until_log(lease, 0, "\nbegun\n").await;
    process.kill();
    let segment = world.data().join("spool/7-1/00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    // As a power cut leaves it: the last piece is not whole, though the service has it.
    bytes.truncate(bytes.len() - 3);
    std::fs::write(&segment, bytes).unwrap();
    let _again = world.process(&[]);
    assert_eq!(world.ended(lease).await, "retry (infrastructure): the worker was restarted while step work ran");
    let expected = "$ echo begun; sleep 600\nbegun\n\ngristmill: the worker was restarted while step work ran\n";
    assert_eq!(world.log(lease, 0), expected);
}
