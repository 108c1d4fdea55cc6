//! What the service found wrong with itself: a row while it lasts.

use gristmill_model::Timestamp;
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::Record;
use crate::store::tx::Tx;

/// A finding that is known already is a rule that is broken: only what is new is told.
const FOUND: &str = "INSERT INTO finding (name, detail, at) VALUES ($1, $2, $3)";
const CLEARED: &str = "DELETE FROM finding WHERE name = $1";
pub(super) const LOAD: &str = "SELECT name, detail FROM finding";

pub(super) async fn found(tx: &mut Tx<'_>, check: &str, detail: &str, at: Timestamp) -> Result<(), StoreError> {
    tx.one("finding", check, sql(FOUND).bind(check).bind(detail).bind(at.0)).await
}

pub(super) async fn cleared(tx: &mut Tx<'_>, check: &str) -> Result<(), StoreError> {
    tx.one("finding", check, sql(CLEARED).bind(check)).await
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
