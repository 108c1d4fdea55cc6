//! From a push to a build, over one and several repositories.

use gristmill::store::Database;
use gristmill_model::BuildId;
use serde_json::json;

use crate::support::World;
use crate::support::postgres::Postgres;

/// The configuration that the README begins with.
pub(crate) const SMALLEST: &str = "
repositories:
  app: {git: FOLDER/app.git}
builders:
  check:
    source: app
    steps:
      - checkout
      - run: make check
schedulers:
  push:
    kind: any-branch
    when: {repository: app}
    build: [check]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_push_becomes_a_build_with_a_log() {
    tell_a_push(Database::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_becomes_a_build_with_a_log_on_postgresql() {
    tell_a_push(Database::Server(Postgres::shared().database())).await;
}

async fn tell_a_push(database: Database) {
    let (mut world, repositories) = World::start_on(database, SMALLEST, &["app"]).await;
    assert_eq!(world.builds().await, Vec::<String>::new(), "first sight builds nothing");
    let revision = repositories[0].push("main", "teach it", &[("Makefile", "check:\n\t@echo all is well\n")]);
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check success"]);
    let build = world.get("/api/v1/builds/1").await;
    assert_eq!(build["stamps"], json!({"app": revision}));
    assert_eq!(build["state"], "finished");
    assert!(build["started_at"].as_str() <= build["finished_at"].as_str());
    assert_eq!(build["steps"][1]["name"], "make check");
    assert!(world.log(BuildId(1), 1).await.ends_with("all is well\n"));
    let change = world.get(&format!("/api/v1/changes/{}", &revision[..10])).await;
    assert_eq!(change["verdicts"][0]["verdict"], "built");
    let events = world.get("/api/v1/events?since=0").await;

    world.restart().await;
    assert_eq!(world.get("/api/v1/builds/1").await, build);
    let seen = world.http().get(world.url("/builds/1")).send().await.unwrap();
    assert!(seen.status().is_success());
    assert!(seen.text().await.unwrap().contains("make check"));
    assert_eq!(world.get("/api/v1/events?since=0").await["items"][0], events["items"][0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_halts_unless_told_otherwise_and_always_steps_run() {
    let config = "
repositories: {app: {git: FOLDER/app.git}}
builders:
  check:
    source: app
    steps:
      - {run: 'exit 3', name: odd, exit: {3: warnings}}
      - {run: 'exit 1', name: soft, on-failure: warn}
      - {run: 'echo $GRISTMILL_BRANCH $GRISTMILL_REVISION; exit 2', name: hard}
      - {run: 'echo never', name: never}
      - {run: 'echo tidied', name: tidy, always: true}
schedulers:
  push: {kind: any-branch, when: {repository: app}, build: [check]}
";
    let (world, repositories) = World::start(config, &["app"]).await;
    let revision = repositories[0].push("fix", "go", &[("a", "1")]);
    world.notice("app").await;
    let build = world.get("/api/v1/builds/1").await;
    let steps: Vec<String> = build["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} {}", step["name"].as_str().unwrap(), step["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, ["odd warnings", "soft failure", "hard failure", "tidy success"]);
    assert_eq!((&build["outcome"], &build["cause"]), (&json!("failure"), &json!("code")));
    assert!(world.log(BuildId(1), 2).await.contains(&format!("fix {revision}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_project_is_built_with_exactly_what_passed() {
    let config = "
repositories: {lib: {git: FOLDER/lib.git}, app: {git: FOLDER/app.git}}
projects: {core: {repositories: [lib]}, shop: {repositories: [app]}}
builders:
  lib-test: {project: core, source: lib, matrix: {size: [small, large]}, steps: [checkout, {run: 'cat size; test ${matrix.size} != none'}]}
  lib-package: {project: core, source: lib, steps: [checkout, {run: test -f size}]}
  docs: {project: shop, source: app, steps: [checkout, {run: 'test -f README'}]}
  app-test:
    project: shop
    source: {app: {into: app}, lib: {into: lib}}
    steps:
      - checkout
      - {name: test, run: [sh, -c, 'cat lib/size app/README']}
      - {trigger: docs, wait: true}
      - {name: after, run: echo done}
schedulers:
  lib-main:
    kind: branch
    when: {repository: lib, branch: main, files: ['**', '!docs/**']}
    build:
      test: {builder: lib-test}
      package: {builder: lib-package, needs: test}
  app-after-lib: {kind: dependent, upstream: [lib-main], build: [app-test]}
  docs: {kind: triggerable, build: [docs]}
gristmill: {slots: 1}
";
    let (world, repositories) = World::start(config, &["app", "lib"]).await;
    let lib = repositories[1].push("main", "size", &[("size", "42\n")]);
    world.notice("lib").await;
    let mut builds = world.builds().await;
    builds.sort();
    assert_eq!(
        builds,
        [
            "app-test success",
            "docs success",
            "lib-package success",
            "lib-test[large] success",
            "lib-test[small] success"
        ]
    );
    let list = world.get("/api/v1/builds?builder=app-test").await;
    let build = &list["items"][0];
    assert_eq!(build["stamps"]["lib"], json!(lib));
    let id = BuildId(build["id"].as_i64().unwrap());
    assert!(world.log(id, 1).await.contains("42\nhello\n"));
    let why = world.get(&format!("/api/v1/why?about=buildset:{}", build["buildset"])).await;
    let because = "because buildset 1 of lib-main ended with success, as app-after-lib wants";
    assert!(why["answer"][1].as_str().unwrap().contains(because), "{}", why["answer"]);
    repositories[1].push("main", "only words", &[("docs/a.md", "a")]);
    world.notice("lib").await;
    assert_eq!(world.builds().await.len(), 5, "a change of the documentation alone builds nothing");
    let why = world.get("/api/v1/why?about=not:lib-package@2").await;
    let answer = why["answer"].to_string();
    assert!(answer.contains("docs/a.md"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_force_scheduler_is_started_once_per_key() {
    let config = "
repositories: {app: {git: FOLDER/app.git}}
builders:
  check: {source: app, steps: [{run: 'echo depth $GRISTMILL_PROPERTY_DEPTH'}]}
schedulers:
  hand: {kind: force, parameters: {depth: {type: integer, default: 3}}, build: [check]}
";
    let (world, _repositories) = World::start(config, &["app"]).await;
    let post = |key: &'static str, depth: &'static str| {
        let body = json!({"parameters": {"depth": depth}, "reason": "to see"});
        let url = world.url("/api/v1/schedulers/hand/force");
        world.ask(world.http().post(url).header("Idempotency-Key", key).json(&body))
    };
    let (status, first) = post("a", "5").await;
    assert_eq!(status, 201, "{first}");
    let (_, again) = post("a", "5").await;
    assert_eq!(first, again);
    assert_eq!(post("a", "6").await.0, 422);
    let (status, refused) = post("b", "five").await;
    assert_eq!((status.as_u16(), refused["error"]["message"].as_str().unwrap().contains("whole number")), (422, true));
    world.settle().await;
    assert_eq!(world.builds().await, ["check success"]);
    assert!(world.log(BuildId(1), 0).await.contains("depth 5\n"));
}
