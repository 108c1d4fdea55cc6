//! How fast a worker is when the service costs nothing: `cargo run -p gristmill-worker --example speed`.
//!
//! First one build of a `true` step at a time (from command to reported end), then a thousand through as many slots as
//! there are cores.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gristmill_model::protocol::{BuildOrder, Hello, LogAppend, Refusal, Report, ReportBody, Welcome, WorkerCommand};
use gristmill_model::{BuildId, Command, Recipe, StepAction, StepRecipe, Timestamp, WorkerName};
use gristmill_worker::{Master, Options};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// A service that only counts.
struct Counter {
    waiting: Mutex<VecDeque<WorkerCommand>>,
    begin: Notify,
    end: Semaphore,
    reports: Mutex<(usize, usize)>,
}

#[async_trait]
impl Master for Counter {
    async fn hello(&self, _hello: Hello) -> Result<Welcome, Refusal> {
        Ok(Welcome { stop: Vec::new() })
    }

    async fn poll(&self, _worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        loop {
            let commands: Vec<_> = self.waiting.lock().expect("nothing panics").drain(..).collect();
            if !commands.is_empty() {
                return Ok(commands);
            }
            self.begin.notified().await;
        }
    }

    async fn report(&self, _worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refusal> {
        let mut counts = self.reports.lock().expect("nothing panics");
        *counts = (counts.0 + 1, counts.1 + reports.len());
        if reports.iter().any(|report| matches!(report.body, ReportBody::Finished { .. })) {
            self.end.add_permits(1);
        }
        Ok(())
    }

    async fn append_log(&self, _worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        Ok(piece.offset + u64::from(piece.length))
    }
}

impl Counter {
    fn new() -> Self {
        Self { waiting: Mutex::default(), begin: Notify::new(), end: Semaphore::new(0), reports: Mutex::default() }
    }

    fn start(&self, build: i64) {
        self.waiting.lock().expect("nothing panics").push_back(WorkerCommand::Start { order: order(build) });
        self.begin.notify_one();
    }
}

fn order(build: i64) -> BuildOrder {
    let step = StepRecipe::new("check", StepAction::Run { command: Command::Script("true".to_owned()) });
    let recipe = Recipe {
        sources: BTreeMap::new(),
        requires: BTreeMap::new(),
        environment: BTreeMap::new(),
        matrix: BTreeMap::new(),
        steps: vec![step],
        retries_max: 0,
        ..Recipe::default()
    };
    BuildOrder {
        build: BuildId(build),
        epoch: 1,
        attempt: 1,
        builder: "check".into(),
        project: None,
        scheduler: "push".into(),
        branch: "main".to_owned(),
        stamps: BTreeMap::new(),
        origins: BTreeMap::new(),
        recipe,
        properties: BTreeMap::new(),
        at: Timestamp::default(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    const ALONE: i64 = 200;
    const MANY: i64 = 1000;
    let folder = tempfile::tempdir()?;
    let slots = std::thread::available_parallelism()?.get();
    let (counter, stop) = (Arc::new(Counter::new()), CancellationToken::new());
    let options = Options::new("speed".into(), u32::try_from(slots)?, folder.path().to_owned());
    let worker = tokio::spawn(gristmill_worker::run(options, Arc::<Counter>::clone(&counter), stop.clone()));

    let mut spans: Vec<Duration> = Vec::new();
    for build in 0..ALONE {
        let since = Instant::now();
        counter.start(build);
        counter.end.acquire().await?.forget();
        spans.push(since.elapsed());
    }
    spans.sort();
    println!("one at a time: p50 {:?}, p95 {:?}", spans[spans.len() / 2], spans[spans.len() * 95 / 100]);

    let since = Instant::now();
    let (mut begun, mut ended) = (0, 0);
    while ended < MANY {
        while begun < MANY && begun - ended < i64::try_from(slots)? {
            counter.start(ALONE + begun);
            begun += 1;
        }
        counter.end.acquire().await?.forget();
        ended += 1;
    }
    let rate = f64::from(u32::try_from(MANY)?) / since.elapsed().as_secs_f64();
    let (calls, reports) = *counter.reports.lock().expect("nothing panics");
    println!("{slots} at a time: {rate:.0} builds/s; {calls} calls for {reports} reports");
    stop.cancel();
    worker.await??;
    Ok(())
}
