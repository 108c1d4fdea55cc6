//! All that the web may ask of the engine.

use std::sync::Arc;

use async_trait::async_trait;
use gristmill_model::{Catalog, Reason, RepositoryName, RequestId, Seq};
use gristmill_schedulers::{Input, Reply};
use tokio::sync::watch;

use crate::sources::webhook::replay::{Replayed, Stored};

/// What the web may ask of the engine. Implemented by the engine, and by nothing else outside tests.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Submits an input; answers after the turn is committed.
    ///
    /// # Errors
    /// In a sentence, why the turn could not be committed. Nothing was changed then.
    async fn submit(&self, input: Input) -> Result<Reply, String>;

    /// Submits an input under a key that its sender chose: a repeat under the same key changes nothing and is answered
    /// as the first was.
    ///
    /// Looking for an earlier answer and keeping this one belong to the same turn, so that two equal requests at the
    /// same time cannot both be decided. Refusals need not be kept.
    ///
    /// # Errors
    /// As for [`Control::submit`], and if the key was used before for another request.
    async fn submit_once(&self, once: Once, input: Input) -> Result<Reply, NotSubmitted>;

    /// Gives the configuration in force.
    fn catalog(&self) -> Arc<Catalog>;

    /// Gives the journal's head, and wakes when it grows.
    fn head(&self) -> watch::Receiver<Seq>;

    /// Says what a request waits for; empty if it waits for nothing or is not known as open.
    async fn explain(&self, request: RequestId) -> Vec<Reason>;

    /// Looks at a repository now, and comes back when what was found has been judged.
    ///
    /// # Errors
    /// In a sentence, why it could not be looked at.
    async fn sweep(&self, repository: RepositoryName) -> Result<(), String>;

    /// Reads a stored webhook request once more, as if it had just come, and records what came of it.
    ///
    /// # Errors
    /// In a sentence, why it could not be read again.
    async fn replay(&self, stored: Stored<'_>) -> Result<Replayed, String>;
}

/// A key under which a repeat is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Who sends it, and the key they chose.
    pub key: String,
    /// SHA-256 (hexadecimal) of method, path and body: the same key with another request is a mistake.
    pub request_sha256: String,
}

/// Why an input under a key was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSubmitted {
    /// The key was used before for another request.
    #[error("the idempotency key was used for another request before")]
    KeyTaken,
    /// The turn could not be committed.
    #[error("{0}")]
    Failed(String),
}
