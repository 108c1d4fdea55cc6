//! What a provider must be able to do.

use std::collections::BTreeMap;

use async_trait::async_trait;
use gristmill_model::WorkerName;
use serde::Serialize;

/// All that a new worker must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct New {
    /// Its name, which is also how the provider lists it.
    pub worker: WorkerName,
    /// Where the service is.
    pub server: String,
    /// Its secret.
    pub token: String,
    /// How many builds it runs at once.
    pub slots: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Starts, lists and stops workers. Every call may be repeated; none may be relied on to have happened.
#[async_trait]
pub trait Source: Send + Sync {
    /// Lists those that exist, in whatever state, by their workers' names.
    ///
    /// # Errors
    /// In words, why nobody knows. An empty list means that there is none.
    async fn list(&self) -> Result<Vec<WorkerName>, String>;

    /// Starts one.
    ///
    /// # Errors
    /// In words, why it was not started; it may have been.
    async fn start(&self, new: &New) -> Result<(), String>;

    /// Stops one, and removes what was made for it. One that does not exist is stopped.
    ///
    /// # Errors
    /// In words, why it was not stopped.
    async fn stop(&self, worker: &WorkerName) -> Result<(), String>;
}
