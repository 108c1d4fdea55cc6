//! Webhooks: signed, stored before they are answered, and no worse than a hint.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Repository, World};

const CONFIG: &str = "
repositories:
  app: {git: FOLDER/app.git, webhook: {forge: github, secret: hook}, poll: 1h}
secrets: {hook: {file: FOLDER/secret}}
builders: {check: {source: app, steps: [checkout]}}
schedulers: {push: {kind: any-branch, when: {repository: app}, build: [check]}}
";

async fn world() -> (World, Repository) {
    world_of(CONFIG).await
}

async fn world_of(config: &str) -> (World, Repository) {
    crate::support::set_up_process();
    let (mut world, mut repositories) =
        World::start(&CONFIG.replace(", webhook: {forge: github, secret: hook}", ""), &["app"]).await;
    std::fs::write(world.folder.path().join("secret"), "s3cret\n").unwrap();
    world.configure(config);
    world.restart().await;
    (world, repositories.remove(0))
}

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

async fn deliver(world: &World, key: &str, body: &[u8], signature: &str) -> (reqwest::StatusCode, Value) {
    let request = world
        .http()
        .post(world.url("/hooks/app"))
        .header("Content-Type", "application/json")
        .header("X-GitHub-Event", "push")
        .header("X-GitHub-Delivery", key)
        .header("X-Hub-Signature-256", signature)
        .body(body.to_vec());
    world.ask(request).await
}

fn push(before: &str, after: &str) -> Vec<u8> {
    json!({
        "ref": "refs/heads/main", "before": before, "after": after, "forced": false, "created": false, "deleted": false,
        "size": 1, "distinct_size": 1,
        "commits": [{"id": after, "message": "by hook", "timestamp": "2026-11-24T12:00:00Z", "distinct": true,
            "author": {"name": "Ada", "email": "ada@example.org"}, "added": ["a"], "removed": [], "modified": []}],
    })
    .to_string()
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_push_is_built_once_however_often_it_is_delivered() {
    let (world, app) = world().await;
    let before = crate::support::git(&app.clone, &["rev-parse", "HEAD"]);
    let after = app.push("main", "by hook", &[("a", "1")]);
    let body = push(&before, &after);
    let (status, answer) = deliver(&world, "d-1", &body, &signature(&body)).await;
    assert!(status.is_success(), "{status} {answer}");
    assert_eq!(deliver(&world, "d-1", &body, &signature(&body)).await, (reqwest::StatusCode::OK, answer));
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check success"]);
    assert_eq!(world.get("/api/v1/changes").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/api/v1/deliveries").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_delivery_is_read_again_as_it_came() {
    let (world, app) = world().await;
    let before = crate::support::git(&app.clone, &["rev-parse", "HEAD"]);
    let after = app.push("main", "by hook", &[("a", "1")]);
    let body = push(&before, &after);
    let cut = &body[..body.len() / 2];
    for (key, body) in [("d-1", cut), ("d-2", &body)] {
        assert!(deliver(&world, key, body, &signature(body)).await.0.is_success());
    }
    world.notice("app").await;
    for (id, told) in [(1, "the JSON ends early"), (2, "nothing new")] {
        let request = world.http().post(world.url(&format!("/api/v1/deliveries/{id}/replay")));
        let (status, answer) = world.ask(request.header("Content-Type", "application/json").body("{}")).await;
        let result = answer["result"].as_str().unwrap_or_default();
        assert!(status.is_success() && result.starts_with("replayed: ") && result.contains(told), "{status} {answer}");
        let kept = world.get("/api/v1/deliveries").await;
        assert!(kept["items"].as_array().unwrap().iter().any(|one| one["result"] == result), "{kept}");
    }
    world.settle().await;
    assert_eq!(world.builds().await, ["check success"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_or_not_whole_changes_nothing_and_loses_nothing() {
    let (world, app) = world().await;
    let before = crate::support::git(&app.clone, &["rev-parse", "HEAD"]);
    let after = app.push("main", "quietly", &[("a", "1")]);
    let body = push(&before, &after);
    let (status, answer) = deliver(&world, "d-1", &body, "sha256=00").await;
    assert_eq!(status, 401, "{answer}");
    let huge = vec![b' '; 6 * 1024 * 1024];
    assert_eq!(deliver(&world, "d-2", &huge, &signature(&huge)).await.0, 413);
    let cut = &body[..body.len() / 2];
    let (status, answer) = deliver(&world, "d-3", cut, &signature(cut)).await;
    assert!(status.is_success(), "a broken body with a good signature is kept, and makes us look: {status} {answer}");
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check success"]);
    assert_eq!(world.get("/api/v1/deliveries").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_hook_is_understood() {
    let (world, app) = world_of(&CONFIG.replace("forge: github", "forge: generic")).await;
    let document = std::fs::read_to_string(crate::root().join("docs/webhooks.md")).unwrap();
    let hook = document.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let secret = world.folder.path().join("secret");
    let script = hook
        .replace("/etc/gristmill/app-hook", secret.to_str().unwrap())
        .replace("https://ci.example.org/hooks/app", &world.url("/hooks/app"));
    assert!(!script.contains("example.org"), "{script}");
    app.push("main", "by hook", &[("a", "1")]);
    let run = move || std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{out}{err}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&answer["delivery"], &answer["sweep"]), (&json!(1), &json!(true)));
    world.notice("app").await;
    assert_eq!(world.builds().await, ["check success"]);
}
