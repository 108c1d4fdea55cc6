//! What is followed: events and logs, as they come.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use gristmill_model::protocol::ReportBody;
use gristmill_model::{Outcome, Seq};
use serde_json::Value;
use tower::ServiceExt;

use super::world::{HOST, World};
use crate::store::tests::{Kind, on_both};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Connection {
    stream: BodyDataStream,
    rest: String,
}

/// One event as it was sent.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    id: Option<i64>,
    name: String,
    data: String,
}

impl Connection {
    async fn open(world: &World, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(path).header("host", HOST).header("accept-encoding", "gzip");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("content-encoding"));
        Self { stream: response.into_body().into_data_stream(), rest: String::new() }
    }

    /// Waits for more bytes; `None` when the answer is over.
    async fn more(&mut self) -> Option<String> {
        let piece = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("it must come");
        piece.map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap())
    }

    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.rest.split_once("\n\n") {
                let field = |name: &str| {
                    frame.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
                };
                let read = Frame {
                    id: field("id:").map(|id| id.parse().unwrap()),
                    name: field("event:").unwrap_or_default(),
                    data: field("data:").unwrap_or_default(),
                };
                self.rest = rest.to_owned();
                return Some(read);
            }
            let piece = self.more().await?;
            self.rest.push_str(&piece);
        }
    }

    /// Waits for frames that carry something, until the one with the number `last`.
    async fn events_until(&mut self, last: Seq) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            let id = frame.id;
            if !frame.data.is_empty() {
                frames.push(frame);
            }
            if id.is_some_and(|id| id >= last.0) {
                return frames;
            }
        }
        panic!("the stream ended before {last}: {frames:?}")
    }
}

fn numbers(frames: &[Frame]) -> Vec<i64> {
    frames.iter().map(|frame| frame.id.unwrap()).collect()
}

async fn the_journal_is_followed_from_any_number_without_a_gap(kind: Kind) {
    let mut world = World::lived(kind).await;
    let head = world.app.reader.journal_head().await.unwrap();
    let mut connection = Connection::open(&world, "/api/v1/events/stream?since=0", None).await;
    let frames = connection.events_until(head).await;
    assert_eq!(numbers(&frames), (1..=head.0).collect::<Vec<_>>());
    let event: Value = serde_json::from_str(&frames[0].data).unwrap();
    assert_eq!((event["seq"].clone(), event["kind"].clone()), (1.into(), "catalog.activated".into()));
    assert_eq!(event["at"], "2026-11-24T11:02:11.000000Z");
    assert_eq!(event["body"]["kind"], "catalog.activated");

    // What happens while it is open comes by itself.
    world
        .report(
            2,
            1,
            ReportBody::StepFinished {
                step: 0,
                outcome: Outcome::Success,
                cause: None,
                summary: String::new(),
                warnings: 0,
            },
        )
        .await;
    let now = world.app.reader.journal_head().await.unwrap();
    let frames = connection.events_until(now).await;
    assert_eq!(numbers(&frames), ((head.0 + 1)..=now.0).collect::<Vec<_>>());
    drop(connection);

    // A lost connection goes on after the last number, whatever its address says.
    let mut again = Connection::open(&world, "/api/v1/events/stream?since=0", Some(&head.to_string())).await;
    assert_eq!(numbers(&again.events_until(now).await), ((head.0 + 1)..=now.0).collect::<Vec<_>>());

    // Without a number it begins now.
    let mut fresh = Connection::open(&world, "/api/v1/events/stream", None).await;
    assert_eq!(fresh.frame().await.unwrap(), Frame { id: Some(now.0), name: String::new(), data: String::new() });
}

async fn a_number_that_the_journal_has_not_reached_is_reset(kind: Kind) {
    let world = World::lived(kind).await;
    let head = world.app.reader.journal_head().await.unwrap();
    let mut connection = Connection::open(&world, "/api/v1/events/stream", Some("999999")).await;
    let frame = connection.frame().await.unwrap();
    assert_eq!((frame.name.as_str(), frame.id), ("reset", Some(head.0)));
    let next = connection.frame().await.unwrap();
    assert_eq!((next.id, next.data.as_str()), (Some(head.0), ""), "and then it follows");
}

async fn a_filter_lets_through_what_it_names(kind: Kind) {
    let world = World::lived(kind).await;
    let mut said = String::new();
    for filter in [
        "kind=change.seen",
        "kind=step.*,build.finished",
        "build=1&kind=build.*",
        "buildset=2",
        "build=1&buildset=2&kind=build.leased",
        "build=77",
    ] {
        let events = world.get(&format!("/api/v1/events?since=0&limit=200&{filter}")).await.json();
        let kinds: Vec<&str> =
            events["items"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
        said += &format!("{filter}: {}\n", kinds.join(" "));
    }
    expect_test::expect![[r#"
        kind=change.seen: change.seen change.seen
        kind=step.*,build.finished: step.started step.finished step.started step.finished build.finished step.started
        build=1&kind=build.*: build.leased build.started build.finished
        buildset=2: buildset.created verdict.given build.leased build.started step.started
        build=1&buildset=2&kind=build.leased: build.leased build.leased
        build=77: 
    "#]]
    .assert_eq(&said);
    let page = world.get("/api/v1/events?since=0&limit=2").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), page["next"].clone()), (2, 2.into()));
}

async fn streams_end_with_the_service(kind: Kind) {
    let world = World::lived(kind).await;
    let mut connection = Connection::open(&world, "/api/v1/events/stream", None).await;
    connection.frame().await.unwrap();
    world.app.stop.cancel();
    assert_eq!(connection.frame().await, None);
}

async fn there_is_room_for_so_many_streams_and_no_more(kind: Kind) {
    let world = World::lived(kind).await;
    let taken = world.app.streams.clone().acquire_many_owned(2_000).await.unwrap();
    let answer = world.get("/api/v1/events/stream").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(taken);
    Connection::open(&world, "/api/v1/events/stream", None).await;
}

async fn a_growing_log_is_followed_to_its_end(kind: Kind) {
    let mut world = World::lived(kind).await;
    world.print(2, 0, 0, "one\n");
    let mut connection = Connection::open(&world, "/api/v1/builds/2/log?step=0&follow=true", None).await;
    assert_eq!(connection.more().await.as_deref(), Some("one\n"));
    world.print(2, 0, 4, "two\n");
    assert_eq!(connection.more().await.as_deref(), Some("two\n"));
    world
        .report(
            2,
            1,
            ReportBody::StepFinished {
                step: 0,
                outcome: Outcome::Success,
                cause: None,
                summary: String::new(),
                warnings: 0,
            },
        )
        .await;
    assert_eq!(connection.more().await, None);
}

on_both! {
    the_journal_is_followed_from_any_number_without_a_gap,
    a_number_that_the_journal_has_not_reached_is_reset,
    a_filter_lets_through_what_it_names,
    streams_end_with_the_service,
    there_is_room_for_so_many_streams_and_no_more,
    a_growing_log_is_followed_to_its_end,
}
