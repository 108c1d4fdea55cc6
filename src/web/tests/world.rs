//! A small world that has a history: a push that broke `main`, a stranger's branch that is being built, and a wish that
//! no worker can fulfil.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use gristmill_model::protocol::{Hello, LogAddress, LogAppend, Report, ReportBody, WorkerCommand};
use gristmill_model::*;
use gristmill_schedulers::input::NewDelivery;
use gristmill_schedulers::{Input, Reply};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::clock::Clock;
use crate::engine::turns::{self, Dispatch, Options};
use crate::engine::{self, Engine, EngineError};
use crate::logs::LogStore;
use crate::sources::webhook::replay::{Replayed, Stored};
use crate::store::Store;
use crate::store::tests::Kind;
use crate::web::{App, Control, Guard, Info, NotSubmitted, Once, router};

pub(super) const HOST: &str = "127.0.0.1:8020";

/// What a stranger calls a branch.
pub(super) const HOSTILE_BRANCH: &str = "<script>alert('x')</script>";

const CONFIGURATION: &str = r#"
repositories:
  core: {git: /srv/git/core.git}
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
"#;

/// A clock that stands until it is told to go on.
#[derive(Debug)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Workers are played by hand.
#[derive(Debug)]
struct Nobody;

impl Dispatch for Nobody {
    fn dispatch(&self, _: WorkerName, _: WorkerCommand) {}
}

/// The real engine; only looking at repositories is written down instead of done.
struct Desk {
    engine: Engine,
    swept: Mutex<Vec<RepositoryName>>,
}

#[async_trait]
impl Control for Desk {
    async fn submit(&self, input: Input) -> Result<Reply, String> {
        self.engine.submit(input).await.map_err(|error| error.to_string())
    }

    async fn submit_once(&self, once: Once, input: Input) -> Result<Reply, NotSubmitted> {
        let once = engine::Once { key: once.key, request_sha256: once.request_sha256 };
        self.engine.submit_once(input, once).await.map_err(|error| match error {
            EngineError::KeyReused => NotSubmitted::KeyTaken,
            other => NotSubmitted::Failed(other.to_string()),
        })
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.engine.catalog()
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.engine.head()
    }

    async fn explain(&self, request: RequestId) -> Vec<Reason> {
        self.engine.explain(request).await
    }

    async fn sweep(&self, repository: RepositoryName) -> Result<(), String> {
        if repository.as_str() == "site" {
            return Err("the name `site.example.org` is not known".to_owned());
        }
        self.swept.lock().unwrap().push(repository);
        Ok(())
    }

    async fn replay(&self, stored: Stored<'_>) -> Result<Replayed, String> {
        if stored.repository.as_str() == "site" {
            return Err("`site` has no webhook any more".to_owned());
        }
        let result = format!("replayed: {} bytes", stored.body.len());
        self.submit(Input::DeliveryRead { delivery: stored.delivery, result: result.clone() }).await?;
        Ok(Replayed { changes: vec![ChangeId(7)], result })
    }
}

pub(super) struct World {
    pub(super) router: Router,
    pub(super) app: App,
    pub(super) logs: LogStore,
    pub(super) stop_engine: CancellationToken,
    pub(super) engine_task: tokio::task::JoinHandle<()>,
    desk: Arc<Desk>,
    hands: Arc<Hands>,
    reports: u64,
    _folder: tempfile::TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes.to_vec()).unwrap()
    }

    /// The error's code, message and hint.
    pub(super) fn error(&self) -> String {
        let value = self.json();
        let error = &value["error"];
        assert!(error.is_object(), "{} is no error: {value}", self.status);
        format!(
            "{} {}: {} ({})",
            self.status.as_u16(),
            error["code"].as_str().unwrap(),
            error["message"].as_str().unwrap(),
            error["hint"].as_str().unwrap_or("no hint")
        )
    }
}

impl World {
    /// A service that has just been started with the configuration.
    pub(super) async fn empty(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_database(&folder.path().join("db"), &kind.database()).await.unwrap();
        let reader = store.reader().clone();
        let logs = LogStore::new(folder.path().join("logs"));
        let hands = Arc::new(Hands(AtomicI64::new(1_795_518_131_000_000)));
        let clock: Arc<dyn Clock> = Arc::clone(&hands) as Arc<dyn Clock>;
        let stop_engine = CancellationToken::new();
        let options = Options {
            store: Arc::new(store),
            clock: Arc::clone(&clock),
            dispatch: Arc::new(Nobody),
            origin: Arc::new(|_, _| None),
            leads: true,
        };
        let (engine, engine_task) = turns::start(options, stop_engine.clone()).await.unwrap();
        let desk = Arc::new(Desk { engine, swept: Mutex::default() });
        let listen: SocketAddr = HOST.parse().unwrap();
        let info = Info {
            version: "0.1.0".to_owned(),
            listen,
            catalog_file: Some("gristmill.yaml".into()),
            base_url: "http://127.0.0.1:8020".to_owned(),
            demo: false,
        };
        let about = (info, Guard::new(listen, None, None), CancellationToken::new());
        let control: Arc<dyn Control> = Arc::clone(&desk) as Arc<dyn Control>;
        let app = App::new(control, reader, logs.clone(), clock, about);
        let world = Self {
            router: router(app.clone()),
            app,
            logs,
            stop_engine,
            engine_task,
            desk,
            hands,
            reports: 0,
            _folder: folder,
        };
        let loaded = crate::config::read(CONFIGURATION, "gristmill.yaml").unwrap();
        world.happen(Input::Activate { catalog: Arc::new(loaded.catalog), text: loaded.text }).await;
        world
    }

