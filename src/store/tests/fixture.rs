//! A small world in events, and a store that is held against the fold after every turn.

use std::collections::BTreeMap;

use gristmill_model::*;
use gristmill_schedulers::State;

use super::Kind;
use crate::store::database::{self, Connection, Row, Text, sql};
use crate::store::inspect::{CHECKS, Looked};
use crate::store::{Answer, Blob, CommitError, Database, Store, StoreError, Turn};

/// A store in a folder of its own, and what its state must be.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) state: State,
    pub(super) now: Timestamp,
    pub(super) folder: tempfile::TempDir,
    pub(super) database: Database,
}

impl World {
    pub(super) async fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = kind.database();
        let store = Store::open_database(folder.path(), &database).await.unwrap();
        Self { store, state: State::default(), now: Timestamp::from_seconds(1_795_518_131), folder, database }
    }

    /// Gives another connection to the same database.
    pub(super) async fn connect(&self) -> Connection {
        database::Place::of(self.folder.path(), &self.database).unwrap().open_writer().await.unwrap()
    }

    /// A turn at the head, a second after the last one.
    pub(super) fn turn(&mut self, events: Vec<EventBody>) -> Turn {
        self.now = Timestamp(self.now.0 + 1_000_000);
        Turn { expected_head: self.state.head, at: self.now, events, ..Turn::default() }
    }

    /// Commits, folds the same events, and holds the tables against the fold.
    pub(super) async fn commit(&mut self, turn: Turn) -> Result<Seq, CommitError> {
        let head = self.store.commit(turn.clone()).await?;
        for body in turn.events {
            let seq = self.state.head.next();
            self.state.apply(&Event { seq, at: turn.at, body });
        }
        assert_eq!(head, self.state.head);
        self.store.verify(&self.state).await.unwrap();
        Ok(head)
    }

    /// Commits these events as a turn that must succeed.
    pub(super) async fn happen(&mut self, events: Vec<EventBody>) {
        let turn = self.turn(events);
        self.commit(turn).await.unwrap();
    }

    /// Commits these events as a turn that must be refused as inconsistent, and gives the table that refused.
    pub(super) async fn refused(&mut self, events: Vec<EventBody>) -> &'static str {
        let turn = self.turn(events);
        let refused = self.store.commit(turn).await;
        self.store.verify(&self.state).await.unwrap();
        match refused {
            Err(CommitError::Store(StoreError::Inconsistent { table, .. })) => table,
            other => panic!("it should have been refused: {other:?}"),
        }
    }

    /// Folds every event and writes it again, and holds both against the tables.
    async fn prove_fold(&self) {
        let mut inspector = self.store.inspector().await.unwrap();
        for check in CHECKS.iter().filter(|check| check.id.starts_with("fold-")) {
            let looked = inspector.look(check).await.unwrap();
            assert!(matches!(looked, Looked::Sound { .. }), "{}: {looked:?}", check.id);
        }
        inspector.close().await;
    }

    /// Closes the store and opens it again, as a restart does. Before, every event is folded and written again.
    pub(super) async fn restart(self) -> Self {
        self.prove_fold().await;
        let Self { store, state, now, folder, database } = self;
        store.close().await;
        let store = Store::open_database(folder.path(), &database).await.unwrap();
        store.verify(&state).await.unwrap();
        Self { store, state, now, folder, database }
    }
}

/// Gives all rows of all tables as JSON, in an order that is not the database's. What was migrated, and the chance that names an
/// installation, are not a part of it.
pub(super) async fn dump(world: &World) -> BTreeMap<String, Vec<String>> {
    const TABLES: Text = Text::Each {
        sqlite: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('schema_version', 'instance')",
        postgres: "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.tables
            WHERE table_schema = current_schema() AND table_name NOT IN ('schema_version', 'instance')",
    };
    let mut connection = world.connect().await;
    let mut dumped = BTreeMap::new();
    for row in sql(TABLES).fetch_all(&mut connection).await.unwrap() {
        let table: String = row.value("name").unwrap();
        let text = match connection {
            Connection::Sqlite(_) => rows_of_sqlite(&mut connection, &table).await,
            Connection::Postgres(_) => format!("SELECT CAST(to_json(t) AS TEXT) AS row FROM {table} t"),
        };
        let text: &'static str = text.leak();
        let rows = sql(text).fetch_all(&mut connection).await.unwrap();
        let read = |row: &Row| serde_json::from_str::<serde_json::Value>(&row.value::<String>("row").unwrap()).unwrap();
        let mut rows: Vec<String> = rows.iter().map(|row| read(row).to_string()).collect();
        rows.sort();
        dumped.insert(table, rows);
    }
    dumped
}

