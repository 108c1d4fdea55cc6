//! What the last telling build said of a builder on a branch.

use std::collections::BTreeMap;

use gristmill_model::{
    BuildId, BuilderName, BuilderOnBranch, ChangeId, IncidentId, Outcome, RepositoryName, Timestamp,
};
use gristmill_schedulers::State;
use gristmill_schedulers::state::Standing;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

/// Whose standing.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) builder: &'a BuilderName,
    pub(super) branch: &'a str,
}

/// A bad outcome keeps what was good before: blame is counted from there.
const TURN: &str = "INSERT INTO standing (builder, branch, outcome, build, good, at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (builder, branch) DO UPDATE SET outcome = excluded.outcome, build = excluded.build, at = excluded.at,
        good = CASE WHEN $7 = 1 THEN excluded.good ELSE standing.good END";
const MARK: &str = "UPDATE standing SET incident = $3 WHERE builder = $1 AND branch = $2";
const MARK_BY_INCIDENT: &str = "UPDATE standing SET incident = $3
    WHERE builder = $1 AND branch = (SELECT branch FROM incident WHERE id = $2)";
const RETIRE: &str = "DELETE FROM standing WHERE builder = $1 AND branch = $2 AND incident IS NULL";
pub(super) const LOAD: &str = "SELECT builder, branch, outcome, build, good, incident FROM standing";

pub(super) fn turned(
    writes: &mut Writes,
    key: Key<'_>,
    outcome: Outcome,
    build: BuildId,
    contains: &BTreeMap<RepositoryName, ChangeId>,
    at: Timestamp,
) {
    let good = if outcome.is_good() { to_json(contains) } else { "{}".to_owned() };
    let turn = sql(TURN)
        .bind(key.builder.as_str())
        .bind(key.branch)
        .bind(outcome.as_str())
        .bind(build.0)
        .bind(good)
        .bind(at.0)
        .bind(i64::from(outcome.is_good()));
    writes.one("standing", format!("{} {}", key.builder, key.branch), turn);
}

/// Says which incident a standing belongs to.
pub(super) fn belongs_to(writes: &mut Writes, key: Key<'_>, incident: IncidentId) {
    let mark = sql(MARK).bind(key.builder.as_str()).bind(key.branch).bind(incident.0);
    writes.one("standing", format!("{} {}", key.builder, key.branch), mark);
}

/// Says whether a builder's standing on an incident's branch belongs to that incident.
pub(super) fn belongs_to_known(writes: &mut Writes, builder: &BuilderName, incident: IncidentId, belongs: bool) {
    let mark = sql(MARK_BY_INCIDENT).bind(builder.as_str()).bind(incident.0).bind(belongs.then_some(incident.0));
    writes.one("standing", format!("{builder} of incident {incident}"), mark);
}

/// Forgets the standings on branches that are gone.
pub(super) fn retired(writes: &mut Writes, standings: &[BuilderOnBranch]) {
    for BuilderOnBranch { builder, branch } in standings {
        let retire = sql(RETIRE).bind(builder.as_str()).bind(branch.as_str());
        writes.one("standing", format!("{builder} {branch}"), retire);
    }
}

/// Loads all standings.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load standings", sql(LOAD)).await? {
        let row = Record::of("standing", row);
        let standing = Standing {
            outcome: row.word("outcome", Outcome::parse)?,
            build: row.id("build")?,
            good: row.json("good")?,
            incident: row.id_maybe("incident")?,
        };
        state.standings.insert((row.text("builder")?.into(), row.text("branch")?), standing);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![TURN, MARK, MARK_BY_INCIDENT, RETIRE, LOAD];
