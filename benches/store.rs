//! What a turn costs beside the bare database: `cargo bench --bench store`.
//!
//! Everything runs in turn, on the same disk, in one process, so the ratios mean something on a noisy machine and the
//! absolute numbers do not.

use std::time::{Duration, Instant};

use gristmill::store::{Blob, Store, Turn};
use gristmill_model::*;
use nix::sys::resource::{UsageWho, getrusage};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

const ROUNDS: usize = 7;
const TURNS_PER_ROUND: i64 = 100;
const EVENTS_PER_BATCH: i64 = 1_000;

#[derive(Default)]
struct Samples {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Samples {
    fn medians(&mut self, per_round: i64) -> (f64, f64) {
        let median = |samples: &mut Vec<Duration>| {
            samples.sort();
            samples[samples.len() / 2].as_secs_f64() * 1e6 / per_round as f64
        };
        (median(&mut self.wall), median(&mut self.cpu))
    }

    async fn measure<T>(&mut self, work: impl Future<Output = T>) -> T {
        let (wall, cpu) = (Instant::now(), cpu_used());
        let value = work.await;
        self.wall.push(wall.elapsed());
        self.cpu.push(cpu_used() - cpu);
        value
    }
}

fn cpu_used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own usage");
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(run()).expect("the bench runs");
}

async fn run() -> anyhow::Result<()> {
    // Beside the build's output, not in /tmp, which is often no disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut bare = bare_database(folder.path()).await?;
    let store = Store::open(&folder.path().join("data")).await?;
    let recipe = Recipe {
        sources: Default::default(),
        requires: Default::default(),
        environment: Default::default(),
        matrix: Default::default(),
        steps: vec![],
        retries_max: 0,
        ..Recipe::default()
    };
    let recorded = EventBody::RecipeRecorded { digest: recipe.digest(), recipe: recipe.clone() };
    let mut head = store.commit(Turn { events: vec![recorded], ..Turn::default() }).await?;

    let [mut insert, mut one, mut push, mut batch] = [const { Samples { wall: Vec::new(), cpu: Vec::new() } }; 4];
    let mut number = 0;
    for _ in 0..ROUNDS {
        insert.measure(insert_rows(&mut bare)).await?;
        head = one.measure(commit_all(&store, head, (0..TURNS_PER_ROUND).map(|_| failing(1)).collect())).await?;
        let pushes = (0..TURNS_PER_ROUND)
            .map(|_| {
                number += 1;
                pushed(number, &recipe)
            })
            .collect();
        head = push.measure(commit_all(&store, head, pushes)).await?;
        head = batch.measure(commit_all(&store, head, vec![failing(EVENTS_PER_BATCH)])).await?;
    }
    let (insert, _) = insert.medians(TURNS_PER_ROUND);
    println!("{:<46} {insert:>9.0} µs", "bare insert, one per transaction");
    for (what, mut samples, count) in [
        ("turn of one event", one, TURNS_PER_ROUND),
        ("turn of a push (7 events, 12 more rows)", push, TURNS_PER_ROUND),
        ("event in a turn of 1,000", batch, EVENTS_PER_BATCH),
    ] {
        let (wall, cpu) = samples.medians(count);
        println!("{what:<46} {wall:>9.0} µs  {cpu:>6.0} µs CPU  {:>6.2} × bare  {:>8.0} /s", wall / insert, 1e6 / wall);
    }
    let (loading, state) = (Instant::now(), store.load().await?);
    println!("load of {} open buildsets: {:?}", state.buildsets.len(), loading.elapsed());
    store.close().await;
    Ok(())
}

async fn bare_database(folder: &std::path::Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut bare = options.connect().await?;
    sqlx::query("CREATE TABLE row (id INTEGER PRIMARY KEY, body TEXT NOT NULL)").execute(&mut bare).await?;
    Ok(bare)
}

async fn insert_rows(bare: &mut SqliteConnection) -> anyhow::Result<()> {
    for _ in 0..TURNS_PER_ROUND {
        sqlx::query("INSERT INTO row (body) VALUES ($1)").bind("x".repeat(200)).execute(&mut *bare).await?;
    }
    Ok(())
}

