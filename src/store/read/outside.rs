//! What stands at the edges: repositories and their tips, deliveries, workers, messages.

use std::collections::BTreeMap;

use gristmill_model::{
    About, BuildId, DeliveryId, Hold, HoldKind, IncidentId, Message, MessageId, NotifierName, RefName, RepositoryName,
    Revision, Seq, Timestamp, WorkerName,
};
use serde::Serialize;

use super::Reader;
use super::row::{Cells, Page, ReadError, opt_rfc3339, read_all, rfc3339};
#[cfg(test)]
use crate::store::database::Text;
use crate::store::database::sql;

/// A repository as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryRow {
    /// Its name.
    pub name: RepositoryName,
    /// Whether it has been swept at least once.
    pub seen: bool,
    /// How often in a row it could not be read.
    pub failures: u32,
    /// Why, the last time.
    pub error: Option<String>,
    /// When that last changed.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// The accepted tip of a ref.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TipRow {
    /// The ref.
    pub reference: RefName,
    /// Where it is; `None` if it is gone.
    pub revision: Option<Revision>,
    /// How often it moved.
    pub seq: i64,
    /// Its newest change.
    pub change: Option<gristmill_model::ChangeId>,
}

/// A webhook request as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRow {
    /// Its number.
    pub id: DeliveryId,
    /// The repository whose hook was called.
    pub repository: RepositoryName,
    /// The sender's own id.
    pub key: String,
    /// The event's name.
    pub event: String,
    /// SHA-256 of the body.
    pub sha256: String,
    /// Bytes of the body; 0 if it was retired.
    pub bytes: u64,
    /// What came of it, in a sentence.
    pub result: Option<String>,
    /// When it came.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// A worker and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerRow {
    /// Its name.
    pub name: WorkerName,
    /// What it is and has.
    pub labels: BTreeMap<String, String>,
    /// How many builds it runs at once.
    pub slots: u32,
    /// The builds that hold its slots.
    pub builds: Vec<BuildId>,
    /// Whether it is there.
    pub connected: bool,
    /// Since when.
    #[serde(serialize_with = "rfc3339")]
    pub since: Timestamp,
    /// What it says of its own program.
    pub about: About,
    /// The token that it joined by.
    pub token: Option<String>,
    /// Who is told of what becomes of it, by its token.
    pub owner: Option<String>,
    /// What keeps new builds from it.
    pub holds: Vec<HoldRow>,
}

/// What keeps new builds from a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HoldRow {
    /// How.
    pub kind: HoldKind,
    /// Who wants it.
    pub by: String,
    /// Why, or the evidence.
    pub reason: Option<String>,
    /// Since when.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// Until when; of a drain, when its builds are handed over.
    #[serde(serialize_with = "opt_rfc3339")]
    pub until: Option<Timestamp>,
}

impl HoldRow {
    fn of((kind, hold): (HoldKind, Hold)) -> Self {
        Self { kind, by: hold.by, reason: hold.reason, at: hold.at, until: hold.until }
    }
}

/// A message of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageRow {
    /// Its number.
    pub id: MessageId,
    /// The event that it tells of.
    pub event: Seq,
    /// The notifier.
    pub notifier: NotifierName,
    /// A mail address or a channel.
    pub target: String,
    /// Why this recipient.
    pub because: String,
    /// One line: a mail's subject, or all that IRC says.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// `due`, `delivered` or `dead`.
    pub state: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it is tried next.
    #[serde(serialize_with = "rfc3339")]
    pub due_at: Timestamp,
    /// The last error's text.
    pub error: Option<String>,
    /// What the target answered.
    pub receipt: Option<String>,
    /// The incident that it belongs to.
    pub incident: Option<IncidentId>,
    /// When it was written.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// Which messages a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageFilter {
    /// Only of this incident.
    pub incident: Option<IncidentId>,
}

const REPOSITORIES: &str = "SELECT name, seen, failures, error, at FROM repository ORDER BY name LIMIT $1";
const TIPS: &str = "SELECT reference, revision, seq, change FROM ref_tip \
                    WHERE repository = $1 AND revision IS NOT NULL ORDER BY reference LIMIT $2";
