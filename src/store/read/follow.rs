//! Reads for those who act on what happened: followers of the journal, the delivery of the outbox, replays, and whoever
//! answers a caller who repeats itself.

use gristmill_model::{CatalogHash, DeliveryId, Event, MessageId, NotifierName, RepositoryName, Seq, Timestamp};
use gristmill_notifiers::outbox::Waiting;

use super::Reader;
use crate::store::StoreError;
use crate::store::database::{Row, Statement, failed, sql};
use crate::store::record::Record;

/// Limits on reads.
pub mod limit {
    /// Events given at once.
    pub const EVENTS_MAX: u32 = 1_000;
    /// Due messages given at once.
    pub const MESSAGES_MAX: u32 = 200;
}

const HEAD: &str = "SELECT seq FROM journal_head WHERE one = 1";
const EVENTS_AFTER: &str = "SELECT seq, at, body FROM event WHERE seq > $1 ORDER BY seq LIMIT $2";
const CURSOR: &str = "SELECT seq FROM cursor WHERE consumer = $1";
const ANY_DUE: &str = "SELECT id FROM outbox WHERE state = 'due' AND due_at <= $1 LIMIT 1";
const MESSAGE_BY_KEY: &str = "SELECT id FROM outbox WHERE key = $1";
const DELIVERY_BY_KEY: &str = "SELECT id FROM delivery WHERE repository = $1 AND key = $2";
const DELIVERY_BODY: &str = "SELECT headers, body FROM delivery_body WHERE delivery = $1";
const CATALOG_TEXT: &str = "SELECT text FROM catalog_text WHERE hash = $1";
const ACTIVE_CATALOG: &str = "SELECT hash FROM catalog WHERE active = 1";
const DUE_MESSAGES: &str = "SELECT o.body, o.attempts, o.claimed FROM outbox o JOIN (SELECT MIN(id) AS first FROM outbox \
                            WHERE state = 'due' AND notifier = $1 AND due_at <= $2 GROUP BY target) t ON t.first = o.id \
                            ORDER BY o.due_at, o.id LIMIT $3";
const NEXT_DUE: &str = "SELECT MIN(due_at) AS due_at FROM outbox WHERE state = 'due' AND notifier = $1";
const IS_DUE: &str = "SELECT id FROM outbox WHERE id = $1 AND state = 'due'";
const ANSWER: &str = "SELECT request_sha256, body FROM answer WHERE key = $1";

/// A webhook request as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryBody {
    /// The headers worth keeping, as JSON.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer that was given before under the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecalledAnswer {
    /// SHA-256 (hexadecimal) of the request that it answered.
    pub request_sha256: String,
    /// What was answered.
    pub body: String,
}

impl Reader {
    /// Gives the journal's head: the number of the last event; 0 if there is none.
    pub async fn head(&self) -> Result<Seq, StoreError> {
        let row = self.find("find the journal's head", sql(HEAD)).await?;
        row.map_or(Ok(Seq(0)), |row| Record::of("journal_head", &row).id("seq"))
    }

    /// Gives the events after `after`, in order, at most `limit` and at most [`limit::EVENTS_MAX`] of them.
    pub async fn events_after(&self, after: Seq, limit: u32) -> Result<Vec<Event>, StoreError> {
        let limit = limit.min(limit::EVENTS_MAX);
        let rows = self.list("list events", sql(EVENTS_AFTER).bind(after.0).bind(limit)).await?;
        rows.iter()
            .map(|row| {
                let row = Record::of("event", row);
                Ok(Event { seq: row.id("seq")?, at: row.time("at")?, body: row.json("body")? })
            })
            .collect()
    }

    /// Gives a follower's cursor: the number of the last event that it has dealt with; 0 if it never has.
    pub async fn cursor(&self, consumer: &str) -> Result<Seq, StoreError> {
        let row = self.find("find a cursor", sql(CURSOR).bind(consumer)).await?;
        row.map_or(Ok(Seq(0)), |row| Record::of("cursor", &row).id("seq"))
    }

