//! What steps do besides running: everything that a build leaves behind, and the secrets that it is given.

use gristmill_model::BuildId;
use serde_json::json;

use crate::support::World;

const CONFIG: &str = r#"
repositories: {app: {git: FOLDER/app.git}}
projects: {shop: {repositories: app}}
secrets:
  deploy-key: {file: FOLDER/deploy-key, projects: shop, branches: main}
builders:
  check:
    project: shop
    source: app
    secrets: {DEPLOY_KEY: {from: deploy-key, as: file}}
    steps:
      - checkout
      - run: |
          echo "main.c:1: warning: old"
          echo "version=1.2" >> "$GRISTMILL_OUTPUT"
          mkdir -p reports dist
          echo "configured" > config.log
          echo '<testsuite name="core"><testcase name="good"/><testcase name="bad"><failure message="1 != 2"/></testcase></testsuite>' > reports/core.xml
          echo "hello" > dist/app.txt
          cat "$DEPLOY_KEY"
        name: work
        on-warnings: ignore
        warnings: "warning: "
        outputs: version
        junit: reports/*.xml
        artifacts: dist/**
        logs: {config.log: config.log}
        limits: {file-size: 100MB, nice: 1}
      - {run: 'echo "release $GRISTMILL_OUTPUT_VERSION"', name: release, if: {branch: main, outputs: {version: "1.*"}}}
      - {run: ./alarm, name: alarm, if: failure}
schedulers:
  push: {kind: any-branch, when: {repository: app}, build: [check]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_build_leaves_behind_is_shown_and_its_secrets_are_not() {
    let (mut world, repositories) = World::start(CONFIG, &["app"]).await;
    std::fs::write(world.file().parent().unwrap().join("deploy-key"), "hunter22-hunter22\n").unwrap();
    repositories[0].push("main", "go", &[("a", "1")]);
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check success"]);
    let build = world.get("/api/v1/builds/1").await;
    let steps: Vec<String> = build["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} {} {}", step["name"], step["outcome"], step["summary"]).replace('"', ""))
        .collect();
    assert_eq!(
        steps[1..],
        [
            "work warnings exit code 0; 1 warning, 1 of 2 tests failed",
            "release success exit code 0",
            "alarm skipped only after a failure",
        ]
    );
    assert_eq!(build["steps"][1]["warnings"], 1);
    assert!(world.log(BuildId(1), 1).await.ends_with("old\n***\n"), "{}", world.log(BuildId(1), 1).await);
    assert!(world.log(BuildId(1), 2).await.ends_with("release 1.2\n"));
    let followed = world.http().get(world.url("/api/v1/builds/1/log?step=1&log=1")).send().await.unwrap();
    assert_eq!(followed.text().await.unwrap(), "configured\n");

    let results = world.get("/api/v1/builds/1/results").await;
    assert_eq!(results["outputs"], json!([{"step": 1, "name": "version", "value": "1.2"}]));
    assert_eq!(results["tests"], json!({"failed": 1, "skipped": 0, "passed": 1}));
    assert_eq!(results["logs"], json!([{"step": 1, "log": 1, "name": "config.log"}]));
    let href = results["artifacts"][0]["href"].as_str().unwrap().to_owned();
    let file = world.http().get(world.url(&href)).send().await.unwrap();
    assert_eq!(file.text().await.unwrap(), "hello\n");
    // Whatever is looked at, the secret is nowhere.
    let events = world.get("/api/v1/events?since=0&limit=200").await.to_string();
    assert!(events.contains("step.tested") && !events.contains("hunter22"), "{events}");

    world.restart().await;
    world.settle().await;
    assert_eq!(world.get("/api/v1/builds/1/results").await, results);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_for_another_branch_is_given_no_secret() {
    let (world, repositories) = World::start(CONFIG, &["app"]).await;
    std::fs::write(world.file().parent().unwrap().join("deploy-key"), "hunter22-hunter22\n").unwrap();
    repositories[0].push("fix", "go", &[("a", "1")]);
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check exception"]);
    let build = world.get("/api/v1/builds/1").await;
    let why = "step work: secret `deploy-key`: builds for `fix` may not have it";
    assert_eq!((&build["summary"], &build["cause"]), (&json!(why), &json!("policy")));
}
