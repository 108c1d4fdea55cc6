//! Follows the journal while another master leads: folds what it writes into the state, so that pages, reasons and live
//! events are as good as there, and taking over needs no more than a look at the tables.

use std::sync::Arc;

use gristmill_model::{Catalog, CatalogHash, EventBody};
use tracing::{error, warn};

use crate::config;
use crate::engine::{Engine, EngineError};
use crate::store::{Reader, StoreError};

/// Events that are folded at once.
const EVENTS_AT_ONCE: u32 = 1_000;

/// Why following did not go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service is stopping.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The one that follows.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Has the state.
    pub engine: Engine,
    /// Has the journal.
    pub reader: Reader,
}

impl Follower {
    /// Puts the configuration in force that the leader has put in force.
    ///
    /// # Errors
    /// If the database does not answer or the service is stopping.
    pub async fn begin(&self) -> Result<(), FollowError> {
        if let Some(hash) = self.reader.active_catalog().await? {
            let catalog = self.catalog(&hash).await?;
            self.engine.fold(Vec::new(), catalog).await?;
        }
        Ok(())
    }

    /// Folds all that was written since the last time. Costs as much as was written.
    ///
    /// # Errors
    /// If the database does not answer or the service is stopping.
    pub async fn catch_up(&self) -> Result<(), FollowError> {
        loop {
            let head = *self.engine.head().borrow();
            let events = self.reader.events_after(head, EVENTS_AT_ONCE).await?;
            if events.is_empty() {
                return Ok(());
            }
            let last = events.iter().rev().find_map(|event| match &event.body {
                EventBody::CatalogActivated { hash } => Some(hash.clone()),
                _ => None,
            });
            let catalog = match last {
                Some(hash) => self.catalog(&hash).await?,
                None => None,
            };
            if !self.engine.fold(events, catalog).await? {
                warn!("the journal does not go on from event {head}; the state was loaded again");
                // What came into force meanwhile was passed over with it.
                self.begin().await?;
            }
        }
    }

    /// Reads a stored configuration. One that this version cannot read leaves the old one in force here.
    async fn catalog(&self, hash: &CatalogHash) -> Result<Option<Arc<Catalog>>, FollowError> {
        let Some(text) = self.reader.catalog_text(hash).await? else {
            error!("configuration {} is in force and not stored", hash.short());
            return Ok(None);
        };
        match config::read(&text, "the configuration in force") {
            Ok(loaded) => Ok(Some(Arc::new(loaded.catalog))),
            Err(problems) => {
                error!("configuration {} cannot be read by this version\n{}", hash.short(), problems.render(false));
                Ok(None)
            }
        }
    }
}
