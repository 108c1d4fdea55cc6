//! What a push, a hook and a build cost from end to end, beside the bare system: `cargo bench --bench spine`.
//!
//! The real service with its own worker, real repositories, the real disk. What the system itself takes for the same is
//! measured in turn with it, so the ratios mean something on a noisy machine and the absolute numbers do not.
//!
//! `cargo bench --bench spine -- builds memory` measures some of it: `delays`, `builds`, `hooks`, `memory`.

mod memory;
mod world;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gristmill_model::BuildId;
use gristmill_schedulers::{Input, Reply};
use serde_json::json;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use world::{Origin, World, nanos};

/// Samples of each delay.
const SAMPLES: usize = 100;
/// What comes before them and is not counted.
const WARM_UP: usize = 5;
/// Builders that one force starts; each has one step.
const NODES: usize = 100;
/// Forces.
const FORCES: usize = 10;
/// Webhook requests per number of clients.
const HOOKS: usize = 800;
/// Clients that send them at once, at the most.
const CLIENTS: usize = 16;

const CONFIG: &str = "
repositories:
  app: {git: FOLDER/app.git, poll: 1h}
  hooked: {git: FOLDER/hooked.git, poll: 1h, webhook: {forge: github, secret: hook}}
secrets: {hook: {file: FOLDER/secret}}
builders:
  stamp: {source: app, steps: [{run: [date, '+%s%N']}]}
  built: {source: app, steps: [checkout, {run: [date, '+%s%N']}]}
  told: {source: hooked, steps: [{run: [date, '+%s%N']}]}
  pass: {source: app, matrix: {number: [NUMBERS]}, steps: [{run: ['true']}]}
schedulers:
  push: {kind: branch, when: {repository: app, branch: main}, build: [stamp]}
  whole: {kind: branch, when: {repository: app, branch: whole}, build: [built]}
  hook: {kind: branch, when: {repository: hooked, branch: main}, build: [told]}
  many: {kind: force, build: [pass]}
";

fn main() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().expect("nobody did it before");
    gristmill::sources::register_transports();
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    // Beside the build's output, not in /tmp, which is often no disk.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut bare = Bare::open(folder.path()).await?;
    let app = Origin::make(folder.path(), "app", &["main", "whole"])?;
    let branches: Vec<String> = (0..CLIENTS).map(|client| format!("client-{client}")).collect();
    let branches: Vec<&str> = std::iter::once("main").chain(branches.iter().map(String::as_str)).collect();
    let hooked = Origin::make(folder.path(), "hooked", &branches)?;
    let numbers = (0..NODES).map(|number| format!("'{number}'")).collect::<Vec<_>>().join(", ");
    let mut world = World::start(folder.path(), &CONFIG.replace("NUMBERS", &numbers)).await?;

    // Cargo adds options of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    if is_wanted("delays") {
        delays(&mut world, &mut bare, &app, &hooked).await?;
    }
    if is_wanted("builds") {
        builds(&mut world).await?;
    }
    if is_wanted("hooks") {
        hooks(&world, &mut bare).await?;
    }
    world.stop().await;
    if is_wanted("memory") {
        memory::print(folder.path()).await?;
    }
    Ok(())
}

/// From a push, or a webhook, to the moment at which a step's process looks at its clock.
async fn delays(world: &mut World, bare: &mut Bare, app: &Origin, hooked: &Origin) -> anyhow::Result<()> {
    let clone = app.clone_to("clone")?;
    let [mut floor, mut noticed, mut pushed, mut whole, mut told] = [const { Vec::new() }; 5];
    let (mut tip, mut built, mut hook_tip) = (app.tip("main")?, app.tip("whole")?, hooked.tip("main")?);
    for number in 0..WARM_UP + SAMPLES {
        floor.push(bare.insert_and_spawn().await?);

        tip = app.commit(tip)?;
        let at = nanos();
        app.move_to("main", tip)?;
        noticed.push(world.step_started(0).await? - at);

        tip = clone.commit(tip)?;
        let at = nanos();
        clone.push("main", tip)?;
        pushed.push(world.step_started(0).await? - at);

        built = app.commit(built)?;
        let at = nanos();
        app.move_to("whole", built)?;
        whole.push(world.step_started(1).await? - at);

        let before = hook_tip;
        hook_tip = hooked.commit(before)?;
        let body = push_body("main", &before.to_string(), &hook_tip.to_string());
        let request = world.hook(&format!("delay-{number}"), body);
        let at = nanos();
        request.send().await?.error_for_status()?;
        told.push(world.step_started(0).await? - at);
    }
    let floor = percentiles(&mut floor);
    println!("{:<62} {:>8} {:>8}", format!("{SAMPLES} of each, ms"), "p50", "p95");
    let print = |what: &str, (p50, p95): (f64, f64)| {
        println!("{what:<62} {p50:>8.1} {p95:>8.1}  {:>5.1} × the floor", p50 / floor.0);
    };
    print("floor: one bare durable insert, one `date` started", floor);
    print("push (its ref moves) → first step's process", percentiles(&mut noticed));
    print("the same from the start of a `git push` process", percentiles(&mut pushed));
    print("push (its ref moves) → checkout done, second step's process", percentiles(&mut whole));
    print("signed webhook sent → first step's process", percentiles(&mut told));
    Ok(())
}

