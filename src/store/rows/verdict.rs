//! What schedulers made of changes: one row per pair; only a held one may be replaced (S3).

use std::collections::BTreeSet;
use std::fmt;

use gristmill_model::Verdict;
use gristmill_schedulers::State;
use gristmill_schedulers::state::HeldChange;

use crate::store::StoreError;
use crate::store::database::{bulk::GIVE_VERDICTS, sql};
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;

pub(super) const LOAD_HELD: &str = "SELECT verdict.change, verdict.scheduler, verdict.until, verdict.at,
        change.repository, change.branch, change.new
    FROM verdict JOIN change ON change.id = verdict.change
    WHERE verdict.kind = 'held' ORDER BY verdict.change";

/// Writes verdicts that were given one after the other: by few statements, because every change meets every scheduler.
pub(super) async fn given(tx: &mut Tx<'_>, verdicts: &[&Verdict]) -> Result<(), StoreError> {
    for different in runs_of_different(verdicts) {
        let give = sql(GIVE_VERDICTS).bind_list(to_json(&different));
        tx.many("verdict", Pairs(different), different.len(), give).await?;
    }
    Ok(())
}

/// Cuts a list so that no part says two things of the same change and scheduler: a statement may write a row once.
fn runs_of_different<'a, 'v>(verdicts: &'a [&'v Verdict]) -> Vec<&'a [&'v Verdict]> {
    let (mut runs, mut first, mut seen) = (Vec::new(), 0, BTreeSet::new());
    for (index, verdict) in verdicts.iter().enumerate() {
        let key = (verdict.change, &verdict.scheduler);
        if !seen.insert(key) {
            runs.push(&verdicts[first..index]);
            (first, seen) = (index, [key].into());
        }
    }
    runs.push(&verdicts[first..]);
    runs
}

/// Names verdicts, if anybody wants to know.
struct Pairs<'a>(&'a [&'a Verdict]);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, verdict) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", verdict.change, verdict.scheduler)?;
        }
        Ok(())
    }
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