    /// A service with a history.
    pub(super) async fn lived(kind: Kind) -> Self {
        let mut world = Self::empty(kind).await;
        let labels = [("os".to_owned(), "linux".to_owned())].into();
        world.happen(Input::Hello(Hello { worker: "local".into(), labels, slots: 1, ..Hello::default() })).await;
        world.happen(Input::SightFailed { repository: "site".into(), error: "no such host".to_owned() }).await;
        world.pass(1).await;
        world.push("main", None, 0xa1, "Ada", "Make the queue bounded\n\nIt grew.", "src/queue.rs").await;
        world.run_and_fail(1).await;
        world.pass(60).await;
        world.push(HOSTILE_BRANCH, None, 0xe2, "Eve <b>", "\u{1b}[31mred\u{202e} & \"sharp\"", "docs/a.md").await;
        world.report(2, 1, ReportBody::Started).await;
        world.report(2, 1, ReportBody::StepStarted { step: 0 }).await;
        world.pass(5).await;
        world
    }

    async fn run_and_fail(&mut self, build: i64) {
        self.report(build, 1, ReportBody::Started).await;
        self.report(build, 1, ReportBody::StepStarted { step: 0 }).await;
        let finished = |step, outcome, cause, summary: &str| ReportBody::StepFinished {
            step,
            outcome,
            cause,
            summary: summary.to_owned(),
            warnings: 0,
        };
        self.report(build, 1, finished(0, Outcome::Success, None, "")).await;
        self.report(build, 1, ReportBody::StepStarted { step: 1 }).await;
        self.print(build, 1, 0, "running\n\u{1b}[31merror: <b>left</b>\u{1b}[0m != right\nmake: *** [check] Error 2\n");
        self.pass(7).await;
        self.report(build, 1, finished(1, Outcome::Failure, Some(Cause::Code), "exit code 2")).await;
        let summary = "step test: exit code 2".to_owned();
        let cause = Some(Cause::Code);
        self.report(build, 1, ReportBody::Finished { outcome: Outcome::Failure, cause, summary }).await;
    }

    /// Prints on a step of a build's first attempt.
    pub(super) fn print(&self, build: i64, step: u32, offset: u64, text: &str) {
        let frame = zstd::encode_all(text.as_bytes(), 1).unwrap();
        let log = LogAddress::output(BuildId(build), 1, step);
        let length = u32::try_from(text.len()).unwrap();
        self.logs.append(&LogAppend { log, offset, length, frame }).unwrap();
    }

    pub(super) async fn happen(&self, input: Input) -> Reply {
        let reply = self.desk.submit(input).await.unwrap();
        assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
        reply
    }

    pub(super) async fn report(&mut self, build: i64, epoch: i64, body: ReportBody) {
        self.reports += 1;
        let report = Report { build: BuildId(build), epoch, seq: self.reports, body };
        self.happen(Input::Report { worker: "local".into(), report }).await;
    }

    pub(super) async fn push(
        &self,
        branch: &str,
        old: Option<u8>,
        new: u8,
        author: &str,
        message: &str,
        file: &str,
    ) -> Reply {
        let revision = |byte: u8| Revision(format!("{byte:02x}").repeat(20));
        let commit = Commit {
            revision: revision(new),
            author: Person { name: author.to_owned(), email: "someone@example.org".to_owned() },
            message: message.to_owned(),
            files: vec![file.to_owned()],
            at: self.hands.now(),
        };
        let update = RefUpdate {
            reference: RefName::of_branch(branch),
            old: old.map(revision),
            new: Some(revision(new)),
            movement: if old.is_some() { Movement::Moved } else { Movement::Created },
            commits: vec![commit],
            incomplete: false,
        };
        self.happen(Input::Sight(sighting(update))).await
    }

    pub(super) async fn deliver(&self) {
        self.deliver_as("guid-1", None).await;
    }

    /// Has a webhook request come, which may tell a movement.
    pub(super) async fn deliver_as(&self, key: &str, update: Option<RefUpdate>) -> Reply {
        let body = b"{}".to_vec();
        let delivery = NewDelivery {
            repository: "core".into(),
            key: key.to_owned(),
            event: "push".to_owned(),
            sha256: Digest::of(&body).0,
            headers: "{}".to_owned(),
            body,
            sighting: update.map(sighting),
        };
        self.happen(Input::Deliver(delivery)).await
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, seconds: i64) {
        self.hands.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    pub(super) fn swept(&self) -> Vec<String> {
        self.desk.swept.lock().unwrap().iter().map(|name| name.0.clone()).collect()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).header(header::HOST, HOST).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body, &[]).await
    }

    pub(super) async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request =
            Request::post(path).header(header::HOST, HOST).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

/// Writes JSON so that differences are seen line by line.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The sentences of a `why`.
pub(super) fn sentences(answer: &Answer) -> String {
    let value = answer.json();
    let lines = value["answer"].as_array().unwrap_or_else(|| panic!("{value}"));
    let lines: Vec<&str> = lines.iter().map(|line| line.as_str().unwrap()).collect();
    lines.join("\n")
}

fn sighting(update: RefUpdate) -> Sighting {
    Sighting { repository: "core".into(), via: Via::Poll, first_sight: false, updates: vec![update] }
}
