//! Bodies of workers' requests: what they may say, and how much, and how long they may take to come.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt;
use gristmill_model::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;

/// Bytes of a hello: 200 labels of the longest, 1,024 builds, and room.
pub const HELLO_BYTES_MAX: usize = 512 * 1024;
/// Bytes of reports.
pub const REPORTS_BYTES_MAX: usize = gristmill_model::protocol::limit::REPORTS_BYTES_MAX;
/// Bytes of any other question.
pub const QUESTION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a piece of log: a frame that does not compress is hardly longer than what it holds.
pub const PIECE_BYTES_MAX: usize = 128 * 1024;
/// How long a body may take to come.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of the name of a run, and of a nonce.
pub const RUN_BYTES_MAX: usize = 64;
/// Bytes of a reason.
pub const REASON_BYTES_MAX: usize = 1_000;
/// Characters of what was wrong with a body that are said.
const PROBLEM_CHARS_MAX: usize = 200;

/// The query of `POST /worker/v1/logs/{build}/{epoch}/{step}`.
#[derive(Debug, Deserialize)]
pub struct PieceQuery {
    /// Where the piece begins in the log.
    pub offset: u64,
    /// How many bytes it has when it is unpacked.
    pub length: u32,
    /// Which of the step's logs: what it prints, or a file that it follows.
    #[serde(default)]
    pub log: u32,
}

/// The query of `POST /worker/v1/artifacts/{build}/{epoch}`.
#[derive(Debug, Deserialize)]
pub struct ArtifactQuery {
    /// SHA-256 of the whole file.
    pub digest: Digest,
    /// Bytes of the whole file.
    pub total: u64,
    /// Where the piece begins in it.
    pub offset: u64,
}

/// Reads a JSON object of at most `bytes_max` bytes.
///
/// # Errors
/// If it is longer, slower or something else.
pub async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<T, Failure> {
    let bytes = bytes(headers, body, bytes_max).await?;
    serde_json::from_slice(&bytes).map_err(|problem| {
        let problem: String = problem.to_string().chars().take(PROBLEM_CHARS_MAX).collect();
        Failure::bad(format!("the body cannot be read: {problem}"))
    })
}

/// Reads at most `bytes_max` bytes, and not even the first of a body that says that it is longer.
///
/// # Errors
/// If it is longer, or does not come in time.
pub async fn bytes(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let too_long = || {
        let message = format!("the body is longer than {bytes_max} bytes: send less at once");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", message)
    };
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > bytes_max as u64) {
        return Err(too_long());
    }
    let reading = async {
        let mut stream = body.into_data_stream();
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|_| Failure::bad("the body ended before its time"))?;
            if bytes.len() + piece.len() > bytes_max {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    tokio::time::timeout(BODY_TIME_MAX, reading).await.unwrap_or_else(|_| {
        let message = format!("the body did not come within {} s", BODY_TIME_MAX.as_secs());
        Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "too-slow", message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = async |text: &'static str, told: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            told.map(|told| headers.insert(CONTENT_LENGTH, told.parse().unwrap()));
            bytes(&headers, Body::from(text), 4).await.map_err(|failure| failure.status().as_u16())
        };
        assert_eq!(read("four", None).await, Ok(b"four".to_vec()));
        assert_eq!(read("fives", None).await, Err(413));
        assert_eq!(read("", Some("1000000000")).await, Err(413));
    }
}
