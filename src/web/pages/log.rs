//! Logs on pages: the panel of a build, plain pages of a thousand lines, and the chunks that the viewer draws from.

use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use gristmill_model::BuildId;
use gristmill_model::protocol::LogAddress;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::find::{Missing, number};
use super::shell::{Shell, Shown, Trouble, answer, blocking, page};
use super::show::{self, Markup, Sign};
use crate::logs::read::{HITS_MAX, Lines};
use crate::logs::{LogStore, ReadError};
use crate::store::read::{BuildRow, StepRow};
use crate::web::{App, ansi};

/// Lines in a build's page as the server makes it.
const PANEL_LINES: u64 = 250;
/// Lines of a plain page.
const PAGE_LINES: u64 = 1000;
/// Lines before a window whose colours are followed into it.
const LEAD_LINES: u64 = 32;
/// Lines that a chunk has at the most.
const CHUNK_LINES_MAX: u64 = 512;
/// Errors whose places the viewer is told.
const ERRORS_TOLD: usize = 100;
/// How long the viewer's question waits for something new.
const WAIT: Duration = Duration::from_secs(20);

/// A log as a build's page shows it.
pub(crate) struct LogPanel {
    pub(crate) build: i64,
    pub(crate) epoch: i64,
    pub(crate) step: u32,
    pub(crate) name: String,
    pub(crate) total: u64,
    pub(crate) bytes: u64,
    pub(crate) complete: bool,
    pub(crate) errors: Vec<u64>,
    pub(crate) lines: Vec<LineView>,
    /// The first line of the pages before and after, if there are any.
    pub(crate) earlier: Option<u64>,
    pub(crate) later: Option<u64>,
    pub(crate) last: u64,
    /// Until when the log was kept, if it was deleted.
    pub(crate) gone: Option<String>,
}

pub(crate) struct LineView {
    pub(crate) number: u64,
    pub(crate) is_error: bool,
    pub(crate) html: Markup,
    pub(crate) cut: u64,
}

impl LogPanel {
    pub(crate) fn count(&self) -> String {
        show::many(usize::try_from(self.total).unwrap_or(usize::MAX), "line")
    }

    pub(crate) fn error_list(&self) -> String {
        self.errors.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
    }

    /// Gives the line that the viewer opens at.
    pub(crate) fn open_at(&self) -> u64 {
        let (Some(first), Some(last)) = (self.lines.first(), self.lines.last()) else { return 1 };
        let end = if last.number == self.total { last.number } else { first.number };
        self.errors.first().copied().unwrap_or(end)
    }
}

/// Makes a build's log panel: from `from`, or round the first error, or the end of a log that grows, or its beginning.
pub(crate) async fn log_panel(
    app: &App,
    build: &BuildRow,
    step: &StepRow,
    from: Option<u64>,
) -> Result<LogPanel, Trouble> {
    let (logs, address) = (app.logs.clone(), build.log(step.number));
    let complete = step.outcome.is_some();
    let is_bad = step.outcome.is_some_and(gristmill_model::Outcome::is_bad);
    let (errors, window) = blocking(move || -> Result<_, ReadError> {
        let errors = if is_bad || !complete { logs.errors(address)?.marks } else { Vec::new() };
        let errors: Vec<u64> = errors.iter().take(ERRORS_TOLD).map(|mark| mark.line).collect();
        let total = logs.length(address)?.unwrap_or_default().lines;
        let end = total.saturating_sub(PANEL_LINES) + 1;
        let start = match (from, errors.first()) {
            _ if total <= PANEL_LINES => 1,
            (Some(from), _) => from.clamp(1, total),
            (None, Some(error)) if complete => error.saturating_sub(PANEL_LINES / 4).clamp(1, end),
            (None, _) if complete && !is_bad => 1,
            (None, _) => end,
        };
        Ok((errors, window(&logs, address, start, PANEL_LINES)?))
    })
    .await??;
    let (lines, read) = window;
    let gone = app.reader.logs_retired_at(build.id).await?.map(gristmill_model::Timestamp::to_minute);
    Ok(LogPanel { gone, ..panel((build, step), complete, errors, lines, &read, PANEL_LINES) })
}

fn panel(
    (build, step): (&BuildRow, &StepRow),
    complete: bool,
    errors: Vec<u64>,
    mut lines: Vec<LineView>,
    read: &Lines,
    page_lines: u64,
) -> LogPanel {
    lines.iter_mut().for_each(|line| line.is_error = errors.contains(&line.number));
    let first = lines.first().map_or(1, |line| line.number);
    let after = lines.last().map_or(1, |line| line.number + 1);
    LogPanel {
        build: build.id.0,
        epoch: build.epoch,
        step: step.number,
        name: step.name.clone(),
        total: read.info.lines,
        bytes: read.info.bytes,
        complete,
        errors,
        earlier: (first > 1).then(|| first.saturating_sub(page_lines).max(1)),
        later: (after <= read.info.lines).then_some(after),
        last: read.info.lines.saturating_sub(page_lines) + 1,
        gone: None,
        lines,
    }
}

