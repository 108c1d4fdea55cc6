//! Buildsets with their families, and the logs of builds.

use std::collections::BTreeSet;

use gristmill_model::{BuildId, BuildsetId};
use gristmill_schedulers::retention::{is_old, judge_family, judge_logs};

use super::facts::{Archive, referred};
use super::{Order, Retired, delete, limit, raise_floor, with_ids};
use crate::store::StoreError;
use crate::store::database::{Text, sql};
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;

const BUILDSETS: &str = "SELECT id, created_at FROM buildset WHERE id > $1 ORDER BY id LIMIT $2";
const BUILDS: &str = "SELECT id, buildset, leased_at FROM build
    WHERE id > $1 AND state = 'finished' AND logs_retired_at IS NULL ORDER BY id LIMIT $2";
const MARK_LOGS: Text = with_ids!("UPDATE build SET logs_retired_at = $2 WHERE id IN ", "");

const BUILDS_OF: Text = with_ids!("SELECT id FROM build WHERE buildset IN ", "");
const REQUESTS_OF: Text = with_ids!("SELECT id FROM request WHERE buildset IN ", "");
const DELETE_NOTED: Text = with_ids!("DELETE FROM upstream WHERE buildset IN ", "");
const DELETE_USED: Text = with_ids!("DELETE FROM upstream WHERE used_by IN ", "");
const DELETE_OUTPUTS: Text = with_ids!("DELETE FROM output WHERE build IN ", "");
const DELETE_TESTS: Text = with_ids!("DELETE FROM test_result WHERE build IN ", "");
const DELETE_ARTIFACTS: Text = with_ids!("DELETE FROM artifact WHERE build IN ", "");
const DELETE_STEPS: Text = with_ids!("DELETE FROM step WHERE build IN ", "");
const DELETE_BUILDS: Text = with_ids!("DELETE FROM build WHERE id IN ", "");
const DELETE_EDGES: Text = with_ids!("DELETE FROM edge WHERE request IN ", "");
const DELETE_REQUESTS: Text = with_ids!("DELETE FROM request WHERE id IN ", "");
const DELETE_BUILDSET_CHANGES: Text = with_ids!("DELETE FROM buildset_change WHERE buildset IN ", "");
const DELETE_BUILDSETS: Text = with_ids!("DELETE FROM buildset WHERE id IN ", "");

pub(super) async fn buildsets(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let Order { rules, now, after, .. } = order;
    let rows = tx.rows("list buildsets", sql(BUILDSETS).bind(*after).bind(limit::BUILDSETS)).await?;
    let mut retired = Retired { next: (!rows.is_empty()).then_some(*after), ..Retired::default() };
    let mut archive = Archive::new(rules.last);
    let (referred, mut judged, mut free) = (referred(tx).await?, BTreeSet::new(), BTreeSet::new());
    for row in &rows {
        let row = Record::of("buildset", row);
        let id: BuildsetId = row.id("id")?;
        if is_old(row.time("created_at")?, rules.builds, *now).is_err() {
            // They were made in the order of their numbers.
            retired.next = None;
            break;
        }
        retired.next = Some(id.0);
        if judged.contains(&id) {
            continue;
        }
        let Some(family) = archive.family(tx, id).await? else { continue };
        judged.extend(family.keys().copied());
        if judge_family(&family, rules, &referred, *now).is_ok() {
            free.extend(family.into_keys().map(|id| id.0));
        }
    }
    let free: Vec<i64> = free.into_iter().collect();
    delete_buildsets(tx, &free, &mut retired).await?;
    Ok(retired)
}

/// Deletes buildsets with all that belongs to them, the leaves first.
async fn delete_buildsets(tx: &mut Tx<'_>, ids: &[i64], retired: &mut Retired) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let (builds, requests) = (list(tx, BUILDS_OF, ids).await?, list(tx, REQUESTS_OF, ids).await?);
    delete(tx, "upstream", DELETE_NOTED, ids).await?;
    delete(tx, "upstream", DELETE_USED, ids).await?;
    delete(tx, "output", DELETE_OUTPUTS, &builds).await?;
    retired.count("tests", delete(tx, "test_result", DELETE_TESTS, &builds).await?);
    retired.count("artifacts", delete(tx, "artifact", DELETE_ARTIFACTS, &builds).await?);
    delete(tx, "step", DELETE_STEPS, &builds).await?;
    retired.count("builds", delete(tx, "build", DELETE_BUILDS, &builds).await?);
    delete(tx, "edge", DELETE_EDGES, &requests).await?;
    retired.count("requests", delete(tx, "request", DELETE_REQUESTS, &requests).await?);
    delete(tx, "buildset_change", DELETE_BUILDSET_CHANGES, ids).await?;
    retired.count("buildsets", delete(tx, "buildset", DELETE_BUILDSETS, ids).await?);
    raise_floor(tx, "build", &builds).await?;
    raise_floor(tx, "request", &requests).await?;
    raise_floor(tx, "buildset", ids).await
}

async fn list(tx: &mut Tx<'_>, text: Text, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
    let rows = tx.rows("list what belongs to buildsets", sql(text).bind(to_json(&ids))).await?;
    rows.iter().map(|row| Record::of("buildset", row).int("id")).collect()
}

/// Marks builds whose logs may go. The files go after that, so that nobody is ever shown half a log.
pub(super) async fn logs(tx: &mut Tx<'_>, order: &Order) -> Result<Retired, StoreError> {
    let Order { rules, now, after, .. } = order;
    let rows = tx.rows("list builds", sql(BUILDS).bind(*after).bind(limit::BUILDS)).await?;
    let mut retired = Retired { next: (!rows.is_empty()).then_some(*after), ..Retired::default() };
    let mut old: Vec<(BuildId, BuildsetId)> = Vec::new();
    for row in &rows {
        let row = Record::of("build", row);
        if is_old(row.time("leased_at")?, rules.logs, *now).is_err() {
            retired.next = None;
            break;
        }
        let build: BuildId = row.id("id")?;
        retired.next = Some(build.0);
        old.push((build, row.id("buildset")?));
    }
    if old.is_empty() {
        return Ok(retired);
    }
    let mut archive = Archive::new(rules.last);
    archive.look_up(tx, &old.iter().map(|(_, buildset)| *buildset).collect()).await?;
    let referred = referred(tx).await?;
    let goes = |(build, buildset): &(BuildId, BuildsetId)| {
        let facts = archive.find(*buildset)?;
        judge_logs(facts, *build, rules, &referred, *now).is_ok().then_some(build.0)
    };
    let free: Vec<i64> = old.iter().filter_map(goes).collect();
    if !free.is_empty() {
        let mark = sql(MARK_LOGS).bind(to_json(&free)).bind(now.0);
        retired.count("logs", tx.any("build", "to be retired", mark).await?);
    }
    Ok(retired)
}

#[cfg(test)]
crate::store::database::statements![
    BUILDSETS,
    BUILDS,
    MARK_LOGS,
    BUILDS_OF,
    REQUESTS_OF,
    DELETE_NOTED,
    DELETE_USED,
    DELETE_OUTPUTS,
    DELETE_TESTS,
    DELETE_ARTIFACTS,
    DELETE_STEPS,
    DELETE_BUILDS,
    DELETE_EDGES,
    DELETE_REQUESTS,
    DELETE_BUILDSET_CHANGES,
    DELETE_BUILDSETS
];
