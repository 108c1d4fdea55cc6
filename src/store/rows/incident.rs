//! Incidents: what one culprit range broke, builder by builder.

use gristmill_model::{BuildId, BuilderName, Incident, IncidentId, Suspects, Timestamp};
use gristmill_schedulers::State;

use super::standing;
use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const OPEN: &str = "INSERT INTO incident (id, branch, first_build, suspects, opened_at) VALUES ($1, $2, $3, $4, $5)";
const NARROW: &str = "UPDATE incident SET suspects = $2 WHERE id = $1 AND closed_at IS NULL";
/// A builder that was good again and broke once more is broken.
const BREAK: &str = "INSERT INTO incident_builder (incident, builder, broke_build) VALUES ($1, $2, $3)
    ON CONFLICT (incident, builder) DO UPDATE SET broke_build = excluded.broke_build, fixed_build = NULL";
const EASE: &str = "UPDATE incident_builder SET fixed_build = $3 WHERE incident = $1 AND builder = $2";
const CLOSE: &str = "UPDATE incident SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL";

pub(super) const LOAD_OPEN: &str =
    "SELECT id, branch, first_build, suspects, opened_at FROM incident WHERE closed_at IS NULL";
pub(super) const LOAD_BUILDERS: &str = "SELECT incident_builder.incident, incident_builder.builder,
        incident_builder.broke_build, incident_builder.fixed_build
    FROM incident CROSS JOIN incident_builder
    WHERE incident.closed_at IS NULL AND incident_builder.incident = incident.id";

pub(super) fn opened(
    writes: &mut Writes,
    id: IncidentId,
    key: standing::Key<'_>,
    build: BuildId,
    suspects: &Suspects,
    at: Timestamp,
) {
    let open = sql(OPEN).bind(id.0).bind(key.branch).bind(build.0).bind(to_json(suspects)).bind(at.0);
    writes.one("incident", id, open);
    broke(writes, id, key.builder, build);
    standing::belongs_to(writes, key, id);
}

pub(super) fn joined(writes: &mut Writes, id: IncidentId, builder: &BuilderName, build: BuildId, suspects: &Suspects) {
    writes.one("incident", id, sql(NARROW).bind(id.0).bind(to_json(suspects)));
    broke(writes, id, builder, build);
    standing::belongs_to_known(writes, builder, id, true);
}

fn broke(writes: &mut Writes, id: IncidentId, builder: &BuilderName, build: BuildId) {
    let broke = sql(BREAK).bind(id.0).bind(builder.as_str()).bind(build.0);
    writes.one("incident_builder", format!("{id} {builder}"), broke);
}

pub(super) fn eased(writes: &mut Writes, id: IncidentId, builder: &BuilderName, build: BuildId) {
    let ease = sql(EASE).bind(id.0).bind(builder.as_str()).bind(build.0);
    writes.one("incident_builder", format!("{id} {builder}"), ease);
    standing::belongs_to_known(writes, builder, id, false);
}

pub(super) fn closed(writes: &mut Writes, id: IncidentId, at: Timestamp) {
    writes.one("incident", id, sql(CLOSE).bind(id.0).bind(at.0));
}

/// Loads open incidents.
pub(in crate::store) async fn load_open(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load open incidents", sql(LOAD_OPEN)).await? {
        let row = Record::of("incident", row);
        let incident = Incident {
            id: row.id("id")?,
            branch: row.text("branch")?,
            first_build: row.id("first_build")?,
            builders: Default::default(),
            fixed: Default::default(),
            suspects: row.json("suspects")?,
            opened_at: row.time("opened_at")?,
            closed_at: None,
        };
        state.incidents.insert(incident.id, incident);
    }
    for row in &tx.rows("load broken builders", sql(LOAD_BUILDERS)).await? {
        let row = Record::of("incident_builder", row);
        let id: IncidentId = row.id("incident")?;
        let builder: BuilderName = row.text("builder")?.into();
        if let Some(incident) = state.incidents.get_mut(&id) {
            if let Some(fixed) = row.id_maybe("fixed_build")? {
                incident.fixed.insert(builder.clone(), fixed);
            }
            incident.builders.insert(builder, row.id("broke_build")?);
        }
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![OPEN, NARROW, BREAK, EASE, CLOSE, LOAD_OPEN, LOAD_BUILDERS];
