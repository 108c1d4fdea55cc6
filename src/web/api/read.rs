//! What can be read: one handler a path.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use gristmill_model::{
    BuildId, BuildState, BuilderName, BuildsetId, ChangeId, IncidentId, Outcome, ProjectName, Reason, RepositoryName,
    RequestId, RequestState, SchedulerName,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Asked, NoQuery, PageQuery, number, word};
use super::error::{ApiError, cut};
use super::shape::{
    List, LogJson, RequestJson, build_json, buildset_json, change_json, request_json, scheduler_json, scheduler_names,
    url_without_login,
};
use crate::store::read::{
    BuildFilter, BuildRow, BuildsetFilter, BuildsetRow, ChangeFilter, ChangeRow, DeliveryRow, IncidentRow,
    MessageFilter, MessageRow, Page, RepositoryRow, RequestRow, ShaLookup, WorkerRow,
};
use crate::web::App;
use crate::web::api::shape::{BuildJson, BuildsetJson, ChangeJson};

/// Builds, and requests, that the status names; all are counted.
const STATUS_ROWS: i64 = 50;
/// Requests of one answer that the engine is asked about.
const EXPLAINED_MAX: usize = 200;
/// Verdicts that a list of schedulers shows of each.
const VERDICTS_IN_LIST: i64 = 5;
/// Verdicts that one scheduler's own answer shows.
const VERDICTS_OF_ONE: i64 = 50;

type Answer<T> = Result<Json<T>, ApiError>;

/// `GET /status`.
pub(super) async fn status(State(app): State<App>, _: Asked<NoQuery>) -> Answer<Value> {
    let head = app.reader.journal_head().await?;
    let totals = app.reader.totals().await?;
    let incidents = app.reader.open_incidents(Page::first(STATUS_ROWS)).await?;
    let running = app.reader.running_builds(Page::first(STATUS_ROWS)).await?;
    let waiting = app.reader.waiting_requests(RequestId(0), Page::first(STATUS_ROWS)).await?;
    let waiting = explained(&app, waiting).await;
    let sources: Vec<Value> = app
        .reader
        .repositories()
        .await?
        .into_iter()
        .map(|row| {
            json!({
                "repository": row.name, "seen": row.seen, "failures": row.failures,
                "error": row.error, "at": row.at.to_rfc3339(),
            })
        })
        .collect();
    let workers = app.reader.workers().await?;
    let since = app.reader.catalog_since().await?;
    let catalog_problem = app.reader.catalog_problem().await?;
    let notifiers = app.reader.silent_notifiers().await?;
    let findings = app.reader.findings().await?;
    Ok(Json(json!({
        "version": app.info.version,
        "demo": app.info.demo,
        "url": app.info.base_url,
        "now": app.clock.now().to_rfc3339(),
        "catalog": app.engine.catalog().hash,
        "catalog_file": app.info.catalog_file,
        "catalog_since": since.map(|at| at.to_rfc3339()),
        "catalog_problem": catalog_problem,
        "silent_notifiers": notifiers,
        "findings": findings,
        "head": head,
        "counts": totals,
        "incidents": incidents,
        "running": running,
        "waiting": waiting,
        "sources": sources,
        "workers": workers,
    })))
}

/// Which changes are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChangesQuery {
    repository: Option<RepositoryName>,
    branch: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

/// `GET /changes`.
pub(super) async fn changes(State(app): State<App>, Asked(query): Asked<ChangesQuery>) -> Answer<List<ChangeRow>> {
    let page = Page::of(query.before, query.limit);
    let filter = ChangeFilter { repository: query.repository, branch: query.branch };
    let rows = app.reader.list_changes(&filter, page.and_one_more()).await?;
    Ok(Json(List::page(rows, page, |row| row.id.0)))
}

/// `GET /changes/{id or revision}`.
pub(super) async fn change(State(app): State<App>, Path(which): Path<String>, _: Asked<NoQuery>) -> Answer<ChangeJson> {
    let id = find_change(&app, &which).await?;
    let detail = app.reader.find_change_detail(id).await?;
    Ok(Json(change_json(detail.ok_or_else(|| ApiError::not_found(format!("change {id}")))?)))
}

