//! How workers fare that had trouble lately.

use gristmill_model::{Rating, WorkerName};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const RATED: &str = "INSERT INTO rating (worker, recent, quarantines) VALUES ($1, $2, $3)
    ON CONFLICT (worker) DO UPDATE SET recent = excluded.recent, quarantines = excluded.quarantines";
const FORGET: &str = "DELETE FROM rating WHERE worker = $1";
pub(super) const LOAD: &str = "SELECT worker, recent, quarantines FROM rating";

pub(super) fn rated(writes: &mut Writes, worker: &WorkerName, rating: &Rating) {
    let rated = sql(RATED).bind(worker.as_str()).bind(to_json(&rating.recent)).bind(rating.quarantines);
    writes.one("rating", worker, rated);
}

/// A worker without trouble has no row.
pub(super) fn forgotten(writes: &mut Writes, worker: &WorkerName) {
    writes.any("rating", worker, sql(FORGET).bind(worker.as_str()));
}

/// Loads all.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load ratings", sql(LOAD)).await? {
        let row = Record::of("rating", row);
        let rating = Rating { recent: row.json("recent")?, quarantines: row.count("quarantines")? };
        state.ratings.insert(row.text("worker")?.into(), rating);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![RATED, FORGET, LOAD];
