//! Care for workers: one of them, and what is done to it.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use gristmill_model::{Care, Hold, HoldKind, Timestamp, WorkerName};
use gristmill_schedulers::Input;
use serde::Deserialize;
use serde_json::{Value, json};

use super::act::{ByBody, submit};
use super::ask::{Asked, Body, NoQuery, person};
use super::error::{ApiError, cut};
use crate::store::read::WorkerRow;
use crate::web::App;

/// Bytes of the reason that somebody gives.
const REASON_BYTES_MAX: usize = 1_000;
/// The longest that may be said in seconds: a year.
const SECONDS_MAX: u64 = 366 * 86_400;

/// What keeps new builds from a worker.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HoldBody {
    by: Option<String>,
    reason: Option<String>,
    until: Option<String>,
    seconds: Option<u64>,
}

/// `GET /workers/{name}`.
pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    _: Asked<NoQuery>,
) -> Result<Json<WorkerRow>, ApiError> {
    find(&app, &WorkerName(name)).await.map(Json)
}

async fn find(app: &App, name: &WorkerName) -> Result<WorkerRow, ApiError> {
    let found = app.reader.workers().await?.into_iter().find(|worker| worker.name == *name);
    let mut worker = found.ok_or_else(|| {
        ApiError::not_found(format!("worker `{}`", cut(name.as_str()))).hint("GET /workers lists those that are known")
    })?;
    let catalog = app.engine.catalog();
    let care = Care::of(&catalog.care, name);
    worker.owner = worker.owner.or_else(|| care.and_then(|care| care.owner.clone()));
    Ok(worker)
}

/// `POST /workers/{name}/pause`.
pub(super) async fn pause(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body<HoldBody>,
) -> Result<Json<Value>, ApiError> {
    hold(&app, name, &headers, body, HoldKind::Pause).await
}

/// `POST /workers/{name}/drain`.
pub(super) async fn drain(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body<HoldBody>,
) -> Result<Json<Value>, ApiError> {
    hold(&app, name, &headers, body, HoldKind::Drain).await
}

async fn hold(
    app: &App,
    name: String,
    headers: &HeaderMap,
    body: Body<HoldBody>,
    kind: HoldKind,
) -> Result<Json<Value>, ApiError> {
    let path = format!("/workers/{name}/{}", kind.as_str());
    let HoldBody { by, reason, until, seconds } = body.value;
    let until = moment(app.clock.now(), until.as_deref(), seconds)?;
    let reason = reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(ApiError::invalid("reason", format!("it has more than {REASON_BYTES_MAX} bytes")));
    }
    let hold = Hold { by: person(by)?, reason, at: Timestamp::default(), until };
    let input = Input::Hold { worker: WorkerName(name.clone()), kind, hold };
    act(app, name, headers, &path, &body.bytes, input).await
}

/// Gives the moment that is meant, if one is.
fn moment(now: Timestamp, until: Option<&str>, seconds: Option<u64>) -> Result<Option<Timestamp>, ApiError> {
    match (until, seconds) {
        (None, None) => Ok(None),
        (None, Some(seconds @ 1..=SECONDS_MAX)) => Ok(Some(now.after(Duration::from_secs(seconds)))),
        (None, Some(_)) => Err(ApiError::invalid("seconds", format!("a number from 1 to {SECONDS_MAX}"))),
        (Some(text), None) => {
            let at = chrono::DateTime::parse_from_rfc3339(text);
            let at = at.map_err(|_| ApiError::invalid("until", "a moment such as 2026-11-24T18:00:00Z"))?;
            Ok(Some(Timestamp(at.timestamp_micros())))
        }
        (Some(_), Some(_)) => Err(ApiError::invalid("until", "say either `until` or `seconds`")),
    }
}

/// `POST /workers/{name}/resume`.
pub(super) async fn resume(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body<ByBody>,
) -> Result<Json<Value>, ApiError> {
    let path = format!("/workers/{name}/resume");
    let input = Input::Free { worker: WorkerName(name.clone()), kind: None, by: person(body.value.by)? };
    act(&app, name, &headers, &path, &body.bytes, input).await
}

/// `POST /workers/{name}/forget`.
pub(super) async fn forget(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body<ByBody>,
) -> Result<Json<Value>, ApiError> {
    let path = format!("/workers/{name}/forget");
    let input = Input::Forget { worker: WorkerName(name.clone()), by: person(body.value.by)? };
    act(&app, name, &headers, &path, &body.bytes, input).await
}

async fn act(
    app: &App,
    name: String,
    headers: &HeaderMap,
    path: &str,
    bytes: &[u8],
    input: Input,
) -> Result<Json<Value>, ApiError> {
    submit(app, headers, path, bytes, input).await?;
    let worker = find(app, &WorkerName(name.clone())).await.ok();
    Ok(Json(json!({"worker": name, "now": worker})))
}
