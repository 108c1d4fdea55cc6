//! The API's own types, where they differ from the view structs.

use std::collections::BTreeMap;

use gristmill_model::{
    BuildId, Catalog, ChangeId, CodebaseName, Commit, Digest, Event, Outcome, Parameter, ParameterKind, Reason,
    RequestId, Scheduler, SchedulerKind, SchedulerName, Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::store::read::buildset::stamp_rows;
use crate::store::read::change::reason_json;
use crate::store::read::row::{Page, opt_rfc3339, rfc3339};
use crate::store::read::{
    BuildDetail, BuildNeighbours, BuildRow, BuildsetDetail, BuildsetRow, ChangeDetail, ChangeRow, Downstream, EdgeRow,
    RequestRow, SchedulerState, StampRow, StepRow, VerdictRow,
};

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    items: Vec<T>,
    /// What `before` must be to get the next page.
    next: Option<i64>,
}

impl<T> List<T> {
    /// Makes a page of rows of which there may be one more than asked for.
    pub(crate) fn page(mut items: Vec<T>, page: Page, id: impl Fn(&T) -> i64) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(id) } else { None };
        Self { items, next }
    }

    /// Makes a page of rows with what the next one goes on from.
    pub(crate) fn up_to(items: Vec<T>, next: Option<i64>) -> Self {
        Self { items, next }
    }

    /// Makes a list that is all there is.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// A request with what it waits for.
#[derive(Debug, Serialize)]
pub(crate) struct RequestJson {
    #[serde(flatten)]
    pub(crate) request: RequestRow,
    pub(crate) reasons: Vec<Value>,
}

/// Puts reasons beside a request.
pub(crate) fn request_json(request: RequestRow, reasons: &[Reason]) -> RequestJson {
    RequestJson { request, reasons: reasons.iter().map(reason_json).collect() }
}

#[derive(Debug, Serialize)]
pub(crate) struct BuildsetJson {
    #[serde(flatten)]
    row: BuildsetRow,
    sources: BTreeMap<CodebaseName, StampRow>,
    properties: BTreeMap<String, String>,
    priority: i32,
    catalog: String,
    requests: Vec<RequestJson>,
    edges: Vec<EdgeRow>,
    changes: Vec<ChangeRow>,
    verdicts: Vec<VerdictRow>,
    downstream: Vec<Downstream>,
}

/// Puts a buildset and what its requests wait for together.
pub(crate) fn buildset_json(detail: BuildsetDetail, mut reasons: BTreeMap<RequestId, Vec<Reason>>) -> BuildsetJson {
    let requests = detail
        .requests
        .into_iter()
        .map(|request| {
            let reasons = reasons.remove(&request.id).unwrap_or_default();
            request_json(request, &reasons)
        })
        .collect();
    BuildsetJson {
        sources: detail.buildset.stamps.clone(),
        row: detail.buildset,
        properties: detail.properties,
        priority: detail.priority,
        catalog: detail.catalog.0,
        requests,
        edges: detail.edges,
        changes: detail.changes,
        verdicts: detail.verdicts,
        downstream: detail.downstream,
    }
}

/// How much a step has printed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct LogJson {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) complete: bool,
}

#[derive(Debug, Serialize)]
struct StepJson {
    #[serde(flatten)]
    step: StepRow,
    log: LogJson,
}

#[derive(Debug, Serialize)]
struct AttemptJson {
    build: BuildId,
    outcome: Option<Outcome>,
}

#[derive(Debug, Serialize)]
pub(crate) struct BuildJson {
    #[serde(flatten)]
    build: BuildRow,
    node: String,
    sources: BTreeMap<CodebaseName, StampRow>,
    properties: BTreeMap<String, String>,
    requires: BTreeMap<String, String>,
    recipe: Digest,
    steps: Vec<StepJson>,
    steps_ahead: Vec<String>,
    changes: Vec<ChangeRow>,
    attempts: Vec<AttemptJson>,
    neighbours: BuildNeighbours,
}

/// Puts a build and how much its steps have printed together.
pub(crate) fn build_json(detail: BuildDetail, logs: Vec<LogJson>) -> BuildJson {
    let steps_ahead =
        if detail.build.outcome.is_some() { Vec::new() } else { detail.steps_ahead().map(str::to_owned).collect() };
    let steps = detail.steps.into_iter().zip(logs).map(|(step, log)| StepJson { step, log }).collect();
    BuildJson {
        node: detail.node.0,
        sources: stamp_rows(detail.stamps),
        properties: detail.properties,
        requires: detail.recipe.requires,
        recipe: detail.recipe_digest,
        steps,
        steps_ahead,
        changes: detail.changes,
        attempts: detail.attempts.into_iter().map(|(build, outcome)| AttemptJson { build, outcome }).collect(),
        neighbours: detail.neighbours,
        build: detail.build,
    }
}

