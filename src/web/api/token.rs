//! Tokens by which workers join: made, listed, taken back.
//!
//! A secret is in one answer and nowhere else: not in a log, not in the database, not in the answer to a repeat.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gristmill_model::{Admits, PoolName, Timestamp, Token, TokenId, WorkerName};
use gristmill_schedulers::Input;
use serde::Deserialize;
use serde_json::{Value, json};

use super::act::{ByBody, submit};
use super::ask::{Asked, Body, NoQuery, person};
use super::error::{ApiError, cut};
use super::shape::List;
use crate::fleet::token::{ID_CHARS, NewToken};
use crate::service::LOCAL_WORKER;
use crate::store::read::TokenRow;
use crate::web::App;

/// Bytes of the name of a worker or a pool.
const NAME_BYTES_MAX: usize = 100;
/// Bytes of an owner's name.
const OWNER_BYTES_MAX: usize = 256;
/// Workers of one pool.
const POOL_MAX: u32 = 100_000;
/// The longest time for which a token may be made.
const EXPIRES_SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;

/// What makes a token.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TokenBody {
    worker: Option<String>,
    pool: Option<String>,
    max: Option<u32>,
    owner: Option<String>,
    expires_in_seconds: Option<u64>,
    by: Option<String>,
}

/// `GET /tokens`.
pub(super) async fn list(State(app): State<App>, _: Asked<NoQuery>) -> Result<Json<List<TokenRow>>, ApiError> {
    Ok(Json(List::whole(app.reader.tokens().await?)))
}

/// `POST /tokens`.
pub(super) async fn make(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body<TokenBody>,
) -> Result<Response, ApiError> {
    let TokenBody { worker, pool, max, owner, expires_in_seconds, by } = body.value;
    let admits = admits(worker, pool, max)?;
    let new = NewToken::make().map_err(|problem| ApiError::unavailable(problem.to_string()))?;
    let token = Token {
        id: new.id.clone(),
        admits,
        sha256: new.sha256,
        owner: owner.map(owner_name).transpose()?,
        made_at: Timestamp::default(),
        made_by: person(by)?,
        expires_at: expires_in_seconds.map(|seconds| expiry(app.clock.now(), seconds)).transpose()?,
        revoked: None,
    };
    submit(&app, &headers, "/tokens", &body.bytes, Input::MakeToken { token }).await?;
    // A repeat is answered as the first was, which made a token of another number, and had its secret.
    let made = app.reader.tokens().await?.into_iter().find(|token| token.id == new.id);
    let Some(made) = made else {
        let message = "this request was done before, and the secret was in the first answer alone";
        return Err(ApiError::new(StatusCode::CONFLICT, "made-before", message)
            .hint("if that answer was lost, revoke the newest token of GET /tokens and make another under a new key"));
    };
    let mut answer = serde_json::to_value(&made).unwrap_or_default();
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("token".to_owned(), Value::String(new.text));
    }
    let mut response = (StatusCode::CREATED, Json(answer)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `POST /tokens/{id}/revoke`.
pub(super) async fn revoke(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body<ByBody>,
) -> Result<Json<Value>, ApiError> {
    // People may paste a whole token; nothing of its secret goes any further.
    let id = id.get(..ID_CHARS).filter(|short| *short == id).map(TokenId::from).ok_or_else(|| {
        ApiError::not_found("token of that form").hint(format!("GET /tokens lists them by their {ID_CHARS} characters"))
    })?;
    let input = Input::RevokeToken { token: id.clone(), by: person(body.value.by)? };
    submit(&app, &headers, &format!("/tokens/{id}/revoke"), &body.bytes, input).await?;
    Ok(Json(json!({"id": id, "revoked": true})))
}

/// Reads whom a token is to admit.
fn admits(worker: Option<String>, pool: Option<String>, max: Option<u32>) -> Result<Admits, ApiError> {
    match (worker, pool, max) {
        (Some(worker), None, None) => {
            let worker = name("worker", worker)?;
            if worker == LOCAL_WORKER {
                return Err(ApiError::invalid("worker", format!("`{LOCAL_WORKER}` is the built-in worker")));
            }
            Ok(Admits::Worker { worker: WorkerName(worker) })
        }
        (None, Some(pool), Some(max)) if (1..=POOL_MAX).contains(&max) => {
            Ok(Admits::Pool { pool: PoolName(name("pool", pool)?), max })
        }
        (None, Some(_), Some(_)) => Err(ApiError::invalid("max", format!("a pool has 1 to {POOL_MAX} workers"))),
        (None, Some(_), None) => Err(ApiError::invalid("max", "a pool's token says how many workers it admits")),
        (Some(_), None, Some(_)) => Err(ApiError::invalid("max", "a worker's token admits that one worker")),
        _ => Err(ApiError::invalid("worker", "a token admits either one `worker` or a `pool`")),
    }
}

/// Reads a name that can stand in a path, a mail and a table.
fn name(field: &str, text: String) -> Result<String, ApiError> {
    let is_good = text.len() <= NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_good {
        return Ok(text);
    }
    let rule = format!(
        "`{}` is no name: it has 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, and begins with a letter or digit",
        cut(&text)
    );
    Err(ApiError::invalid(field, rule))
}

fn owner_name(owner: String) -> Result<String, ApiError> {
    let owner = owner.trim().to_owned();
    if owner.is_empty() || owner.len() > OWNER_BYTES_MAX || owner.chars().any(char::is_control) {
        let rule = format!("a name has 1 to {OWNER_BYTES_MAX} bytes and no control characters");
        return Err(ApiError::invalid("owner", rule));
    }
    Ok(owner)
}

fn expiry(now: Timestamp, seconds: u64) -> Result<Timestamp, ApiError> {
    if !(1..=EXPIRES_SECONDS_MAX).contains(&seconds) {
        let rule = format!("it is 1 second to 10 years ({EXPIRES_SECONDS_MAX} seconds)");
        return Err(ApiError::invalid("expires_in_seconds", rule));
    }
    Ok(now.after(Duration::from_secs(seconds)))
}
