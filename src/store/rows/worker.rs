//! Workers as they introduced themselves.

use gristmill_model::{Timestamp, Worker, WorkerName};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const JOIN: &str = "INSERT INTO worker (name, labels, slots, connected, since) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, slots = excluded.slots,
        connected = excluded.connected, since = excluded.since";
const LEAVE: &str = "UPDATE worker SET connected = 0, since = $2 WHERE name = $1";
pub(super) const LOAD: &str = "SELECT name, labels, slots, connected, since FROM worker";

pub(super) fn joined(writes: &mut Writes, worker: &Worker) {
    let join = sql(JOIN)
        .bind(worker.name.as_str())
        .bind(to_json(&worker.labels))
        .bind(worker.slots)
        .bind(i64::from(worker.connected))
        .bind(worker.since.0);
    writes.one("worker", &worker.name, join);
}

pub(super) fn left(writes: &mut Writes, name: &WorkerName, at: Timestamp) {
    writes.one("worker", name, sql(LEAVE).bind(name.as_str()).bind(at.0));
}

/// Loads all workers.
pub(in crate::store) async fn load(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load workers", sql(LOAD)).await? {
        let row = Record::of("worker", row);
        let worker = Worker {
            name: row.text("name")?.into(),
            labels: row.json("labels")?,
            slots: row.count("slots")?,
            connected: row.flag("connected")?,
            since: row.time("since")?,
        };
        state.workers.insert(worker.name.clone(), worker);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![JOIN, LEAVE, LOAD];
