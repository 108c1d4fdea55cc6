//! The worker protocol over HTTP: `POST /worker/v1/…`. docs/worker-protocol.md is its description.
//!
//! In reading order: [`body`] is what may be said, and how much; [`hello`] lets a worker in; here is what it may ask then;
//! [`failure`] is what it hears when that is not done. Everything is passed on to the master that leads, and everything
//! may be repeated.

pub mod body;
pub mod failure;
pub mod hello;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, HeaderName};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use gristmill_model::protocol::limit::{FRAME_BYTES_MAX, REPORTS_MAX};
use gristmill_model::protocol::wire::{HoldRequest, HoldWish, LogAnswer, PollAnswer, PollRequest, ReportsRequest};
use gristmill_model::protocol::{ArtifactPiece, LogAddress, LogAppend, Secrets, WorkerCommand};
use gristmill_model::step::limit::ARTIFACT_PIECE_BYTES_MAX;
use gristmill_model::{BuildId, Hold, HoldKind, WorkerName};
use gristmill_schedulers::{Input, Reply};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use self::body::{ArtifactQuery, PieceQuery};
use self::failure::Failure;
use super::desk::{Desk, Refused};
use super::roster::{NoSession, Session, SessionHash};
use super::token;
use crate::clock::Clock;

/// What begins the path of everything that workers ask.
pub const PREFIX: &str = "/worker/";
/// Bodies that are read and worked on at once; who comes then is asked to come again.
pub const BODIES_AT_ONCE_MAX: usize = 256;
/// Hellos of pools' workers that are remembered, so that none is taken twice.
const NONCES_MAX: usize = 10_000;
/// For how long it is taken for granted that a worker is still let in, where only bytes of a log depend on it.
const ENTRY_FRESH: Duration = Duration::from_secs(1);
/// Sessions for which that is remembered.
const ENTRIES_MAX: usize = 10_000;
/// How hard pieces of log are compressed that came as they are.
const COMPRESSION_LEVEL: i32 = 3;

/// What serves workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    desk: Desk,
    clock: Arc<dyn Clock>,
    /// Ends open polls when the service stops.
    stop: CancellationToken,
    bodies: Arc<Semaphore>,
    nonces: Arc<Mutex<VecDeque<[u8; 32]>>>,
    entered: Arc<Mutex<HashMap<SessionHash, Instant>>>,
}

impl Gate {
    /// Makes one.
    pub fn new(desk: Desk, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        let bodies = Arc::new(Semaphore::new(BODIES_AT_ONCE_MAX));
        Self { desk, clock, stop, bodies, nonces: Arc::default(), entered: Arc::default() }
    }

    /// Gives room for one body.
    fn room(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let busy = |_| Failure::not_now("many workers speak at once: come again");
        Arc::clone(&self.bodies).try_acquire_owned().map_err(busy)
    }

    /// Finds out whose session a request carries, and that its worker is let in; it has been heard of then.
    async fn enter(&self, headers: &HeaderMap) -> Result<Session, Failure> {
        let hash = session_of(headers)?;
        let session = self.find(&hash)?;
        let (worker, id) = (session.worker.clone(), session.token.clone());
        let (revoked, is_connected) = self
            .desk
            .engine
            .look(move |_, state| {
                let revoked = state.tokens.get(&id).map(|token| token.revoked.clone().map(|revoked| revoked.by));
                (revoked, state.workers.get(&worker).is_some_and(|known| known.connected))
            })
            .await
            .map_err(Refused::from)?;
        match revoked {
            None => return Err(unknown_token()),
            Some(Some(by)) => return Err(hello::revoked(&session.token, &by)),
            Some(None) if !is_connected => return Err(Failure::hello("this worker does not count as there")),
            Some(None) => {}
        }
        self.desk.fleet.hear(&session.worker);
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        if entered.len() >= ENTRIES_MAX {
            entered.retain(|_, at| at.elapsed() < ENTRY_FRESH);
        }
        entered.insert(hash, Instant::now());
        Ok(session)
    }

