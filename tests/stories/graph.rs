//! Graphs that reach beyond themselves: triggers that fail, wait, are cancelled or lose their worker.

use serde_json::json;

use crate::support::World;

const HEAD: &str = "
repositories: {app: {git: FOLDER/app.git}, lib: {git: FOLDER/lib.git}}
gristmill: {slots: 2}
";

/// Waits until one build of `builder` has state `state`, and gives its number.
async fn until(world: &World, builder: &str, state: &str) -> i64 {
    let mut head = world.service().head();
    let wait = async {
        loop {
            let list = world.get(&format!("/api/v1/builds?builder={builder}&state={state}")).await;
            if let Some(id) = list["items"][0]["id"].as_i64() {
                return id;
            }
            head.changed().await.unwrap();
        }
    };
    crate::support::soon(builder, wait).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_can_start_nothing_fails_its_step_and_says_why() {
    let config = format!(
        "{HEAD}
builders:
  docs: {{source: {{lib: {{branch: nowhere}}}}, steps: [checkout]}}
  plain: {{source: app, steps: [{{run: 'true'}}]}}
  waits: {{source: app, steps: [{{trigger: docs, wait: true, name: ask, on-failure: continue}}, {{run: echo went on, name: after}}]}}
  passes: {{source: app, steps: [{{trigger: docs, name: ask}}, {{run: echo went on, name: after}}]}}
schedulers:
  hand: {{kind: force, build: [waits, passes]}}
  docs: {{kind: triggerable, build: [docs]}}
  each: {{kind: periodic, every: 1s, repository: app, branch: main, build: [docs, plain]}}
  follow: {{kind: dependent, upstream: [plainly], build: [docs]}}
  plainly: {{kind: force, build: [plain]}}
"
    );
    let (world, _repositories) = World::start(&config, &["app", "lib"]).await;
    for scheduler in ["hand", "plainly"] {
        let url = world.url(&format!("/api/v1/schedulers/{scheduler}/force"));
        let (status, answer) = world.ask(world.http().post(url).json(&json!({}))).await;
        assert!(status.is_success() || answer["error"]["message"].as_str().is_some(), "{answer}");
    }
    world.settle().await;
    let mut builds = world.builds().await;
    builds.sort();
    assert_eq!(builds, ["passes failure", "plain success", "waits failure"]);
    for id in [1, 2] {
        let build = world.get(&format!("/api/v1/builds/{id}")).await;
        let why = build["steps"][0]["summary"].as_str().unwrap();
        assert_eq!(why, "waits until branch `nowhere` of lib has been seen");
    }
    let mut head = world.service().head();
    crate::support::soon("a firing", async {
        loop {
            let events = world.get("/api/v1/events?since=0&limit=200").await;
            let items = events["items"].as_array().unwrap();
            if items.iter().any(|event| event["kind"] == "timer.fired" && event["body"]["nothing"].is_string()) {
                return;
            }
            head.changed().await.unwrap();
        }
    })
    .await;
    world.service().verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_child_takes_it_along() {
    let config = format!(
        "{HEAD}
builders:
  child: {{source: app, steps: [{{run: 'while :; do sleep 1; done', name: long}}]}}
  parent: {{source: app, steps: [{{trigger: child, wait: true, name: ask}}, {{run: echo tidied, name: tidy, always: true}}]}}
schedulers:
  hand: {{kind: force, build: [parent]}}
  child: {{kind: triggerable, build: [child]}}
"
    );
    let (mut world, _repositories) = World::start(&config, &["app", "lib"]).await;
    let force = |world: &World| {
        let request = world.http().post(world.url("/api/v1/schedulers/hand/force")).json(&json!({}));
        async move { request.send().await.unwrap().status() }
    };
    assert_eq!(force(&world).await, 201);
    until(&world, "child", "running").await;
    let parent = until(&world, "parent", "suspended").await;
    let url = world.url(&format!("/api/v1/builds/{parent}/cancel"));
    assert!(world.ask(world.http().post(url).json(&json!({}))).await.0.is_success());
    world.settle().await;
    assert_eq!(world.builds().await, ["parent cancelled", "child cancelled"]);
    let steps = world.get(&format!("/api/v1/builds/{parent}")).await;
    assert_eq!(steps["steps"].as_array().unwrap().last().unwrap()["name"], "tidy", "{steps}");

    assert_eq!(force(&world).await, 201);
    until(&world, "child", "running").await;
    until(&world, "parent", "suspended").await;
    world.stop().await;
    world.configure(&config.replace("while :; do sleep 1; done", "true"));
    world.restart().await;
    let mut builds = world.builds().await.split_off(2);
    builds.sort();
    assert_eq!(
        builds,
        ["child cancelled", "child success", "parent retry", "parent success"],
        "no child outlives its parent"
    );
}
