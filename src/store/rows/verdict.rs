//! What schedulers made of changes: one row per pair; only a held one may be replaced (S3).

use gristmill_model::{Verdict, VerdictKind};
use gristmill_schedulers::State;
use gristmill_schedulers::state::HeldChange;

use crate::store::StoreError;
use crate::store::dialect::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;

const GIVE: &str = "INSERT INTO verdict (change, scheduler, kind, buildset, until, reasons, place, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (change, scheduler) DO UPDATE SET kind = excluded.kind, buildset = excluded.buildset,
        until = excluded.until, reasons = excluded.reasons, place = excluded.place, at = excluded.at
    WHERE verdict.kind = 'held'";

const LOAD_HELD: &str = "SELECT verdict.change, verdict.scheduler, verdict.until, verdict.at,
        change.repository, change.branch, change.new
    FROM verdict JOIN change ON change.id = verdict.change
    WHERE verdict.kind = 'held' ORDER BY verdict.change";

pub(super) async fn given(tx: &mut Tx<'_>, verdict: &Verdict) -> Result<(), StoreError> {
    let (buildset, until) = match &verdict.kind {
        VerdictKind::Built { buildset } => (Some(buildset.0), None),
        VerdictKind::Held { until, .. } => (None, until.map(|until| until.0)),
        VerdictKind::Nothing => (None, None),
    };
    let give = sql(GIVE)
        .bind(verdict.change.0)
        .bind(verdict.scheduler.as_str())
        .bind(verdict.kind.as_str())
        .bind(buildset)
        .bind(until)
        .bind(to_json(&verdict.reasons))
        .bind(to_json(&verdict.place))
        .bind(verdict.at.0);
    tx.one("verdict", format!("{} {}", verdict.change, verdict.scheduler), give).await
}

/// Loads held changes.
pub(in crate::store) async fn load_held(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load held changes", sql(LOAD_HELD)).await? {
        let row = Record::of("verdict", row);
        let held = HeldChange {
            change: row.id("change")?,
            revision: row.text("new")?.into(),
            at: row.time("at")?,
            until: row.time_maybe("until")?,
        };
        let branch = (row.text("repository")?.into(), row.text("branch")?);
        state.held.entry(row.text("scheduler")?.into()).or_default().entry(branch).or_default().push(held);
    }
    Ok(())
}
