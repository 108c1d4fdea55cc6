//! Bodies of workers' requests: what they may say, and how much, and how long they may take to come.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt;
use gristmill_model::Timestamp;
use gristmill_model::protocol::{Hello, Report};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;

/// Bytes of a hello: 200 labels of the longest, 1,024 builds, and room.
pub const HELLO_BYTES_MAX: usize = 512 * 1024;
/// Bytes of reports: 256 of them with the longest summaries, escaped, and room.
pub const REPORTS_BYTES_MAX: usize = 1024 * 1024;
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

/// `POST /worker/v1/hello`.
#[derive(Debug, Deserialize)]
pub struct HelloRequest {
    /// The versions that the worker speaks.
    pub versions: Versions,
    /// Which run of its program this is.
    pub run: String,
    /// The worker itself.
    pub hello: Hello,
    /// Something that no other hello says; signed by a pool's worker.
    #[serde(default)]
    pub nonce: String,
    /// What time the worker has, in milliseconds since 1970; signed by a pool's worker, and believed by nobody.
    #[serde(default)]
    pub clock: i64,
}

/// The versions of the protocol that somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Versions {
    /// Gives the newest version that both speak.
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// `POST /worker/v1/poll`.
#[derive(Debug, Deserialize)]
pub struct PollRequest {
    /// The number that the last answer gave; 0 after a hello.
    pub ack: u64,
}

/// `POST /worker/v1/reports`.
#[derive(Debug, Deserialize)]
pub struct ReportsRequest {
    /// They, in order.
    pub reports: Vec<Report>,
}

/// `POST /worker/v1/hold`.
#[derive(Debug, Deserialize)]
pub struct HoldRequest {
    /// What somebody at the worker's machine wants.
    pub kind: Wish,
    /// Until when, in milliseconds since 1970.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What somebody at a worker's machine may want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// No new builds.
    Pause,
    /// New builds again.
    Resume,
    /// No new builds, because it is about to go.
    Drain,
}

/// The query of `POST /worker/v1/logs/{build}/{epoch}/{step}`.
#[derive(Debug, Deserialize)]
pub struct PieceQuery {
    /// Where the piece begins in the log.
    pub offset: u64,
    /// How many bytes it has when it is unpacked.
    pub length: u32,
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

    #[test]
    fn the_newest_common_version_is_spoken() {
        let speaks = |oldest, newest| Versions { oldest, newest };
        assert_eq!(speaks(1, 2).common(speaks(1, 1)), Some(1));
        assert_eq!(speaks(1, 2).common(speaks(2, 3)), Some(2));
        assert_eq!(speaks(1, 2).common(speaks(3, 4)), None);
        assert_eq!(speaks(3, 4).common(speaks(1, 2)), None);
        assert_eq!(speaks(1, 2).common(speaks(2, 1)), None, "it speaks none");
    }

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