/// Reads and renders lines, with the colours that began shortly before them.
fn window(logs: &LogStore, address: LogAddress, from: u64, count: u64) -> Result<(Vec<LineView>, Lines), ReadError> {
    let lead = LEAD_LINES.min(from.saturating_sub(1));
    let read = logs.lines(address, from - lead, count + lead)?;
    let mut renderer = ansi::Renderer::new();
    let mut views = Vec::new();
    for line in &read.lines {
        let html = show::log_line(&mut renderer, &line.text);
        if line.number >= from {
            views.push(LineView { number: line.number, is_error: false, html, cut: line.cut });
        }
    }
    Ok((views, read))
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    shell: Shell,
    builder: String,
    sign: Sign,
    log: LogPanel,
    query: String,
    hits: Vec<HitView>,
    hits_next: Option<u64>,
    refresh: bool,
}

struct HitView {
    line: u64,
    text: String,
    page: u64,
}

#[derive(Deserialize)]
pub(crate) struct PagesQuery {
    from: Option<String>,
    q: Option<String>,
    after: Option<String>,
}

/// Shows `/builds/{id}/steps/{step}/log`: the log as ordinary pages.
pub(crate) async fn plain_pages(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
    Query(query): Query<PagesQuery>,
) -> Response {
    answer(&app, plain_page(&app, &id, &step, query).await).await
}

async fn plain_page(app: &App, id: &str, step: &str, query: PagesQuery) -> Shown {
    let shell = Shell::read(app, "/builds", "").await?;
    let (build, step) = find_step(app, id, step).await?;
    let (logs, address) = (app.logs.clone(), build.log(step.number));
    let complete = step.outcome.is_some();
    let from = query.from.as_deref().and_then(|from| from.parse::<u64>().ok());
    let needle = query.q.unwrap_or_default();
    let after = query.after.as_deref().and_then(|from| from.parse::<u64>().ok()).unwrap_or(1);
    let searched = needle.clone();
    let (errors, (lines, read), found) = blocking(move || -> Result<_, ReadError> {
        let errors: Vec<u64> = logs.errors(address)?.marks.iter().take(ERRORS_TOLD).map(|mark| mark.line).collect();
        let total = logs.length(address)?.unwrap_or_default().lines;
        let start = from.unwrap_or(if complete { 1 } else { total.saturating_sub(PAGE_LINES) + 1 });
        let found = match searched.is_empty() {
            true => crate::logs::SearchResult::default(),
            false => logs.search(address, &searched, after, 100)?,
        };
        Ok((errors, window(&logs, address, start.clamp(1, total.max(1)), PAGE_LINES - LEAD_LINES)?, found))
    })
    .await??;
    let hits = found.hits.iter().map(|hit| HitView {
        line: hit.line,
        text: ansi::Renderer::new().plain(&hit.text),
        page: hit.line.saturating_sub(20).max(1),
    });
    page(&LogPage {
        builder: build.builder.0.clone(),
        sign: Sign::of_step(&step),
        hits: hits.collect(),
        hits_next: found.next,
        query: ansi::one_line(&needle),
        refresh: !complete,
        log: panel((&build, &step), complete, errors, lines, &read, PAGE_LINES - LEAD_LINES),
        shell: shell.titled(format!("Log of {} in build {}", step.name, build.id)),
    })
}

async fn find_step(app: &App, id: &str, step: &str) -> Result<(BuildRow, StepRow), Trouble> {
    let build = number(id).ok_or_else(|| Missing::numbered("build", id))?;
    let row = app.reader.find_build(BuildId(build)).await?.ok_or_else(|| Missing::numbered("build", id))?;
    let steps = app.reader.steps_of_build(BuildId(build)).await?;
    let wanted = steps.into_iter().find(|found| step.parse() == Ok(found.number));
    let wanted = wanted.ok_or_else(|| Missing::step(build, step))?;
    Ok((row, wanted))
}

/// Lines as the viewer draws them: per line, text and look in turn.
#[derive(Serialize)]
struct Chunk {
    from: u64,
    total: u64,
    bytes: u64,
    complete: bool,
    lines: Vec<Vec<String>>,
}

#[derive(Deserialize)]
pub(crate) struct LinesQuery {
    from: Option<u64>,
    count: Option<u64>,
    /// Waits until the log is longer than this, or the step is over.
    after: Option<u64>,
}

