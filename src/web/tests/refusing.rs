//! What is refused, and in which words.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use expect_test::expect;
use serde_json::json;

use super::world::{HOST, World};
use crate::store::tests::{Kind, on_both};

async fn mistakes_are_named(kind: Kind) {
    let world = World::lived(kind).await;
    let mut said = String::new();
    for path in [
        "/api/v1/nothing",
        "/api/v1/builds/99",
        "/api/v1/builds/first",
        "/api/v1/builds/-1",
        "/api/v1/changes/%ff",
        "/api/v1/buildsets/99999999999999999999",
        "/api/v1/builds?colour=red",
        "/api/v1/builds?outcome=sad",
        "/api/v1/builds?limit=many",
        "/api/v1/builds?limit=1&limit=2",
        "/api/v1/changes/abcdef",
        "/api/v1/schedulers/none",
        "/api/v1/why?about=build",
        "/api/v1/why",
        "/api/v1/why?about=not:linux@1",
        "/api/v1/why?about=message:1",
        "/api/v1/incidents?state=sad",
        "/api/v1/events/stream?kind=x&limit=3",
        "/api/v1/events?build=one",
    ] {
        said += &format!("{path}\n  {}\n", world.get(path).await.error());
    }
    expect![[r#"
        /api/v1/nothing
          404 not-found: there is no path `/api/v1/nothing` (GET /api/v1 lists all paths)
        /api/v1/builds/99
          404 not-found: there is no build 99 (no hint)
        /api/v1/builds/first
          404 not-found: there is no build `first` (no hint)
        /api/v1/builds/-1
          404 not-found: there is no build `-1` (no hint)
        /api/v1/changes/%ff
          400 bad-request: the path is not text in UTF-8 (no hint)
        /api/v1/buildsets/99999999999999999999
          404 not-found: there is no buildset `99999999999999999999` (no hint)
        /api/v1/builds?colour=red
          400 bad-request: the query cannot be read: colour: unknown field `colour`, expected one of `builder`, `branch`, `outcome`, `state`, `before`, `limit` (no hint)
        /api/v1/builds?outcome=sad
          422 invalid: outcome: `sad` is not one of the words used here (no hint)
        /api/v1/builds?limit=many
          400 bad-request: the query cannot be read: limit: invalid digit found in string (no hint)
        /api/v1/builds?limit=1&limit=2
          400 bad-request: the query cannot be read: duplicate field `limit` (no hint)
        /api/v1/changes/abcdef
          404 not-found: there is no change `abcdef` (name a change by its number, or by at least 6 digits of the revision that it brought)
        /api/v1/schedulers/none
          404 not-found: there is no scheduler `none` (GET /schedulers lists them)
        /api/v1/why?about=build
          422 invalid: about: `build` names nothing that can be asked about (ask about build:N, request:N, change:N, buildset:N or not:BUILDER@CHANGE)
        /api/v1/why
          400 bad-request: the query cannot be read: missing field `about` (no hint)
        /api/v1/why?about=not:linux@1
          404 not-found: there is no builder `linux` (builders there are: linux-x64, train, package)
        /api/v1/why?about=message:1
          422 invalid: about: `message:1` names nothing that can be asked about (ask about build:N, request:N, change:N, buildset:N or not:BUILDER@CHANGE)
        /api/v1/incidents?state=sad
          422 invalid: state: `sad` is neither open nor closed (no hint)
        /api/v1/events/stream?kind=x&limit=3
          422 invalid: limit: a stream has none (no hint)
        /api/v1/events?build=one
          422 invalid: build: `one` is not a number (no hint)
    "#]].assert_eq(&said);
}

async fn bodies_are_strict(kind: Kind) {
    let world = World::lived(kind).await;
    let mut said = String::new();
    for body in [
        json!({"parameters": {"size": 3}, "colour": "red"}),
        json!({"parameters": {"size": [3]}}),
        json!({"parameters": {"size": "three"}}),
        json!({"parameters": {}}),
        json!({"parameters": {"size": 3, "other": "x"}}),
        json!({"parameters": {"size": 3}, "by": "a\nb"}),
        json!([]),
    ] {
        said += &format!("{body}\n  {}\n", world.post("/api/v1/schedulers/by-hand/force", &body).await.error());
    }
    said += &format!("push\n  {}\n", world.post("/api/v1/schedulers/push/force", &json!({})).await.error());
    said += &format!("none\n  {}\n", world.post("/api/v1/schedulers/none/force", &json!({})).await.error());
    said += &format!("build 9\n  {}\n", world.post("/api/v1/builds/9/cancel", &json!({})).await.error());
    said += &format!("site\n  {}\n", world.post("/api/v1/repositories/site/sweep", &json!({})).await.error());
    said += &format!("GET\n  {}\n", world.get("/api/v1/builds/1/cancel").await.error());
    expect![[r#"
        {"colour":"red","parameters":{"size":3}}
          400 bad-request: the body cannot be read: unknown field `colour`, expected one of `parameters`, `reason`, `by` at line 1 column 9 (no hint)
        {"parameters":{"size":[3]}}
          422 invalid: size: a value is a text, a number, true or false (no hint)
        {"parameters":{"size":"three"}}
          422 invalid: size: `three` is not a whole number (no hint)
        {"parameters":{}}
          422 invalid: size: a value must be given (no hint)
        {"parameters":{"other":"x","size":3}}
          422 invalid: other: there is no such parameter; there are branch, size, revision (no hint)
        {"by":"a\nb","parameters":{"size":3}}
          422 invalid: by: a name has at most 256 bytes and no control characters (no hint)
        []
          400 bad-request: the body cannot be read: it is not a JSON object (no hint)
        push
          409 not-now: `push` is of kind any-branch; only a force scheduler can be started (force schedulers there are: by-hand)
        none
          404 not-found: there is no scheduler `none` (force schedulers there are: by-hand)
        build 9
          404 not-found: there is no build 9 (no hint)
        site
          502 sweep-failed: site could not be looked at: the name `site.example.org` is not known (it is tried again by itself; GET /repositories shows how it fares)
        GET
          405 method-not-allowed: this path does not know the method `GET` (what is read is asked with GET, what changes something with POST; GET /api/v1 lists all paths)
    "#]].assert_eq(&said);
    let buildsets = world.get("/api/v1/buildsets").await.json();
    assert_eq!(buildsets["items"].as_array().unwrap().len(), 2, "nothing was started");
}

async fn a_form_of_another_site_is_no_json(kind: Kind) {
    let world = World::lived(kind).await;
    let form = |kind: &str, body: String| {
        Request::post("/api/v1/builds/2/cancel")
            .header("host", HOST)
            .header("content-type", kind)
            .body(Body::from(body))
            .unwrap()
    };
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let answer = world.send(form(kind, "{\"by\": \"eve\"}".to_owned())).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let long = format!("{{\"by\": \"{}\"}}", "x".repeat(1024 * 1024));
    assert_eq!(world.send(form("application/json", long)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

async fn requests_that_pages_of_other_sites_send_change_nothing(kind: Kind) {
    let world = World::lived(kind).await;
    let head = world.app.reader.journal_head().await.unwrap();
    for (headers, code) in [
        (&[("origin", "http://evil.example")][..], "cross-site"),
        (&[("origin", "null")], "cross-site"),
        (&[("sec-fetch-site", "cross-site")], "cross-site"),
        (&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8021")], "cross-site"),
    ] {
        let answer = world.post_with("/api/v1/builds/2/cancel", &json!({}), headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(answer.json()["error"]["code"], code, "{headers:?}");
    }
    for host in ["evil.example", "evil.example:8020", "127.0.0.1.evil.example:8020"] {
        let request = Request::get("/api/v1/builds").header("host", host).body(Body::empty()).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.json()["error"]["code"], "host-not-allowed", "{host}");
    }
    assert_eq!(world.app.reader.journal_head().await.unwrap(), head);
}

async fn every_answer_carries_the_common_headers(kind: Kind) {
    let world = World::lived(kind).await;
    for path in ["/healthz", "/api/v1/status", "/api/v1/nothing", "/api/v1/builds/1/log", "/nothing"] {
        let answer = world.get(path).await;
        for name in
            ["content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options", "cache-control"]
        {
            assert!(answer.headers.contains_key(name), "{path}: {name}");
        }
    }
}

on_both! {
    mistakes_are_named,
    bodies_are_strict,
    a_form_of_another_site_is_no_json,
    requests_that_pages_of_other_sites_send_change_nothing,
    every_answer_carries_the_common_headers,
}