    /// Says whether any message of any notifier is due by `now`.
    pub async fn has_due_messages(&self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.find("find a due message", sql(ANY_DUE).bind(now.0)).await?.is_some())
    }

    /// Says whether a message with this key was ever put into the outbox.
    pub async fn has_message(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.find("find a message", sql(MESSAGE_BY_KEY).bind(key)).await?.is_some())
    }

    /// Finds the delivery that a sender knows under `key`.
    pub async fn delivery_by_key(
        &self,
        repository: &RepositoryName,
        key: &str,
    ) -> Result<Option<DeliveryId>, StoreError> {
        let query = sql(DELIVERY_BY_KEY).bind(repository.as_str()).bind(key);
        let row = self.find("find a delivery", query).await?;
        row.map(|row| Record::of("delivery", &row).id("id")).transpose()
    }

    /// Gives a delivery as it was received; `None` if it is unknown or its body was retired.
    pub async fn delivery_body(&self, id: DeliveryId) -> Result<Option<DeliveryBody>, StoreError> {
        let row = self.find("find a delivery's body", sql(DELIVERY_BODY).bind(id.0)).await?;
        row.map(|row| {
            let row = Record::of("delivery_body", &row);
            Ok(DeliveryBody { headers: row.text("headers")?, body: row.bytes("body")? })
        })
        .transpose()
    }

    /// Gives a configuration's text.
    pub async fn catalog_text(&self, hash: &CatalogHash) -> Result<Option<String>, StoreError> {
        let row = self.find("find a configuration", sql(CATALOG_TEXT).bind(hash.as_str())).await?;
        row.map(|row| Record::of("catalog_text", &row).text("text")).transpose()
    }

    /// Gives the hash of the configuration that came into force last.
    pub async fn active_catalog(&self) -> Result<Option<CatalogHash>, StoreError> {
        let row = self.find("find the configuration in force", sql(ACTIVE_CATALOG)).await?;
        row.map(|row| Ok(Record::of("catalog", &row).text("hash")?.into())).transpose()
    }

    /// Gives messages of `notifier` that are due by `now`, the oldest of each target, the longest due first, at most
    /// `limit` and at most [`limit::MESSAGES_MAX`] of them. So a target with many messages hides no other.
    pub async fn due_messages(
        &self,
        notifier: &NotifierName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Waiting>, StoreError> {
        let limit = limit.min(limit::MESSAGES_MAX);
        let due = sql(DUE_MESSAGES).bind(notifier.as_str()).bind(now.0).bind(limit);
        let rows = self.list("list due messages", due).await?;
        rows.iter()
            .map(|row| {
                let row = Record::of("outbox", row);
                Ok(Waiting {
                    message: row.json("body")?,
                    attempts: row.count("attempts")?,
                    claimed: row.count("claimed")? != 0,
                })
            })
            .collect()
    }

    /// Gives the time when the next message of `notifier` is due, which may be past; `None` if there is none.
    pub async fn next_due(&self, notifier: &NotifierName) -> Result<Option<Timestamp>, StoreError> {
        let row = self.find("find the next due message", sql(NEXT_DUE).bind(notifier.as_str())).await?;
        row.map_or(Ok(None), |row| Record::of("outbox", &row).time_maybe("due_at"))
    }

    /// Says whether a message still waits to be delivered.
    pub async fn is_due(&self, id: MessageId) -> Result<bool, StoreError> {
        Ok(self.find("find a message", sql(IS_DUE).bind(id.0)).await?.is_some())
    }

    /// Gives the answer that was kept under `key` (the principal and the key that it chose).
    pub async fn recall_answer(&self, key: &str) -> Result<Option<RecalledAnswer>, StoreError> {
        let row = self.find("recall an answer", sql(ANSWER).bind(key)).await?;
        row.map(|row| {
            let row = Record::of("answer", &row);
            Ok(RecalledAnswer { request_sha256: row.text("request_sha256")?, body: row.text("body")? })
        })
        .transpose()
    }

    async fn find(&self, doing: &'static str, statement: Statement) -> Result<Option<Row>, StoreError> {
        statement.fetch_optional(self.pool()).await.map_err(failed(doing))
    }

    async fn list(&self, doing: &'static str, statement: Statement) -> Result<Vec<Row>, StoreError> {
        statement.fetch_all(self.pool()).await.map_err(failed(doing))
    }
}

#[cfg(test)]
crate::store::database::statements![
    HEAD,
    EVENTS_AFTER,
    CURSOR,
    ANY_DUE,
    MESSAGE_BY_KEY,
    DELIVERY_BY_KEY,
    DELIVERY_BODY,
    CATALOG_TEXT,
    ACTIVE_CATALOG,
    DUE_MESSAGES,
    NEXT_DUE,
    IS_DUE,
    ANSWER
];
