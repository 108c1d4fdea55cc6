//! The transaction of a turn: the fence, the journal, the rows, what belongs to them. All or nothing.

use std::collections::BTreeSet;

use gristmill_model::{DeliveryId, EventBody, Seq};

use super::database::bulk::INSERT_EVENTS;
use super::database::{BEGIN_WRITE, Connection, Text, broken_rule, failed, is_lost, sql};
use super::record::{Record, to_json};
use super::tx::{Tx, inconsistent};
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
const INSERT_ANSWER: &str = "INSERT INTO answer (key, request_sha256, body, at) VALUES ($1, $2, $3, $4)";
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
    if let Err(error) = connection.control(BEGIN_WRITE).await {
        let is_lost = is_lost(&error);
        let error = failed("begin a turn")(error);
        return if is_lost { Ran::NotBegun(error) } else { Ran::Known(Err(error.into())) };
    }
    let error = match write(&mut Tx::on(connection), turn).await {
        Ok(head) => match connection.control("COMMIT").await {
            Ok(()) => return Ran::Known(Ok(head)),
            Err(error) if is_lost(&error) => return Ran::Unknown(failed("commit a turn")(error)),
            Err(error) => refused(error).into(),
        },
        Err(error) => error,
    };
    match connection.control("ROLLBACK").await {
        Ok(()) => Ran::Known(Err(error)),
        Err(_) => Ran::Spoilt(error),
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

async fn write(tx: &mut Tx<'_>, turn: &Turn) -> Result<Seq, CommitError> {
    let count = i64::try_from(turn.events.len()).expect("the number of events was checked");
    let moved = tx.any("journal_head", 1, sql(MOVE_HEAD).bind(count).bind(turn.expected_head.0)).await?;
    if moved != 1 {
        return Err(CommitError::HeadMoved { expected: turn.expected_head, found: find_head(tx).await? });
    }
    // A configuration's text comes before the event that refers to it, a delivery's body after.
    for blob in &turn.blobs {
        if let Blob::Catalog { hash, text } = blob {
            rows::catalog::keep_text(tx, hash, text).await?;
        }
    }
    write_journal(tx, turn).await?;
    let head = rows::write(tx, turn.expected_head, turn.at, &turn.events).await?;
    for blob in &turn.blobs {
        if let Blob::Delivery { id, headers, body } = blob {
            rows::delivery::keep_body(tx, *id, headers, body).await?;
        }
    }
    move_cursors(tx, &turn.cursors, head).await?;
    keep_answers(tx, turn).await?;
    Ok(head)
}

async fn write_journal(tx: &mut Tx<'_>, turn: &Turn) -> Result<(), StoreError> {
    if turn.events.is_empty() {
        return Ok(());
    }
    let events = sql(INSERT_EVENTS).bind(turn.expected_head.0).bind(turn.at.0).bind_list(to_json(&turn.events));
    tx.many("event", turn.expected_head.next(), turn.events.len(), events).await
}

async fn find_head(tx: &mut Tx<'_>) -> Result<Seq, StoreError> {
    let rows = tx.rows("find the journal's head", sql(FIND_HEAD)).await?;
    let Some(row) = rows.first() else {
        return Err(inconsistent("journal_head", 1, "the row is missing"));
    };
    Ok(Seq(Record::of("journal_head", row).int("seq")?))
}

async fn move_cursors(tx: &mut Tx<'_>, cursors: &[(String, Seq)], head: Seq) -> Result<(), StoreError> {
    for (consumer, seq) in cursors {
        if *seq > head {
            return Err(inconsistent("cursor", consumer, "it would be past the journal's head"));
        }
        tx.one("cursor", consumer, sql(MOVE_CURSOR).bind(consumer.as_str()).bind(seq.0)).await?;
    }
    Ok(())
}

async fn keep_answers(tx: &mut Tx<'_>, turn: &Turn) -> Result<(), StoreError> {
    for Answer { key, request_sha256, body } in &turn.answers {
        let answer =
            sql(INSERT_ANSWER).bind(key.as_str()).bind(request_sha256.as_str()).bind(body.as_str()).bind(turn.at.0);
        tx.one("answer", key, answer).await?;
    }
    Ok(())
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
    }
    Ok(())
}

#[cfg(test)]
crate::store::database::statements![MOVE_HEAD, FIND_HEAD, WAIT_FOR_WRITER, FIND_EVENT, INSERT_ANSWER, MOVE_CURSOR];
