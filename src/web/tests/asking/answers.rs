//! What holds for every answer, and for lists.

use axum::http::StatusCode;
use serde_json::Value;

use crate::store::tests::{Kind, on_both};
use crate::web::tests::world::{HOSTILE_BRANCH, World, sentences};

async fn lists_are_filtered_and_paged(kind: Kind) {
    let world = World::lived(kind).await;
    let ids = |value: Value| -> Vec<i64> {
        value["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    for (path, wanted) in [
        ("/builds", vec![2, 1]),
        ("/builds?builder=linux-x64", vec![2, 1]),
        ("/builds?builder=package", vec![]),
        ("/builds?outcome=failure", vec![1]),
        ("/builds?state=running", vec![2]),
        ("/builds?branch=main&state=finished", vec![1]),
        ("/builds?builder=linux-x64&branch=main&outcome=success", vec![]),
        ("/builds?builder=linux-x64&branch=%3Cscript%3Ealert(%27x%27)%3C/script%3E", vec![2]),
        ("/changes?repository=core", vec![2, 1]),
        ("/changes?repository=core&branch=main", vec![1]),
        ("/changes?branch=main", vec![1]),
        ("/changes?repository=site", vec![]),
        ("/buildsets?scheduler=push", vec![2, 1]),
        ("/buildsets?project=core&branch=main", vec![1]),
        ("/buildsets?project=core&scheduler=docs", vec![]),
        ("/incidents?state=open", vec![1]),
        ("/incidents?state=closed", vec![]),
        ("/requests", vec![3]),
        ("/messages", vec![]),
    ] {
        assert_eq!(ids(world.get(&format!("/api/v1{path}")).await.json()), wanted, "{path}");
    }
    let first = world.get("/api/v1/builds?limit=1").await.json();
    assert_eq!((first["next"].clone(), ids(first)), (2.into(), vec![2]));
    let second = world.get("/api/v1/builds?limit=1&before=2").await.json();
    assert_eq!((second["next"].clone(), ids(second)), (Value::Null, vec![1]));
}

async fn strangers_words_come_out_as_they_are_and_only_as_text(kind: Kind) {
    let world = World::lived(kind).await;
    let answer = world.get("/api/v1/changes/2").await;
    let change = answer.json();
    assert_eq!(change["branch"], HOSTILE_BRANCH);
    assert_eq!(change["author"], "Eve <b>");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let text = answer.text();
    assert!(!text.contains('\u{1b}'), "control characters are escaped in JSON");
    // A sentence may be printed on a terminal as it is.
    let why = sentences(&world.get("/api/v1/why?about=change:2").await)
        + &sentences(&world.get("/api/v1/why?about=build:2").await);
    assert!(!why.contains(['\u{1b}', '\u{202e}', '\r']), "{why}");
    assert!(why.contains(HOSTILE_BRANCH), "{why}");
}

async fn every_path_that_is_listed_is_there(kind: Kind) {
    let world = World::lived(kind).await;
    let listed = world.get("/api/v1").await.json();
    for path in listed["paths"].as_array().unwrap() {
        let (method, path) = (path["method"].as_str().unwrap(), path["path"].as_str().unwrap());
        // A build of this world keeps no file; `results` looks at one that does.
        if path.ends_with("/stream") || path.ends_with("{path}") {
            continue;
        }
        let path = path.replace("{id or revision}", "1").replace("{id}", "1").replace("{step}", "1");
        let path = if path.contains("/repositories/") {
            path.replace("{name}", "core")
        } else if path.contains("/workers/") {
            path.replace("{name}", "local")
        } else {
            path.replace("{name}", "push")
        };
        let path = if path.ends_with("/why") { format!("{path}?about=build:1") } else { path };
        let answer = match method {
            "GET" => world.get(&path).await,
            _ => world.post(&path, &serde_json::json!({})).await,
        };
        let known = if method == "GET" {
            answer.status == StatusCode::OK
        } else {
            ![StatusCode::METHOD_NOT_ALLOWED, StatusCode::FORBIDDEN].contains(&answer.status)
                && !answer.text().contains("no path")
        };
        assert!(known, "{method} {path}: {} {}", answer.status, answer.text());
    }
}

async fn what_the_browser_has_is_not_sent_again(kind: Kind) {
    let world = World::lived(kind).await;
    let answer = world.get("/api/v1/builds").await;
    let etag = answer.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers["cache-control"], "private, no-cache");
    let request = axum::http::Request::get("/api/v1/builds").header("host", crate::web::tests::world::HOST);
    let request = request.header("if-none-match", format!("\"other\", {etag}")).body(axum::body::Body::empty());
    let again = world.send(request.unwrap()).await;
    assert_eq!((again.status, again.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let request = axum::http::Request::get("/api/v1/builds").header("host", crate::web::tests::world::HOST);
    let packed = world.send(request.header("accept-encoding", "gzip").body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert_eq!(packed.headers["etag"], etag.as_str());
    assert!(packed.bytes.len() < answer.bytes.len());
}

async fn health_is_the_databases_and_the_engines(kind: Kind) {
    let mut world = World::lived(kind).await;
    let answer = world.get("/healthz").await;
    assert_eq!((answer.status, answer.json()["status"].clone()), (StatusCode::OK, "ok".into()));
    let by_any_name = axum::http::Request::get("/healthz").header("host", "10.0.0.7").body(axum::body::Body::empty());
    assert_eq!(world.send(by_any_name.unwrap()).await.status, StatusCode::OK);
    world.stop_engine.cancel();
    (&mut world.engine_task).await.unwrap();
    let answer = world.get("/healthz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["why"], "the engine has stopped");
}

on_both! {
    lists_are_filtered_and_paged,
    strangers_words_come_out_as_they_are_and_only_as_text,
    every_path_that_is_listed_is_there,
    what_the_browser_has_is_not_sent_again,
    health_is_the_databases_and_the_engines,
}