/// Gives p50 and p95 in ms, without what came first.
fn percentiles(nanos: &mut Vec<u64>) -> (f64, f64) {
    let mut counted = nanos.split_off(WARM_UP);
    counted.sort_unstable();
    let at = |percent: usize| counted[(counted.len() * percent).div_ceil(100) - 1] as f64 / 1e6;
    (at(50), at(95))
}

/// Builds of one step that does nothing, from the first force to the last build's end.
async fn builds(world: &mut World) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let count = NODES * FORCES;
    let spawns = spawns_per_second(cores, count)?;
    let since = Instant::now();
    for _ in 0..FORCES {
        let force =
            Input::Force { scheduler: "many".into(), parameters: [].into(), by: "bench".to_owned(), reason: None };
        let reply = world.engine().submit(force).await?;
        anyhow::ensure!(matches!(reply, Reply::Forced { .. }), "{reply:?}");
    }
    let finished: Vec<BuildId> = world.finished(count).await?;
    let rate = finished.len() as f64 / since.elapsed().as_secs_f64();
    println!("\n{:<62} {rate:>8.0} /s", format!("{count} builds of a `true` step, {cores} at once"));
    println!(
        "{:<62} {spawns:>8.0} /s  {:>5.1} × a build",
        format!("bare starts of `true`, {cores} at once"),
        spawns / rate
    );
    Ok(())
}

fn spawns_per_second(threads: usize, count: usize) -> anyhow::Result<f64> {
    let since = Instant::now();
    std::thread::scope(|scope| {
        let each = || (0..count / threads).try_for_each(|_| Command::new("true").status().map(drop));
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    Ok(count as f64 / since.elapsed().as_secs_f64())
}

/// Signed pushes that are stored and judged, and of which no scheduler wants a build.
async fn hooks(world: &World, bare: &mut Bare) -> anyhow::Result<()> {
    let commits = bare.commits_per_second(HOOKS).await?;
    println!();
    for clients in [1, CLIENTS] {
        let since = Instant::now();
        let all = (0..clients).map(|client| send_hooks(world, clients, client, HOOKS / clients));
        futures_util::future::try_join_all(all).await?;
        let rate = HOOKS as f64 / since.elapsed().as_secs_f64();
        let what = format!("signed webhooks accepted, {clients} at once");
        println!("{what:<62} {rate:>8.0} /s  {:>5.2} × bare commits", rate / commits);
    }
    println!("{:<62} {commits:>8.0} /s", "bare durable inserts, one per transaction");
    Ok(())
}

async fn send_hooks(world: &World, clients: usize, client: usize, count: usize) -> anyhow::Result<()> {
    let branch = format!("client-{client}");
    let mut before = world.accepted(&branch).await.context("the branch was seen")?;
    for number in 0..count {
        let after = format!("{clients:04x}{client:04x}{number:032x}");
        let request = world.hook(&format!("{clients}-{client}-{number}"), push_body(&branch, &before, &after));
        let answer = request.send().await?.error_for_status()?.json::<serde_json::Value>().await?;
        anyhow::ensure!(answer["changes"].as_array().is_some_and(|changes| changes.len() == 1), "{answer}");
        before = after;
    }
    Ok(())
}

fn push_body(branch: &str, before: &str, after: &str) -> Vec<u8> {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": before, "after": after,
        "forced": false, "created": false, "deleted": false, "size": 1, "distinct_size": 1,
        "commits": [{"id": after, "message": "wheel: turn faster", "timestamp": "2026-11-24T12:00:00Z", "distinct": true,
            "author": {"name": "Ada", "email": "ada@example.org"},
            "added": [], "removed": [], "modified": ["src/wheel.rs"]}],
    })
    .to_string()
    .into_bytes()
}

/// The system by itself: the same database with one table, the same program.
struct Bare(SqliteConnection);

impl Bare {
    async fn open(folder: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("bare.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut bare = options.connect().await?;
        sqlx::query("CREATE TABLE row (id INTEGER PRIMARY KEY, body TEXT NOT NULL)").execute(&mut bare).await?;
        Ok(Self(bare))
    }

    async fn insert(&mut self) -> anyhow::Result<()> {
        sqlx::query("INSERT INTO row (body) VALUES ($1)").bind("x".repeat(200)).execute(&mut self.0).await?;
        Ok(())
    }

    /// Gives the time from before the insert to what the started process says.
    async fn insert_and_spawn(&mut self) -> anyhow::Result<u64> {
        let at = nanos();
        self.insert().await?;
        let said = Command::new("date").arg("+%s%N").stdin(Stdio::null()).output()?.stdout;
        Ok(String::from_utf8(said)?.trim().parse::<u64>()? - at)
    }

    async fn commits_per_second(&mut self, count: usize) -> anyhow::Result<f64> {
        let since = Instant::now();
        for _ in 0..count {
            self.insert().await?;
        }
        Ok(count as f64 / since.elapsed().as_secs_f64())
    }
}

/// Waits for something that must happen.
async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(Duration::from_secs(60), happens).await.with_context(|| format!("{what} did not happen"))
}
