//! Errors of the API: one shape, a code for programs, a sentence and a hint for people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gristmill_schedulers::input::Denial;
use serde_json::json;

use crate::logs;
use crate::store::read::ReadError;

/// Seconds after which a caller may try again what could not be done now.
const RETRY_AFTER_S: &str = "2";
/// Bytes of a caller's own words that an error repeats.
const REPEATED_BYTES_MAX: usize = 100;
/// Bytes of what a reader says of them.
const PROBLEM_BYTES_MAX: usize = 400;

/// An answer that says why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    pub(super) hint: Option<String>,
    field: Option<String>,
}

impl ApiError {
    /// Makes one.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None, field: None }
    }

    /// Adds what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the value that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// There is no such thing.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("there is no {what}"))
    }

    /// No route has this path.
    pub fn no_such_path(path: &str) -> Self {
        Self::not_found(format!("path `{}`", cut(path))).hint("GET /api/v1 lists all paths")
    }

    /// What was said cannot be taken.
    pub fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{field}: {}", problem.into())).field(field)
    }

    /// The request itself is wrong.
    pub fn bad_request(problem: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", problem)
    }

    /// The service cannot do it now, and nothing was changed.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
            .hint("nothing was changed; try again, with the same Idempotency-Key if there was one")
    }

    /// Puts an engine's refusal into an answer.
    pub fn of_denial(denial: &Denial) -> Self {
        match denial {
            Denial::NotFound { what } => Self::not_found(what),
            Denial::Invalid { field, problem } => Self::invalid(field, problem),
            Denial::NotNow { .. } => Self::new(StatusCode::CONFLICT, "not-now", denial.to_string()),
            Denial::Fenced { .. } => Self::new(StatusCode::CONFLICT, "fenced", denial.to_string()),
        }
    }

    /// Gives the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Gives the sentence.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Shortens a caller's words to what is worth repeating.
pub(crate) fn cut(text: &str) -> String {
    shorten(text, REPEATED_BYTES_MAX)
}

/// Shortens what a reader says of a caller's words.
pub(crate) fn clip(text: &str) -> String {
    shorten(text, PROBLEM_BYTES_MAX)
}

fn shorten(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let dots = if end < text.len() { "…" } else { "" };
    format!("{}{dots}", &text[..end])
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "a read for the API failed");
        match error {
            ReadError::Database(_) | ReadError::Store(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "database", "the database does not answer")
                    .hint("the service's own log says why")
            }
            ReadError::Cell { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "a stored value cannot be read by this version",
            )
            .hint("the service's own log names it"),
        }
    }
}

impl From<logs::ReadError> for ApiError {
    fn from(error: logs::ReadError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a log could not be read");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "log", "the log cannot be read")
            .hint("the service's own log says why")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message, "hint": self.hint});
        if let (Some(field), Some(error)) = (self.field, error.as_object_mut()) {
            error.insert("field".to_owned(), field.into());
        }
        let mut response = (self.status, Json(json!({"error": error}))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}
