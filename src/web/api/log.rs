//! Logs: raw bytes (whole, from an offset, or as they grow), lines, and what looks like an error.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use gristmill_model::protocol::LogAddress;
use gristmill_model::{BuildId, Outcome};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Asked, NoQuery, number};
use super::error::ApiError;
use super::shape::LogJson;
use crate::logs::read::BYTES_MAX;
use crate::logs::{Line, LogInfo, LogStore, ReadError};
use crate::store::read::{BuildDetail, BuildRow, StepRow};
use crate::web::App;
use crate::web::ansi::Renderer;

/// Lines that are given when nothing else is said.
const LINES_DEFAULT: u64 = 200;
/// The wait after which a followed log is looked at again even if nobody says that it has grown.
const FOLLOW_WAIT: Duration = Duration::from_secs(5);

/// Which bytes are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawQuery {
    step: Option<u32>,
    log: Option<u32>,
    offset: Option<u64>,
    follow: Option<bool>,
}

/// Which lines are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LinesQuery {
    from: Option<u64>,
    count: Option<u64>,
}

/// Says how much a step has printed; nothing more comes once it is over.
pub(crate) fn log_json(step: &StepRow, info: LogInfo) -> LogJson {
    LogJson { bytes: info.bytes, lines: info.lines, complete: step.finished_at.is_some() }
}

/// Gives how much every step of a build has printed.
pub(crate) async fn lengths(app: &App, detail: &BuildDetail) -> Result<Vec<LogInfo>, ApiError> {
    let addresses: Vec<LogAddress> = detail.steps.iter().map(|step| detail.build.log(step.number)).collect();
    off_the_runtime(app, move |logs| {
        addresses.iter().map(|address| Ok(logs.length(*address)?.unwrap_or_default())).collect()
    })
    .await
}