async fn commit_all(store: &Store, mut head: Seq, turns: Vec<Turn>) -> anyhow::Result<Seq> {
    for turn in turns {
        head = store.commit(Turn { expected_head: head, ..turn }).await?;
    }
    Ok(head)
}

fn failing(events: i64) -> Turn {
    let failing = EventBody::SourceFailing { repository: "lib".into(), error: "x".repeat(120), failures: 1 };
    Turn { events: vec![failing; usize::try_from(events).expect("a small number")], ..Turn::default() }
}

/// Everything that one push sets off until its first build is leased.
fn pushed(number: i64, recipe: &Recipe) -> Turn {
    let revision = |number: i64| Revision(format!("{number:040x}"));
    let id = DeliveryId(number);
    let delivery = Delivery {
        id,
        repository: "lib".into(),
        key: format!("{number}"),
        event: "push".into(),
        sha256: "00".repeat(32),
        at: Timestamp(1),
    };
    let commit = Commit {
        revision: revision(number),
        author: Person { name: "Ada".into(), email: "ada@example.org".into() },
        message: "wheel: turn faster".into(),
        files: (0..5).map(|file| format!("src/wheel/part_{file}.rs")).collect(),
        at: Timestamp(1),
    };
    let change = Change {
        id: ChangeId(number),
        repository: "lib".into(),
        reference: RefName::of_branch("main"),
        seq: number,
        old: (number > 1).then(|| revision(number - 1)),
        new: Some(revision(number)),
        movement: Movement::Moved,
        commits: vec![commit],
        incomplete: false,
        via: Via::Webhook,
        at: Timestamp(1),
    };
    let request = |offset: i64| Request {
        id: RequestId(number * 3 + offset),
        buildset: BuildsetId(number),
        node: format!("node-{offset}").into(),
        builder: format!("builder-{offset}").into(),
        recipe: recipe.digest(),
        digest: Digest("00".repeat(32)),
        mode: NeedMode::All,
        state: if offset == 0 { RequestState::Ready } else { RequestState::Waiting },
        attempts: 0,
        epoch: 0,
        outcome: None,
        cause: None,
        created_at: Timestamp(1),
        settled_at: None,
    };
    let stamp = SourceStamp {
        repository: "lib".into(),
        branch: "main".into(),
        revision: revision(number),
        change: Some(ChangeId(number)),
    };
    let buildset = Buildset {
        id: BuildsetId(number),
        scheduler: "ci".into(),
        project: None,
        trigger: Trigger::Changes { changes: vec![ChangeId(number)] },
        stamps: [("lib".into(), stamp)].into(),
        branch: "main".into(),
        properties: Default::default(),
        priority: 0,
        depth: 0,
        catalog: "c0ffee".into(),
        created_at: Timestamp(1),
        outcome: None,
        completed_at: None,
    };
    let edge = |offset: i64| Edge {
        request: RequestId(number * 3 + offset),
        needs: RequestId(number * 3),
        on: Condition::Success,
    };
    let build = Build {
        id: BuildId(number),
        request: RequestId(number * 3),
        buildset: BuildsetId(number),
        builder: "builder-0".into(),
        attempt: 1,
        epoch: 1,
        worker: "water".into(),
        state: BuildState::Leased,
        cancel: None,
        suspended_step: None,
        outcome: None,
        cause: None,
        summary: None,
        leased_at: Timestamp(1),
        started_at: None,
        finished_at: None,
    };
    let verdict = |scheduler: &str, kind| EventBody::VerdictGiven {
        verdict: Verdict {
            change: ChangeId(number),
            scheduler: scheduler.into(),
            kind,
            reasons: vec![Reason::Matches],
            place: Place::default(),
            at: Timestamp(1),
        },
    };
    let events = vec![
        EventBody::DeliveryAccepted { delivery },
        EventBody::ChangeSeen { change },
        EventBody::BuildsetCreated {
            buildset,
            requests: (0..3).map(request).collect(),
            edges: (1..3).map(edge).collect(),
        },
        verdict("ci", VerdictKind::Built { buildset: BuildsetId(number) }),
        verdict("docs", VerdictKind::Nothing),
        verdict("nightly", VerdictKind::Nothing),
        EventBody::BuildLeased { build },
    ];
    Turn { events, blobs: vec![Blob::Delivery { id, headers: "{}".into(), body: vec![b'x'; 4000] }], ..Turn::default() }
}
