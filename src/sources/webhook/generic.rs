//! Our own dialect, for senders that are no forge: a `post-receive` hook, a script, another service.
//!
//! `POST /hooks/{repository}` with `Content-Type: application/json` and
//!
//! - `X-Gristmill-Signature: sha256=` and the HMAC SHA-256 of the body under the shared secret, in hexadecimal;
//! - `X-Gristmill-Delivery`: a name of the sender's for this request; a repeat under the same name is answered as the
//!   first was.
//!
//! ```json
//! {
//!   "event": "push",
//!   "ref": "refs/heads/main",
//!   "before": "0d1b…40 digits", "after": "9c4e…40 digits",
//!   "forced": false,
//!   "commits": [
//!     {"id": "9c4e…", "message": "fix the gear", "author": {"name": "Ann", "email": "ann@example.org"},
//!      "timestamp": "2026-11-24T14:02:11Z", "files": ["src/gear.c"]}
//!   ],
//!   "complete": true
//! }
//! ```
//!
//! Only `event` is needed: without `complete: true` the request is a hint, and the repository is looked at. Whoever says
//! `complete` promises that `commits` lists all that the movement brought, oldest first, each with all its files against
//! its first parent. All zeros in `before` stand for a new branch, in `after` for a deleted one. `"event": "ping"` only
//! tries the connection.

use axum::http::HeaderMap;
use gristmill_model::Commit;
use gristmill_model::catalog::Repository;
use serde::Deserialize;

use super::{
    HookError, HookReading, Judged, Meaning, ToldMove, ToldPerson, gap_in, kind_of, name_in, signature, unreadable,
};

/// The header that signs.
pub const SIGNATURE: &str = "x-gristmill-signature";
/// The header that names the delivery.
pub const DELIVERY: &str = "x-gristmill-delivery";

#[derive(Debug, Deserialize)]
struct Request {
    event: String,
    #[serde(rename = "ref", default)]
    reference: Option<String>,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    commits: Vec<RequestCommit>,
    #[serde(default)]
    complete: bool,
}

#[derive(Debug, Deserialize)]
struct RequestCommit {
    id: String,
    message: String,
    timestamp: String,
    author: ToldPerson,
    #[serde(default)]
    files: Vec<String>,
}

/// Reads a request.
///
/// # Errors
/// Why it is refused.
pub fn read(config: &Repository, secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<HookReading, HookError> {
    signature::check(headers, SIGNATURE, secret, body)?;
    if kind_of(headers) != "application/json" {
        return Err(HookError::ContentType { wanted: "application/json" });
    }
    let key = name_in(headers, DELIVERY)?;
    let event = match serde_json::from_slice::<EventOnly>(body) {
        Ok(EventOnly { event }) if event.len() <= super::NAME_BYTES_MAX => event,
        _ => "unknown".to_owned(),
    };
    Ok(HookReading { key, event, meaning: meaning(config, body) })
}

#[derive(Deserialize)]
struct EventOnly {
    event: String,
}

/// Reads what a request says whose signature was checked before.
pub fn meaning(config: &Repository, body: &[u8]) -> Meaning {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return unreadable(&error),
    };
    match request.event.as_str() {
        "push" => judge(config, request),
        "ping" => Meaning::Nothing("a ping: the webhook works".to_owned()),
        other => Meaning::Nothing(format!("`{}` is not read; only push is", super::cut(other.as_bytes(), 64))),
    }
}

fn judge(config: &Repository, request: Request) -> Meaning {
    let (Some(reference), Some(before), Some(after), true) =
        (request.reference, request.before, request.after, request.complete)
    else {
        return Meaning::Look("a push".to_owned());
    };
    let Some(commits) = request.commits.into_iter().map(commit).collect::<Option<Vec<Commit>>>() else {
        return Meaning::Look("a push with a commit that is not written as documented".to_owned());
    };
    match (ToldMove { reference, before, after, forced: request.forced, commits }).judge(config) {
        Judged::Other(meaning) => meaning,
        Judged::Move(update) => match gap_in(&update) {
            Some(gap) => Meaning::Look(format!("a push to `{}`, and {gap}", update.reference.short())),
            None => Meaning::Moved(Box::new(update)),
        },
    }
}

fn commit(told: RequestCommit) -> Option<Commit> {
    super::commit(&told.id, &told.message, &told.author, &told.timestamp, told.files)
}
