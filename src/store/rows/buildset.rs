//! Buildsets: made with their requests and edges, completed once, when none of their requests is left (S6).

use gristmill_model::{
    BuildId, Buildset, BuildsetId, ChangeId, Edge, Outcome, ProjectName, Request, RequestId, SchedulerName, Timestamp,
    Trigger,
};
use gristmill_schedulers::State;
use serde::Serialize;

use super::{request, upstream};
use crate::store::StoreError;
use crate::store::database::bulk::Sort;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

/// Counts one request less; a counter, so that the one who settles the last request is known without looking at all.
const COUNT_DOWN: &str =
    "UPDATE buildset SET remaining = remaining - 1 WHERE id = (SELECT buildset FROM request WHERE id = $1)";
const COUNT_DOWN_BY_BUILD: &str =
    "UPDATE buildset SET remaining = remaining - 1 WHERE id = (SELECT buildset FROM build WHERE id = $1)";
const COMPLETE: &str = "UPDATE buildset SET outcome = $2, completed_at = $3
    WHERE id = $1 AND outcome IS NULL AND remaining = 0";
pub(super) const LOAD_OPEN: &str = "SELECT body FROM buildset WHERE outcome IS NULL";

#[derive(Serialize)]
struct Row<'a> {
    id: BuildsetId,
    scheduler: &'a SchedulerName,
    project: &'a Option<ProjectName>,
    /// Kept beside the body, so that a branch's history is one index.
    branch: &'a str,
    trigger_key: String,
    body: &'a Buildset,
    /// Requests that are not settled.
    remaining: usize,
    created_at: Timestamp,
}

/// A change that set a buildset off.
#[derive(Serialize)]
struct ChangeRow {
    buildset: BuildsetId,
    change: ChangeId,
}

/// Writes a new buildset with its requests and edges.
pub(super) fn created(writes: &mut Writes, buildset: &Buildset, requests: &[Request], edges: &[Edge]) {
    let row = Row {
        id: buildset.id,
        scheduler: &buildset.scheduler,
        project: &buildset.project,
        branch: &buildset.branch,
        trigger_key: trigger_key(buildset),
        body: buildset,
        remaining: requests.iter().filter(|request| request.outcome.is_none()).count(),
        created_at: buildset.created_at,
    };
    writes.row(Sort::Buildset, buildset.id, &row);
    for change in changes_of(&buildset.trigger) {
        let row = ChangeRow { buildset: buildset.id, change: *change };
        writes.row(Sort::BuildsetChange, format!("{} {change}", buildset.id), &row);
    }
    request::created(writes, requests, edges);
    if let Trigger::Upstream { .. } = buildset.trigger {
        upstream::used(writes, &buildset.scheduler, buildset.id);
    }
}

pub(super) fn one_settled(writes: &mut Writes, request: RequestId) {
    writes.one("buildset", format!("of request {request}"), sql(COUNT_DOWN).bind(request.0));
}

pub(super) fn one_settled_by(writes: &mut Writes, build: BuildId) {
    writes.one("buildset", format!("of build {build}"), sql(COUNT_DOWN_BY_BUILD).bind(build.0));
}

pub(super) fn completed(writes: &mut Writes, id: BuildsetId, outcome: Outcome, at: Timestamp) {
    writes.one("buildset", id, sql(COMPLETE).bind(id.0).bind(outcome.as_str()).bind(at.0));
}

/// Loads open buildsets.
pub(in crate::store) async fn load_open(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load open buildsets", sql(LOAD_OPEN)).await? {
        let buildset: Buildset = Record::of("buildset", row).json("body")?;
        state.buildsets.insert(buildset.id, buildset);
    }
    Ok(())
}

fn changes_of(trigger: &Trigger) -> &[ChangeId] {
    match trigger {
        Trigger::Changes { changes } | Trigger::Time { changes, .. } => changes,
        Trigger::Upstream { .. } | Trigger::Step { .. } | Trigger::Person { .. } => &[],
    }
}

/// What set it off, in a word: the same thing cannot set the same scheduler off twice. Only a person can.
fn trigger_key(buildset: &Buildset) -> String {
    match &buildset.trigger {
        Trigger::Changes { changes } => match changes.iter().max() {
            Some(newest) => format!("change:{newest}"),
            None => format!("buildset:{}", buildset.id),
        },
        Trigger::Time { nominal, .. } => format!("time:{}", nominal.0),
        Trigger::Upstream { buildsets } => {
            let ids: Vec<String> = buildsets.iter().map(ToString::to_string).collect();
            format!("upstream:{}", ids.join(","))
        }
        Trigger::Step { build, step, .. } => format!("step:{build}:{step}"),
        Trigger::Person { .. } => format!("buildset:{}", buildset.id),
    }
}

#[cfg(test)]
crate::store::database::statements![COUNT_DOWN, COUNT_DOWN_BY_BUILD, COMPLETE, LOAD_OPEN];
