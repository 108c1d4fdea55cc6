//! What every answer carries: what a browser may do with it, and how long it may be kept.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use gristmill_model::Digest;

/// Answers up to this size get an `ETag`, so that a page that has not changed is not sent again.
const ETAG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// No inline script or style, nothing from elsewhere, no frames: what a stranger's text smuggles in cannot run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                                       form-action 'self'; frame-ancestors 'none'";

/// Headers that are set unless the answer has its own.
const COMMON: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Says whether an answer's bytes may wait for each other, which compressing them means. What grows may not: its
/// handlers say so to proxies, too, by `X-Accel-Buffering: no`.
pub fn may_be_held_back(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    !headers.contains_key("x-accel-buffering")
}

/// Adds the common headers to an answer, and answers 304 where the browser has it already.
pub async fn complete(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in COMMON {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if is_read && response.status() == StatusCode::OK && wants_etag(response.headers(), response.body()) {
        return with_etag(response, known).await;
    }
    response
}

fn wants_etag(headers: &HeaderMap, body: &Body) -> bool {
    let is_text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html") || kind.starts_with("application/json"));
    // An answer whose size is not known is a stream; it must not be held back.
    let is_small = body.size_hint().exact().is_some_and(|size| size > 0 && size <= ETAG_BYTES_MAX);
    is_text && is_small && !headers.contains_key(header::ETAG) && !headers.contains_key(header::CONTENT_ENCODING)
}

async fn with_etag(response: Response, known: Option<HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::try_from(ETAG_BYTES_MAX).unwrap_or(usize::MAX)).await else {
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        return Response::from_parts(parts, Body::empty());
    };
    // Weak, because a proxy that compresses changes the bytes and not what they say.
    let etag = format!("W/\"{}\"", &Digest::of(&bytes).0[..32]);
    let has_it = known
        .and_then(|known| known.to_str().map(str::to_owned).ok())
        .is_some_and(|known| known.split(',').any(|candidate| candidate.trim() == etag));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        parts.headers.insert(header::ETAG, value);
    }
    if has_it {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}
