//! What came out of a build: on its page, by the API, as files.

use axum::http::{StatusCode, header};
use gristmill_model::protocol::{ArtifactPiece, ReportBody};
use gristmill_model::{BuildId, Digest, TestCase, TestOutcome};
use serde_json::json;

use super::world::World;
use crate::artifacts::Keep as _;
use crate::store::tests::{Kind, on_both};

async fn with_results(kind: Kind) -> World {
    let mut world = World::lived(kind).await;
    let outputs = [("version".to_owned(), "<1.2>".to_owned())].into();
    world.report(2, 1, ReportBody::StepOutputs { step: 0, outputs }).await;
    let test = |name: &str, outcome, message: &str| TestCase {
        suite: "core".to_owned(),
        name: name.to_owned(),
        outcome,
        micros: 2_000_000,
        message: message.to_owned(),
    };
    let tests = vec![test("good", TestOutcome::Passed, ""), test("<b>bad</b>", TestOutcome::Failed, "1 != <i>2</i>")];
    world.report(2, 1, ReportBody::StepTests { step: 0, first: 0, tests }).await;
    let digest = Digest::of(b"<script>");
    let piece = ArtifactPiece {
        build: BuildId(2),
        epoch: 1,
        digest: digest.clone(),
        total: 8,
        offset: 0,
        bytes: b"<script>".to_vec(),
    };
    world.logs.artifacts().append(&piece).unwrap();
    let stored = ReportBody::ArtifactStored { step: 0, path: "dist/a b.html".to_owned(), bytes: 8, digest };
    world.report(2, 1, stored).await;
    // Nothing is taken of a step that is not there, or of what cannot be.
    let bad = ReportBody::ArtifactStored { step: 0, path: "../x".to_owned(), bytes: 8, digest: Digest::of(b"x") };
    world.report(2, 1, bad).await;
    let bad = ReportBody::StepOutputs { step: 0, outputs: [("a=b".to_owned(), "x".to_owned())].into() };
    world.report(2, 1, bad).await;
    world
}

async fn results_are_listed_and_those_that_failed_come_first(kind: Kind) {
    let world = with_results(kind).await;
    let results = world.get("/api/v1/builds/2/results").await.json();
    assert_eq!(results["outputs"], json!([{"step": 0, "name": "version", "value": "<1.2>"}]));
    assert_eq!(results["tests"], json!({"failed": 1, "skipped": 0, "passed": 1}));
    assert_eq!(results["artifacts"][0]["href"], "/api/v1/builds/2/artifacts/0/dist/a%20b.html");
    assert_eq!(results["artifacts"].as_array().map(Vec::len), Some(1));
    let tests = world.get("/api/v1/builds/2/tests?limit=1").await.json();
    assert_eq!((&tests["items"][0]["name"], &tests["next"]), (&json!("<b>bad</b>"), &json!(1)));
    let page = world.get("/builds/2").await.text();
    for piece in
        ["1 failed, 0 skipped, 1 passed", "core &#60;b&#62;bad", "1 != &#60;i&#62;2", "dist/a b.html", "&#60;1.2&#62;"]
    {
        assert!(page.contains(piece), "{piece} is not in {page}");
    }
    assert!(!page.contains("<b>bad") && !page.contains("<i>2"), "{page}");
}

async fn a_kept_file_is_saved_and_never_shown(kind: Kind) {
    let world = with_results(kind).await;
    let answer = world.get("/api/v1/builds/2/artifacts/0/dist/a%20b.html").await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "<script>"));
    let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header(header::CONTENT_TYPE), "application/octet-stream");
    assert_eq!(header(header::CONTENT_DISPOSITION), "attachment; filename=\"a_b.html\"");
    assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(header(header::CONTENT_LENGTH), "8");
    for path in ["0/dist/none", "0/dist/..%2F..%2Fetc", "1/dist/a%20b.html", "x/dist/a%20b.html"] {
        let answer = world.get(&format!("/api/v1/builds/2/artifacts/{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    world.logs.artifacts().delete(&Digest::of(b"<script>")).unwrap();
    let answer = world.get("/api/v1/builds/2/artifacts/0/dist/a%20b.html").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

on_both! {
    results_are_listed_and_those_that_failed_come_first,
    a_kept_file_is_saved_and_never_shown,
}
