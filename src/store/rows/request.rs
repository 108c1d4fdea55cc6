//! Requests and the edges between them. A settled request stays as it is (S10).

use std::cmp::Reverse;

use gristmill_model::{Build, BuildId, Cause, Condition, Edge, NeedMode, Outcome, Request, RequestId, RequestState};
use gristmill_schedulers::State;
use serde::Serialize;

use super::{End, buildset};
use crate::store::StoreError;
use crate::store::database::bulk::Sort;
use crate::store::database::{Statement, sql};
use crate::store::record::Record;
use crate::store::tx::Tx;
use crate::store::writes::Writes;

const RELEASE: &str = "UPDATE request SET state = 'ready' WHERE id = $1 AND state = 'waiting'";
/// Only a ready request can be leased, and only under a newer epoch (S8).
const LEASE: &str = "UPDATE request SET state = 'leased', attempts = $2, epoch = $3
    WHERE id = $1 AND state = 'ready' AND attempts < $2 AND epoch < $3";
const SETTLE_WITHOUT_BUILD: &str = "UPDATE request
    SET state = 'settled', outcome = $2, cause = $3, reason = $4, settled_at = $5
    WHERE id = $1 AND state IN ('waiting', 'ready')";
const SETTLE_BY_BUILD: &str = "UPDATE request
    SET state = 'settled', outcome = $2, cause = $3, reason = $4, settled_at = $5
    WHERE id = (SELECT request FROM build WHERE id = $1) AND state = 'leased'";
const READY_AGAIN: &str = "UPDATE request SET state = 'ready'
    WHERE id = (SELECT request FROM build WHERE id = $1) AND state = 'leased'";

pub(super) const LOAD_OPEN: &str = "SELECT request.id, request.buildset, request.node, request.builder, request.recipe,
        request.digest, request.mode, request.state, request.attempts, request.epoch, request.outcome, request.cause,
        request.created_at, request.settled_at
    FROM buildset CROSS JOIN request
    WHERE buildset.outcome IS NULL AND request.buildset = buildset.id ORDER BY request.id";
pub(super) const LOAD_EDGES: &str = "SELECT edge.request, edge.needs, edge.on_outcome
    FROM buildset CROSS JOIN request CROSS JOIN edge
    WHERE buildset.outcome IS NULL AND request.buildset = buildset.id AND edge.request = request.id
    ORDER BY buildset.id, edge.position";

#[derive(Serialize)]
struct EdgeRow {
    #[serde(flatten)]
    edge: Edge,
    /// Among the edges of its buildset, so that they are read back in their order.
    position: usize,
}

/// Writes a new buildset's requests and edges.
pub(super) fn created(writes: &mut Writes, requests: &[Request], edges: &[Edge]) {
    for request in requests {
        writes.row(Sort::Request, request.id, request);
    }
    for (position, edge) in edges.iter().enumerate() {
        writes.row(Sort::Edge, format!("{} {}", edge.request, edge.needs), &EdgeRow { edge: *edge, position });
    }
}

pub(super) fn released(writes: &mut Writes, id: RequestId) {
    writes.one("request", id, sql(RELEASE).bind(id.0));
}

pub(super) fn leased(writes: &mut Writes, build: &Build) {
    let lease = sql(LEASE).bind(build.request.0).bind(build.attempt).bind(build.epoch);
    writes.one("request", build.request, lease);
}

pub(super) fn settled_without_build(writes: &mut Writes, id: RequestId, end: End<'_>) {
    writes.one("request", id, with_end(sql(SETTLE_WITHOUT_BUILD).bind(id.0), end));
    buildset::one_settled(writes, id);
}

/// Ends the lease of a build's request: with the build's end, or ready for the next attempt.
pub(super) fn attempt_ended(writes: &mut Writes, build: BuildId, end: End<'_>, retry: bool) {
    let of = format!("of build {build}");
    if retry {
        return writes.one("request", of, sql(READY_AGAIN).bind(build.0));
    }
    writes.one("request", of, with_end(sql(SETTLE_BY_BUILD).bind(build.0), end));
    buildset::one_settled_by(writes, build);
}

fn with_end(statement: Statement, end: End<'_>) -> Statement {
    statement.bind(end.outcome.as_str()).bind(end.cause.map(Cause::as_str)).bind(end.summary).bind(end.at.0)
}

/// Loads the requests and edges of the open buildsets, which must be loaded already.
pub(in crate::store) async fn load_open(tx: &mut Tx<'_>, state: &mut State) -> Result<(), StoreError> {
    for row in &tx.rows("load open requests", sql(LOAD_OPEN)).await? {
        let request = read(Record::of("request", row))?;
        if request.state == RequestState::Ready {
            let priority = state.buildsets.get(&request.buildset).map_or(0, |buildset| buildset.priority);
            state.ready.insert((Reverse(priority), request.id));
        }
        state.first_request.entry(request.buildset).or_insert(request.id);
        state.requests.insert(request.id, request);
    }
    for row in &tx.rows("load edges", sql(LOAD_EDGES)).await? {
        let row = Record::of("edge", row);
        let edge = Edge {
            request: row.id("request")?,
            needs: row.id("needs")?,
            on: row.word("on_outcome", Condition::parse)?,
        };
        state.needs.entry(edge.request).or_default().push(edge);
        state.needed_by.entry(edge.needs).or_default().push(edge);
    }
    Ok(())
}

fn read(row: Record<'_>) -> Result<Request, StoreError> {
    Ok(Request {
        id: row.id("id")?,
        buildset: row.id("buildset")?,
        node: row.text("node")?.into(),
        builder: row.text("builder")?.into(),
        recipe: row.text("recipe")?.into(),
        digest: row.text("digest")?.into(),
        mode: row.word("mode", mode_of_word)?,
        state: row.word("state", RequestState::parse)?,
        attempts: row.count("attempts")?,
        epoch: row.int("epoch")?,
        outcome: row.word_maybe("outcome", Outcome::parse)?,
        cause: row.word_maybe("cause", Cause::parse)?,
        created_at: row.time("created_at")?,
        settled_at: row.time_maybe("settled_at")?,
    })
}

fn mode_of_word(word: &str) -> Option<NeedMode> {
    match word {
        "all" => Some(NeedMode::All),
        "any" => Some(NeedMode::Any),
        _ => None,
    }
}

#[cfg(test)]
crate::store::database::statements![
    RELEASE,
    LEASE,
    SETTLE_WITHOUT_BUILD,
    SETTLE_BY_BUILD,
    READY_AGAIN,
    LOAD_OPEN,
    LOAD_EDGES
];
