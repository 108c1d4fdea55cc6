//! Buildsets: made with their requests and edges, completed once, when none of their requests is left (S6).

use gristmill_model::{BuildId, Buildset, BuildsetId, ChangeId, Edge, Outcome, Request, RequestId, Timestamp, Trigger};
use gristmill_schedulers::State;

use super::{request, upstream};
use crate::store::StoreError;
use crate::store::database::{bulk::INSERT_BUILDSET_CHANGES, sql};
use crate::store::record::{Record, to_json};
use crate::store::tx::{Tx, inconsistent};

const INSERT: &str = "INSERT INTO buildset
    (id, scheduler, project, branch, trigger_key, body, remaining, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
/// Counts one request less; a counter, so that the one who settles the last request is known without looking at all.
const COUNT_DOWN: &str =
    "UPDATE buildset SET remaining = remaining - 1 WHERE id = (SELECT buildset FROM request WHERE id = $1)";
const COUNT_DOWN_BY_BUILD: &str =
    "UPDATE buildset SET remaining = remaining - 1 WHERE id = (SELECT buildset FROM build WHERE id = $1)";
const COMPLETE: &str = "UPDATE buildset SET outcome = $2, completed_at = $3
    WHERE id = $1 AND outcome IS NULL AND remaining = 0";
pub(super) const LOAD_OPEN: &str = "SELECT body FROM buildset WHERE outcome IS NULL";

pub(super) async fn created(
    tx: &mut Tx<'_>,
    buildset: &Buildset,
    requests: &[Request],
    edges: &[Edge],
) -> Result<(), StoreError> {
    if requests.iter().any(|request| request.buildset != buildset.id) {
        return Err(inconsistent("buildset", buildset.id, "one of its requests says that it belongs to another"));
    }
    let remaining = requests.iter().filter(|request| request.outcome.is_none()).count();
    let insert = sql(INSERT)
        .bind(buildset.id.0)
        .bind(buildset.scheduler.as_str())
        .bind(buildset.project.as_ref().map(|project| project.0.as_str()))
        .bind(buildset.branch.as_str())
        .bind(trigger_key(buildset))
        .bind(to_json(buildset))
        .bind(i64::try_from(remaining).expect("requests fit in memory"))
        .bind(buildset.created_at.0);
    tx.one("buildset", buildset.id, insert).await?;
    let changes = changes_of(&buildset.trigger);
    if !changes.is_empty() {
        let insert = sql(INSERT_BUILDSET_CHANGES).bind(buildset.id.0).bind_list(to_json(&changes));
        tx.many("buildset_change", buildset.id, changes.len(), insert).await?;
    }
    request::created(tx, buildset.id, requests, edges).await?;
    if let Trigger::Upstream { .. } = buildset.trigger {
        upstream::used(tx, &buildset.scheduler, buildset.id).await?;
    }
    Ok(())
}

pub(super) async fn one_settled(tx: &mut Tx<'_>, request: RequestId) -> Result<(), StoreError> {
    tx.one("buildset", format!("of request {request}"), sql(COUNT_DOWN).bind(request.0)).await
}

pub(super) async fn one_settled_by(tx: &mut Tx<'_>, build: BuildId) -> Result<(), StoreError> {
    tx.one("buildset", format!("of build {build}"), sql(COUNT_DOWN_BY_BUILD).bind(build.0)).await
}

pub(super) async fn completed(
    tx: &mut Tx<'_>,
    id: BuildsetId,
    outcome: Outcome,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.one("buildset", id, sql(COMPLETE).bind(id.0).bind(outcome.as_str()).bind(at.0)).await
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
crate::store::database::statements![INSERT, COUNT_DOWN, COUNT_DOWN_BY_BUILD, COMPLETE, LOAD_OPEN];
