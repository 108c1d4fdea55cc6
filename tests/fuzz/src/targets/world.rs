//! A small service with a history, in this thread: the real engine, store and pages; only looking at repositories is
//! left out, and workers are played.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use gristmill::clock::Clock;
use gristmill::engine::turns::{self, Dispatch, Options};
use gristmill::engine::{self, Engine, EngineError};
use gristmill::logs::LogStore;
use gristmill::sources::webhook::replay::{Replayed, Stored};
use gristmill::store::Store;
use gristmill::web::{App, Control, Guard, Info, NotSubmitted, Once, router};
use gristmill_model::protocol::{Hello, LogAddress, LogAppend, Report, ReportBody, WorkerCommand};
use gristmill_model::*;
use gristmill_schedulers::input::NewDelivery;
use gristmill_schedulers::{Input, Reply};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(super) const HOST: &str = "127.0.0.1:8020";

const CONFIGURATION: &str = r#"
repositories:
  core: {git: /srv/git/core.git, webhook: {forge: generic, secret: hook}}
  site: {git: "https://site.example.org/site.git"}
projects:
  core: {repositories: [core]}
builders:
  linux-x64: {project: core, source: core, steps: [checkout, {name: test, run: make check}]}
  package:   {project: core, source: core, steps: [checkout, {run: make package}]}
  train:     {project: core, source: core, requires: {gpu: "yes"}, steps: [checkout]}
  manual:    {project: core, source: core, matrix: {lang: [de, en]}, steps: [checkout, {run: make docs}]}
schedulers:
  push:
    kind: any-branch
    when: {repository: core}
    build:
      test: {builder: linux-x64}
      package: {builder: package, needs: test}
  docs:    {kind: branch, when: {repository: core, branch: main, files: ["docs/**"]}, build: [manual]}
  nightly: {kind: nightly, cron: "0 3 * * *", timezone: Europe/Berlin, repository: core, branch: main, build: [manual]}
  by-hand: {kind: force, parameters: {branch: {type: string, default: main}, size: {type: integer, required: true}}, build: [train]}
secrets: {hook: {env: HOOK_SECRET}}
"#;

/// A clock that stands until it is told to go on.
#[derive(Debug)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Workers are played.
#[derive(Debug)]
struct Nobody;

impl Dispatch for Nobody {
    fn dispatch(&self, _: WorkerName, _: WorkerCommand) {}
}

/// The real engine; looking at a repository always works.
struct Desk(Engine);

#[async_trait]
impl Control for Desk {
    async fn submit(&self, input: Input) -> Result<Reply, String> {
        self.0.submit(input).await.map_err(|error| error.to_string())
    }

    async fn submit_once(&self, once: Once, input: Input) -> Result<Reply, NotSubmitted> {
        let once = engine::Once { key: once.key, request_sha256: once.request_sha256 };
        self.0.submit_once(input, once).await.map_err(|error| match error {
            EngineError::KeyReused => NotSubmitted::KeyTaken,
            other => NotSubmitted::Failed(other.to_string()),
        })
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog()
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.0.head()
    }

    async fn explain(&self, request: RequestId) -> Vec<Reason> {
        self.0.explain(request).await
    }

    async fn sweep(&self, _: RepositoryName) -> Result<(), String> {
        Ok(())
    }

    async fn replay(&self, stored: Stored<'_>) -> Result<Replayed, String> {
        let result = format!("replayed: {} bytes", stored.body.len());
        self.submit(Input::DeliveryRead { delivery: stored.delivery, result: result.clone() }).await?;
        Ok(Replayed { changes: Vec::new(), result })
    }
}

/// The service.
pub(super) struct World {
    runtime: Runtime,
    router: Router,
    control: Arc<dyn Control>,
    hands: Arc<Hands>,
    pub(super) store: Arc<Store>,
    stop: CancellationToken,
    folder: tempfile::TempDir,
}

