//! What the engine does per second on SQLite and on PostgreSQL, beside what the same disk and the bare database do:
//! `cargo bench --bench databases`.
//!
//! Everything runs in turn, on the same disk, in one process, so the ratios mean something on a noisy machine and the
//! absolute numbers do not. PostgreSQL has its own settings here, not those that make it fast for tests.

#[path = "../tests/support/postgres.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it is a helper of the tests, which do more with it")]
mod postgres;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gristmill::clock::SystemClock;
use gristmill::engine::Engine;
use gristmill::engine::turns::{self, Dispatch, Options};
use gristmill::store::{Database, Store};
use gristmill_model::protocol::WorkerCommand;
use gristmill_model::*;
use gristmill_schedulers::Input;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 5;
/// Syncs of a file, and bare inserts, in a round.
const BARE: usize = 200;
/// Inputs in a round, one after the other.
const ALONE: usize = 100;
/// Those who push at the same time, each on a branch of its own.
const WRITERS: usize = 64;
/// Inputs of each in a round.
const EACH: usize = 20;

const CONFIG: &str = "
repositories: {core: {git: /srv/git/core.git}}
builders:
  test: {source: core, steps: [checkout, {run: make check}]}
  pack: {source: core, steps: [checkout, {run: make package}]}
schedulers:
  push: {kind: any-branch, when: {repository: core}, build: {test: test, pack: {builder: pack, needs: test}}}
";

/// The settings that the helper for tests takes back from it.
const USUAL: [&str; 4] = ["full_page_writes=on", "checkpoint_timeout=5min", "max_wal_size=1GB", "autovacuum=on"];

fn main() -> anyhow::Result<()> {
    // Beside the build's output, not in /tmp, which is often no disk.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let server = postgres::Postgres::start_in(place, &USUAL);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(place, &server))
}

async fn run(place: &Path, server: &postgres::Postgres) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(place)?;
    let mut file = File::create(folder.path().join("bare"))?;
    let mut sides = [
        Side::open("SQLite", Bare::sqlite(folder.path()).await?, folder.path(), Database::Embedded).await?,
        Side::open(
            "PostgreSQL",
            Bare::postgres(&server.database()).await?,
            folder.path(),
            Database::Server(server.database()),
        )
        .await?,
    ];
    let mut syncs = Vec::new();
    for _ in 0..ROUNDS {
        syncs.push(per_second(BARE, sync(&mut file)).await?);
        for side in &mut sides {
            side.round().await?;
        }
    }
    let sync = median(&mut syncs);
    println!("{:<46} {sync:>9.0} /s", "sync of a file after 4 KiB");
    for mut side in sides {
        side.tell(sync);
        side.stop().await;
    }
    Ok(())
}

/// One database: bare, and under the engine.
struct Side {
    name: &'static str,
    bare: Bare,
    store: Arc<Store>,
    engine: Engine,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    pushed: [usize; WRITERS],
    inserts: Vec<f64>,
    alone: Rates,
    together: Rates,
}

/// What was done per second, round by round.
#[derive(Default)]
struct Rates {
    inputs: Vec<f64>,
    turns: Vec<f64>,
    events: Vec<f64>,
}

impl Rates {
    fn add(&mut self, [inputs, turns, events]: [f64; 3]) {
        self.inputs.push(inputs);
        self.turns.push(turns);
        self.events.push(events);
    }
}

impl Side {
    async fn open(name: &'static str, bare: Bare, folder: &Path, database: Database) -> anyhow::Result<Self> {
        let store = Arc::new(Store::open_database(&folder.join(name), &database).await?);
        let stop = CancellationToken::new();
        let options = Options {
            leads: true,
            store: Arc::clone(&store),
            clock: Arc::new(SystemClock),
            dispatch: Arc::new(Nobody),
            origin: Arc::new(|_, _| None),
        };
        let (engine, task) = turns::start(options, stop.clone()).await?;
        let loaded = gristmill::config::read(CONFIG, "gristmill.yaml").expect("it is a configuration");
        engine.submit(Input::Activate { catalog: Arc::new(loaded.catalog), text: loaded.text }).await?;
        let (alone, together) = (Rates::default(), Rates::default());
        let pushed = [0; WRITERS];
        Ok(Self { name, bare, store, engine, stop, task, pushed, inserts: Vec::new(), alone, together })
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        self.inserts.push(per_second(BARE, self.bare.insert()).await?);
        let done = self.push(1, ALONE).await?;
        self.alone.add(done);
        let done = self.push(WRITERS, EACH).await?;
        self.together.add(done);
        Ok(())
    }