/// Finds the change that is meant by a number, or by the beginning of a revision: digits alone are a number if there
/// is such a change, `@` forces a revision.
pub(super) async fn find_change(app: &App, which: &str) -> Result<ChangeId, ApiError> {
    let forced = which.strip_prefix('@');
    if forced.is_none()
        && let Ok(id) = which.parse().map(ChangeId)
        && app.reader.find_change(id).await?.is_some()
    {
        return Ok(id);
    }
    match app.reader.find_change_by_sha(forced.unwrap_or(which)).await? {
        ShaLookup::One(id) => Ok(id),
        ShaLookup::Unknown => Err(ApiError::not_found(format!("change `{}`", cut(which)))
            .hint("name a change by its number, or by at least 6 digits of the revision that it brought")),
        ShaLookup::Ambiguous(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            Err(ApiError::new(
                axum::http::StatusCode::CONFLICT,
                "ambiguous",
                format!("several revisions begin with `{}`: changes {}", cut(which), ids.join(", ")),
            )
            .hint("give more digits, or the change's number"))
        }
    }
}

/// Which buildsets are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BuildsetsQuery {
    scheduler: Option<SchedulerName>,
    project: Option<ProjectName>,
    branch: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

/// `GET /buildsets`.
pub(super) async fn buildsets(
    State(app): State<App>,
    Asked(query): Asked<BuildsetsQuery>,
) -> Answer<List<BuildsetRow>> {
    let page = Page::of(query.before, query.limit);
    let filter = BuildsetFilter { scheduler: query.scheduler, project: query.project, branch: query.branch };
    let rows = app.reader.list_buildsets(&filter, page.and_one_more()).await?;
    Ok(Json(List::page(rows, page, |row| row.id.0)))
}

/// `GET /buildsets/{id}`.
pub(super) async fn buildset(
    State(app): State<App>,
    Path(id): Path<String>,
    _: Asked<NoQuery>,
) -> Answer<BuildsetJson> {
    let id = BuildsetId(number("buildset", &id)?);
    let detail = app.reader.find_buildset_detail(id).await?;
    let detail = detail.ok_or_else(|| ApiError::not_found(format!("buildset {id}")))?;
    let reasons = explain_open(&app, &detail.requests).await;
    Ok(Json(buildset_json(detail, reasons)))
}

/// Which builds are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BuildsQuery {
    builder: Option<BuilderName>,
    branch: Option<String>,
    outcome: Option<String>,
    state: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

/// `GET /builds`.
pub(super) async fn builds(State(app): State<App>, Asked(query): Asked<BuildsQuery>) -> Answer<List<BuildRow>> {
    let page = Page::of(query.before, query.limit);
    let filter = BuildFilter {
        builder: query.builder,
        branch: query.branch,
        outcome: word("outcome", query.outcome.as_deref(), Outcome::parse)?,
        state: word("state", query.state.as_deref(), BuildState::parse)?,
    };
    let rows = app.reader.list_builds(&filter, page.and_one_more()).await?;
    Ok(Json(List::page(rows, page, |row| row.id.0)))
}

/// `GET /builds/{id}`.
pub(super) async fn build(State(app): State<App>, Path(id): Path<String>, _: Asked<NoQuery>) -> Answer<BuildJson> {
    let id = BuildId(number("build", &id)?);
    let detail = app.reader.find_build_detail(id).await?;
    let detail = detail.ok_or_else(|| ApiError::not_found(format!("build {id}")))?;
    let logs = super::log::lengths(&app, &detail).await?;
    let logs: Vec<LogJson> =
        detail.steps.iter().zip(logs).map(|(step, info)| super::log::log_json(step, info)).collect();
    Ok(Json(build_json(detail, logs)))
}