    /// The same for a piece of log, of which many come: what was found a moment ago holds.
    async fn enter_with_log(&self, headers: &HeaderMap) -> Result<Session, Failure> {
        let hash = session_of(headers)?;
        let at = self.entered.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).copied();
        if at.is_some_and(|at| at.elapsed() < ENTRY_FRESH) && *self.desk.engine.leads().borrow() {
            let session = self.find(&hash)?;
            self.desk.fleet.hear(&session.worker);
            return Ok(session);
        }
        self.enter(headers).await
    }

    fn find(&self, hash: &SessionHash) -> Result<Session, Failure> {
        self.desk.fleet.find(hash).map_err(|problem| match problem {
            NoSession::Unknown => Failure::hello("this session is not known here"),
            NoSession::Superseded => {
                let message = "another worker of this name has taken this one's place: give each a token of its own, \
                               or the token of a pool";
                Failure::new(StatusCode::UNAUTHORIZED, "superseded", message)
            }
        })
    }
}

/// Gives the routes.
pub fn routes(gate: Gate) -> Router {
    Router::new()
        .route("/worker/v1/hello", post(hello::hello))
        .route("/worker/v1/poll", post(poll))
        .route("/worker/v1/beat", post(beat))
        .route("/worker/v1/reports", post(reports))
        .route("/worker/v1/logs/{build}/{epoch}/{step}", post(append))
        .route("/worker/v1/secrets/{build}/{epoch}/{step}", post(secrets))
        .route("/worker/v1/artifacts/{build}/{epoch}", post(append_artifact))
        .route("/worker/v1/hold", post(hold))
        .with_state(gate)
}

/// Reads the secret that a request carries.
fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let bearer = values.next().and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
    match bearer {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") && values.next().is_none() => Ok(secret.trim()),
        _ => Err(Failure::new(StatusCode::UNAUTHORIZED, "no-credential", "send `Authorization: Bearer …`")),
    }
}

fn session_of(headers: &HeaderMap) -> Result<SessionHash, Failure> {
    let text = bearer(headers)?;
    if text.starts_with(token::TOKEN_PREFIX) {
        return Err(Failure::hello("a token lets in, and nothing more"));
    }
    Ok(token::session_hash(text))
}

/// Says the same of a token that there is not and of one whose secret is wrong.
fn unknown_token() -> Failure {
    let message = "this token is not known: `gristmill worker token new` makes one";
    Failure::new(StatusCode::UNAUTHORIZED, "token-unknown", message)
}

/// `POST /worker/v1/poll`.
async fn poll(State(gate): State<Gate>, headers: HeaderMap, body: Body) -> Result<Json<PollAnswer>, Failure> {
    let session = gate.enter(&headers).await?;
    let PollRequest { ack } = body::json(&headers, body, body::QUESTION_BYTES_MAX).await?;
    let stop = gate.stop.clone();
    let given = stop.run_until_cancelled(gate.desk.poll(&session.worker, ack)).await;
    let mut given = given.ok_or_else(|| Failure::not_now("the service stops"))??;
    given.commands.iter_mut().for_each(hide_mirrors);
    Ok(Json(PollAnswer { commands: given.commands, ack: given.ack }))
}

/// A remote worker fetches from where everybody does; the service's folders are not its business.
fn hide_mirrors(command: &mut WorkerCommand) {
    if let WorkerCommand::Start { order } = command {
        order.origins.values_mut().for_each(|origin| origin.mirror = None);
    }
}

