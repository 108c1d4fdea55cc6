//! Reads for everybody but the engine, on connections that cannot write.
//!
//! A read is a single statement and so sees one moment. Nothing here begins a transaction: a caller may drop a read at
//! any time, and a connection that went back to the pool inside a transaction would show the past from then on.

pub mod follow;

pub use follow::{DeliveryBody, DueMessage, RecalledAnswer};

use super::dialect::Pool;

/// Reads from the store. Cheap to clone; all clones share the same few connections.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: Pool,
}

impl Reader {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Gives the pool.
    pub(in crate::store) fn pool(&self) -> &Pool {
        &self.pool
    }
}
