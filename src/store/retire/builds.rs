//! Buildsets with their families, and the logs of builds.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_model::{BuildId, BuildsetId};
use gristmill_schedulers::retention::{is_old, judge_family, judge_logs};

use super::facts::{Archive, referred};
use super::{Found, Order, Retired, delete, limit, raise_floor, with_ids};
use crate::store::StoreError;
use crate::store::database::{Text, sql};
use crate::store::record::{Record, to_json};
use crate::store::tx::{Ask, Tx};

const BUILDSETS: &str = "SELECT id, created_at FROM buildset WHERE id > $1 ORDER BY id LIMIT $2";
const BUILDS: &str = "SELECT id, buildset, leased_at FROM build
    WHERE id > $1 AND state = 'finished' AND logs_retired_at IS NULL ORDER BY id LIMIT $2";
const BUILDS_STILL: Text =
    with_ids!("SELECT id, buildset FROM build WHERE state = 'finished' AND logs_retired_at IS NULL AND id IN ", "");
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

/// Looks for buildsets that may go. Each batch has whole families.
pub(super) async fn find_buildsets(asked: &mut impl Ask, order: &Order) -> Result<Found, StoreError> {
    let Order { rules, now, after, .. } = order;
    let rows = asked.rows("list buildsets", sql(BUILDSETS).bind(*after).bind(limit::BUILDSETS)).await?;
    let mut next = (!rows.is_empty()).then_some(*after);
    let mut old = Vec::new();
    for row in &rows {
        let row = Record::of("buildset", row);
        if is_old(row.time("created_at")?, rules.builds, *now).is_err() {
            // They were made in the order of their numbers.
            next = None;
            break;
        }
        let id: BuildsetId = row.id("id")?;
        next = Some(id.0);
        old.push(id);
    }
    let mut batches: Vec<Vec<i64>> = Vec::new();
    for family in judge(asked, order, &old).await? {
        match batches.last_mut() {
            Some(batch) if batch.len() + family.len() <= limit::BUILDSETS_AT_ONCE => batch.extend(family),
            _ => batches.push(family),
        }
    }
    Ok(Found { batches, next })
}

/// Gives the families of `candidates` that may go.
async fn judge(asked: &mut impl Ask, order: &Order, candidates: &[BuildsetId]) -> Result<Vec<Vec<i64>>, StoreError> {
    let mut archive = Archive::new(order.rules.last);
    archive.look_up(asked, &candidates.iter().copied().collect()).await?;
    let (mut seen, mut families) = (BTreeSet::new(), Vec::new());
    for id in candidates {
        if seen.contains(id) {
            continue;
        }
        let Some(family) = archive.family(asked, *id).await? else { continue };
        seen.extend(family.keys().copied());
        families.push(family);
    }
    let builds = families.iter().flat_map(BTreeMap::values).flat_map(|facts| facts.builds.keys().copied());
    let referred = referred(asked, &builds.collect::<Vec<BuildId>>()).await?;
    families.retain(|family| judge_family(family, &order.rules, &referred, order.now).is_ok());
    Ok(families.into_iter().map(|family| family.into_keys().map(|id| id.0).collect()).collect())
}

/// Deletes those of a batch that may go still: they are judged again, because what is judged beside the turns may be
/// otherwise by now.
pub(super) async fn buildsets(tx: &mut Tx<'_>, order: &Order, batch: &[i64]) -> Result<Retired, StoreError> {
    let candidates: Vec<BuildsetId> = batch.iter().copied().map(BuildsetId).collect();
    let free: Vec<i64> = judge(tx, order, &candidates).await?.concat();
    let mut retired = Retired::default();
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

/// Looks for builds whose logs may go.
pub(super) async fn find_logs(asked: &mut impl Ask, order: &Order) -> Result<Found, StoreError> {
    let Order { rules, now, after, .. } = order;
    let rows = asked.rows("list builds", sql(BUILDS).bind(*after).bind(limit::BUILDS)).await?;
    let mut next = (!rows.is_empty()).then_some(*after);
    let mut old: Vec<(BuildId, BuildsetId)> = Vec::new();
    for row in &rows {
        let row = Record::of("build", row);
        if is_old(row.time("leased_at")?, rules.logs, *now).is_err() {
            next = None;
            break;
        }
        let build: BuildId = row.id("id")?;
        next = Some(build.0);
        old.push((build, row.id("buildset")?));
    }
    let free = judge_builds(asked, order, &old).await?;
    let batches = if free.is_empty() { Vec::new() } else { vec![free] };
    Ok(Found { batches, next })
}

/// Gives those of `builds` whose logs may go.
async fn judge_builds(
    asked: &mut impl Ask,
    order: &Order,
    builds: &[(BuildId, BuildsetId)],
) -> Result<Vec<i64>, StoreError> {
    let Order { rules, now, .. } = order;
    let mut archive = Archive::new(rules.last);
    archive.look_up(asked, &builds.iter().map(|(_, buildset)| *buildset).collect()).await?;
    let referred = referred(asked, &builds.iter().map(|(build, _)| *build).collect::<Vec<BuildId>>()).await?;
    let goes = |(build, buildset): &(BuildId, BuildsetId)| {
        let facts = archive.find(*buildset)?;
        judge_logs(facts, *build, rules, &referred, *now).is_ok().then_some(build.0)
    };
    Ok(builds.iter().filter_map(goes).collect())
}

/// Marks those of a batch whose logs may go still. The files go after that, so that nobody is ever shown half a log.
pub(super) async fn logs(tx: &mut Tx<'_>, order: &Order, batch: &[i64]) -> Result<Retired, StoreError> {
    let rows = tx.rows("list builds", sql(BUILDS_STILL).bind(to_json(&batch))).await?;
    let mut builds: Vec<(BuildId, BuildsetId)> = Vec::new();
    for row in &rows {
        let row = Record::of("build", row);
        builds.push((row.id("id")?, row.id("buildset")?));
    }
    let free = judge_builds(tx, order, &builds).await?;
    let mut retired = Retired::default();
    if !free.is_empty() {
        let mark = sql(MARK_LOGS).bind(to_json(&free)).bind(order.now.0);
        retired.count("logs", tx.any("build", "to be retired", mark).await?);
    }
    Ok(retired)
}

#[cfg(test)]
crate::store::database::statements![
    BUILDSETS,
    BUILDS,
    BUILDS_STILL,
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
