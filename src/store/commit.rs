//! The transaction of a turn: the fence, the journal, the rows, what belongs to them. All or nothing.

use std::collections::BTreeSet;

use gristmill_model::{DeliveryId, EventBody, Seq, Timestamp};
use serde::Serialize;

use super::database::bulk::{INSERT_EVENTS, Sort};
use super::database::{BEGIN_WRITE, Connection, Executed, Text, broken_rule, failed, is_lost, sql};
use super::record::{Record, to_json};
use super::tx::{Tx, inconsistent};
use super::writes::Writes;
use super::{Answer, Blob, CommitError, StoreError, Turn, rows, turn};

/// Gives out the turn's numbers, on condition that nobody else has given out any. This row is the fence.
const MOVE_HEAD: &str = "UPDATE journal_head SET seq = seq + $1 WHERE one = 1 AND seq = $2";
const FIND_HEAD: &str = "SELECT seq FROM journal_head WHERE one = 1";
/// Waits until a transaction that writes is over, in whatever way: only then what it did can be seen, or never will.
const WAIT_FOR_WRITER: Text = Text::Each {
    sqlite: "SELECT seq FROM journal_head WHERE one = 1",
    postgres: "SELECT seq FROM journal_head WHERE one = 1 FOR UPDATE",
};
const FIND_EVENT: &str = "SELECT at, body FROM event WHERE seq = $1";
/// A cursor never goes back.
const MOVE_CURSOR: &str = "INSERT INTO cursor (consumer, seq) VALUES ($1, $2)
    ON CONFLICT (consumer) DO UPDATE SET seq = excluded.seq WHERE cursor.seq <= excluded.seq";

/// What a transaction came to.
pub(super) enum Ran {
    /// It is known: committed, or taken back.
    Known(Result<Seq, CommitError>),
    /// The connection had gone before anything was begun on it.
    NotBegun(StoreError),
    /// The connection is not fit for another transaction. Nothing was committed.
    Spoilt(CommitError),
    /// The connection went while the turn was being committed: whether it was can only be seen in the tables.
    Unknown(StoreError),
}

/// Commits a turn.
pub(super) async fn run(connection: &mut Connection, turn: &Turn) -> Ran {
    if let Err(error) = check(turn) {
        return Ran::Known(Err(error.into()));
    }
    let moved = match begin(connection, turn).await {
        Ok(moved) => moved,
        Err(ran) => return ran,
    };
    let error = match write(&mut Tx::on(connection), turn, moved).await {
        Ok(head) => match connection.control("COMMIT").await {
            Ok(()) => return Ran::Known(Ok(head)),
            Err(error) if is_lost(&error) => return Ran::Unknown(failed("commit a turn")(error)),
            Err(error) => refused(error).into(),
        },
        Err(error) => error,
    };
    take_back(connection, error).await
}

async fn take_back(connection: &mut Connection, error: CommitError) -> Ran {
    match connection.control("ROLLBACK").await {
        Ok(()) => Ran::Known(Err(error)),
        Err(_) => Ran::Spoilt(error),
    }
}

/// Begins the transaction and passes the fence; gives how many rows that hit.
async fn begin(connection: &mut Connection, turn: &Turn) -> Result<u64, Ran> {
    let count = i64::try_from(turn.events.len()).expect("the number of events was checked");
    let pass = vec![sql(BEGIN_WRITE), sql(MOVE_HEAD).bind(count).bind(turn.expected_head.0)];
    let Executed { written, failed: error } = connection.execute_all(pass).await;
    let Some(error) = error else { return Ok(written.last().copied().unwrap_or(0)) };
    let (is_lost, has_begun) = (is_lost(&error), !written.is_empty());
    let error = failed("begin a turn")(error);
    match (is_lost, has_begun) {
        (true, _) => Err(Ran::NotBegun(error)),
        (false, false) => Err(Ran::Known(Err(error.into()))),
        (false, true) => Err(take_back(connection, error.into()).await),
    }
}

/// Rules that are only looked at by the commit (that every delivery has its body) may still refuse.
fn refused(error: sqlx::Error) -> StoreError {
    match broken_rule(&error) {
        Some(rule) => inconsistent("journal_head", 1, &rule),
        None => failed("commit a turn")(error),
    }
}