async fn rows_of_sqlite(connection: &mut Connection, table: &str) -> String {
    let columns: &'static str = format!("SELECT name, type FROM pragma_table_info('{table}')").leak();
    let columns = sql(columns).fetch_all(connection).await.unwrap();
    let cells = columns.iter().map(|column| {
        let (name, kind): (String, String) = (column.value("name").unwrap(), column.value("type").unwrap());
        let value = if kind == "BLOB" { format!("'\\x' || lower(hex({name}))") } else { name.clone() };
        format!("'{name}', {value}")
    });
    format!("SELECT json_object({}) AS row FROM {table}", cells.collect::<Vec<_>>().join(", "))
}

pub(super) fn revision(number: u32) -> Revision {
    format!("{number:040x}").into()
}

pub(super) fn change(id: i64, seq: i64, old: Option<u32>, new: Option<u32>) -> Change {
    let commit = Commit {
        revision: revision(new.unwrap_or_default()),
        author: Person { name: "Ada".into(), email: "ada@example.org".into() },
        message: "wheel: turn faster\n\nWater is free.".into(),
        files: vec!["src/wheel.rs".into()],
        at: Timestamp(7),
    };
    Change {
        id: ChangeId(id),
        repository: "lib".into(),
        reference: RefName::of_branch("main"),
        seq,
        old: old.map(revision),
        new: new.map(revision),
        movement: if new.is_none() { Movement::Deleted } else { Movement::Moved },
        commits: vec![commit],
        incomplete: false,
        via: Via::Webhook,
        at: Timestamp(8),
    }
}

pub(super) fn delivery(id: i64) -> (EventBody, Blob) {
    let delivery = Delivery {
        id: DeliveryId(id),
        repository: "lib".into(),
        key: format!("guid-{id}"),
        event: "push".into(),
        sha256: Digest::of(b"{}").0,
        at: Timestamp(9),
    };
    let blob = Blob::Delivery { id: DeliveryId(id), headers: "{\"x\":1}".into(), body: vec![0, 159, 146, 150] };
    (EventBody::DeliveryAccepted { delivery }, blob)
}

pub(super) fn verdict(change: i64, scheduler: &str, kind: VerdictKind) -> EventBody {
    let verdict = Verdict {
        change: ChangeId(change),
        scheduler: scheduler.into(),
        kind,
        reasons: vec![Reason::Matches],
        place: Place::default(),
        at: Timestamp(11),
    };
    EventBody::VerdictGiven { verdict }
}

pub(super) fn held(new: u32, until: Option<i64>) -> VerdictKind {
    VerdictKind::Held {
        until: until.map(Timestamp),
        repository: "lib".into(),
        branch: "main".into(),
        revision: revision(new),
    }
}

pub(super) fn recipe() -> Recipe {
    let source = SourceUse { repository: "lib".into(), into: String::new(), branch: None };
    Recipe {
        sources: [("lib".into(), source)].into(),
        requires: [("os".to_owned(), "linux".to_owned())].into(),
        environment: [("LANG".to_owned(), "C".to_owned())].into(),
        matrix: Default::default(),
        steps: vec![],
        retries_max: 2,
        ..Recipe::default()
    }
}

pub(super) fn recipe_recorded() -> EventBody {
    EventBody::RecipeRecorded { digest: recipe().digest(), recipe: recipe() }
}

pub(super) fn request(id: i64, buildset: i64, state: RequestState) -> Request {
    Request {
        id: RequestId(id),
        buildset: BuildsetId(buildset),
        node: format!("node-{id}").into(),
        builder: format!("builder-{id}").into(),
        recipe: recipe().digest(),
        digest: Digest::of(format!("request {id}").as_bytes()),
        mode: NeedMode::All,
        state,
        attempts: 0,
        epoch: 0,
        outcome: None,
        cause: None,
        created_at: Timestamp(12),
        settled_at: None,
    }
}

