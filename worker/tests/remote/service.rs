//! The service behind the HTTP server: it insists on the protocol's rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use gristmill_model::protocol::wire::{
    HelloAnswer, HelloRequest, HoldRequest, LeaseTerms, PollAnswer, ReportsRequest, ServiceAbout, proof_text,
};
use gristmill_model::protocol::{Hello, ReportBody, WorkerCommand, limit};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::json;
use tokio::sync::watch;

use crate::http::{Fault, Request, Response};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a poll without an answer takes.
const LONG_POLL: Duration = Duration::from_secs(20);

pub(crate) const TOKEN: &str = "gmw_k3jd8s2x_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_abcdef";

/// A lease: build and epoch.
pub(crate) type Lease = (i64, i64);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) hellos: Vec<Hello>,
    runs: BTreeSet<String>,
    sessions: BTreeSet<String>,
    next_session: u64,
    pub(crate) commands: Vec<WorkerCommand>,
    pub(crate) reports: BTreeMap<Lease, Vec<ReportBody>>,
    pub(crate) logs: BTreeMap<(i64, i64, u32), Vec<u8>>,
    pub(crate) fenced: BTreeSet<Lease>,
    pub(crate) holds: Vec<HoldRequest>,
    pub(crate) beats: u64,
    /// Every other request of a kind goes wrong like this.
    pub(crate) fault: Option<Fault>,
    /// Requests so far, by their kind.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Every connection ends before its request is seen.
    pub(crate) is_away: bool,
    /// Reports are answered with 503, and counted.
    pub(crate) refuses_reports: bool,
    /// Hellos are answered with this.
    pub(crate) turns_away: Option<u16>,
}

impl State {
    /// Takes all sessions back, as a service does whose token was revoked, or that lost its key.
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }

    pub(crate) fn finished(&self, lease: Lease) -> Option<&ReportBody> {
        self.reports.get(&lease)?.last().filter(|body| matches!(body, ReportBody::Finished { .. }))
    }
}

#[derive(Debug)]
pub(crate) struct Service {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Default for Service {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

fn kind_of(path: &str) -> String {
    path.trim_start_matches("/worker/v1/").split(['/', '?']).next().unwrap().to_owned()
}

fn error(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "error": "refused", "message": message }))
}