/// Says whether a turn whose commit nobody saw the end of is in the tables, on a new connection. A turn without events
/// counts as not committed: it may be repeated.
pub(super) async fn is_there(connection: &mut Connection, turn: &Turn) -> Result<bool, StoreError> {
    let Some(first) = turn.events.first() else { return Ok(false) };
    const DOING: &str = "see whether a turn was committed";
    sql(WAIT_FOR_WRITER).fetch_optional(&mut *connection).await.map_err(failed(DOING))?;
    let find = sql(FIND_EVENT).bind(turn.expected_head.next().0);
    let row = find.fetch_optional(connection).await.map_err(failed(DOING))?;
    let Some(row) = row else { return Ok(false) };
    let row = Record::of("event", &row);
    Ok(row.time("at")? == turn.at && row.json::<EventBody>("body")? == *first)
}

async fn write(tx: &mut Tx<'_>, turn: &Turn, moved: u64) -> Result<Seq, CommitError> {
    if moved != 1 {
        return Err(CommitError::HeadMoved { expected: turn.expected_head, found: find_head(tx).await? });
    }
    let (writes, head) = writes_of(turn)?;
    tx.write(writes).await?;
    Ok(head)
}

/// Lists all that a turn writes behind the fence, and gives the new head.
fn writes_of(turn: &Turn) -> Result<(Writes, Seq), StoreError> {
    let mut writes = Writes::default();
    let count = i64::try_from(turn.events.len()).expect("the number of events was checked");
    let head = Seq(turn.expected_head.0 + count);
    // A configuration's text comes before the event that refers to it, a delivery's body after.
    for blob in &turn.blobs {
        if let Blob::Catalog { hash, text } = blob {
            rows::catalog::keep_text(&mut writes, hash, text);
        }
    }
    write_journal(&mut writes, turn);
    rows::write(&mut writes, turn.expected_head, turn.at, &turn.events);
    for blob in &turn.blobs {
        if let Blob::Delivery { id, headers, body } = blob {
            rows::delivery::keep_body(&mut writes, *id, headers, body);
        }
    }
    move_cursors(&mut writes, &turn.cursors, head)?;
    keep_answers(&mut writes, turn);
    Ok((writes, head))
}

fn write_journal(writes: &mut Writes, turn: &Turn) {
    if turn.events.is_empty() {
        return;
    }
    let events = sql(INSERT_EVENTS).bind(turn.expected_head.0).bind(turn.at.0).bind_list(to_json(&turn.events));
    writes.many("event", turn.expected_head.next(), turn.events.len(), events);
}

async fn find_head(tx: &mut Tx<'_>) -> Result<Seq, StoreError> {
    let rows = tx.rows("find the journal's head", sql(FIND_HEAD)).await?;
    let Some(row) = rows.first() else {
        return Err(inconsistent("journal_head", 1, "the row is missing"));
    };
    Ok(Seq(Record::of("journal_head", row).int("seq")?))
}

fn move_cursors(writes: &mut Writes, cursors: &[(String, Seq)], head: Seq) -> Result<(), StoreError> {
    for (consumer, seq) in cursors {
        if *seq > head {
            return Err(inconsistent("cursor", consumer, "it would be past the journal's head"));
        }
        writes.one("cursor", consumer, sql(MOVE_CURSOR).bind(consumer.as_str()).bind(seq.0));
    }
    Ok(())
}

#[derive(Serialize)]
struct AnswerRow<'a> {
    key: &'a str,
    request_sha256: &'a str,
    body: &'a str,
    at: Timestamp,
}

fn keep_answers(writes: &mut Writes, turn: &Turn) {
    for Answer { key, request_sha256, body } in &turn.answers {
        writes.row(Sort::Answer, key, &AnswerRow { key, request_sha256, body, at: turn.at });
    }
}

/// Refuses what no database has to be asked for.
fn check(turn: &Turn) -> Result<(), StoreError> {
    if turn.events.len() > turn::limit::EVENTS_MAX {
        return Err(StoreError::TooLarge { found: turn.events.len(), max: turn::limit::EVENTS_MAX });
    }
    let stored: BTreeSet<DeliveryId> = turn
        .blobs
        .iter()
        .filter_map(|blob| match blob {
            Blob::Delivery { id, .. } => Some(*id),
            Blob::Catalog { .. } => None,
        })
        .collect();
    for body in &turn.events {
        if let EventBody::DeliveryAccepted { delivery } = body
            && !stored.contains(&delivery.id)
        {
            return Err(inconsistent("delivery", delivery.id, "it was accepted without its body"));
        }
        if let EventBody::BuildsetCreated { buildset, requests, .. } = body
            && requests.iter().any(|request| request.buildset != buildset.id)
        {
            return Err(inconsistent("buildset", buildset.id, "one of its requests says that it belongs to another"));
        }
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![MOVE_HEAD, FIND_HEAD, WAIT_FOR_WRITER, FIND_EVENT, MOVE_CURSOR];
