//! The configuration's file changes under a running service.

use crate::support::{World, soon};

use super::push::SMALLEST;

/// Waits until an event of this kind stands in the journal, and gives its body.
async fn until(world: &World, kind: &str, after: i64) -> serde_json::Value {
    let mut head = world.service().head();
    let wait = async {
        loop {
            let events = world.get(&format!("/api/v1/events?since={after}")).await;
            let items = events["items"].as_array().unwrap().clone();
            if let Some(event) = items.into_iter().find(|event| event["kind"] == kind) {
                return event;
            }
            head.changed().await.unwrap();
        }
    };
    soon(kind, wait).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_file_comes_into_force_and_a_broken_one_does_not() {
    let (world, repositories) = World::start(SMALLEST, &["app"]).await;
    let before = world.get("/api/v1/status").await;
    world.configure(&SMALLEST.replace("build: [check]", "build: [chekc]"));
    let refused = until(&world, "catalog.refused", before["head"].as_i64().unwrap()).await;
    let problems = refused["body"]["problems"].as_str().unwrap();
    assert!(problems.contains("did you mean `check`"), "{problems}");
    let after = world.get("/api/v1/status").await;
    assert_eq!(after["catalog"], before["catalog"], "the old one stays in force");
    repositories[0].push("main", "go", &[("Makefile", "check:\n\ttrue\n")]);
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check success"], "and goes on working");

    let head = world.get("/api/v1/status").await["head"].as_i64().unwrap();
    world.configure(&SMALLEST.replace("run: make check", "run: echo changed"));
    until(&world, "catalog.activated", head).await;
    repositories[0].push("main", "go on", &[("b", "1")]);
    world.notice("app").await;
    let build = world.get("/api/v1/builds/2").await;
    assert_eq!(build["steps"][1]["name"], "echo changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_mended_to_what_it_was_is_said_to_be_good_again() {
    let (world, _) = World::start(SMALLEST, &["app"]).await;
    let before = world.get("/api/v1/status").await;
    world.configure("[[[");
    let refused = until(&world, "catalog.refused", before["head"].as_i64().unwrap()).await;
    world.configure(SMALLEST);
    let good = until(&world, "catalog.activated", refused["seq"].as_i64().unwrap()).await;
    assert!(good["body"]["hash"].as_str().unwrap().starts_with(before["catalog"].as_str().unwrap()), "{before}");
    world.settle().await;
}
