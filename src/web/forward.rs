//! Passes on to the master that leads what it alone can do: everything that would change something. Reading is answered
//! here, by whichever master is asked.
//!
//! While nobody leads, the answer is 503 with `Retry-After`, and nothing was changed.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::api::error::ApiError;
use crate::fleet::http::failure::Failure;
use crate::fleet::{self, desk};
use crate::leader::Leadership;

/// How long the leader's connection may take to open.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long a passed-on request may take in all; a worker's question may wait for half of it.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const _: () = assert!(desk::POLL.as_secs() * 2 <= ANSWER_TIME_MAX.as_secs());
/// Marks what was passed on, so that two masters that each take the other for the leader do not pass it on for ever.
const FORWARDED: HeaderName = HeaderName::from_static("gristmill-forwarded");
/// What concerns one connection, and what the guard here has looked at: it is not passed on.
const NOT_PASSED_ON: [HeaderName; 10] = [
    header::CONNECTION,
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("sec-fetch-site"),
];

/// What a caller does who does not know whether something was done.
const UNKNOWN_HINT: &str = "it may have been done: look, or say it again with the same Idempotency-Key";

/// Why a request was not passed on, or not answered.
enum NotPassedOn {
    /// It did not leave this master: nothing was changed.
    Before(String),
    /// It had left, and nobody knows what came of it.
    Unknown(String),
}

/// Who leads, and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Forward {
    leadership: Leadership,
    client: reqwest::Client,
}

impl Forward {
    /// Makes it; `None` if the system gives no client, and then what must be decided is refused where nobody leads.
    pub(super) fn new(leadership: Leadership) -> Option<Self> {
        // The program chooses its cryptography at its start; whoever uses this as a library may not have.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        // A proxy is for the world outside; a redirect would be followed by a request that nobody checked.
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(ANSWER_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        match client {
            Ok(client) => Some(Self { leadership, client }),
            Err(problem) => {
                tracing::error!("nothing can be passed on to another master: {problem}");
                None
            }
        }
    }

    async fn pass_on(&self, request: Request) -> Result<Response, NotPassedOn> {
        if request.headers().contains_key(FORWARDED) {
            return Err(NotPassedOn::Before("the lead has just changed".to_owned()));
        }
        let leader = self.leadership.leader();
        if leader.master.is_empty() {
            return Err(NotPassedOn::Before("no master leads now".to_owned()));
        }
        if leader.address.is_empty() {
            let why = format!("{} leads and cannot be reached by other masters", leader.master);
            return Err(NotPassedOn::Before(why));
        }
        let (parts, body) = request.into_parts();
        let url = format!("{}{}", leader.address, path_of(&parts.uri));
        let answer = self
            .client
            .request(parts.method, url)
            .headers(passed_on(parts.headers))
            .body(reqwest::Body::wrap_stream(body.into_data_stream()))
            .send()
            .await
            .map_err(|problem| {
                tracing::warn!(
                    "{} at {} did not answer: {}",
                    leader.master,
                    leader.address,
                    crate::chain::chain(&problem)
                );
                let why = format!("{}, which leads, does not answer", leader.master);
                if problem.is_connect() { NotPassedOn::Before(why) } else { NotPassedOn::Unknown(why) }
            })?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.extend(answer.headers().iter().filter(|(name, _)| !NOT_PASSED_ON.contains(name)).map(clone));
        }
        response
            .body(Body::from_stream(answer.bytes_stream()))
            .map_err(|problem| NotPassedOn::Unknown(problem.to_string()))
    }
}

fn clone((name, value): (&HeaderName, &HeaderValue)) -> (HeaderName, HeaderValue) {
    (name.clone(), value.clone())
}

fn path_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    for name in NOT_PASSED_ON {
        headers.remove(name);
    }
    headers.insert(FORWARDED, HeaderValue::from_static("1"));
    headers
}

/// Lets reading through, and what the leader alone can do if that is this master; passes on the rest.
pub(super) async fn forward(State(forward): State<Option<Forward>>, request: Request, next: Next) -> Response {
    let Some(forward) = forward else { return next.run(request).await };
    // Who a worker is, only the leader knows, also where it only reads.
    let is_of_worker = request.uri().path().starts_with(fleet::http::PREFIX);
    if request.method().is_safe() && !is_of_worker || forward.leadership.is_here() {
        return next.run(request).await;
    }
    let is_page = !super::api::is_api_path(request.uri().path()) && !request.uri().path().starts_with("/hooks/");
    match forward.pass_on(request).await {
        Ok(response) => response,
        // All that a worker says may be said again, so it makes no difference what became of it.
        Err(NotPassedOn::Before(why) | NotPassedOn::Unknown(why)) if is_of_worker => {
            Failure::not_now(why).into_response()
        }
        Err(why) => refusal(&why, is_page),
    }
}

fn refusal(why: &NotPassedOn, is_page: bool) -> Response {
    let (status, why, error) = match why {
        NotPassedOn::Before(why) => (StatusCode::SERVICE_UNAVAILABLE, why, ApiError::unavailable(why)),
        NotPassedOn::Unknown(why) => {
            let status = StatusCode::BAD_GATEWAY;
            (status, why, ApiError::new(status, "unknown", why).hint(UNKNOWN_HINT))
        }
    };
    if !is_page {
        return error.into_response();
    }
    let mut response = (status, format!("{why}\n")).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
