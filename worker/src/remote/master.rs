//! The worker protocol as a worker speaks it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::protocol::wire::{
    self, HelloAnswer, HelloRequest, HoldRequest, KEY_HEADER, LogAnswer, PROOF_HEADER, PollAnswer, PollRequest,
    ReportsRequest, Versions,
};
use gristmill_model::protocol::{
    ArtifactPiece, Held, Hello, LogAppend, Refusal, Report, Secrets, Welcome, WorkerCommand,
};
use gristmill_model::{BuildId, WorkerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::client::{Address, Request};
use super::identity::{Credential, Identity, IdentityError, random_hex};
use super::refusal::{Asked, ends_session};
use crate::backoff::part_above;
use crate::master::{BEAT_EVERY, Master, POLL_SECONDS_MAX};

/// How long a beat may take: it is cheap, and the next one comes soon.
const BEAT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long any other request may take that the service need not think about.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer than promised a poll may take.
const POLL_MARGIN: Duration = Duration::from_secs(10);

/// Bytes of an answer to a poll: orders with all their steps.
const POLL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a piece of a file may take: with the last one the service reads the whole file again, and makes it safe.
const ARTIFACT_TIMEOUT: Duration = Duration::from_secs(300);

/// Bytes of an answer with secrets: as many of the longest as a builder may have, escaped, and room.
const SECRETS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of any other answer.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The bounds of what a service may want as the pause between two beats, in seconds.
const BEAT_SECONDS: std::ops::RangeInclusive<u64> = 1..=60;

const JSON: &str = "application/json";
const ZSTD: &str = "application/zstd";
const BYTES: &str = "application/octet-stream";

/// A service on another machine.
#[derive(Debug)]
pub struct Remote {
    address: Address,
    credential: Credential,
    identity: Identity,
    /// Random: it tells this process from another one with the same identity.
    run: String,
    session: Mutex<Option<String>>,
    /// The number of the last command that has come.
    ack: AtomicU64,
    beat_seconds: AtomicU64,
    /// Before then the service wants to be left alone.
    not_before: Mutex<Option<Instant>>,
}

impl Remote {
    /// Makes the way to a service. Nothing is sent yet.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new(address: Address, credential: Credential, identity: Identity) -> Result<Self, IdentityError> {
        Ok(Self {
            address,
            credential,
            identity,
            run: random_hex::<8>()?,
            session: Mutex::default(),
            ack: AtomicU64::new(0),
            beat_seconds: AtomicU64::new(BEAT_EVERY.as_secs()),
            not_before: Mutex::default(),
        })
    }

    /// Sends a request when the service wants to hear one, and notes what the answer says about the next one.
    async fn post(&self, request: Request<'_>) -> Result<Vec<u8>, Refusal> {
        let not_before = *lock(&self.not_before);
        if let Some(not_before) = not_before {
            tokio::time::sleep_until(not_before).await;
        }
        let (asked, bearer) = (request.asked, request.bearer.to_owned());
        self.address.post(request).await.map_err(|refused| {
            if let Some(seconds) = refused.retry_after {
                // A quarter more for some than for others: they were all told the same.
                *lock(&self.not_before) = Some(Instant::now() + part_above(Duration::from_secs(seconds)));
            }
            if refused.status.is_some_and(|status| ends_session(asked, status)) {
                let mut session = lock(&self.session);
                if session.as_deref() == Some(&*bearer) {
                    *session = None;
                }
            }
            refused.refusal
        })
    }

    async fn ask(&self, path: &str, asked: Asked, body: (&'static str, Vec<u8>)) -> Result<Vec<u8>, Refusal> {
        let timeout = match path {
            wire::POLL => Duration::from_secs(POLL_SECONDS_MAX) + POLL_MARGIN,
            wire::BEAT => BEAT_TIMEOUT,
            path if path.starts_with(wire::ARTIFACTS) => ARTIFACT_TIMEOUT,
            _ => ANSWER_TIMEOUT,
        };
        let answer_bytes_max = match path {
            wire::POLL => POLL_BYTES_MAX,
            path if path.starts_with(wire::SECRETS) => SECRETS_BYTES_MAX,
            _ => ANSWER_BYTES_MAX,
        };
        let session = lock(&self.session).clone();
        let Some(bearer) = session else {
            return Err(Refusal::Unavailable { why: "the service does not know this worker yet".to_owned() });
        };
        let (kind, body) = body;
        let request = Request { asked, path, bearer: &bearer, headers: &[], kind, body, timeout, answer_bytes_max };
        self.post(request).await
    }
}

#[async_trait]
impl Master for Remote {
    async fn hello(&self, hello: Hello) -> Result<Welcome, Refusal> {
        let rejected = |why: String| Refusal::Rejected { why };
        let token = self.credential.token().map_err(|error| rejected(error.to_string()))?;
        let id = wire::token_id(&token).unwrap_or_default();
        let nonce = random_hex::<16>().map_err(|error| rejected(error.to_string()))?;
        let clock = unix_ms();
        let headers =
            [(KEY_HEADER, self.identity.public().to_owned()), (PROOF_HEADER, self.identity.proof(id, &nonce, clock))];
        let body = HelloRequest { versions: Versions::OWN, run: self.run.clone(), nonce, clock, hello };
        let request = Request {
            asked: Asked::Hello,
            path: wire::HELLO,
            bearer: &token,
            headers: &headers,
            kind: JSON,
            body: json(&body).1,
            timeout: ANSWER_TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer: HelloAnswer = read(&self.post(request).await?)?;
        let is_token = |byte: u8| byte.is_ascii_graphic();
        if answer.session.is_empty() || !answer.session.bytes().all(is_token) {
            return Err(Refusal::Unavailable { why: "the service gave no session".to_owned() });
        }
        let seconds = u64::from(answer.lease.heartbeat_seconds).clamp(*BEAT_SECONDS.start(), *BEAT_SECONDS.end());
        self.beat_seconds.store(seconds, Ordering::Relaxed);
        self.ack.store(0, Ordering::Relaxed);
        *lock(&self.session) = Some(answer.session);
        tracing::info!(
            worker.name = %answer.worker,
            service = %answer.service.version,
            "the service has taken this worker as {}",
            answer.worker
        );
        Ok(Welcome { stop: answer.stop })
    }

    async fn poll(&self, _worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        let question = PollRequest { ack: self.ack.load(Ordering::Relaxed) };
        let answer: PollAnswer = read(&self.ask(wire::POLL, Asked::InSession, json(&question)).await?)?;
        self.ack.store(answer.ack, Ordering::Relaxed);
        Ok(answer.commands.into_iter().map(without_mirrors).collect())
    }

    async fn report(&self, _worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refusal> {
        let Some(first) = reports.first() else { return Ok(()) };
        let asked = Asked::About(Held { build: first.build, epoch: first.epoch });
        self.ask(wire::REPORTS, asked, json(&ReportsRequest { reports })).await.map(drop)
    }

    async fn append_log(&self, _worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        let path = wire::log_path(piece.log, piece.offset, piece.length);
        let asked = Asked::About(Held { build: piece.log.build, epoch: piece.log.epoch });
        let answer = self.ask(&path, asked, (ZSTD, piece.frame)).await?;
        read(&answer).map(|answer: LogAnswer| answer.length)
    }

    async fn secrets(&self, _worker: &WorkerName, build: BuildId, epoch: i64, step: u32) -> Result<Secrets, Refusal> {
        let path = wire::secrets_path(build, epoch, step);
        read(&self.ask(&path, Asked::About(Held { build, epoch }), (JSON, Vec::new())).await?)
    }

    async fn append_artifact(&self, _worker: &WorkerName, piece: ArtifactPiece) -> Result<u64, Refusal> {
        let path = wire::artifact_path(&piece);
        let asked = Asked::About(Held { build: piece.build, epoch: piece.epoch });
        let answer = self.ask(&path, asked, (BYTES, piece.bytes)).await?;
        read(&answer).map(|answer: LogAnswer| answer.length)
    }

    async fn beat(&self, _worker: &WorkerName) -> Result<Duration, Refusal> {
        self.ask(wire::BEAT, Asked::InSession, (JSON, Vec::new())).await?;
        Ok(Duration::from_secs(self.beat_seconds.load(Ordering::Relaxed)))
    }

    async fn hold(&self, _worker: &WorkerName, wish: HoldRequest) -> Result<(), Refusal> {
        self.ask(wire::HOLD, Asked::InSession, json(&wish)).await.map(drop)
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json(value: &impl Serialize) -> (&'static str, Vec<u8>) {
    (JSON, serde_json::to_vec(value).expect("what we say has only string keys"))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::Unavailable { why: format!("the service's answer is not understood: {error}") })
}

/// A path on the service's own machine is nobody else's business.
fn without_mirrors(mut command: WorkerCommand) -> WorkerCommand {
    if let WorkerCommand::Start { order } = &mut command {
        order.origins.values_mut().for_each(|origin| origin.mirror = None);
    }
    command
}

#[expect(clippy::disallowed_methods, reason = "the service compares a proof's time with its own")]
fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
