//! Reads for pages and the API: one query, one view struct, every list with a limit.
//!
//! Nothing here writes. What is read may be newer than the head that was read before it, never older: a page that goes
//! on from that head by events applies some of them twice, which changes nothing.
//!
//! A read is a single statement and so sees one moment. Nothing here begins a transaction: a caller may drop a read at
//! any time, and a connection that went back to the pool inside a transaction would show the past from then on.

pub mod blame;
pub mod build;
pub mod buildset;
pub mod change;
pub mod follow;
pub mod incident;
pub mod journal;
pub mod outside;
pub mod overview;
pub mod request;
pub mod result;
pub mod row;
pub mod scheduler;
pub mod token;
pub mod trouble;

#[cfg(test)]
mod tests;

pub use blame::{CulpritRange, FailingStep, HappeningFacts, Suspect};
pub use build::{BuildDetail, BuildFilter, BuildNeighbours, BuildRow, StepBrief, StepRow};
pub use buildset::{BuildsetDetail, BuildsetFilter, BuildsetRow, Counts, Downstream, EdgeRow, StampRow};
pub use change::{ChangeDetail, ChangeFilter, ChangeRow, ShaLookup, VerdictRow};
pub use follow::{DeliveryBody, RecalledAnswer};
pub use incident::{IncidentBuilder, IncidentRow};
pub use outside::{DeliveryRow, HoldRow, MessageFilter, MessageRow, RepositoryRow, TipRow, WorkerRow};
pub use overview::{Overview, ProjectRow, StripCell, Totals};
pub use request::{NeedRow, RequestDetail, RequestRow};
pub use result::{ArtifactRow, OutputRow, TestCounts, TestRow};
pub use row::{Page, ReadError};
pub use scheduler::{HeldRow, SchedulerState, TimerRow};
pub use token::TokenRow;
pub use trouble::{CatalogProblem, Finding, SilentNotifier};

use super::database::Pool;

/// Rows that a list gives when nothing else is said.
pub const LIMIT_DEFAULT: i64 = 50;
/// Rows that a list gives at the most.
pub const LIMIT_MAX: i64 = 200;

/// Reads from the store. Cheap to clone; all clones share the same few connections.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: Pool,
}

impl Reader {
    pub(in crate::store) fn new(pool: Pool) -> Self {
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

/// Lists every statement, by file.
#[cfg(test)]
pub(super) fn statements() -> Vec<(&'static str, Vec<(&'static str, super::database::Text)>)> {
    vec![
        ("read/blame.rs", blame::statements()),
        ("read/build.rs", build::statements()),
        ("read/buildset.rs", buildset::statements()),
        ("read/change.rs", change::statements()),
        ("read/follow.rs", follow::statements()),
        ("read/incident.rs", incident::statements()),
        ("read/journal.rs", journal::statements()),
        ("read/outside.rs", outside::statements()),
        ("read/overview.rs", overview::statements()),
        ("read/request.rs", request::statements()),
        ("read/result.rs", result::statements()),
        ("read/scheduler.rs", scheduler::statements()),
        ("read/token.rs", token::statements()),
        ("read/trouble.rs", trouble::statements()),
    ]
}
