//! Reading what a caller asks: numbers in paths, queries, bodies. Everything unknown is refused, with words.

use axum::body::{Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{ApiError, clip, cut};
use crate::store::read::Page;

/// Bytes of a body that is read.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Characters of an idempotency key.
pub const KEY_LENGTH_MAX: usize = 200;
/// Bytes of the name of whoever asks for something.
const PERSON_BYTES_MAX: usize = 256;

/// A query whose fields are all known.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => {
                let problem = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                Err(ApiError::bad_request(format!("the query cannot be read: {}", clip(&problem))))
            }
            Err(_) => Err(ApiError::bad_request("the query cannot be read")),
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageQuery {
    /// Only what is older than this number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: Option<i64>,
}

impl PageQuery {
    /// Gives the page; limits beyond what is allowed are brought to it.
    pub fn page(self) -> Page {
        Page::of(self.before, self.limit)
    }
}

/// A query that asks nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// Reads a number from a path.
pub fn number(noun: &str, text: &str) -> Result<i64, ApiError> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| ApiError::not_found(format!("{noun} `{}`", cut(text))))
}

/// Reads one of the words of a closed list.
pub fn word<T>(field: &str, text: Option<&str>, parse: fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => parse(text)
            .map(Some)
            .ok_or_else(|| ApiError::invalid(field, format!("`{}` is not one of the words used here", cut(text)))),
    }
}

/// A body, with what makes a repeat of it recognisable.
#[derive(Debug)]
pub struct Body<T> {
    /// What it says.
    pub value: T,
    /// The bytes that said it.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        let bytes = to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(|_| {
            let message = format!("the body has more than {BODY_BYTES_MAX} bytes, or its connection ended");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
        })?;
        // A form that a page of another site sends can never be of this type, which is why it is insisted on.
        if !bytes.is_empty() && !is_json {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "the body is not said to be JSON",
            )
            .hint("send `Content-Type: application/json`"));
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        // The reader would take a list for the fields in their order.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(ApiError::bad_request("the body cannot be read: it is not a JSON object"));
        }
        let value = serde_json::from_slice(text)
            .map_err(|error| ApiError::bad_request(format!("the body cannot be read: {}", clip(&error.to_string()))))?;
        Ok(Self { value, bytes })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads the key under which a repeat is recognised.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or("").trim();
    let is_good = !key.is_empty() && key.len() <= KEY_LENGTH_MAX && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good {
        Ok(Some(key.to_owned()))
    } else {
        Err(ApiError::bad_request(format!(
            "Idempotency-Key must be 1 to {KEY_LENGTH_MAX} visible ASCII characters without spaces"
        )))
    }
}

/// Reads who asks. It is shown to people and decides nothing.
pub fn person(by: Option<String>) -> Result<String, ApiError> {
    let by = by.map(|by| by.trim().to_owned()).filter(|by| !by.is_empty()).unwrap_or_else(|| "api".to_owned());
    if by.len() > PERSON_BYTES_MAX || by.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            "by",
            format!("a name has at most {PERSON_BYTES_MAX} bytes and no control characters"),
        ));
    }
    Ok(by)
}
