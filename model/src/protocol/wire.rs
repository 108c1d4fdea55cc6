//! The worker protocol over HTTP: paths, headers and bodies.
//!
//! Everything is a POST below [`PREFIX`], so that a service that only follows passes it on. A worker says hello with its
//! token (`Authorization: Bearer gmw_…`) and gets a session, with which it says everything else. Bodies are JSON, but
//! for a piece of log, which is one zstd frame, and a piece of a file, which is itself. Every request may be repeated. What is not taken is answered with an
//! [`ErrorBody`].

use serde::{Deserialize, Serialize};

use super::{Held, Hello, Report, WorkerCommand};
use crate::{BuildId, HoldKind, Timestamp, WorkerName};

/// The newest version of the protocol that this program speaks.
pub const VERSION: u32 = 1;
/// The oldest version that it still speaks.
pub const VERSION_OLDEST: u32 = 1;

/// What all paths of the protocol begin with.
pub const PREFIX: &str = "/worker/v1";
/// [`HelloRequest`] → [`HelloAnswer`].
pub const HELLO: &str = "/worker/v1/hello";
/// Nothing → [`PollAnswer`], after at most [`LeaseTerms::poll_seconds`].
pub const POLL: &str = "/worker/v1/poll";
/// Nothing → nothing: the worker is there.
pub const BEAT: &str = "/worker/v1/beat";
/// [`ReportsRequest`] → nothing.
pub const REPORTS: &str = "/worker/v1/reports";
/// One zstd frame → [`LogAnswer`]; see [`log_path`].
pub const LOGS: &str = "/worker/v1/logs";
/// Nothing → [`Secrets`](super::Secrets), which nobody keeps; see [`secrets_path`].
pub const SECRETS: &str = "/worker/v1/secrets";
/// A piece of a file as it is → [`LogAnswer`]; see [`artifact_path`].
pub const ARTIFACTS: &str = "/worker/v1/artifacts";
/// [`HoldRequest`] → nothing.
pub const HOLD: &str = "/worker/v1/hold";

/// The header with the worker's public key, hexadecimal.
pub const KEY_HEADER: &str = "gristmill-key";
/// The header with the worker's signature over [`proof_text`], hexadecimal.
pub const PROOF_HEADER: &str = "gristmill-proof";

/// What the token of a worker begins with.
pub const TOKEN_PREFIX: &str = "gmw_";
/// Characters of a token's public part.
pub const TOKEN_ID_CHARS: usize = 8;
/// Bytes of a nonce, in characters.
pub const NONCE_CHARS_MAX: usize = 64;

/// Gives the path of a piece of log: `/worker/v1/logs/{build}/{epoch}/{step}?offset=…&length=…`, with `&log=…` for a file
/// that the step follows.
pub fn log_path(log: super::LogAddress, offset: u64, length: u32) -> String {
    let path = format!("{LOGS}/{}/{}/{}?offset={offset}&length={length}", log.build, log.epoch, log.step);
    if log.log == crate::StepRecipe::OUTPUT_LOG { path } else { format!("{path}&log={}", log.log) }
}

/// Gives the path by which a step's secrets are asked for: `/worker/v1/secrets/{build}/{epoch}/{step}`.
pub fn secrets_path(build: BuildId, epoch: i64, step: u32) -> String {
    format!("{SECRETS}/{build}/{epoch}/{step}")
}

/// Gives the path of a piece of a file: `/worker/v1/artifacts/{build}/{epoch}?digest=…&total=…&offset=…`.
pub fn artifact_path(piece: &super::ArtifactPiece) -> String {
    let super::ArtifactPiece { build, epoch, digest, total, offset, .. } = piece;
    format!("{ARTIFACTS}/{build}/{epoch}?digest={digest}&total={total}&offset={offset}")
}

/// Gives the text that a worker signs to prove that it has its key.
pub fn proof_text(token: &str, nonce: &str, clock: i64) -> String {
    format!("gristmill hello\n{token}\n{nonce}\n{clock}")
}

/// Gives the public part of a token; `None` for what is no token at all.
pub fn token_id(token: &str) -> Option<&str> {
    let rest = token.strip_prefix(TOKEN_PREFIX)?;
    let id = rest.get(..TOKEN_ID_CHARS)?;
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain && rest[TOKEN_ID_CHARS..].starts_with('_')).then_some(id)
}

/// The versions of the protocol that a program speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Versions {
    /// What this program speaks.
    pub const OWN: Self = Self { oldest: VERSION_OLDEST, newest: VERSION };

    /// Gives the newest version that both sides speak.
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// A worker introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloRequest {
    /// What it speaks.
    pub versions: Versions,
    /// A random name of the worker's process, 16 hexadecimal digits.
    pub run: String,
    /// Random characters, at most [`NONCE_CHARS_MAX`], that nobody has signed before.
    #[serde(default)]
    pub nonce: String,
    /// Milliseconds since 1970 by the worker's clock: only to refuse a proof that is old.
    #[serde(default)]
    pub clock: i64,
    /// What it is and has.
    pub hello: Hello,
}