    /// Has some push at the same time, each so often; gives pushes, turns and events per second.
    async fn push(&mut self, writers: usize, each: usize) -> anyhow::Result<[f64; 3]> {
        let before = self.store.reader().head().await?;
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for (writer, pushed) in self.pushed.iter_mut().take(writers).enumerate() {
            let (engine, first) = (self.engine.clone(), *pushed);
            *pushed += each;
            tasks.spawn(async move {
                for number in first..first + each {
                    engine.submit(Input::Sight(pushed_by(writer, number))).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let (events, turns) = self.written_after(before).await?;
        Ok([writers * each, turns, events].map(|count| count as f64 / seconds))
    }

    /// Counts events, and the turns that they came in: those of one turn have one time.
    async fn written_after(&self, before: Seq) -> anyhow::Result<(usize, usize)> {
        let (mut last, mut events, mut times) = (before, 0, BTreeSet::new());
        loop {
            let some = self.store.reader().events_after(last, 1_000).await?;
            let Some(newest) = some.last() else { return Ok((events, times.len())) };
            last = newest.seq;
            events += some.len();
            times.extend(some.iter().map(|event| event.at));
        }
    }

    fn tell(&mut self, sync: f64) {
        let insert = median(&mut self.inserts);
        println!(
            "\n{}\n{:<46} {insert:>9.0} /s {:>8.2} × syncs",
            self.name,
            "insert, one per transaction",
            insert / sync
        );
        for (what, rates) in [("one after the other", &mut self.alone), ("64 at the same time", &mut self.together)] {
            for (unit, rates) in [
                ("pushes", &mut rates.inputs),
                ("turns", &mut rates.turns),
                ("events with their rows", &mut rates.events),
            ] {
                let rate = median(rates);
                println!(
                    "{:<46} {rate:>9.0} /s {:>8.2} × syncs {:>8.2} × inserts",
                    format!("{what}: {unit}"),
                    rate / sync,
                    rate / insert
                );
            }
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the engine's task ends in order");
        if let Some(store) = Arc::into_inner(self.store) {
            store.close().await;
        }
    }
}

/// A table of one's own, in a database without anything else.
enum Bare {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

const INSERT: &str = "INSERT INTO bare (body) VALUES ($1)";

impl Bare {
    async fn sqlite(folder: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("bare.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut bare = options.connect().await?;
        sqlx::query("CREATE TABLE bare (id INTEGER PRIMARY KEY, body TEXT NOT NULL)").execute(&mut bare).await?;
        Ok(Self::Sqlite(bare))
    }

    async fn postgres(url: &str) -> anyhow::Result<Self> {
        let mut bare = PgConnection::connect(url).await?;
        let table = "CREATE TABLE bare (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body TEXT NOT NULL)";
        sqlx::query(table).execute(&mut bare).await?;
        Ok(Self::Postgres(bare))
    }

    async fn insert(&mut self) -> anyhow::Result<()> {
        for _ in 0..BARE {
            let body = "x".repeat(200);
            match self {
                Self::Sqlite(bare) => sqlx::query(INSERT).bind(body).execute(bare).await.map(drop)?,
                Self::Postgres(bare) => sqlx::query(INSERT).bind(body).execute(bare).await.map(drop)?,
            }
        }
        Ok(())
    }
}

async fn sync(file: &mut File) -> anyhow::Result<()> {
    for _ in 0..BARE {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
    }
    Ok(())
}

async fn per_second(count: usize, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    work.await?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Nobody works: only what is decided and kept is measured.
#[derive(Debug)]
struct Nobody;

impl Dispatch for Nobody {
    fn dispatch(&self, _: WorkerName, _: WorkerCommand) {}
}

/// What is seen of a push to the branch of a writer.
fn pushed_by(writer: usize, number: usize) -> Sighting {
    let revision = |number: usize| Revision(format!("{writer:08x}{number:032x}"));
    let commit = Commit {
        revision: revision(number),
        author: Person { name: "Ada".into(), email: "ada@example.org".into() },
        message: "wheel: turn faster".into(),
        files: (0..5).map(|file| format!("src/wheel/part_{file}.rs")).collect(),
        at: Timestamp(1),
    };
    let update = RefUpdate {
        reference: RefName::of_branch(&format!("writer-{writer}")),
        old: number.checked_sub(1).map(revision),
        new: Some(revision(number)),
        movement: if number == 0 { Movement::Created } else { Movement::Moved },
        commits: vec![commit],
        incomplete: false,
    };
    Sighting { repository: "core".into(), via: Via::Poll, first_sight: false, updates: vec![update] }
}
