//! The JSON API under `/api/v1`: the same data as the pages, in types of its own.
//!
//! Lists are `{"items": […], "next": …}`, newest first, with `?limit=` (default 50, at most 200) and `?before=` the
//! number that `next` gave. Times are RFC 3339. Errors are `{"error": {"code", "message", "hint"}}` under the right
//! status. Unknown query and body fields are refused. `GET /api/v1` lists the paths.
//!
//! Handlers are thin: they read what was asked, ask the [`crate::store::read`] views or the engine, and write.

pub mod act;
pub mod ask;
pub mod error;
pub mod health;
pub mod log;
pub mod read;
pub(crate) mod result;
pub(crate) mod shape;
pub mod token;
pub mod why;
pub mod workers;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use self::error::{ApiError, cut};
use super::{App, stream};

/// Everything that can be asked, for `GET /api/v1`.
const PATHS: [(&str, &str, &str); 42] = [
    ("GET", "/status", "what is broken, what runs, what waits, how sources and workers fare"),
    ("GET", "/changes", "?repository=&branch=&before=&limit="),
    ("GET", "/changes/{id or revision}", "a change, its commits, every scheduler's verdict, its buildsets"),
    ("GET", "/buildsets", "?scheduler=&project=&branch=&before=&limit="),
    ("GET", "/buildsets/{id}", "a buildset, its requests with what they wait for, its edges, its changes"),
    ("GET", "/builds", "?builder=&branch=&outcome=&state=&before=&limit="),
    ("GET", "/builds/{id}", "a build, its steps, its stamps"),
    (
        "GET",
        "/builds/{id}/log",
        "?step=&log=&offset=&follow= the bytes that a step printed, or that a file it follows got",
    ),
    (
        "GET",
        "/builds/{id}/results",
        "the values, tests and files that came out of it, and the files that its steps follow",
    ),
    ("GET", "/builds/{id}/tests", "?after=&limit= what its tests came to, those that failed first"),
    ("GET", "/builds/{id}/artifacts/{step}/{path}", "the bytes of a file that is kept of it"),
    ("GET", "/builds/{id}/suspects", "the changes since the last good build of its builder on its branch"),
    ("GET", "/builds/{id}/steps/{step}/lines", "?from=&count= lines of a log"),
    ("GET", "/builds/{id}/steps/{step}/errors", "lines of a log that look like errors, and an excerpt"),
    ("GET", "/requests", "?after=&limit= requests that wait, oldest first"),
    ("GET", "/requests/{id}", "a request, what it needs, what it waits for"),
    ("GET", "/incidents", "?state=open|closed&before=&limit="),
    ("GET", "/incidents/{id}", "what one culprit range broke"),
    ("GET", "/schedulers", "rules, what they hold, their last verdicts, their next moments"),
    ("GET", "/schedulers/{name}", "one of them"),
    ("GET", "/workers", "workers and what they have"),
    ("GET", "/tokens", "the tokens by which workers join, without their secrets"),
    ("GET", "/workers/{name}", "one of them: its labels, builds, holds, token and owner"),
    (
        "POST",
        "/workers/{name}/pause",
        "{by, reason, until or seconds} no new builds; without a moment until somebody resumes it",
    ),
    (
        "POST",
        "/workers/{name}/drain",
        "{by, reason, until or seconds} no new builds; at that moment running ones are handed over",
    ),
    ("POST", "/workers/{name}/resume", "{by} ends whatever keeps builds from it, a quarantine too"),
    ("POST", "/workers/{name}/forget", "{by} one that is away and has no builds"),
    ("GET", "/repositories", "repositories and how they fare"),
    ("GET", "/repositories/{name}", "a repository and its tips"),
    ("GET", "/deliveries", "?before=&limit= webhook requests as received"),
    ("GET", "/messages", "?incident=&before=&limit= who was told what, and why"),
    ("GET", "/why", "?about=build:N|request:N|change:N|buildset:N|not:BUILDER@CHANGE"),
    ("GET", "/events", "?since=&limit= the journal"),
    ("GET", "/events/stream", "?since=&kind=&build=&buildset= the journal as it grows (server-sent events)"),
    ("POST", "/schedulers/{name}/force", "{parameters, reason, by}"),
    ("POST", "/builds/{id}/cancel", "{by}"),
    ("POST", "/requests/{id}/cancel", "{by}"),
    ("POST", "/buildsets/{id}/cancel", "{by}"),
    (
        "POST",
        "/tokens",
        "{worker} or {pool, max}, and {owner, expires_in_seconds, by}; the answer alone has the secret",
    ),
    ("POST", "/tokens/{id}/revoke", "{by}"),
    ("POST", "/repositories/{name}/sweep", "looks at a repository now"),
    ("POST", "/deliveries/{id}/replay", "reads a webhook request once more, as if it had just come"),
];

