//! The transaction of a turn: the fence, the journal, the rows, what belongs to them. All or nothing.

use std::collections::BTreeSet;

use gristmill_model::{DeliveryId, EventBody, Seq};

use super::dialect::{self, BEGIN_WRITE, Connection, INSERT_EVENTS, failed, sql};
use super::record::{Record, to_json};
use super::tx::{Tx, inconsistent};
use super::{Answer, Blob, CommitError, StoreError, Turn, rows, turn};

/// Gives out the turn's numbers, on condition that nobody else has given out any. This row is the fence.
const MOVE_HEAD: &str = "UPDATE journal_head SET seq = seq + $1 WHERE one = 1 AND seq = $2";
const FIND_HEAD: &str = "SELECT seq FROM journal_head WHERE one = 1";
const INSERT_ANSWER: &str = "INSERT INTO answer (key, request_sha256, body, at) VALUES ($1, $2, $3, $4)";
/// A cursor never goes back.
const MOVE_CURSOR: &str = "INSERT INTO cursor (consumer, seq) VALUES ($1, $2)
    ON CONFLICT (consumer) DO UPDATE SET seq = excluded.seq WHERE cursor.seq <= excluded.seq";

/// Commits a turn. The second value says whether the connection is fit for another transaction.
pub(super) async fn run(connection: &mut Connection, turn: &Turn) -> (Result<Seq, CommitError>, bool) {
    if let Err(error) = check(turn) {
        return (Err(error.into()), true);
    }
    if let Err(error) = execute(connection, BEGIN_WRITE).await {
        return (Err(error.into()), true);
    }
    let written = match write(&mut Tx::on(connection), turn).await {
        Ok(head) => finish(connection).await.map(|()| head).map_err(CommitError::from),
        Err(error) => Err(error),
    };
    match written {
        Ok(head) => (Ok(head), true),
        Err(error) => (Err(error), execute(connection, "ROLLBACK").await.is_ok()),
    }
}

async fn execute(connection: &mut Connection, text: &'static str) -> Result<(), StoreError> {
    sql(text).execute(connection).await.map(drop).map_err(failed("begin or end a turn"))
}

/// Commits: rules that are only looked at now (that every delivery has its body) may still refuse.
async fn finish(connection: &mut Connection) -> Result<(), StoreError> {
    match sql("COMMIT").execute(connection).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match dialect::broken_rule(&error) {
            Some(rule) => inconsistent("journal_head", 1, &rule),
            None => failed("commit a turn")(error),
        }),
    }
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
    let events = sql(INSERT_EVENTS).bind(turn.expected_head.0).bind(turn.at.0).bind(to_json(&turn.events));
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
