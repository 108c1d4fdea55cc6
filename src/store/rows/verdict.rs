//! What schedulers made of changes: one row per pair; only a held one may be replaced (S3).

use gristmill_model::Verdict;
use gristmill_schedulers::State;
use gristmill_schedulers::state::HeldChange;

use crate::store::StoreError;
use crate::store::database::bulk::Sort;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

pub(super) const LOAD_HELD: &str = "SELECT verdict.change, verdict.scheduler, verdict.until, verdict.at,
        change.repository, change.branch, change.new
    FROM verdict JOIN change ON change.id = verdict.change
    WHERE verdict.kind = 'held' ORDER BY verdict.change";

pub(super) fn given(writes: &mut Writes, verdict: &Verdict) {
    writes.row(Sort::Verdict, format!("{} {}", verdict.change, verdict.scheduler), verdict);
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

#[cfg(test)]
crate::store::database::statements![LOAD_HELD];