/// Says whether a path is the API's, so that its errors are JSON.
pub fn is_api_path(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/") || path == "/healthz"
}

/// Gives the API's routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(paths))
        .route("/status", get(read::status))
        .route("/changes", get(read::changes))
        .route("/changes/{change}", get(read::change))
        .route("/buildsets", get(read::buildsets))
        .route("/buildsets/{id}", get(read::buildset))
        .route("/buildsets/{id}/cancel", post(act::cancel_buildset))
        .route("/builds", get(read::builds))
        .route("/builds/{id}", get(read::build))
        .route("/builds/{id}/cancel", post(act::cancel_build))
        .route("/builds/{id}/log", get(log::raw))
        .route("/builds/{id}/results", get(result::results))
        .route("/builds/{id}/tests", get(result::tests))
        .route("/builds/{id}/artifacts/{step}/{*path}", get(result::artifact))
        .route("/builds/{id}/suspects", get(read::suspects))
        .route("/builds/{id}/steps/{step}/lines", get(log::lines))
        .route("/builds/{id}/steps/{step}/errors", get(log::errors))
        .route("/requests", get(read::requests))
        .route("/requests/{id}", get(read::request))
        .route("/requests/{id}/cancel", post(act::cancel_request))
        .route("/incidents", get(read::incidents))
        .route("/incidents/{id}", get(read::incident))
        .route("/schedulers", get(read::schedulers))
        .route("/schedulers/{name}", get(read::scheduler))
        .route("/schedulers/{name}/force", post(act::force))
        .route("/workers", get(read::workers))
        .route("/tokens", get(token::list).post(token::make))
        .route("/tokens/{id}/revoke", post(token::revoke))
        .route("/workers/{name}", get(workers::one))
        .route("/workers/{name}/pause", post(workers::pause))
        .route("/workers/{name}/drain", post(workers::drain))
        .route("/workers/{name}/resume", post(workers::resume))
        .route("/workers/{name}/forget", post(workers::forget))
        .route("/repositories", get(read::repositories))
        .route("/repositories/{name}", get(read::repository))
        .route("/repositories/{name}/sweep", post(act::sweep))
        .route("/deliveries", get(read::deliveries))
        .route("/deliveries/{id}/replay", post(act::replay))
        .route("/messages", get(read::messages))
        .route("/why", get(why::answer))
        .route("/events", get(stream::list))
        .route("/events/stream", get(stream::follow))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
}

async fn paths() -> Json<Value> {
    let paths: Vec<Value> = PATHS
        .iter()
        .map(|(method, path, about)| json!({"method": method, "path": format!("/api/v1{path}"), "about": about}))
        .collect();
    Json(json!({"name": "Gristmill", "api": "v1", "paths": paths}))
}

async fn no_such_path(request: Request) -> ApiError {
    // Inside a nested router the path has lost its prefix.
    ApiError::no_such_path(&format!("/api/v1{}", request.uri().path()))
}

async fn no_such_method(method: Method) -> ApiError {
    let message = format!("this path does not know the method `{}`", cut(method.as_str()));
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
        .hint("what is read is asked with GET, what changes something with POST; GET /api/v1 lists all paths")
}
