//! `POST /worker/v1/hello`: lets a worker in by its token, and gives it a session.

use std::sync::PoisonError;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gristmill_model::protocol::Hello;
use gristmill_model::protocol::wire::{HelloAnswer, HelloRequest, LeaseTerms, ServiceAbout, Versions};
use gristmill_model::{Admits, Timestamp, Token, TokenId, Worker, WorkerName};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::body::{self, RUN_BYTES_MAX};
use super::failure::Failure;
use super::{Gate, NONCES_MAX, bearer, unknown_token};
use crate::fleet::desk::{POLL, Refused};
use crate::fleet::roster::{LATE, Session};
use crate::fleet::token::{self, Shown};

/// The versions of the protocol that this service speaks.
pub const VERSIONS: Versions = Versions::OWN;
/// How often a worker shows that it lives while it has nothing to say, give or take a tenth.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// The header with the public key of a pool's worker.
const KEY: &str = "gristmill-key";
/// The header with its signature.
const PROOF: &str = "gristmill-proof";

/// Who a worker is, by what it showed.
struct Identity {
    worker: WorkerName,
    token: TokenId,
    key: Option<String>,
}

/// Lets a worker in.
pub(super) async fn hello(
    State(gate): State<Gate>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<HelloAnswer>, Failure> {
    let _room = gate.room()?;
    let shown = Shown::read(bearer(&headers)?).ok_or_else(|| {
        let message = "this is no token of a worker, or it was not copied as a whole: it begins with gmw_";
        Failure::new(StatusCode::UNAUTHORIZED, "token-malformed", message)
    })?;
    let request: HelloRequest = body::json(&headers, body, body::HELLO_BYTES_MAX).await?;
    let token = known(&gate, &shown).await?;
    let version = common_version(request.versions)?;
    if request.run.is_empty() || request.run.len() > RUN_BYTES_MAX || request.nonce.len() > RUN_BYTES_MAX {
        return Err(Failure::bad(format!("`run` has 1 to {RUN_BYTES_MAX} bytes, and `nonce` at most so many")));
    }
    let identity = identify(&gate, &token, &headers, &request)?;
    let run = request.run;
    refuse_duplicate(&gate, &identity, &run).await?;

    let mut hello = Hello { worker: identity.worker.clone(), token: Some(identity.token.clone()), ..request.hello };
    hello.key = identity.key;
    hello.about.protocol = request.versions.newest;
    let welcome = gate.desk.hello(hello).await?;
    let (session, hash) = token::new_session().map_err(|problem| Failure::not_now(problem.to_string()))?;
    let worker = identity.worker.clone();
    gate.desk.fleet.open(hash, Session { worker: worker.clone(), token: identity.token, run });
    let seconds = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    Ok(Json(HelloAnswer {
        version,
        session,
        worker,
        stop: welcome.stop,
        lease: LeaseTerms { heartbeat_seconds: seconds(HEARTBEAT), poll_seconds: seconds(POLL) },
        service: ServiceAbout { version: env!("CARGO_PKG_VERSION").to_owned() },
    }))
}

/// Finds the token that was shown.
async fn known(gate: &Gate, shown: &Shown) -> Result<Token, Failure> {
    let id = shown.id.clone();
    let found = gate.desk.engine.look(move |_, state| state.tokens.get(&id).cloned()).await.map_err(Refused::from)?;
    // What is not there is compared as well, so that nobody learns by the time it takes which tokens there are.
    let sha256 = found.as_ref().map_or("", |token| token.sha256.as_str());
    if !shown.is_the_one_of(sha256) {
        return Err(unknown_token());
    }
    let token = found.ok_or_else(unknown_token)?;
    judge(&token, gate.clock.now())?;
    Ok(token)
}

fn judge(token: &Token, now: Timestamp) -> Result<(), Failure> {
    if let Some(by) = &token.revoked {
        return Err(revoked(&token.id, &by.by));
    }
    if token.expires_at.is_some_and(|at| at <= now) {
        let message = format!("token {} has expired: `gristmill worker token new` makes another", token.id);
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "expired", message));
    }
    Ok(())
}

/// Says that a token was taken back.
pub(super) fn revoked(id: &TokenId, by: &str) -> Failure {
    let message = format!("token {id} was revoked by {by}: stop, or get another one");
    Failure::new(StatusCode::UNAUTHORIZED, "revoked", message)
}

fn common_version(theirs: Versions) -> Result<u32, Failure> {
    VERSIONS.common(theirs).ok_or_else(|| {
        let Versions { oldest, newest } = VERSIONS;
        let older = if theirs.newest < oldest { "worker" } else { "service" };
        let message = format!("this service speaks versions {oldest} to {newest} of the protocol: upgrade the {older}");
        Failure::new(StatusCode::UPGRADE_REQUIRED, "version", message)
            .with("versions", json!({"oldest": oldest, "newest": newest}))
    })
}