/// An answer, as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl World {
    /// A service that has lived: a push that broke `main`, a stranger's branch that is being built, a wish that no worker
    /// can fulfil, a delivery, a message.
    pub(super) fn lived() -> Self {
        let base = Path::new(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" });
        let folder = tempfile::tempdir_in(base).unwrap();
        // One thread: what panics in a task is known to be of this target.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let logs = LogStore::new(folder.path().join("logs"));
        let hands = Arc::new(Hands(AtomicI64::new(1_795_518_131_000_000)));
        let stop = CancellationToken::new();
        let (store, engine) = runtime.block_on(async {
            let store = Arc::new(Store::open(&folder.path().join("db")).await.unwrap());
            let options = Options {
                leads: true,
                store: Arc::clone(&store),
                clock: Arc::clone(&hands) as Arc<dyn Clock>,
                dispatch: Arc::new(Nobody),
                origin: Arc::new(|_, _| None),
            };
            let (engine, _task) = turns::start(options, stop.clone()).await.unwrap();
            (store, engine)
        });
        let control: Arc<dyn Control> = Arc::new(Desk(engine));
        let listen: SocketAddr = HOST.parse().unwrap();
        let info = Info {
            version: "0.1.0".to_owned(),
            listen,
            catalog_file: Some("gristmill.yaml".into()),
            base_url: format!("http://{HOST}"),
            demo: false,
        };
        let about = (info, Guard::new(listen, None, None), CancellationToken::new());
        let clock = Arc::clone(&hands) as Arc<dyn Clock>;
        let app = App::new(Arc::clone(&control), store.reader().clone(), logs.clone(), clock, about);
        let world = Self { runtime, router: router(app), control, hands, store, stop, folder };
        world.runtime.block_on(world.live(&logs));
        world
    }

    /// The folder of the database.
    pub(super) fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("db").join(gristmill::store::DATABASE_FILE)
    }

    /// Waits for something of the service's.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks, and reads the answer; of a stream only what comes at once.
    pub(super) fn ask(&self, request: Request<Body>) -> Answer {
        self.wait(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
            let bytes = if is_stream { first_of(body).await } else { to_bytes(body, 1 << 26).await.unwrap().to_vec() };
            Answer { status: parts.status, headers: parts.headers, bytes }
        })
    }

    async fn live(&self, logs: &LogStore) {
        let loaded = gristmill::config::read(CONFIGURATION, "gristmill.yaml").unwrap();
        self.happen(Input::Activate { catalog: Arc::new(loaded.catalog), text: loaded.text }).await;
        let labels = [("os".to_owned(), "linux".to_owned())].into();
        self.happen(Input::Hello(Hello { worker: "local".into(), labels, slots: 1, ..Hello::default() })).await;
        self.happen(Input::SightFailed { repository: "site".into(), error: "no such host".to_owned() }).await;
        self.push("main", 0xa1, "Ada", "Make the queue bounded\n\nIt grew.", "src/queue.rs").await;
        self.run_and_fail(logs).await;
        self.pass(60);
        self.push("<script>alert('x')</script>", 0xe2, "Eve <b>", "\u{1b}[31mred\u{202e} & \"sharp\"", "docs/a.md")
            .await;
        self.report(2, 20, ReportBody::Started).await;
        self.report(2, 21, ReportBody::StepStarted { step: 0 }).await;
        let body = b"{}".to_vec();
        let delivery = NewDelivery {
            repository: "core".into(),
            key: "guid-1".to_owned(),
            event: "push".to_owned(),
            sha256: Digest::of(&body).0,
            headers: "{}".to_owned(),
            body,
            sighting: None,
        };
        self.happen(Input::Deliver(delivery)).await;
        let parameters = [("size".to_owned(), "3".to_owned())].into();
        let force = Input::Force { scheduler: "by-hand".into(), parameters, by: "ada".to_owned(), reason: None };
        self.happen(force).await;
        let message = Message {
            id: MessageId(0),
            event: Seq(1),
            notifier: "mail".into(),
            target: "ada@example.org".to_owned(),
            because: "gristmill.yaml:9".to_owned(),
            key: "key".to_owned(),
            incident: Some(IncidentId(1)),
            subject: "broke: core".to_owned(),
            text: "It broke.\n".to_owned(),
            html: None,
            at: Timestamp(0),
        };
        self.happen(Input::Announce { from: Seq(0), to: Seq(1), messages: vec![message] }).await;
    }

    async fn run_and_fail(&self, logs: &LogStore) {
        self.report(1, 1, ReportBody::Started).await;
        self.report(1, 2, ReportBody::StepStarted { step: 0 }).await;
        let finished = |step, outcome, cause| ReportBody::StepFinished {
            step,
            outcome,
            cause,
            summary: String::new(),
            warnings: 0,
        };
        self.report(1, 3, finished(0, Outcome::Success, None)).await;
        self.report(1, 4, ReportBody::StepStarted { step: 1 }).await;
        let text = b"running\n\x1b[31merror: <b>left</b>\x1b[0m != right\nmake: *** [check] Error 2\n";
        let log = LogAddress::output(BuildId(1), 1, 1);
        let frame = zstd::bulk::compress(text, 1).unwrap();
        logs.append(&LogAppend { log, offset: 0, length: u32::try_from(text.len()).unwrap(), frame }).unwrap();
        self.pass(7);
        self.report(1, 5, finished(1, Outcome::Failure, Some(Cause::Code))).await;
        let summary = "step test: exit code 2".to_owned();
        self.report(1, 6, ReportBody::Finished { outcome: Outcome::Failure, cause: Some(Cause::Code), summary }).await;
    }

    async fn report(&self, build: i64, seq: u64, body: ReportBody) {
        let report = Report { build: BuildId(build), epoch: 1, seq, body };
        self.happen(Input::Report { worker: "local".into(), report }).await;
    }

    async fn push(&self, branch: &str, new: u8, author: &str, message: &str, file: &str) {
        let revision = Revision(format!("{new:02x}").repeat(20));
        let commit = Commit {
            revision: revision.clone(),
            author: Person { name: author.to_owned(), email: "someone@example.org".to_owned() },
            message: message.to_owned(),
            files: vec![file.to_owned()],
            at: self.hands.now(),
        };
        let update = RefUpdate {
            reference: RefName::of_branch(branch),
            old: None,
            new: Some(revision),
            movement: Movement::Created,
            commits: vec![commit],
            incomplete: false,
        };
        let sighting =
            Sighting { repository: "core".into(), via: Via::Poll, first_sight: false, updates: vec![update] };
        self.happen(Input::Sight(sighting)).await;
    }

    async fn happen(&self, input: Input) {
        let reply = self.control.submit(input).await.unwrap();
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    }

    fn pass(&self, seconds: i64) {
        self.hands.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Reads what a stream says before it waits.
async fn first_of(mut body: Body) -> Vec<u8> {
    use axum::body::HttpBody as _;
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let next = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context));
        match next.await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) | None => break,
        }
        // The greeting is the last that comes at once.
        if bytes.windows(9).any(|window| window == b": follows") {
            break;
        }
    }
    bytes
}

/// The events of a history, for whoever reads events.
pub(super) fn events() -> &'static [Event] {
    static EVENTS: OnceLock<Vec<Event>> = OnceLock::new();
    EVENTS.get_or_init(|| {
        let world = World::lived();
        world.wait(world.store.reader().events_after(Seq(0), 1000)).unwrap()
    })
}