/// `GET /builds/{id}/log`: the bytes as printed, from `offset` to where the log ends; with `follow` until the step is
/// over.
pub(super) async fn raw(
    State(app): State<App>,
    Path(id): Path<String>,
    Asked(query): Asked<RawQuery>,
) -> Result<Response, ApiError> {
    let (build, steps) = find(&app, &id).await?;
    let step = chosen(&build, &steps, query.step)?;
    let address = LogAddress { log: query.log.unwrap_or(0), ..build.log(step.number) };
    let info = off_the_runtime(&app, move |logs| logs.length(address)).await?.unwrap_or_default();
    let complete = step.finished_at.is_some();
    let follow = query.follow.unwrap_or(false) && !complete;
    let tail =
        Tail { app, address, offset: query.offset.unwrap_or(0), end: if follow { None } else { Some(info.bytes) } };
    let mut response = Response::new(Body::from_stream(stream::unfold(tail, Tail::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // What a build printed is never shown as a page of this service, whatever it looks like.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    let cache = if complete && build.outcome.is_some() { "private, max-age=31536000, immutable" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if follow {
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    headers.insert("x-gristmill-step", HeaderValue::from(step.number));
    headers.insert("x-gristmill-log-bytes", HeaderValue::from(info.bytes));
    headers.insert("x-gristmill-log-complete", HeaderValue::from_static(if complete { "true" } else { "false" }));
    Ok(response)
}

/// A log on its way to a reader. Holds one piece at the most.
struct Tail {
    app: App,
    address: LogAddress,
    offset: u64,
    /// Where to stop; `None` to follow until the step is over.
    end: Option<u64>,
}

impl Tail {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            let wanted = self.end.map_or(BYTES_MAX, |end| end.saturating_sub(self.offset).min(BYTES_MAX));
            if wanted == 0 {
                return None;
            }
            let mut grown = self.app.logs.watch(self.address);
            let mut head = self.app.engine.head();
            grown.mark_unchanged();
            head.mark_unchanged();
            // Asked before reading: what was printed before the end is then read for certain.
            let is_over = self.end.is_some() || self.is_over().await;
            let (address, offset) = (self.address, self.offset);
            let piece = off_the_runtime(&self.app, move |logs| logs.bytes(address, offset, wanted)).await.ok()?;
            if !piece.is_empty() {
                self.offset += piece.len() as u64;
                return Some((Ok(Bytes::from(piece)), self));
            }
            if is_over {
                return None;
            }
            tokio::select! {
                // An error means that nobody will say so any more; then the clock does.
                Ok(()) = grown.changed() => {}
                Ok(()) = head.changed() => {}
                () = tokio::time::sleep(FOLLOW_WAIT) => {}
                () = self.app.stop.cancelled() => return None,
            }
        }
    }

    /// Says whether nothing more will be printed. What cannot be read counts as over.
    async fn is_over(&self) -> bool {
        let steps = self.app.reader.steps_of_build(self.address.build).await.unwrap_or_default();
        let step = steps.iter().find(|step| step.number == self.address.step);
        step.is_none_or(|step| step.finished_at.is_some())
    }
}

/// `GET /builds/{id}/steps/{step}/lines`.
pub(super) async fn lines(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
    Asked(query): Asked<LinesQuery>,
) -> Result<Json<Value>, ApiError> {
    let (address, complete) = find_step(&app, &id, &step).await?;
    let (from, count) = (query.from.unwrap_or(1).max(1), query.count.unwrap_or(LINES_DEFAULT));
    let lines = off_the_runtime(&app, move |logs| logs.lines(address, from, count)).await?;
    let next = lines.lines.last().map(|line| line.number + 1).filter(|next| !complete || *next <= lines.info.lines);
    let items = lines_json(&lines.lines);
    Ok(Json(json!({"items": items, "lines": lines.info.lines, "complete": complete, "next": next})))
}

/// `GET /builds/{id}/steps/{step}/errors`.
pub(super) async fn errors(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
    _: Asked<NoQuery>,
) -> Result<Json<Value>, ApiError> {
    let (address, complete) = find_step(&app, &id, &step).await?;
    let (marks, excerpt) =
        off_the_runtime(&app, move |logs| Ok((logs.errors(address)?, logs.excerpt(address)?))).await?;
    let items: Vec<Value> =
        marks.marks.iter().map(|mark| json!({"n": mark.line, "text": Renderer::new().plain(&mark.text)})).collect();
    let lines = lines_json(&excerpt.lines);
    Ok(Json(json!({
        "items": items, "next": null, "complete": complete && marks.complete,
        "excerpt": {"error": excerpt.error, "lines": lines},
    })))
}

fn lines_json(lines: &[Line]) -> Vec<Value> {
    // A colour goes on until it is changed, over the ends of lines.
    let mut renderer = Renderer::new();
    lines
        .iter()
        .map(|line| {
            let text = Renderer::new().plain(&line.text);
            json!({"n": line.number, "html": renderer.html(&line.text), "text": text, "cut": line.cut})
        })
        .collect()
}

async fn find(app: &App, id: &str) -> Result<(BuildRow, Vec<StepRow>), ApiError> {
    let id = BuildId(number("build", id)?);
    let build = app.reader.find_build(id).await?.ok_or_else(|| ApiError::not_found(format!("build {id}")))?;
    if let Some(at) = app.reader.logs_retired_at(id).await? {
        let problem = format!("the logs of build {id} were kept until {}, and are deleted", at.to_minute());
        return Err(ApiError::new(StatusCode::GONE, "retired", problem)
            .hint("`logs` under `gristmill: {retention: …}` in the configuration says how long logs are kept"));
    }
    let steps = app.reader.steps_of_build(id).await?;
    Ok((build, steps))
}

async fn find_step(app: &App, id: &str, step: &str) -> Result<(LogAddress, bool), ApiError> {
    let (build, steps) = find(app, id).await?;
    let wanted: Option<u32> = step.parse().ok();
    let step = chosen(&build, &steps, Some(wanted.unwrap_or(u32::MAX)))?;
    Ok((build.log(step.number), step.finished_at.is_some()))
}

/// Finds the step that is meant; when none is named, the first that ended badly, else the newest.
fn chosen<'a>(build: &BuildRow, steps: &'a [StepRow], named: Option<u32>) -> Result<&'a StepRow, ApiError> {
    let step = match named {
        Some(number) => steps.iter().find(|step| step.number == number),
        None => steps.iter().find(|step| step.outcome.is_some_and(Outcome::is_bad)).or(steps.last()),
    };
    step.ok_or_else(|| {
        let names: Vec<String> = steps.iter().map(|step| format!("{} {}", step.number, step.name)).collect();
        let so_far = if names.is_empty() { "no step has begun yet".to_owned() } else { names.join(", ") };
        ApiError::not_found(format!("such step of build {}", build.id)).hint(format!("its steps so far: {so_far}"))
    })
}

/// Reads logs on a thread that may wait for the disk.
async fn off_the_runtime<T: Send + 'static>(
    app: &App,
    read: impl FnOnce(&LogStore) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ApiError> {
    let logs = app.logs.clone();
    match tokio::task::spawn_blocking(move || read(&logs)).await {
        Ok(read) => Ok(read?),
        Err(error) => {
            tracing::error!(%error, "reading a log panicked");
            Err(ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "log", "the log cannot be read"))
        }
    }
}