/// The service welcomes a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// The version of the protocol that holds from now on.
    pub version: u32,
    /// The bearer of everything else that the worker says.
    pub session: String,
    /// The worker's name, which its credential gives it.
    pub worker: WorkerName,
    /// Of the builds that the worker said it has: those that are no longer its own.
    #[serde(default)]
    pub stop: Vec<Held>,
    /// When the worker is to be heard.
    #[serde(default)]
    pub lease: LeaseTerms,
    /// Who answers.
    #[serde(default)]
    pub service: ServiceAbout,
}

/// When a worker is to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// Seconds between two beats.
    pub heartbeat_seconds: u32,
    /// Seconds that a poll takes at most.
    pub poll_seconds: u32,
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self { heartbeat_seconds: 10, poll_seconds: 30 }
    }
}

/// What a service says of its own program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceAbout {
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// A worker asks what it is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PollRequest {
    /// The number that the last answer gave, which acknowledges its commands; 0 after a hello.
    pub ack: u64,
}

/// What the service wants of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PollAnswer {
    /// Everything that it has not acknowledged.
    pub commands: Vec<WorkerCommand>,
    /// The number to acknowledge them by.
    #[serde(default)]
    pub ack: u64,
}

/// Reports of one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportsRequest {
    /// In the order of their numbers, at most [`REPORTS_MAX`](super::limit::REPORTS_MAX).
    pub reports: Vec<Report>,
}

/// How long a log or a file is now; also the body of a 409, which asks to go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAnswer {
    /// Uncompressed bytes.
    pub length: u64,
}

/// A worker's own host wants to hold it, or to free it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRequest {
    /// What is wanted.
    pub kind: HoldWish,
    /// When a pause ends by itself, or when a drain ends what still runs.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why, in the words of whoever wants it.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a worker's own host may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldWish {
    /// No new builds for a while.
    Pause,
    /// New builds again: the end of a pause and of a drain.
    Resume,
    /// No new builds: the machine goes.
    Drain,
}

impl HoldWish {
    /// Gives the hold that is wanted; `None` if they are to be ended.
    pub fn kind(self) -> Option<HoldKind> {
        match self {
            Self::Pause => Some(HoldKind::Pause),
            Self::Drain => Some(HoldKind::Drain),
            Self::Resume => None,
        }
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One word for programs, such as `superseded`.
    #[serde(default)]
    pub error: String,
    /// A sentence for people, with the mend.
    #[serde(default)]
    pub message: String,
    /// With 410: the lease that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<FencedLease>,
    /// With 409 to a piece of a log or a file: how long that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

/// A lease that is no longer the worker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencedLease {
    /// Which build.
    pub build: BuildId,
    /// Under which epoch.
    pub epoch: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_holds() {
        let versions = |oldest, newest| Versions { oldest, newest };
        assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
        assert_eq!(versions(4, 5).common(versions(1, 3)), None);
    }

    #[test]
    fn paths_say_which_log_and_which_file() {
        let output = super::super::LogAddress::output(BuildId(7), 2, 3);
        assert_eq!(log_path(output, 10, 5), "/worker/v1/logs/7/2/3?offset=10&length=5");
        let followed = super::super::LogAddress { log: 1, ..output };
        assert_eq!(log_path(followed, 10, 5), "/worker/v1/logs/7/2/3?offset=10&length=5&log=1");
        assert_eq!(secrets_path(BuildId(7), 2, 3), "/worker/v1/secrets/7/2/3");
        let digest = crate::Digest("ab".to_owned());
        let piece =
            super::super::ArtifactPiece { build: BuildId(7), epoch: 2, digest, total: 9, offset: 4, bytes: vec![0; 5] };
        assert_eq!(artifact_path(&piece), "/worker/v1/artifacts/7/2?digest=ab&total=9&offset=4");
    }

    #[test]
    fn a_tokens_public_part_is_found() {
        let secret = "A_b-".repeat(11);
        assert_eq!(token_id(&format!("gmw_k3jd8s2x_{secret}_abcdef")), Some("k3jd8s2x"));
        for text in ["", "gmw_", "gms_k3jd8s2x_x", "gmw_short_x", "gmw_k3jd8s2xx_", "gmw_ääää_x"] {
            assert_eq!(token_id(text), None, "{text}");
        }
    }

    #[test]
    fn an_older_services_answers_are_read() {
        let answer: HelloAnswer =
            serde_json::from_str(r#"{"version":1,"session":"gms_x","worker":"linux-1"}"#).expect("it is complete");
        assert_eq!(answer.lease, LeaseTerms::default());
        let error: ErrorBody = serde_json::from_str(r#"{"length":7}"#).expect("it is complete");
        assert_eq!(error.length, Some(7));
    }
}