/// `GET /builds/{id}/suspects`.
pub(super) async fn suspects(State(app): State<App>, Path(id): Path<String>, _: Asked<NoQuery>) -> Answer<Value> {
    let id = BuildId(number("build", &id)?);
    let range = app.reader.culprit_range(id).await?;
    let range = range.ok_or_else(|| ApiError::not_found(format!("build {id}")))?;
    Ok(Json(json!({"items": range.suspects, "next": null, "last_good": range.last_good})))
}

/// Which waiting requests are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RequestsQuery {
    after: Option<i64>,
    limit: Option<i64>,
}

/// `GET /requests`: those that wait, oldest first; `next` is the `after` of the next page.
pub(super) async fn requests(State(app): State<App>, Asked(query): Asked<RequestsQuery>) -> Answer<List<RequestJson>> {
    let page = Page::of(None, query.limit);
    let after = RequestId(query.after.unwrap_or(0));
    let rows = app.reader.waiting_requests(after, page.and_one_more()).await?;
    Ok(Json(List::page(explained(&app, rows).await, page, |row| row.request.id.0)))
}

/// `GET /requests/{id}`.
pub(super) async fn request(State(app): State<App>, Path(id): Path<String>, _: Asked<NoQuery>) -> Answer<Value> {
    let id = RequestId(number("request", &id)?);
    let detail = app.reader.find_request_detail(id).await?;
    let detail = detail.ok_or_else(|| ApiError::not_found(format!("request {id}")))?;
    let reasons = explain_open(&app, std::slice::from_ref(&detail.request)).await.remove(&id).unwrap_or_default();
    let reasons: Vec<Value> = reasons.iter().map(crate::store::read::change::reason_json).collect();
    let mut value = json!(detail);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("reasons".to_owned(), reasons.into());
    }
    Ok(Json(value))
}

/// Which incidents are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IncidentsQuery {
    state: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

/// `GET /incidents`.
pub(super) async fn incidents(
    State(app): State<App>,
    Asked(query): Asked<IncidentsQuery>,
) -> Answer<List<IncidentRow>> {
    let page = Page::of(query.before, query.limit);
    let rows = match query.state.as_deref() {
        None => app.reader.list_incidents(page.and_one_more()).await?,
        Some("open") => app.reader.open_incidents(page.and_one_more()).await?,
        Some("closed") => app.reader.closed_incidents(page.and_one_more()).await?,
        Some(other) => return Err(ApiError::invalid("state", format!("`{}` is neither open nor closed", cut(other)))),
    };
    Ok(Json(List::page(rows, page, |row| row.id.0)))
}

/// `GET /incidents/{id}`.
pub(super) async fn incident(State(app): State<App>, Path(id): Path<String>, _: Asked<NoQuery>) -> Answer<IncidentRow> {
    let id = IncidentId(number("incident", &id)?);
    let row = app.reader.find_incident(id).await?;
    Ok(Json(row.ok_or_else(|| ApiError::not_found(format!("incident {id}")))?))
}

/// `GET /schedulers`.
pub(super) async fn schedulers(State(app): State<App>, _: Asked<NoQuery>) -> Answer<List<Value>> {
    let catalog = app.engine.catalog();
    let names = scheduler_names(&catalog);
    let states = app.reader.scheduler_states(&names, VERDICTS_IN_LIST).await?;
    let items = catalog
        .schedulers
        .iter()
        .zip(states)
        .map(|((name, scheduler), state)| scheduler_json(name, scheduler, state))
        .collect();
    Ok(Json(List::whole(items)))
}

/// `GET /schedulers/{name}`.
pub(super) async fn scheduler(State(app): State<App>, Path(name): Path<String>, _: Asked<NoQuery>) -> Answer<Value> {
    let catalog = app.engine.catalog();
    let name = SchedulerName(name);
    let unknown =
        || ApiError::not_found(format!("scheduler `{}`", cut(name.as_str()))).hint("GET /schedulers lists them");
    let scheduler = catalog.schedulers.get(&name).ok_or_else(unknown)?;
    let states = app.reader.scheduler_states(std::slice::from_ref(&name), VERDICTS_OF_ONE).await?;
    let state = states.into_iter().next().ok_or_else(unknown)?;
    Ok(Json(scheduler_json(&name, scheduler, state)))
}

