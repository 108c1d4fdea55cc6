//! What the service found wrong with itself: a row while it lasts.

use gristmill_model::Timestamp;
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

/// A finding that is known already is a rule that is broken: only what is new is told.
const FOUND: &str = "INSERT INTO finding (name, detail, at) VALUES ($1, $2, $3)";
const CLEARED: &str = "DELETE FROM finding WHERE name = $1";
pub(super) const LOAD: &str = "SELECT name, detail FROM finding";

pub(super) fn found(writes: &mut Writes, check: &str, detail: &str, at: Timestamp) {
    writes.one("finding", check, sql(FOUND).bind(check).bind(detail).bind(at.0));
}

pub(super) fn cleared(writes: &mut Writes, check: &str) {
    writes.one("finding", check, sql(CLEARED).bind(check));
}

/// Loads all findings.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load findings", sql(LOAD)).await? {
        let row = Record::of("finding", row);
        state.findings.insert(row.text("name")?, row.text("detail")?);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![FOUND, CLEARED, LOAD];
