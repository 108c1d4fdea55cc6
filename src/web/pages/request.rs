//! Why something waits: one request's story, and the queue grouped by reason.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use gristmill_model::{Condition, Reason, RequestId};
use serde::Deserialize;

use super::find::{Missing, number};
use super::overview::{WaitingView, waiting_view};
use super::shell::{Shell, Shown, answer, page};
use super::show::{self, Markup, Sign};
use crate::store::read::{NeedRow, Page, RequestDetail};
use crate::web::{App, ansi};

/// Requests of one page of the queue.
const QUEUE_LINES: i64 = 100;

#[derive(Template)]
#[template(path = "request.html")]
struct RequestPage {
    shell: Shell,
    id: i64,
    builder: String,
    node: String,
    buildset: i64,
    scheduler: String,
    branch: String,
    sign: Sign,
    lasted: Markup,
    is_open: bool,
    reasons: Vec<String>,
    story: Vec<StoryView>,
    needs: Vec<NeedView>,
    needed_by: Vec<NeedView>,
    attempts: u32,
    build: Option<i64>,
    digest: String,
}

struct StoryView {
    sign: Sign,
    at: Markup,
    words: String,
    link: Option<(String, String)>,
}

struct NeedView {
    request: i64,
    node: String,
    sign: Sign,
    on: &'static str,
}

/// Shows `/requests/{id}`.
pub(crate) async fn request(State(app): State<App>, Path(id): Path<String>) -> Response {
    answer(&app, request_page(&app, &id).await).await
}

async fn request_page(app: &App, which: &str) -> Shown {
    let id = number(which).ok_or_else(|| Missing::numbered("request", which))?;
    // What it waits for may hang on anything that ends or joins.
    let live = format!("request={id} build. worker. buildset. request.");
    let shell = Shell::read(app, "/queue", live).await?;
    let detail = app.reader.find_request_detail(RequestId(id)).await?;
    let detail = detail.ok_or_else(|| Missing::numbered("request", which))?;
    let reasons = super::shell::reasons(app, RequestId(id)).await;
    let (row, now) = (&detail.request, shell.now);
    page(&RequestPage {
        id,
        builder: row.builder.0.clone(),
        node: row.node.0.clone(),
        buildset: row.buildset.0,
        scheduler: row.scheduler.0.clone(),
        branch: ansi::one_line(&row.branch),
        sign: Sign::of_request(row),
        lasted: show::lasted(row.created_at, row.settled_at, now),
        is_open: row.outcome.is_none(),
        story: story(&detail, now),
        needs: detail.needs.iter().map(need_view).collect(),
        needed_by: detail.needed_by.iter().map(need_view).collect(),
        attempts: row.attempts,
        build: row.build.map(|build| build.0),
        digest: detail.digest.0.get(..12).unwrap_or(&detail.digest.0).to_owned(),
        reasons: if row.outcome.is_none() { reasons } else { Vec::new() },
        shell: shell.titled(format!("Request {id}")),
    })
}

fn story(detail: &RequestDetail, now: gristmill_model::Timestamp) -> Vec<StoryView> {
    let row = &detail.request;
    let mut story = vec![StoryView {
        sign: Sign::Ready,
        at: show::at(row.created_at, now),
        words: format!("scheduler {} asked for {} in", row.scheduler, row.builder),
        link: Some((format!("/buildsets/{}", row.buildset), format!("buildset {}", row.buildset))),
    }];
    if let (Some(build), Some(started)) = (row.build, row.started_at) {
        story.push(StoryView {
            sign: Sign::Running,
            at: show::at(started, now),
            words: if row.attempts > 1 { format!("attempt {} began:", row.attempts) } else { "it began:".to_owned() },
            link: Some((format!("/builds/{build}"), format!("build {build}"))),
        });
    }
    if let (Some(outcome), Some(settled)) = (row.outcome, row.settled_at) {
        let sign = Sign::from(outcome);
        let cause = row.cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        let reason = row.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", ansi::one_line(reason)));
        story.push(StoryView {
            sign,
            at: show::at(settled, now),
            words: format!("it ended: {}{cause}{reason}", sign.word()),
            link: None,
        });
    }
    story
}

fn need_view(need: &NeedRow) -> NeedView {
    NeedView {
        request: need.request.0,
        node: need.node.0.clone(),
        sign: Sign::of_state(need.state, need.outcome),
        on: if need.on == Condition::Success { "" } else { need.on.as_str() },
    }
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    shell: Shell,
    groups: Vec<(String, Vec<WaitingView>)>,
    held: Vec<HeldView>,
    next: Option<i64>,
    slots: (usize, usize),
}

struct HeldView {
    scheduler: String,
    change: i64,
    title: String,
    branch: String,
    until: Option<Markup>,
}

#[derive(Deserialize)]
pub(crate) struct QueueQuery {
    after: Option<i64>,
}

/// Shows `/queue`.
pub(crate) async fn queue(State(app): State<App>, Query(query): Query<QueueQuery>) -> Response {
    answer(&app, queue_page(&app, query.after.unwrap_or(0)).await).await
}

async fn queue_page(app: &App, after: i64) -> Shown {
    let shell = Shell::read(app, "/queue", "all").await?.titled("Queue");
    let requests = app.reader.waiting_requests(RequestId(after), Page::first(QUEUE_LINES)).await?;
    let mut groups: BTreeMap<usize, (String, Vec<WaitingView>)> = BTreeMap::new();
    for request in &requests {
        let reason = app.engine.explain(request.id).await.into_iter().next();
        let (rank, title) = heading(reason.as_ref());
        let view = waiting_view(app, request, shell.now).await;
        groups.entry(rank).or_insert_with(|| (title.to_owned(), Vec::new())).1.push(view);
    }
    let held = app.reader.held_changes().await?;
    let workers = app.reader.workers().await?;
    let here = workers.iter().filter(|worker| worker.connected);
    let slots = here.fold((0, 0), |(busy, all), worker| (busy + worker.builds.len(), all + worker.slots as usize));
    page(&QueuePage {
        next: requests.last().filter(|_| requests.len() as i64 == QUEUE_LINES).map(|request| request.id.0),
        groups: groups.into_values().collect(),
        held: held
            .iter()
            .take(50)
            .map(|held| HeldView {
                scheduler: held.scheduler.0.clone(),
                change: held.change.id.0,
                title: ansi::one_line(&held.change.title),
                branch: ansi::one_line(&held.change.branch),
                until: held.until.map(|until| show::until(until, shell.now)),
            })
            .collect(),
        slots,
        shell,
    })
}

/// Gives the group of a reason: what only a person can mend comes first.
fn heading(reason: Option<&Reason>) -> (usize, &'static str) {
    match reason {
        Some(Reason::NoWorkerCan { .. }) => (0, "No worker can ever run these"),
        Some(Reason::NoWorkers) => (1, "No worker has joined"),
        Some(Reason::WorkersAway { .. }) => (2, "All workers that can are away"),
        Some(Reason::WorkersHeld { .. }) => (2, "All workers that can are held"),
        Some(Reason::WorkersClosed { .. }) => (2, "The windows of all workers that can leave no time"),
        Some(Reason::WorkersBusy { .. }) => (3, "All workers that can are busy"),
        Some(Reason::Needs { .. }) => (4, "Waits for other builds"),
        Some(Reason::TriggerWaits { .. }) => (5, "Waits for a triggered buildset"),
        _ => (6, "About to be placed"),
    }
}