/// `GET /workers`.
pub(super) async fn workers(State(app): State<App>, _: Asked<NoQuery>) -> Answer<List<WorkerRow>> {
    Ok(Json(List::whole(app.reader.workers().await?)))
}

/// `GET /repositories`.
pub(super) async fn repositories(State(app): State<App>, _: Asked<NoQuery>) -> Answer<List<Value>> {
    let catalog = app.engine.catalog();
    let rows = app.reader.repositories().await?;
    let by_name: BTreeMap<&RepositoryName, &RepositoryRow> = rows.iter().map(|row| (&row.name, row)).collect();
    let items = catalog
        .repositories
        .iter()
        .map(|(name, config)| repository_json(name, config, by_name.get(name).copied()))
        .collect();
    Ok(Json(List::whole(items)))
}

/// `GET /repositories/{name}`.
pub(super) async fn repository(State(app): State<App>, Path(name): Path<String>, _: Asked<NoQuery>) -> Answer<Value> {
    let catalog = app.engine.catalog();
    let name = RepositoryName(name);
    let config = catalog.repositories.get(&name).ok_or_else(|| {
        ApiError::not_found(format!("repository `{}`", cut(name.as_str()))).hint("GET /repositories lists them")
    })?;
    let rows = app.reader.repositories().await?;
    let mut value = repository_json(&name, config, rows.iter().find(|row| row.name == name));
    let tips = app.reader.tips(&name).await?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("tips".to_owned(), json!(tips));
    }
    Ok(Json(value))
}

fn repository_json(name: &RepositoryName, config: &gristmill_model::Repository, row: Option<&RepositoryRow>) -> Value {
    json!({
        "name": name,
        "url": url_without_login(&config.url),
        "default_branch": config.default_branch,
        "branches": config.branches.as_ref().map(gristmill_model::matching::Patterns::texts),
        "tags": config.tags,
        "poll_seconds": config.poll.as_secs(),
        "webhook": config.webhook.as_ref().map(|webhook| json!({"forge": webhook.forge})),
        "place": config.place.to_string(),
        "seen": row.is_some_and(|row| row.seen),
        "failures": row.map_or(0, |row| row.failures),
        "error": row.and_then(|row| row.error.as_deref()),
        "at": row.map(|row| row.at.to_rfc3339()),
    })
}

/// `GET /deliveries`.
pub(super) async fn deliveries(State(app): State<App>, Asked(query): Asked<PageQuery>) -> Answer<List<DeliveryRow>> {
    let page = query.page();
    let rows = app.reader.list_deliveries(page.and_one_more()).await?;
    Ok(Json(List::page(rows, page, |row| row.id.0)))
}

/// Which messages are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MessagesQuery {
    incident: Option<i64>,
    before: Option<i64>,
    limit: Option<i64>,
}

/// `GET /messages`.
pub(super) async fn messages(State(app): State<App>, Asked(query): Asked<MessagesQuery>) -> Answer<List<MessageRow>> {
    let page = Page::of(query.before, query.limit);
    let filter = MessageFilter { incident: query.incident.map(IncidentId) };
    let rows = app.reader.list_messages(&filter, page.and_one_more()).await?;
    Ok(Json(List::page(rows, page, |row| row.id.0)))
}

/// Asks the engine what requests wait for, as far as they are open.
pub(crate) async fn explain_open(app: &App, requests: &[RequestRow]) -> BTreeMap<RequestId, Vec<Reason>> {
    let mut reasons = BTreeMap::new();
    let open = requests.iter().filter(|request| request.state != RequestState::Settled);
    for request in open.take(EXPLAINED_MAX) {
        reasons.insert(request.id, app.engine.explain(request.id).await);
    }
    reasons
}

async fn explained(app: &App, requests: Vec<RequestRow>) -> Vec<RequestJson> {
    let mut reasons = explain_open(app, &requests).await;
    requests
        .into_iter()
        .map(|request| {
            let mine = reasons.remove(&request.id).unwrap_or_default();
            request_json(request, &mine)
        })
        .collect()
}
