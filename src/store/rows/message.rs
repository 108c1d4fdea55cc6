//! The outbox: a message is due until it is delivered or given up, and then stays as it is (S17).

use gristmill_model::{Message, MessageId, Timestamp};

use crate::store::database::sql;
use crate::store::record::to_json;
use crate::store::writes::Writes;

const QUEUE: &str = "INSERT INTO outbox
    (id, event, notifier, target, key, body, state, attempts, claimed, due_at, at, incident)
    VALUES ($1, $2, $3, $4, $5, $6, 'due', 0, 0, $7, $7, $8)";
const DELIVER: &str =
    "UPDATE outbox SET state = 'delivered', claimed = 0, attempts = attempts + 1, receipt = $2, error = NULL
    WHERE id = $1 AND state = 'due'";
const CLAIM: &str = "UPDATE outbox SET claimed = 1, due_at = $2 WHERE id = $1 AND state = 'due' AND claimed = 0";
const DEFER: &str =
    "UPDATE outbox SET claimed = 0, attempts = $2, error = $3, due_at = $4 WHERE id = $1 AND state = 'due'";
const GIVE_UP: &str = "UPDATE outbox SET state = 'dead', claimed = 0, error = $2 WHERE id = $1 AND state = 'due'";

pub(super) fn queued(writes: &mut Writes, message: &Message) {
    let queue = sql(QUEUE)
        .bind(message.id.0)
        .bind(message.event.0)
        .bind(message.notifier.as_str())
        .bind(message.target.as_str())
        .bind(message.key.as_str())
        .bind(to_json(message))
        .bind(message.at.0)
        .bind(message.incident.map(|incident| incident.0));
    writes.one("outbox", message.id, queue);
}

pub(super) fn delivered(writes: &mut Writes, id: MessageId, receipt: &str) {
    writes.one("outbox", id, sql(DELIVER).bind(id.0).bind(receipt));
}

pub(super) fn claimed(writes: &mut Writes, id: MessageId, until: Timestamp) {
    writes.one("outbox", id, sql(CLAIM).bind(id.0).bind(until.0));
}

pub(super) fn deferred(writes: &mut Writes, id: MessageId, attempts: u32, error: &str, due: Timestamp) {
    writes.one("outbox", id, sql(DEFER).bind(id.0).bind(attempts).bind(error).bind(due.0));
}

pub(super) fn dead(writes: &mut Writes, id: MessageId, error: &str) {
    writes.one("outbox", id, sql(GIVE_UP).bind(id.0).bind(error));
}

#[cfg(test)]
crate::store::database::statements![QUEUE, DELIVER, CLAIM, DEFER, GIVE_UP];
