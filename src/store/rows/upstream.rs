//! Completed buildsets that dependent schedulers have taken into account (S11).

use gristmill_model::{BuildsetId, Outcome, SchedulerName, Seq, Timestamp};
use gristmill_schedulers::State;
use gristmill_schedulers::state::UpstreamDone;

use crate::store::StoreError;
use crate::store::dialect::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;

/// What a dependent scheduler made of a completed buildset.
pub(super) struct Note<'a> {
    pub(super) scheduler: &'a SchedulerName,
    pub(super) upstream: &'a SchedulerName,
    pub(super) buildset: BuildsetId,
    pub(super) outcome: Outcome,
    pub(super) meets: bool,
    pub(super) result: &'a str,
}

const INSERT: &str = "INSERT INTO upstream
    (scheduler, buildset, upstream, outcome, meets, result, noted, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const USE_UP: &str = "UPDATE upstream SET used_by = $2 WHERE scheduler = $1 AND used_by IS NULL";
const LOAD_UNUSED: &str = "SELECT scheduler, upstream, buildset, outcome, meets
    FROM upstream WHERE used_by IS NULL ORDER BY noted";

pub(super) async fn noted(tx: &mut Tx<'_>, seq: Seq, at: Timestamp, note: Note<'_>) -> Result<(), StoreError> {
    let insert = sql(INSERT)
        .bind(note.scheduler.as_str())
        .bind(note.buildset.0)
        .bind(note.upstream.as_str())
        .bind(note.outcome.as_str())
        .bind(i64::from(note.meets))
        .bind(note.result)
        .bind(seq.0)
        .bind(at.0);
    tx.one("upstream", format!("{} {}", note.scheduler, note.buildset), insert).await
}

/// Uses up all that a dependent scheduler has noted: it made `buildset` of it.
pub(super) async fn used(tx: &mut Tx<'_>, scheduler: &SchedulerName, buildset: BuildsetId) -> Result<(), StoreError> {
    tx.any("upstream", scheduler, sql(USE_UP).bind(scheduler.as_str()).bind(buildset.0)).await.map(drop)
}

/// Loads what is noted and not used up: the latest per pair.
pub(in crate::store) async fn load_unused(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load upstreams", sql(LOAD_UNUSED)).await? {
        let row = Record::of("upstream", row);
        let done = UpstreamDone {
            buildset: row.id("buildset")?,
            outcome: row.word("outcome", Outcome::parse)?,
            meets: row.flag("meets")?,
        };
        state.upstreams.entry(row.text("scheduler")?.into()).or_default().insert(row.text("upstream")?.into(), done);
    }
    Ok(())
}
