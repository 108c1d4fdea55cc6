//! GitHub's dialect: `push` events, signed by `X-Hub-Signature-256`. The older SHA-1 signature is not read.

use std::borrow::Cow;

use axum::http::HeaderMap;
use gristmill_model::catalog::Repository;
use gristmill_model::{Commit, Movement};
use serde::Deserialize;

use super::{
    HookError, HookReading, Judged, Meaning, ToldMove, ToldPerson, gap_in, kind_of, name_in, signature, unreadable,
};

/// The header that signs.
pub const SIGNATURE: &str = "x-hub-signature-256";
/// The header that names the delivery.
pub const DELIVERY: &str = "x-github-delivery";
/// The header that names the event. It is not signed, so nothing but the kind of answer depends on it.
pub const EVENT: &str = "x-github-event";
/// From this many commits on, the list may have been cut: GitHub's own servers and those that imitate them cut at
/// different numbers, none below this.
pub const COMMITS_TOLD_MAX: usize = 20;

#[derive(Debug, Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    before: String,
    after: String,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    commits: Vec<PushCommit>,
}

#[derive(Debug, Deserialize)]
struct PushCommit {
    id: String,
    message: String,
    timestamp: String,
    author: ToldPerson,
    #[serde(default)]
    added: Vec<String>,
    #[serde(default)]
    removed: Vec<String>,
    #[serde(default)]
    modified: Vec<String>,
}

/// Reads a request.
///
/// # Errors
/// Why it is refused.
pub fn read(config: &Repository, secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<HookReading, HookError> {
    signature::check(headers, SIGNATURE, secret, body)?;
    if !matches!(kind_of(headers).as_str(), "application/json" | "application/x-www-form-urlencoded") {
        return Err(HookError::ContentType { wanted: "application/json (or application/x-www-form-urlencoded)" });
    }
    let (key, event) = (name_in(headers, DELIVERY)?, name_in(headers, EVENT)?);
    Ok(HookReading { key, event, meaning: meaning(config, headers, body) })
}

/// Reads what a request says whose signature was checked before.
pub fn meaning(config: &Repository, headers: &HeaderMap, body: &[u8]) -> Meaning {
    match name_in(headers, EVENT).as_deref() {
        Ok("push") => {}
        Ok("ping") => return Meaning::Nothing("a ping: the webhook works".to_owned()),
        Ok(other) => return Meaning::Nothing(format!("`{other}` is not read; only push is")),
        Err(error) => return Meaning::Look(error.to_string()),
    }
    let json = match kind_of(headers).as_str() {
        "application/x-www-form-urlencoded" => match payload_of(body) {
            Some(json) => Cow::Owned(json),
            None => return Meaning::Look("the form has no field `payload`".to_owned()),
        },
        _ => Cow::Borrowed(body),
    };
    match serde_json::from_slice(&json) {
        Ok(push) => judge(config, push),
        Err(error) => unreadable(&error),
    }
}

fn judge(config: &Repository, push: Push) -> Meaning {
    let told = push.commits.len();
    let commits: Option<Vec<Commit>> = push.commits.into_iter().map(commit).collect();
    let is_understood = commits.is_some();
    let told_move = ToldMove {
        reference: push.reference,
        before: push.before,
        after: push.after,
        forced: push.forced,
        commits: commits.unwrap_or_default(),
    };
    let update = match told_move.judge(config) {
        Judged::Move(update) => update,
        Judged::Other(meaning) => return meaning,
    };
    let branch = update.reference.short();
    match update.movement {
        Movement::Deleted => return Meaning::Moved(Box::new(update)),
        Movement::Created => return Meaning::Look(format!("branch `{branch}` is new")),
        Movement::Forced => return Meaning::Look(format!("branch `{branch}` was rewritten")),
        Movement::Moved => {}
    }
    if told >= COMMITS_TOLD_MAX {
        return Meaning::Look(format!("a push to `{branch}` of {told} commits or more"));
    }
    if !is_understood {
        return Meaning::Look(format!("a push to `{branch}` with a commit that is not written as expected"));
    }
    match gap_in(&update) {
        Some(gap) => Meaning::Look(format!("a push to `{branch}`, and {gap}")),
        None => Meaning::Moved(Box::new(update)),
    }
}

fn commit(told: PushCommit) -> Option<Commit> {
    let files = [told.added, told.modified, told.removed].concat();
    super::commit(&told.id, &told.message, &told.author, &told.timestamp, files)
}

/// Takes `payload` out of a form.
fn payload_of(body: &[u8]) -> Option<Vec<u8>> {
    let field = body.split(|&byte| byte == b'&').find_map(|field| field.strip_prefix(b"payload="))?;
    let mut decoded = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| first == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = escaped.filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match escaped.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            None => {
                decoded.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    Some(decoded)
}