/// Gives `/builds/{id}/steps/{step}/lines`: a chunk, or with `after` how long the log is once it has grown.
pub(crate) async fn lines(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
    Query(query): Query<LinesQuery>,
) -> Response {
    let answer = match query.after {
        Some(after) => growth(&app, &id, &step, after).await,
        None => chunk(&app, &id, &step, query.from.unwrap_or(1).max(1), query.count.unwrap_or(256)).await,
    };
    json_or_status(answer)
}

fn json_or_status(answer: Shown) -> Response {
    match answer {
        Ok(response) => response,
        Err(Trouble::Missing(missing)) => {
            (StatusCode::NOT_FOUND, Json(json!({"error": {"code": "not-found", "message": missing.message}})))
                .into_response()
        }
        Err(trouble) => {
            tracing::error!(?trouble, "a log could not be read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn chunk(app: &App, id: &str, step: &str, from: u64, count: u64) -> Shown {
    let (build, step) = find_step(app, id, step).await?;
    let (logs, address) = (app.logs.clone(), build.log(step.number));
    let complete = step.outcome.is_some();
    let count = count.min(CHUNK_LINES_MAX);
    let chunk = blocking(move || -> Result<_, ReadError> {
        let lead = LEAD_LINES.min(from - 1);
        let read = logs.lines(address, from - lead, count + lead)?;
        let mut renderer = ansi::Renderer::new();
        let mut lines = Vec::new();
        for line in &read.lines {
            let runs = renderer.runs(&line.text);
            if line.number >= from {
                lines.push(looks(runs, line.cut));
            }
        }
        Ok(Chunk { from, total: read.info.lines, bytes: read.info.bytes, complete, lines })
    })
    .await??;
    // A whole chunk of a log that is over never changes.
    let is_final = complete && chunk.lines.len() as u64 == count;
    let cache = if is_final { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    Ok(([(header::CACHE_CONTROL, cache)], Json(chunk)).into_response())
}

fn looks(runs: Vec<ansi::Run>, cut: u64) -> Vec<String> {
    let mut line = Vec::with_capacity(runs.len() * 2);
    for run in runs {
        line.push(run.text);
        line.push(match run.href {
            Some(href) => format!("@{href} {}", run.class),
            None => run.class,
        });
    }
    if cut > 0 {
        line.push(format!(" … {} more bytes", show::thousands(cut)));
        line.push("cutline".to_owned());
    }
    line
}

async fn growth(app: &App, id: &str, step: &str, after: u64) -> Shown {
    let (build, found) = find_step(app, id, step).await?;
    let address = build.log(found.number);
    let logs = app.logs.clone();
    let mut length = blocking(move || logs.watch(address)).await?;
    let mut head = app.engine.head();
    let mut complete = found.outcome.is_some();
    let deadline = tokio::time::Instant::now() + WAIT;
    // The log tells of bytes, the journal of the step's end.
    while *length.borrow_and_update() <= after && !complete {
        head.borrow_and_update();
        let step_now = find_step(app, id, step).await?.1;
        complete = step_now.outcome.is_some();
        if complete {
            break;
        }
        let woken = tokio::select! {
            grown = length.changed() => grown.is_ok(),
            moved = head.changed() => moved.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = app.stop.cancelled() => false,
        };
        if !woken {
            break;
        }
    }
    let logs = app.logs.clone();
    let (info, errors) = blocking(move || -> Result<_, ReadError> {
        let errors: Vec<u64> = logs.errors(address)?.marks.iter().take(ERRORS_TOLD).map(|mark| mark.line).collect();
        Ok((logs.length(address)?.unwrap_or_default(), errors))
    })
    .await??;
    let grown = json!({"total": info.lines, "bytes": info.bytes, "complete": complete, "errors": errors});
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(grown)).into_response())
}

#[derive(Deserialize)]
pub(crate) struct SearchQuery {
    q: Option<String>,
    from: Option<u64>,
}

/// Gives `/builds/{id}/steps/{step}/lines/search`: the lines that have a text, and where to go on.
pub(crate) async fn search(
    State(app): State<App>,
    Path((id, step)): Path<(String, String)>,
    Query(query): Query<SearchQuery>,
) -> Response {
    json_or_status(found(&app, &id, &step, query).await)
}

async fn found(app: &App, id: &str, step: &str, query: SearchQuery) -> Shown {
    let (build, step) = find_step(app, id, step).await?;
    let (logs, address) = (app.logs.clone(), build.log(step.number));
    let needle = query.q.filter(|needle| !needle.is_empty());
    let Some(needle) = needle else { return Ok(Json(json!({"hits": [], "next": null})).into_response()) };
    let result = blocking(move || logs.search(address, &needle, query.from.unwrap_or(1), HITS_MAX)).await??;
    let hits: Vec<u64> = result.hits.iter().map(|hit| hit.line).collect();
    Ok(Json(json!({"hits": hits, "next": result.next})).into_response())
}
