//! Answers to workers when something is not done: a code for programs, a sentence for people that says what mends it.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use gristmill_schedulers::input::Denial;
use serde_json::{Map, Value, json};

use crate::fleet::desk::Refused;
use crate::fleet::token;

/// The shortest and the longest wait, in seconds, that is asked of a worker that is to come again. They differ, so that
/// thousands of workers do not come at the same moment.
const AGAIN_SECONDS: (u8, u8) = (1, 5);

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    more: Map<String, Value>,
}

impl Failure {
    /// Makes one.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), more: Map::new() }
    }

    /// Gives the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Says something more for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The request itself is wrong, and a repeat of it, too.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    /// It may be done later; the worker is to come again.
    pub fn not_now(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
    }

    /// The worker must say hello again, which it can at once.
    pub fn hello(why: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "hello", format!("{why}: say hello again"))
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Fenced { build, epoch } => {
                let message = format!("the lease of build {build} under epoch {epoch} is over: stop it, and forget it");
                Self::new(StatusCode::GONE, "fenced", message).with("fenced", json!({"build": build, "epoch": epoch}))
            }
            Refused::Offset { length } => {
                let message = format!("it ends at {length} here: send from there");
                Self::new(StatusCode::CONFLICT, "offset", message).with("length", length.into())
            }
            Refused::Bad(why) => Self::bad(why),
            Refused::Hello(why) => Self::hello(&why),
            Refused::NotNow(why) => Self::not_now(why),
            Refused::Denied(Denial::Invalid { field, problem }) => Self::bad(format!("{field}: {problem}")),
            Refused::Denied(denial @ Denial::NotFound { .. }) => Self::hello(&denial.to_string()),
            Refused::Denied(denial) => Self::new(StatusCode::FORBIDDEN, "not-admitted", denial.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("error".to_owned(), self.code.into());
        body.insert("message".to_owned(), self.message.into());
        let mut response = (self.status, Json(Value::Object(body))).into_response();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            let (least, most) = AGAIN_SECONDS;
            let seconds = least + token::random_byte() % (most - least + 1);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(u16::from(seconds)));
        }
        response
    }
}
