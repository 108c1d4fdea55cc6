//! Workers as they introduced themselves.

use gristmill_model::{Hold, HoldKind, Timestamp, TokenId, Worker, WorkerName};
use gristmill_schedulers::State;

use crate::store::StoreError;
use crate::store::database::{Text, sql};
use crate::store::record::{Record, to_json};
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const JOIN: &str = "INSERT INTO worker (name, labels, slots, connected, since, about, token, public_key, holds)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, slots = excluded.slots,
        connected = excluded.connected, since = excluded.since, about = excluded.about, token = excluded.token,
        public_key = excluded.public_key, holds = excluded.holds";
const LEAVE: &str = "UPDATE worker SET connected = 0, since = $2 WHERE name = $1";
const HOLD: Text = Text::Each {
    sqlite: "UPDATE worker SET holds = json_set(holds, '$.' || $2, json($3)) WHERE name = $1",
    postgres:
        "UPDATE worker SET holds = CAST(jsonb_set(CAST(holds AS jsonb), ARRAY[CAST($2 AS TEXT)], CAST(CAST($3 AS TEXT) AS jsonb))
        AS TEXT) WHERE name = $1",
};
const FREE: Text = Text::Each {
    sqlite: "UPDATE worker SET holds = json_remove(holds, '$.' || $2) WHERE name = $1",
    postgres: "UPDATE worker SET holds = CAST(CAST(holds AS jsonb) - CAST($2 AS TEXT) AS TEXT) WHERE name = $1",
};
const FORGET: &str = "DELETE FROM worker WHERE name = $1";
pub(super) const LOAD: &str =
    "SELECT name, labels, slots, connected, since, about, token, public_key, holds FROM worker";

pub(super) fn joined(writes: &mut Writes, worker: &Worker) {
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
    writes.one("worker", &worker.name, join);
}

pub(super) fn left(writes: &mut Writes, name: &WorkerName, at: Timestamp) {
    writes.one("worker", name, sql(LEAVE).bind(name.as_str()).bind(at.0));
}

pub(super) fn held(writes: &mut Writes, name: &WorkerName, kind: HoldKind, hold: &Hold) {
    writes.one("worker", name, sql(HOLD).bind(name.as_str()).bind(kind.as_str()).bind(to_json(hold)));
}

pub(super) fn freed(writes: &mut Writes, name: &WorkerName, kind: HoldKind) {
    writes.one("worker", name, sql(FREE).bind(name.as_str()).bind(kind.as_str()));
}

pub(super) fn forgotten(writes: &mut Writes, name: &WorkerName) {
    writes.one("worker", name, sql(FORGET).bind(name.as_str()));
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
crate::store::database::statements![JOIN, LEAVE, HOLD, FREE, FORGET, LOAD];
