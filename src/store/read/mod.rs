//! Reads for pages and the API: one query, one view struct, every list with a limit.
//!
//! Nothing here writes. What is read may be newer than the head that was read before it, never older: a page that goes
//! on from that head by events applies some of them twice, which changes nothing.

pub mod blame;
pub mod build;
pub mod buildset;
pub mod change;
pub mod incident;
pub mod outside;
pub mod overview;
pub mod request;
pub mod row;
pub mod scheduler;

use sqlx::SqlitePool;

pub use blame::{CulpritRange, FailingStep, HappeningFacts, Suspect};
pub use build::{BuildDetail, BuildFilter, BuildNeighbours, BuildRow, StepBrief, StepRow};
pub use buildset::{BuildsetDetail, BuildsetFilter, BuildsetRow, Counts, Downstream, EdgeRow, StampRow};
pub use change::{ChangeDetail, ChangeFilter, ChangeRow, ShaLookup, VerdictRow};
pub use incident::{IncidentBuilder, IncidentRow};
pub use outside::{DeliveryRow, MessageFilter, MessageRow, RepositoryRow, TipRow, WorkerRow};
pub use overview::{Overview, ProjectRow, StripCell, Totals};
pub use request::{NeedRow, RequestDetail, RequestRow};
pub use row::{Page, ReadError};
pub use scheduler::{HeldRow, SchedulerState, TimerRow};

/// Rows that a list gives when nothing else is said.
pub const LIMIT_DEFAULT: i64 = 50;
/// Rows that a list gives at the most.
pub const LIMIT_MAX: i64 = 200;

/// Reads the database through a pool of its own.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: SqlitePool,
}

impl Reader {
    /// Makes a reader of a pool.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Gives the pool.
    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}
