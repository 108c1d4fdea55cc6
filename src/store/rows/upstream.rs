//! Completed buildsets that dependent schedulers have taken into account (S11).

use gristmill_model::{BuildsetId, Outcome, SchedulerName, Seq, Timestamp};
use gristmill_schedulers::State;
use gristmill_schedulers::state::UpstreamDone;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const INSERT: &str = "INSERT INTO upstream
    (scheduler, buildset, upstream, outcome, meets, branch, stamps, depth, result, noted, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const USE_UP: &str = "UPDATE upstream SET used_by = $2 WHERE scheduler = $1 AND used_by IS NULL";
pub(super) const LOAD_UNUSED: &str = "SELECT scheduler, upstream, buildset, outcome, meets, branch, stamps, depth
    FROM upstream WHERE used_by IS NULL ORDER BY noted";

/// Notes what event number `noted` says of `upstream`'s buildset, and what came of that.
pub(super) fn noted(
    writes: &mut Writes,
    noted: (Seq, Timestamp),
    scheduler: &SchedulerName,
    upstream: &SchedulerName,
    done: &UpstreamDone,
    result: &str,
) {
    let insert = sql(INSERT)
        .bind(scheduler.as_str())
        .bind(done.buildset.0)
        .bind(upstream.as_str())
        .bind(done.outcome.as_str())
        .bind(i64::from(done.meets))
        .bind(done.branch.as_str())
        .bind(to_json(&done.stamps))
        .bind(done.depth)
        .bind(result)
        .bind(noted.0.0)
        .bind(noted.1.0);
    writes.one("upstream", format!("{scheduler} {}", done.buildset), insert);
}

/// Uses up all that a dependent scheduler has noted: it made `buildset` of it.
pub(super) fn used(writes: &mut Writes, scheduler: &SchedulerName, buildset: BuildsetId) {
    writes.any("upstream", scheduler, sql(USE_UP).bind(scheduler.as_str()).bind(buildset.0));
}

/// Loads what is noted and not used up: the latest per pair.
pub(in crate::store) async fn load_unused(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load upstreams", sql(LOAD_UNUSED)).await? {
        let row = Record::of("upstream", row);
        let done = UpstreamDone {
            buildset: row.id("buildset")?,
            outcome: row.word("outcome", Outcome::parse)?,
            meets: row.flag("meets")?,
            branch: row.text("branch")?,
            stamps: row.json("stamps")?,
            depth: row.count("depth")?,
        };
        state.upstreams.entry(row.text("scheduler")?.into()).or_default().insert(row.text("upstream")?.into(), done);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![INSERT, USE_UP, LOAD_UNUSED];
