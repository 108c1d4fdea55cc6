//! How workers fare that had trouble lately.

use gristmill_model::{Rating, WorkerName};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;

const RATED: &str = "INSERT INTO rating (worker, recent, quarantines) VALUES ($1, $2, $3)
    ON CONFLICT (worker) DO UPDATE SET recent = excluded.recent, quarantines = excluded.quarantines";
const FORGET: &str = "DELETE FROM rating WHERE worker = $1";
pub(super) const LOAD: &str = "SELECT worker, recent, quarantines FROM rating";

pub(super) async fn rated(tx: &mut Tx<'_>, worker: &WorkerName, rating: &Rating) -> Result<(), StoreError> {
    let rated = sql(RATED).bind(worker.as_str()).bind(to_json(&rating.recent)).bind(rating.quarantines);
    tx.one("rating", worker, rated).await
}

/// A worker without trouble has no row.
pub(super) async fn forgotten(tx: &mut Tx<'_>, worker: &WorkerName) -> Result<(), StoreError> {
    tx.any("rating", worker, sql(FORGET).bind(worker.as_str())).await.map(drop)
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