const DELIVERIES: &str = "SELECT d.id, d.repository, d.key, d.event, d.sha256, COALESCE(length(b.body), 0) AS bytes, \
                          d.result, d.at FROM delivery d LEFT JOIN delivery_body b ON b.delivery = d.id \
                          WHERE d.id < $1 ORDER BY d.id DESC LIMIT $2";
const DELIVERY: &str = "SELECT d.id, d.repository, d.key, d.event, d.sha256, COALESCE(length(b.body), 0) AS bytes, \
                        d.result, d.at FROM delivery d LEFT JOIN delivery_body b ON b.delivery = d.id \
                        WHERE d.id = $1 LIMIT 1";
const UNREAD: &str = "SELECT id, repository FROM delivery WHERE result IS NULL ORDER BY id LIMIT $1";
const WORKERS: &str = "SELECT worker.name, worker.labels, worker.slots, worker.connected, worker.since, worker.about, \
                       worker.token, worker.holds, token.owner \
                       FROM worker LEFT JOIN token ON token.id = worker.token ORDER BY worker.name LIMIT $1";
const SLOTS: &str = "SELECT id, worker FROM build WHERE state <> 'finished' AND state IN ('leased', 'running') \
                     ORDER BY id LIMIT $1";
const MESSAGES: &str =
    "SELECT id, body, state, attempts, due_at, error, receipt FROM outbox WHERE id < $1 ORDER BY id DESC LIMIT $2";
const MESSAGES_OF_INCIDENT: &str = "SELECT id, body, state, attempts, due_at, error, receipt FROM outbox \
                                    WHERE incident = $3 AND id < $1 ORDER BY id DESC LIMIT $2";
const MESSAGE: &str = "SELECT id, body, state, attempts, due_at, error, receipt FROM outbox WHERE id = $1 LIMIT 1";
const CATALOG: &str = "SELECT at FROM catalog WHERE active = 1 LIMIT 1";

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 5] = [
    ("deliveries", Text::Same(DELIVERIES)),
    ("slots", Text::Same(SLOTS)),
    ("messages", Text::Same(MESSAGES)),
    ("messages of an incident", Text::Same(MESSAGES_OF_INCIDENT)),
    ("tips", Text::Same(TIPS)),
];

/// Repositories, and workers, that are shown.
pub const OUTSIDE_MAX: i64 = 10_000;
/// Builds that hold slots, over all workers.
const SLOTS_MAX: i64 = 10_000;
/// Tips of one repository that are shown.
pub const TIPS_MAX: i64 = 200;

fn delivery_row(cells: &Cells<'_>) -> Result<DeliveryRow, ReadError> {
    Ok(DeliveryRow {
        id: cells.id("id", DeliveryId)?,
        repository: cells.text("repository")?,
        key: cells.text("key")?,
        event: cells.text("event")?,
        sha256: cells.text("sha256")?,
        bytes: u64::try_from(cells.int("bytes")?).unwrap_or(0),
        result: cells.opt_text("result")?,
        at: cells.time("at")?,
    })
}

fn message_row(cells: &Cells<'_>) -> Result<MessageRow, ReadError> {
    let message: Message = cells.json("body")?;
    Ok(MessageRow {
        id: cells.id("id", MessageId)?,
        event: message.event,
        notifier: message.notifier,
        target: message.target,
        because: message.because,
        subject: message.subject,
        text: message.text,
        state: cells.text("state")?,
        attempts: cells.count("attempts")?,
        due_at: cells.time("due_at")?,
        error: cells.opt_text("error")?,
        receipt: cells.opt_text("receipt")?,
        incident: message.incident,
        at: message.at,
    })
}