impl Service {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
        value
    }

    /// Waits until something holds.
    pub(crate) async fn until<T>(&self, what: &str, look: impl FnMut(&State) -> Option<T>) -> T {
        let found = self.wait(PATIENCE, look).await;
        found.unwrap_or_else(|| {
            let state = self.state();
            panic!("waited in vain for {what}: {:#?} {:?}", state.reports, state.counts)
        })
    }

    async fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                changed.borrow_and_update();
                if let Some(value) = look(&self.state()) {
                    return value;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(limit, wait).await.ok()
    }

    /// Says whether this exchange goes wrong: every other one of each kind.
    pub(crate) fn fault_for(&self, request: &Request) -> Option<Fault> {
        self.change(|state| {
            let count = state.counts.entry(kind_of(&request.path)).or_default();
            *count += 1;
            let is_odd = *count % 2 == 1;
            if state.is_away { Some(Fault::CutBefore) } else { state.fault.filter(|_| is_odd) }
        })
    }

    pub(crate) async fn answer(&self, request: Request) -> Response {
        let kind = kind_of(&request.path);
        let bearer = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        if kind == "hello" {
            assert_eq!(bearer, TOKEN);
            return self.hello(&request);
        }
        if !self.state().sessions.contains(bearer) {
            return error(401, "the session is over: say hello again");
        }
        match kind.as_str() {
            "poll" => self.poll().await,
            "beat" => {
                self.change(|state| state.beats += 1);
                Response::empty()
            }
            "reports" => self.reports(&request.body),
            "logs" => self.append(&request),
            "hold" => {
                let wish = serde_json::from_slice(&request.body).unwrap();
                self.change(|state| state.holds.push(wish));
                Response::empty()
            }
            other => panic!("nobody asks for {other}"),
        }
    }

    fn hello(&self, request: &Request) -> Response {
        let hello: HelloRequest = serde_json::from_slice(&request.body).unwrap();
        let bytes = |name: &str| -> Vec<u8> {
            let hex = &request.headers[name];
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        let key = UnparsedPublicKey::new(&ED25519, bytes("gristmill-key"));
        let text = proof_text("k3jd8s2x", &hello.nonce, hello.clock);
        key.verify(text.as_bytes(), &bytes("gristmill-proof")).unwrap();
        assert!(hello.run.len() == 16 && hello.versions.newest == 1);
        self.change(|state| {
            if let Some(status) = state.turns_away {
                return error(status, "");
            }
            state.runs.insert(hello.run);
            state.next_session += 1;
            let session = format!("gms_{}", state.next_session);
            state.sessions.insert(session.clone());
            let stop = hello.hello.builds.iter().filter(|held| state.fenced.contains(&(held.build.0, held.epoch)));
            let stop = stop.copied().collect();
            state.hellos.push(hello.hello);
            let answer = HelloAnswer {
                version: 1,
                session,
                worker: "linux-1".into(),
                stop,
                lease: LeaseTerms { heartbeat_seconds: 1, poll_seconds: 20 },
                service: ServiceAbout::default(),
            };
            Response::json(200, &serde_json::to_value(answer).unwrap())
        })
    }

    async fn poll(&self) -> Response {
        let look = |state: &State| {
            if state.is_away {
                return Some(Vec::new());
            }
            let open: Vec<WorkerCommand> =
                state.commands.iter().filter(|command| is_open(state, command)).cloned().collect();
            (!open.is_empty()).then_some(open)
        };
        let commands = self.wait(LONG_POLL, look).await.unwrap_or_default();
        Response::json(200, &serde_json::to_value(PollAnswer { commands, ..PollAnswer::default() }).unwrap())
    }

    fn reports(&self, body: &[u8]) -> Response {
        let ReportsRequest { reports } = serde_json::from_slice(body).unwrap();
        assert!(!reports.is_empty() && reports.len() <= limit::REPORTS_MAX);
        self.change(|state| {
            if state.refuses_reports {
                return error(503, "busy");
            }
            for report in reports {
                let lease = (report.build.0, report.epoch);
                if state.fenced.contains(&lease) {
                    let fenced = json!({ "build": report.build, "epoch": report.epoch });
                    return Response::json(410, &json!({ "error": "fenced", "fenced": fenced }));
                }
                let seen = state.reports.entry(lease).or_default();
                let next = seen.len() as u64 + 1;
                assert!(report.seq <= next, "report {} came before {next}", report.seq);
                if report.seq == next {
                    assert!(!matches!(seen.last(), Some(ReportBody::Finished { .. })), "nothing comes after the end");
                    seen.push(report.body);
                } else {
                    assert_eq!(seen[usize::try_from(report.seq).unwrap() - 1], report.body, "a repeat says the same");
                }
            }
            Response::empty()
        })
    }

    fn append(&self, request: &Request) -> Response {
        let (path, query) = request.path.split_once('?').unwrap();
        let numbers: Vec<i64> = path.split('/').skip(4).map(|number| number.parse().unwrap()).collect();
        let value = |name: &str| -> u64 {
            let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.unwrap().parse().unwrap()
        };
        let (build, epoch, step) = (numbers[0], numbers[1], u32::try_from(numbers[2]).unwrap());
        let bytes = zstd::bulk::decompress(&request.body, limit::FRAME_BYTES_MAX).unwrap();
        assert!(!bytes.is_empty() && bytes.len() as u64 == value("length"));
        self.change(|state| {
            if state.fenced.contains(&(build, epoch)) {
                return Response::json(410, &json!({ "error": "fenced" }));
            }
            let log = state.logs.entry((build, epoch, step)).or_default();
            if value("offset") != log.len() as u64 {
                return Response::json(409, &json!({ "error": "offset", "length": log.len() }));
            }
            log.extend(bytes);
            Response::json(200, &json!({ "length": log.len() }))
        })
    }
}

/// Says whether the service still waits for the effect of a command.
fn is_open(state: &State, command: &WorkerCommand) -> bool {
    match command {
        WorkerCommand::Start { order } => !state.reports.contains_key(&(order.build.0, order.epoch)),
        WorkerCommand::Resume { .. } => false,
        WorkerCommand::Cancel { build, epoch, .. } => state.finished((build.0, *epoch)).is_none(),
    }
}