pub(super) fn stamps() -> StampSet {
    let stamp = SourceStamp {
        repository: "lib".into(),
        branch: "main".into(),
        revision: revision(2),
        change: Some(ChangeId(1)),
    };
    [("lib".into(), stamp)].into()
}

/// A buildset whose first request is ready and whose others need all before them; edges not in the order of numbers.
pub(super) fn buildset(id: i64, scheduler: &str, trigger: Trigger, requests: std::ops::Range<i64>) -> EventBody {
    let buildset = Buildset {
        id: BuildsetId(id),
        scheduler: scheduler.into(),
        project: Some("mill".into()),
        trigger,
        stamps: stamps(),
        branch: "main".into(),
        properties: [("why".to_owned(), "because".to_owned())].into(),
        priority: 3,
        depth: 1,
        catalog: "c0ffee".into(),
        created_at: Timestamp(12),
        outcome: None,
        completed_at: None,
    };
    let first = requests.start;
    let state = |id| if id == first { RequestState::Ready } else { RequestState::Waiting };
    let mut edges = Vec::new();
    for request in requests.clone() {
        for needs in (first..request).rev() {
            edges.push(Edge { request: RequestId(request), needs: RequestId(needs), on: Condition::Success });
        }
    }
    edges.reverse();
    let requests = requests.map(|request_id| request(request_id, id, state(request_id))).collect();
    EventBody::BuildsetCreated { buildset, requests, edges }
}

pub(super) fn by_person() -> Trigger {
    Trigger::Person { by: "ada".into(), reason: None }
}

pub(super) fn build(id: i64, request: i64, buildset: i64, attempt: u32) -> EventBody {
    let build = Build {
        id: BuildId(id),
        request: RequestId(request),
        buildset: BuildsetId(buildset),
        builder: format!("builder-{request}").into(),
        attempt,
        epoch: i64::from(attempt),
        worker: "water".into(),
        state: BuildState::Leased,
        cancel: None,
        suspended_step: None,
        outcome: None,
        cause: None,
        summary: None,
        leased_at: Timestamp(13),
        started_at: None,
        finished_at: None,
    };
    EventBody::BuildLeased { build }
}

pub(super) fn finished(build: i64, outcome: Outcome, retry: bool) -> EventBody {
    let cause = (!outcome.is_good()).then_some(Cause::Infrastructure);
    EventBody::BuildFinished { build: BuildId(build), outcome, cause, summary: "step test: exit code 2".into(), retry }
}

pub(super) fn resumed(build: i64) -> EventBody {
    EventBody::BuildResumed {
        build: BuildId(build),
        step: Some(0),
        outcome: Outcome::Success,
        summary: "buildset 3".into(),
    }
}

pub(super) fn completed(buildset: i64, outcome: Outcome) -> EventBody {
    EventBody::BuildsetCompleted { buildset: BuildsetId(buildset), outcome }
}

pub(super) fn message(id: i64) -> Message {
    Message {
        id: MessageId(id),
        event: Seq(1),
        notifier: "mail".into(),
        target: format!("person-{id}@example.org"),
        because: "author".into(),
        key: format!("key-{id}"),
        incident: None,
        subject: "main is broken".into(),
        text: "text".into(),
        html: None,
        at: Timestamp(20),
    }
}

pub(super) fn worker(slots: u32) -> Worker {
    Worker {
        name: "water".into(),
        labels: [("os".to_owned(), "linux".to_owned())].into(),
        slots,
        connected: true,
        since: Timestamp(3),
        ..Worker::default()
    }
}

pub(super) fn answer(key: &str) -> Answer {
    Answer { key: key.into(), request_sha256: Digest::of(key.as_bytes()).0, body: "{\"buildset\":1}".into() }
}

pub(super) fn suspects(after: i64, upto: i64) -> Suspects {
    let range = SuspectRange { branch: "main".into(), after: ChangeId(after), upto: ChangeId(upto) };
    [("lib".into(), range)].into()
}

pub(super) fn turned(builder: &str, outcome: Outcome, build: i64) -> EventBody {
    EventBody::BuilderTurned {
        builder: builder.into(),
        branch: "main".into(),
        transition: Transition::Passing,
        outcome,
        cause: None,
        build: BuildId(build),
        contains: [("lib".into(), ChangeId(build))].into(),
    }
}
