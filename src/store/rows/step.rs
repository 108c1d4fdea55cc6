//! Steps of builds.

use gristmill_model::{BuildId, BuildsetId, Cause, Outcome, Timestamp};
use gristmill_schedulers::State;

use super::{End, build};
use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const START: &str = "INSERT INTO step (build, number, name, started_at) VALUES ($1, $2, $3, $4)";
const FINISH: &str = "UPDATE step SET outcome = $3, cause = $4, summary = $5, finished_at = $6, warnings = $7
    WHERE build = $1 AND number = $2 AND outcome IS NULL";
const TRIGGER: &str = "UPDATE step SET triggered = $3 WHERE build = $1 AND number = $2 AND triggered IS NULL";
pub(super) const LOAD_OPEN: &str = "SELECT step.build, step.number, step.outcome
    FROM build CROSS JOIN step WHERE build.state <> 'finished' AND step.build = build.id";

pub(super) fn started(writes: &mut Writes, build: BuildId, number: u32, name: &str, at: Timestamp) {
    let start = sql(START).bind(build.0).bind(number).bind(name).bind(at.0);
    writes.one("step", format!("{build}/{number}"), start);
}

pub(super) fn finished(writes: &mut Writes, build: BuildId, number: u32, end: End<'_>, warnings: u64) {
    let finish = sql(FINISH)
        .bind(build.0)
        .bind(number)
        .bind(end.outcome.as_str())
        .bind(end.cause.map(Cause::as_str))
        .bind(end.summary)
        .bind(end.at.0)
        .bind(i64::try_from(warnings).unwrap_or(i64::MAX));
    writes.one("step", format!("{build}/{number}"), finish);
}

pub(super) fn triggered(writes: &mut Writes, build: BuildId, number: u32, buildset: BuildsetId, wait: bool) {
    let trigger = sql(TRIGGER).bind(build.0).bind(number).bind(buildset.0);
    writes.one("step", format!("{build}/{number}"), trigger);
    if wait {
        build::suspended(writes, build, number);
    }
}

/// Loads the steps of the unfinished builds, which must be loaded already.
pub(in crate::store) async fn load_open(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load steps", sql(LOAD_OPEN)).await? {
        let row = Record::of("step", row);
        let build: BuildId = row.id("build")?;
        if let Some(open) = state.builds.get_mut(&build) {
            open.steps.insert(row.count("number")?, row.word_maybe("outcome", Outcome::parse)?);
        }
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![START, FINISH, TRIGGER, LOAD_OPEN];
