//! What is changed.

use axum::http::StatusCode;
use gristmill_model::{Movement, RefName, RefUpdate, Revision};
use gristmill_schedulers::Reply;
use serde_json::json;

use super::world::World;
use crate::store::tests::{Kind, on_both};

const FORCE: &str = "/api/v1/schedulers/by-hand/force";

async fn a_person_starts_a_scheduler(kind: Kind) {
    let world = World::lived(kind).await;
    let body = json!({"parameters": {"size": 3, "branch": "main"}, "reason": "to see", "by": "ada"});
    let answer = world.post(FORCE, &body).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::CREATED, json!({"buildset": 3})));
    assert_eq!(answer.headers["location"], "/api/v1/buildsets/3");
    let buildset = world.get("/api/v1/buildsets/3").await.json();
    assert_eq!(buildset["trigger"], json!({"kind": "person", "by": "ada", "reason": "to see"}));
    assert_eq!(buildset["properties"]["size"], "3");
    assert_eq!(buildset["requests"][0]["reasons"][0]["code"], "no-worker-can");
}

async fn a_repeat_under_the_same_key_starts_nothing_new(kind: Kind) {
    let world = World::lived(kind).await;
    let key = [("idempotency-key", "k-1")];
    let body = json!({"parameters": {"size": 3}, "by": "ada"});
    for _ in 0..3 {
        let answer = world.post_with(FORCE, &body, &key).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::CREATED, json!({"buildset": 3})));
    }
    let other = json!({"parameters": {"size": 4}, "by": "ada"});
    let answer = world.post_with(FORCE, &other, &key).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["error"]["code"], "key-taken");
    let answer = world.post_with("/api/v1/buildsets/3/cancel", &body, &key).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "the body is another path's");
    let answer = world.post_with("/api/v1/buildsets/3/cancel", &json!({}), &key).await;
    assert_eq!(answer.json()["error"]["code"], "key-taken", "another path is another request");
    assert_eq!(world.post_with(FORCE, &other, &[("idempotency-key", "k-2")]).await.json()["buildset"], 4);
    for bad in ["", "with space", &"x".repeat(201)] {
        assert_eq!(world.post_with(FORCE, &body, &[("idempotency-key", bad)]).await.status, StatusCode::BAD_REQUEST);
    }
}

async fn a_refusal_is_decided_again(kind: Kind) {
    let world = World::lived(kind).await;
    let key = [("idempotency-key", "k-1")];
    assert_eq!(world.post_with(FORCE, &json!({}), &key).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let body = json!({"parameters": {"size": 3}});
    assert_eq!(world.post_with(FORCE, &body, &key).await.status, StatusCode::CREATED);
}

async fn what_runs_and_what_waits_is_ended(kind: Kind) {
    let world = World::lived(kind).await;
    let answer = world.post("/api/v1/buildsets/2/cancel", &json!({"by": "ada"})).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"builds": 1, "requests": 1})));
    let build = world.get("/api/v1/builds/2").await.json();
    assert_eq!(build["cancel"], "ada");
    assert_eq!(world.get("/api/v1/requests/3").await.json()["outcome"], "cancelled");
    let over = world.post("/api/v1/builds/1/cancel", &json!({})).await;
    assert_eq!(over.json(), json!({"builds": 0, "requests": 0}), "what is over stays as it is");
}

async fn a_repository_is_looked_at_and_a_delivery_read_again(kind: Kind) {
    let world = World::lived(kind).await;
    world.deliver().await;
    assert_eq!(world.post("/api/v1/repositories/core/sweep", &json!({})).await.status, StatusCode::OK);
    let answer = world.post("/api/v1/deliveries/1/replay", &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["changes"], json!([7]));
    assert_eq!(world.swept(), ["core"]);
    let deliveries = world.get("/api/v1/deliveries").await.json();
    assert_eq!(deliveries["items"][0]["result"], "replayed: 2 bytes");
    assert_eq!(deliveries["items"][0]["bytes"], 2);
    assert_eq!(world.post("/api/v1/deliveries/2/replay", &json!({})).await.status, StatusCode::NOT_FOUND);
}

async fn a_delivery_that_comes_again_is_answered_as_the_first_time(kind: Kind) {
    let world = World::lived(kind).await;
    let update = |old: &str, new: &str| RefUpdate {
        reference: RefName::of_branch("side"),
        old: (!old.is_empty()).then(|| Revision(old.to_owned())),
        new: Some(Revision(new.to_owned())),
        movement: if old.is_empty() { Movement::Created } else { Movement::Moved },
        commits: Vec::new(),
        incomplete: false,
    };
    let told = |reply| match reply {
        Reply::Delivered { delivery, repeat, changes, .. } => (delivery.0, repeat, changes),
        other => panic!("{other:?}"),
    };
    let (a, b) = ("a".repeat(40), "b".repeat(40));
    let (first, repeat, changes) = told(world.deliver_as("guid-2", Some(update("", &a))).await);
    assert!(!repeat && changes.len() == 1, "{changes:?}");
    // Others come between.
    told(world.deliver_as("guid-3", Some(update(&a, &b))).await);
    let again = told(world.deliver_as("guid-2", Some(update("", &a))).await);
    assert_eq!(again, (first, true, changes));
}

on_both! {
    a_person_starts_a_scheduler,
    a_repeat_under_the_same_key_starts_nothing_new,
    a_refusal_is_decided_again,
    what_runs_and_what_waits_is_ended,
    a_repository_is_looked_at_and_a_delivery_read_again,
    a_delivery_that_comes_again_is_answered_as_the_first_time,
}
