//! What the database says, in the words of its tables.

use std::collections::BTreeMap;

use serde_json::Value;

use super::database::Database;

/// Everything that the ledger is held against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) changes: Vec<Change>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) buildsets: Vec<Buildset>,
    /// (buildset, change).
    pub(crate) contains: Vec<(i64, i64)>,
    pub(crate) requests: Vec<Request>,
    pub(crate) builds: Vec<Build>,
    pub(crate) messages: Vec<Message>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) events: Vec<Event>,
    pub(crate) head: i64,
    /// (repository, ref) to revision.
    pub(crate) tips: BTreeMap<(String, String), String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) id: i64,
    pub(crate) repository: String,
    pub(crate) reference: String,
    pub(crate) seq: i64,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
    /// The revisions of its commits, oldest first.
    pub(crate) commits: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) change: i64,
    pub(crate) scheduler: String,
    pub(crate) kind: String,
    pub(crate) buildset: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Buildset {
    pub(crate) id: i64,
    pub(crate) scheduler: String,
    pub(crate) trigger: String,
    pub(crate) remaining: i64,
    pub(crate) outcome: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) id: i64,
    pub(crate) buildset: i64,
    pub(crate) state: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) id: i64,
    pub(crate) request: i64,
    pub(crate) builder: String,
    pub(crate) attempt: i64,
    pub(crate) epoch: i64,
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) event: i64,
    pub(crate) target: String,
    pub(crate) key: String,
    pub(crate) state: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: i64,
    pub(crate) repository: String,
    pub(crate) key: String,
    pub(crate) result: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) seq: i64,
    pub(crate) kind: String,
    pub(crate) body: Value,
}

impl Stored {
    /// Reads it, all in one transaction. An order says the table's column: PostgreSQL would sort the texts of that name.
    pub(crate) async fn load(database: &Database) -> Self {
        let [changes, verdicts, buildsets, contains, requests, builds, messages, deliveries, events, head, tips] =
            database
                .ask([
                    "SELECT CAST(id AS TEXT), repository, reference, CAST(seq AS TEXT), old, new, body FROM change
                     ORDER BY change.id",
                    "SELECT CAST(change AS TEXT), scheduler, kind, CAST(buildset AS TEXT) FROM verdict",
                    "SELECT CAST(id AS TEXT), scheduler, trigger_key, CAST(remaining AS TEXT), outcome FROM buildset",
                    "SELECT CAST(buildset AS TEXT), CAST(change AS TEXT) FROM buildset_change",
                    "SELECT CAST(id AS TEXT), CAST(buildset AS TEXT), state FROM request",
                    "SELECT CAST(id AS TEXT), CAST(request AS TEXT), builder, CAST(attempt AS TEXT),
                     CAST(epoch AS TEXT), state, outcome FROM build ORDER BY build.id",
                    "SELECT CAST(id AS TEXT), CAST(event AS TEXT), target, key, state FROM outbox",
                    "SELECT CAST(id AS TEXT), repository, key, result FROM delivery",
                    "SELECT CAST(seq AS TEXT), kind, body FROM event ORDER BY event.seq",
                    "SELECT CAST(seq AS TEXT) FROM journal_head",
                    "SELECT repository, reference, revision FROM ref_tip WHERE revision IS NOT NULL",
                ])
                .await;
        Self {
            changes: changes
                .iter()
                .map(|row| Change {
                    id: row.int(0),
                    repository: row.text(1),
                    reference: row.text(2),
                    seq: row.int(3),
                    old: row.maybe(4).map(str::to_owned),
                    new: row.maybe(5).map(str::to_owned),
                    commits: commits(&row.text(6)),
                })
                .collect(),
            verdicts: verdicts
                .iter()
                .map(|row| Verdict {
                    change: row.int(0),
                    scheduler: row.text(1),
                    kind: row.text(2),
                    buildset: row.maybe(3).map(|_| row.int(3)),
                })
                .collect(),
            buildsets: buildsets
                .iter()
                .map(|row| Buildset {
                    id: row.int(0),
                    scheduler: row.text(1),
                    trigger: row.text(2),
                    remaining: row.int(3),
                    outcome: row.maybe(4).map(str::to_owned),
                })
                .collect(),
            contains: contains.iter().map(|row| (row.int(0), row.int(1))).collect(),
            requests: requests
                .iter()
                .map(|row| Request { id: row.int(0), buildset: row.int(1), state: row.text(2) })
                .collect(),
            builds: builds
                .iter()
                .map(|row| Build {
                    id: row.int(0),
                    request: row.int(1),
                    builder: row.text(2),
                    attempt: row.int(3),
                    epoch: row.int(4),
                    state: row.text(5),
                    outcome: row.maybe(6).map(str::to_owned),
                })
                .collect(),
            messages: messages
                .iter()
                .map(|row| Message {
                    id: row.int(0),
                    event: row.int(1),
                    target: row.text(2),
                    key: row.text(3),
                    state: row.text(4),
                })
                .collect(),
            deliveries: deliveries
                .iter()
                .map(|row| Delivery {
                    id: row.int(0),
                    repository: row.text(1),
                    key: row.text(2),
                    result: row.maybe(3).map(str::to_owned),
                })
                .collect(),
            events: events
                .iter()
                .map(|row| Event {
                    seq: row.int(0),
                    kind: row.text(1),
                    body: serde_json::from_str(&row.text(2)).expect("the journal is JSON"),
                })
                .collect(),
            head: head.iter().map(|row| row.int(0)).sum(),
            tips: tips.iter().map(|row| ((row.text(0), row.text(1)), row.text(2))).collect(),
        }
    }
}

fn commits(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).expect("a change is JSON");
    let list = body["commits"].as_array().into_iter().flatten();
    list.filter_map(|commit| commit["revision"].as_str()).map(str::to_owned).collect()
}