/// `POST /worker/v1/beat`.
async fn beat(State(gate): State<Gate>, headers: HeaderMap) -> Result<StatusCode, Failure> {
    gate.enter(&headers).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /worker/v1/reports`.
async fn reports(State(gate): State<Gate>, headers: HeaderMap, body: Body) -> Result<StatusCode, Failure> {
    let _room = gate.room()?;
    let session = gate.enter(&headers).await?;
    let ReportsRequest { reports } = body::json(&headers, body, body::REPORTS_BYTES_MAX).await?;
    if reports.len() > REPORTS_MAX {
        return Err(Failure::bad(format!("there are more than {REPORTS_MAX} reports: send them in several requests")));
    }
    gate.desk.report(&session.worker, reports).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /worker/v1/logs/{build}/{epoch}/{step}`.
async fn append(
    State(gate): State<Gate>,
    Path((build, epoch, step)): Path<(i64, i64, u32)>,
    Query(PieceQuery { offset, length, log }): Query<PieceQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LogAnswer>, Failure> {
    let _room = gate.room()?;
    let session = gate.enter_with_log(&headers).await?;
    if length as usize > FRAME_BYTES_MAX {
        return Err(Failure::bad(format!("a piece has at most {FRAME_BYTES_MAX} bytes when it is unpacked")));
    }
    let bytes = body::bytes(&headers, body, body::PIECE_BYTES_MAX).await?;
    let frame = match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"zstd") => bytes,
        Some(b"identity") => compressed(bytes, length)?,
        Some(_) => return Err(Failure::bad("a piece of log is encoded as `zstd` or `identity`")),
    };
    let log = LogAddress { build: BuildId(build), epoch, step, log };
    let length = gate.desk.append(&session.worker, LogAppend { log, offset, length, frame }).await?;
    Ok(Json(LogAnswer { length }))
}

/// Compresses a piece of log that came as it is.
fn compressed(bytes: Vec<u8>, length: u32) -> Result<Vec<u8>, Failure> {
    if bytes.len() != length as usize {
        return Err(Failure::bad(format!("the piece has {} bytes, and not {length}", bytes.len())));
    }
    zstd::bulk::compress(&bytes, COMPRESSION_LEVEL).map_err(|problem| Failure::not_now(problem.to_string()))
}

/// `POST /worker/v1/secrets/{build}/{epoch}/{step}`. Nobody on the way may keep the answer.
async fn secrets(
    State(gate): State<Gate>,
    Path((build, epoch, step)): Path<(i64, i64, u32)>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], Json<Secrets>), Failure> {
    let _room = gate.room()?;
    let session = gate.enter(&headers).await?;
    let secrets = gate.desk.secrets(&session.worker, BuildId(build), epoch, step).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(secrets)))
}

/// `POST /worker/v1/artifacts/{build}/{epoch}`.
async fn append_artifact(
    State(gate): State<Gate>,
    Path((build, epoch)): Path<(i64, i64)>,
    Query(ArtifactQuery { digest, total, offset }): Query<ArtifactQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LogAnswer>, Failure> {
    let _room = gate.room()?;
    let session = gate.enter(&headers).await?;
    let bytes = body::bytes(&headers, body, ARTIFACT_PIECE_BYTES_MAX).await?;
    let piece = ArtifactPiece { build: BuildId(build), epoch, digest, total, offset, bytes };
    let length = gate.desk.append_artifact(&session.worker, piece).await?;
    Ok(Json(LogAnswer { length }))
}

/// `POST /worker/v1/hold`.
async fn hold(State(gate): State<Gate>, headers: HeaderMap, body: Body) -> Result<StatusCode, Failure> {
    let session = gate.enter(&headers).await?;
    let asked: HoldRequest = body::json(&headers, body, body::QUESTION_BYTES_MAX).await?;
    if asked.reason.as_ref().is_some_and(|reason| reason.len() > body::REASON_BYTES_MAX) {
        return Err(Failure::bad(format!("a reason has at most {} bytes", body::REASON_BYTES_MAX)));
    }
    for input in wished(&session.worker, asked) {
        match gate.desk.engine.submit(input).await.map_err(Refused::from)? {
            Reply::Refused(denial) => return Err(Refused::Denied(denial).into()),
            _ => continue,
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Puts what is wanted at a worker's machine into inputs. What was decided elsewhere, a quarantine, is not ended there.
fn wished(worker: &WorkerName, HoldRequest { kind, until, reason }: HoldRequest) -> Vec<Input> {
    let by = format!("worker {worker}");
    let hold = |kind| {
        let hold = Hold { by: by.clone(), reason: reason.clone(), until, ..Hold::default() };
        vec![Input::Hold { worker: worker.clone(), kind, hold }]
    };
    let free = |kind| Input::Free { worker: worker.clone(), kind: Some(kind), by: by.clone() };
    match kind {
        HoldWish::Pause => hold(HoldKind::Pause),
        HoldWish::Drain => hold(HoldKind::Drain),
        HoldWish::Resume => vec![free(HoldKind::Pause), free(HoldKind::Drain)],
    }
}