#[derive(Debug, Serialize)]
struct CommitJson {
    revision: String,
    author: gristmill_model::Person,
    message: String,
    files: Vec<String>,
    #[serde(serialize_with = "rfc3339")]
    at: Timestamp,
}

fn commit_json(commit: Commit) -> CommitJson {
    CommitJson {
        revision: commit.revision.0,
        author: commit.author,
        message: commit.message,
        files: commit.files,
        at: commit.at,
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ChangeJson {
    #[serde(flatten)]
    row: ChangeRow,
    seq: i64,
    via: gristmill_model::Via,
    incomplete: bool,
    commits: Vec<CommitJson>,
    verdicts: Vec<VerdictRow>,
    buildsets: Vec<BuildsetRow>,
}

/// Puts a change, its commits and what was made of it together.
pub(crate) fn change_json(detail: ChangeDetail) -> ChangeJson {
    let change = detail.change;
    ChangeJson {
        row: ChangeRow {
            id: change.id,
            branch: change.reference.short().to_owned(),
            title: change.title(),
            author: change.commits.last().map(|commit| commit.author.name.clone()).unwrap_or_default(),
            repository: change.repository,
            reference: change.reference,
            old: change.old,
            new: change.new,
            movement: change.movement,
            at: change.at,
        },
        seq: change.seq,
        via: change.via,
        incomplete: change.incomplete,
        commits: change.commits.into_iter().map(commit_json).collect(),
        verdicts: detail.verdicts,
        buildsets: detail.buildsets,
    }
}

/// Writes an event: its number, when, its kind, and the body as it stands in the journal.
pub(crate) fn event_json(event: &Event) -> Value {
    json!({"seq": event.seq, "at": event.at.to_rfc3339(), "kind": event.body.kind(), "body": event.body})
}

#[derive(Debug, Serialize)]
struct HeldJson {
    change: ChangeId,
    repository: String,
    branch: String,
    title: String,
    #[serde(serialize_with = "opt_rfc3339")]
    until: Option<Timestamp>,
}

/// Writes a scheduler: its rule as configured, and what it did lately.
pub(crate) fn scheduler_json(name: &SchedulerName, scheduler: &Scheduler, state: SchedulerState) -> Value {
    let held: Vec<HeldJson> = state
        .held
        .into_iter()
        .map(|held| HeldJson {
            change: held.change.id,
            repository: held.change.repository.0,
            branch: held.change.branch,
            title: held.change.title,
            until: held.until,
        })
        .collect();
    let nodes: BTreeMap<&str, Value> = scheduler
        .graph
        .iter()
        .map(|(node, what)| (node.as_str(), json!({"builder": what.builder, "needs": what.needs, "mode": what.mode})))
        .collect();
    json!({
        "name": name,
        "kind": scheduler.kind.as_str(),
        "project": scheduler.project,
        "place": scheduler.place.to_string(),
        "priority": scheduler.priority,
        "when": rule_json(scheduler),
        "nodes": nodes,
        "upstream": match &scheduler.kind {
            SchedulerKind::Dependent { upstream, .. } => json!(upstream),
            _ => Value::Null,
        },
        "parameters": match &scheduler.kind {
            SchedulerKind::Force { parameters } => parameters_json(parameters),
            _ => Value::Null,
        },
        "timer": state.timer,
        "held": held,
        "verdicts": state.verdicts,
    })
}

fn rule_json(scheduler: &Scheduler) -> Value {
    let fields: BTreeMap<&str, Vec<String>> = scheduler
        .when
        .fields()
        .filter_map(|field| Some((field.as_str(), scheduler.when.patterns(field)?.texts())))
        .collect();
    json!(fields)
}

fn parameters_json(parameters: &BTreeMap<String, Parameter>) -> Value {
    let shown: BTreeMap<&str, Value> = parameters
        .iter()
        .map(|(name, parameter)| {
            let (kind, choices) = match &parameter.kind {
                ParameterKind::String => ("string", None),
                ParameterKind::Integer => ("integer", None),
                ParameterKind::Boolean => ("boolean", None),
                ParameterKind::Choice(choices) => ("choice", Some(choices)),
            };
            let value = json!({
                "type": kind, "choices": choices, "default": parameter.default,
                "required": parameter.required, "label": parameter.label,
            });
            (name.as_str(), value)
        })
        .collect();
    json!(shown)
}

/// Gives a URL without what logs in.
pub(crate) fn url_without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((login, host)) if login.contains(':') => format!("{scheme}://{host}{path}"),
        _ => url.to_owned(),
    }
}

/// Gives the schedulers of a catalog by name.
pub(crate) fn scheduler_names(catalog: &Catalog) -> Vec<SchedulerName> {
    catalog.schedulers.keys().cloned().collect()
}