impl Reader {
    /// Lists the repositories that a source has looked at.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>, ReadError> {
        let rows = sql(REPOSITORIES).bind(OUTSIDE_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            Ok(RepositoryRow {
                name: cells.text("name")?,
                seen: cells.flag("seen")?,
                failures: cells.count("failures")?,
                error: cells.opt_text("error")?,
                at: cells.time("at")?,
            })
        })
    }

    /// Lists the tips of a repository's refs that are there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn tips(&self, repository: &RepositoryName) -> Result<Vec<TipRow>, ReadError> {
        let rows = sql(TIPS).bind(repository.as_str()).bind(TIPS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            Ok(TipRow {
                reference: cells.text("reference")?,
                revision: cells.opt_text("revision")?,
                seq: cells.int("seq")?,
                change: cells.opt_id("change", gristmill_model::ChangeId)?,
            })
        })
    }

    /// Lists deliveries, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list_deliveries(&self, page: Page) -> Result<Vec<DeliveryRow>, ReadError> {
        let rows = sql(DELIVERIES).bind(page.before).bind(page.limit).fetch_all(self.pool()).await?;
        read_all(&rows, delivery_row)
    }

    /// Lists deliveries that were accepted and not read yet, oldest first, at most `limit` of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn unread_deliveries(&self, limit: u32) -> Result<Vec<(DeliveryId, RepositoryName)>, ReadError> {
        let rows = sql(UNREAD).bind(i64::from(limit)).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| Ok((cells.id("id", DeliveryId)?, RepositoryName(cells.text("repository")?))))
    }

    /// Finds a delivery.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, ReadError> {
        let row = sql(DELIVERY).bind(id.0).fetch_optional(self.pool()).await?;
        row.map(|row| delivery_row(&Cells(&row))).transpose()
    }

    /// Finds a message.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_message(&self, id: MessageId) -> Result<Option<MessageRow>, ReadError> {
        let row = sql(MESSAGE).bind(id.0).fetch_optional(self.pool()).await?;
        row.map(|row| message_row(&Cells(&row))).transpose()
    }

    /// Lists workers with the builds that they have.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, ReadError> {
        let slots = sql(SLOTS).bind(SLOTS_MAX).fetch_all(self.pool()).await?;
        let mut builds: BTreeMap<WorkerName, Vec<BuildId>> = BTreeMap::new();
        for row in &slots {
            let cells = Cells(row);
            builds.entry(cells.text("worker")?).or_default().push(cells.id("id", BuildId)?);
        }
        let rows = sql(WORKERS).bind(OUTSIDE_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            let name: WorkerName = cells.text("name")?;
            Ok(WorkerRow {
                builds: builds.get(&name).cloned().unwrap_or_default(),
                name,
                labels: cells.json("labels")?,
                slots: cells.count("slots")?,
                connected: cells.flag("connected")?,
                since: cells.time("since")?,
                about: cells.json("about")?,
                token: cells.opt_text("token")?,
                owner: cells.opt_text("owner")?,
                holds: cells.json::<BTreeMap<HoldKind, Hold>>("holds")?.into_iter().map(HoldRow::of).collect(),
            })
        })
    }

    /// Lists messages, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list_messages(&self, filter: &MessageFilter, page: Page) -> Result<Vec<MessageRow>, ReadError> {
        let rows = match filter.incident {
            None => sql(MESSAGES).bind(page.before).bind(page.limit).fetch_all(self.pool()).await?,
            Some(incident) => {
                let query = sql(MESSAGES_OF_INCIDENT).bind(page.before).bind(page.limit).bind(incident.0);
                query.fetch_all(self.pool()).await?
            }
        };
        read_all(&rows, message_row)
    }

    /// Gives the moment since which the configuration has been in force.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn catalog_since(&self) -> Result<Option<Timestamp>, ReadError> {
        let row = sql(CATALOG).fetch_optional(self.pool()).await?;
        row.map(|row| Cells(&row).time("at")).transpose()
    }
}

#[cfg(test)]
crate::store::database::statements![
    UNREAD,
    REPOSITORIES,
    TIPS,
    DELIVERIES,
    DELIVERY,
    WORKERS,
    SLOTS,
    MESSAGES,
    MESSAGES_OF_INCIDENT,
    MESSAGE,
    CATALOG
];
