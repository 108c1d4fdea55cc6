//! Workers as they introduced themselves.

use std::collections::BTreeMap;

use gristmill_model::{Hold, HoldKind, Timestamp, TokenId, Worker, WorkerName};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;

const JOIN: &str = "INSERT INTO worker (name, labels, slots, connected, since, about, token, public_key, holds)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, slots = excluded.slots,
        connected = excluded.connected, since = excluded.since, about = excluded.about, token = excluded.token,
        public_key = excluded.public_key, holds = excluded.holds";
const LEAVE: &str = "UPDATE worker SET connected = 0, since = $2 WHERE name = $1";
const HOLDS: &str = "SELECT holds FROM worker WHERE name = $1";
const SET_HOLDS: &str = "UPDATE worker SET holds = $2 WHERE name = $1";
const FORGET: &str = "DELETE FROM worker WHERE name = $1";
pub(super) const LOAD: &str =
    "SELECT name, labels, slots, connected, since, about, token, public_key, holds FROM worker";

pub(super) async fn joined(tx: &mut Tx<'_>, worker: &Worker) -> Result<(), StoreError> {
    let join = sql(JOIN)
        .bind(worker.name.as_str())
        .bind(to_json(&worker.labels))
        .bind(worker.slots)
        .bind(i64::from(worker.connected))
        .bind(worker.since.0)
        .bind(to_json(&worker.about))
        .bind(worker.token.as_ref().map(|token| token.as_str().to_owned()))
        .bind(worker.key.clone())
        .bind(to_json(&worker.holds));
    tx.one("worker", &worker.name, join).await
}

pub(super) async fn left(tx: &mut Tx<'_>, name: &WorkerName, at: Timestamp) -> Result<(), StoreError> {
    tx.one("worker", name, sql(LEAVE).bind(name.as_str()).bind(at.0)).await
}

pub(super) async fn held(
    tx: &mut Tx<'_>,
    name: &WorkerName,
    change: impl FnOnce(&mut BTreeMap<HoldKind, Hold>),
) -> Result<(), StoreError> {
    let rows = tx.rows("read a worker's holds", sql(HOLDS).bind(name.as_str())).await?;
    let mut holds = match rows.first() {
        Some(row) => Record::of("worker", row).json("holds")?,
        None => BTreeMap::new(),
    };
    change(&mut holds);
    tx.one("worker", name, sql(SET_HOLDS).bind(name.as_str()).bind(to_json(&holds))).await
}

pub(super) async fn forgotten(tx: &mut Tx<'_>, name: &WorkerName) -> Result<(), StoreError> {
    tx.one("worker", name, sql(FORGET).bind(name.as_str())).await
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
            about: row.json("about")?,
            token: row.text_maybe("token")?.map(TokenId),
            key: row.text_maybe("public_key")?,
            holds: row.json("holds")?,
        };
        state.workers.insert(worker.name.clone(), worker);
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![JOIN, LEAVE, HOLDS, SET_HOLDS, FORGET, LOAD];