/// Finds out who it is: by the token alone, or by the key that a pool's worker proves to have.
fn identify(gate: &Gate, token: &Token, headers: &HeaderMap, request: &HelloRequest) -> Result<Identity, Failure> {
    let pool = match &token.admits {
        Admits::Worker { worker } => {
            return Ok(Identity { worker: worker.clone(), token: token.id.clone(), key: None });
        }
        Admits::Pool { pool, .. } => pool,
    };
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (key, proof) = (header(KEY), header(PROOF));
    let statement = token::statement(&token.id, &request.nonce, request.clock);
    if !token::is_key(key) || request.nonce.is_empty() || !token::is_proven(key, proof, &statement) {
        let message = format!(
            "the token of pool {pool} needs a key of the worker's own: send Gristmill-Key, and the hello signed by it \
             in Gristmill-Proof"
        );
        return Err(Failure::new(StatusCode::FORBIDDEN, "not-proven", message));
    }
    if !is_new(gate, key, &request.nonce) {
        let message = "this very hello came before: sign one with another nonce";
        return Err(Failure::new(StatusCode::FORBIDDEN, "not-proven", message));
    }
    let worker = token::member_name(pool, key);
    Ok(Identity { worker, token: token.id.clone(), key: Some(key.to_owned()) })
}

/// Notes a nonce; false if the key used it before.
fn is_new(gate: &Gate, key: &str, nonce: &str) -> bool {
    let hash: [u8; 32] = Sha256::digest(format!("{key}\n{nonce}").as_bytes()).into();
    let mut nonces = gate.nonces.lock().unwrap_or_else(PoisonError::into_inner);
    if nonces.contains(&hash) {
        return false;
    }
    if nonces.len() >= NONCES_MAX {
        nonces.pop_front();
    }
    nonces.push_back(hash);
    true
}

/// Refuses a second worker of one name: the same token on two machines, or a key that only begins like another's.
async fn refuse_duplicate(gate: &Gate, identity: &Identity, run: &str) -> Result<(), Failure> {
    let name = identity.worker.clone();
    let known = gate.desk.engine.look(move |_, state| state.workers.get(&name).cloned()).await;
    if known.map_err(Refused::from)?.is_some_and(|known| is_another(&known, identity)) {
        tracing::warn!(worker.name = %identity.worker, token = %identity.token, "a worker has the name of another one");
        let message = format!("there is another worker called {}: make a new key", identity.worker);
        return Err(Failure::new(StatusCode::FORBIDDEN, "name-taken", message));
    }
    let Some(silent) = gate.desk.fleet.duplicate_of(&identity.worker, run) else { return Ok(()) };
    tracing::warn!(worker.name = %identity.worker, token = %identity.token, "a second worker of one identity is refused");
    let message = format!(
        "another worker called {} was heard of {} s ago: stop it, or give this one a token of its own; the name is \
         free once that one was silent for {} s",
        identity.worker,
        silent.as_secs(),
        LATE.as_secs()
    );
    Err(Failure::new(StatusCode::CONFLICT, "duplicate", message))
}

/// Says whether a known worker of the same name is somebody else. One that has a token for itself may come back by another
/// token; a member of a pool is who has its key.
fn is_another(known: &Worker, identity: &Identity) -> bool {
    known.token.is_none() && known.connected || identity.key.is_some() && known.key != identity.key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(token: Option<&str>, key: Option<&str>, connected: bool) -> Worker {
        let (token, key) = (token.map(TokenId::from), key.map(str::to_owned));
        Worker { name: "arm-00000000".into(), token, key, connected, ..Worker::default() }
    }

    #[test]
    fn a_name_is_not_taken_from_somebody_else() {
        let identity = |key: Option<&str>| Identity {
            worker: "arm-00000000".into(),
            token: "abcdefgh".into(),
            key: key.map(str::to_owned),
        };
        for (is, known, key) in [
            (false, known(Some("abcdefgh"), None, true), None),
            (false, known(Some("ijklmnop"), None, true), None),
            (true, known(None, None, true), None),
            (false, known(Some("abcdefgh"), Some("k"), true), Some("k")),
            (true, known(Some("abcdefgh"), Some("other"), false), Some("k")),
            (true, known(Some("ijklmnop"), None, true), Some("k")),
        ] {
            assert_eq!(is_another(&known, &identity(key)), is, "{known:?} {key:?}");
        }
    }
}
