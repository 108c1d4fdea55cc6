//! Retiring: deleting what is over, old, and referred to by nothing that stays.
//!
//! What takes long to judge is looked for beside the turns, by a reader: buildsets with their families, logs, changes. Then
//! each batch of it is one small transaction, on the connection that writes and so between two turns. There it is judged
//! again (by [`gristmill_schedulers::retention`]), from the tables, under the lock that turns take: nothing can come to
//! refer to it meanwhile. All else is found and deleted in the same small transaction. Only what is finished is looked
//! at, so that the state, which is everything open, is the same before and after.
//!
//! In reading order: [`facts`] reads what is known of buildsets, [`builds`] retires them and their logs, [`rest`] all
//! other nouns.

pub(in crate::store) mod builds;
pub(in crate::store) mod facts;
pub(in crate::store) mod rest;

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_model::{Retention, Timestamp};

use super::StoreError;
use super::database::{BEGIN_WRITE, Connection, Pool, Text, failed, sql};
use super::record::to_json;
use super::tx::{Beside, Tx};

pub use rest::{DELIVERIES_KNOWN, InUse};

/// Limits on one transaction.
pub mod limit {
    /// Buildsets that are looked at; each may bring its family.
    pub const BUILDSETS: i64 = 50;
    /// Buildsets that one transaction deletes, unless a single family has more.
    pub const BUILDSETS_AT_ONCE: usize = 50;
    /// Buildsets that a family may have; a larger one stays.
    pub const FAMILY: usize = 1_000;
    /// Builds whose logs are looked at.
    pub const BUILDS: i64 = 200;
    /// Rows of any other noun that are looked at.
    pub const ROWS: i64 = 500;
}

/// What is retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noun {
    /// Buildsets, with their requests, edges, builds and steps.
    Buildsets,
    /// Logs: builds are marked, and the files may be deleted then.
    Logs,
    /// Messages that were delivered or given up.
    Messages,
    /// Closed incidents.
    Incidents,
    /// Changes with their verdicts.
    Changes,
    /// Bodies of webhook requests.
    DeliveryBodies,
    /// Webhook requests.
    Deliveries,
    /// Answers kept for callers who repeat themselves.
    Answers,
    /// The beginning of the journal.
    Events,
    /// Configurations.
    Catalogs,
}

impl Noun {
    /// All, in the order in which they make each other free.
    pub const ALL: [Self; 10] = [
        Self::Buildsets,
        Self::Logs,
        Self::Messages,
        Self::Incidents,
        Self::Changes,
        Self::DeliveryBodies,
        Self::Deliveries,
        Self::Answers,
        Self::Events,
        Self::Catalogs,
    ];
}

/// What one call retires.
#[derive(Debug, Clone)]
pub struct Order {
    /// Of which noun.
    pub noun: Noun,
    /// Where the last call ended; 0 for the beginning.
    pub after: i64,
    /// How long what is kept.
    pub rules: Retention,
    /// The present.
    pub now: Timestamp,
    /// What buildsets refer to by their texts.
    pub in_use: Arc<InUse>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retired {
    /// How many of each noun were deleted, by its name.
    pub deleted: BTreeMap<String, u64>,
    /// Where the next call goes on; `None` if there is no more that is old enough.
    pub next: Option<i64>,
}

/// What may go, as far as that was found beside the turns.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The numbers of what goes, by transaction.
    pub(super) batches: Vec<Vec<i64>>,
    /// Where the next call goes on.
    pub(super) next: Option<i64>,
}

impl Retired {
    /// Adds what another transaction of the same call did.
    pub(super) fn add(&mut self, other: Self) {
        other.deleted.iter().for_each(|(noun, number)| self.count(noun, *number));
        self.next = self.next.max(other.next);
    }

    fn count(&mut self, noun: &str, number: u64) {
        if number > 0 {
            *self.deleted.entry(noun.to_owned()).or_default() += number;
        }
    }
}

/// Keeps turns out until the end of the transaction: SQLite's write lock does, PostgreSQL's turns meet at this row.
const KEEP_TURNS_OUT: Text =
    Text::Each { sqlite: "SELECT 1 AS seq", postgres: "SELECT seq FROM journal_head WHERE one = 1 FOR UPDATE" };
/// A number stays given out when the last row that has it goes.
const RAISE_FLOOR: &str = "INSERT INTO number_floor (noun, last) VALUES ($1, $2)
    ON CONFLICT (noun) DO UPDATE SET last = excluded.last WHERE number_floor.last < excluded.last";

/// Looks for what may go where that takes long; `None` where it is found as it is deleted.
pub(super) async fn find(pool: &Pool, order: &Order) -> Result<Option<Found>, StoreError> {
    let mut beside = Beside(pool);
    match order.noun {
        Noun::Buildsets => builds::find_buildsets(&mut beside, order).await.map(Some),
        Noun::Logs => builds::find_logs(&mut beside, order).await.map(Some),
        Noun::Changes => rest::find_changes(&mut beside, order).await.map(Some),
        Noun::Messages
        | Noun::Incidents
        | Noun::DeliveryBodies
        | Noun::Deliveries
        | Noun::Answers
        | Noun::Events
        | Noun::Catalogs => Ok(None),
    }
}

/// Retires one batch, of what was found or of what comes next.
pub(super) async fn run(connection: &mut Connection, order: &Order, batch: &[i64]) -> Result<Retired, StoreError> {
    sql(BEGIN_WRITE).execute(&mut *connection).await.map_err(failed("begin to retire"))?;
    let retired = retire(&mut Tx::on(connection), order, batch).await;
    let end = if retired.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = sql(end).execute(connection).await.map_err(failed("end retiring"));
    let retired = retired?;
    ended?;
    Ok(retired)
}

async fn retire(tx: &mut Tx<'_>, order: &Order, batch: &[i64]) -> Result<Retired, StoreError> {
    tx.rows("keep turns out", sql(KEEP_TURNS_OUT)).await?;
    match order.noun {
        Noun::Buildsets => builds::buildsets(tx, order, batch).await,
        Noun::Logs => builds::logs(tx, order, batch).await,
        Noun::Messages => rest::messages(tx, order).await,
        Noun::Incidents => rest::incidents(tx, order).await,
        Noun::Changes => rest::changes(tx, order, batch).await,
        Noun::DeliveryBodies => rest::delivery_bodies(tx, order).await,
        Noun::Deliveries => rest::deliveries(tx, order).await,
        Noun::Answers => rest::answers(tx, order).await,
        Noun::Events => rest::events(tx, order).await,
        Noun::Catalogs => rest::catalogs(tx, order).await,
    }
}

/// Text with the numbers of the list `$1` between two pieces.
macro_rules! with_ids {
    ($before:expr, $after:literal) => {
        crate::store::database::Text::Each {
            sqlite: concat!($before, "(SELECT value FROM json_each($1))", $after),
            postgres: concat!($before, crate::store::database::postgres_ids!("$1"), $after),
        }
    };
}
use with_ids;

/// Deletes rows by a list of numbers, and gives how many there were.
async fn delete(tx: &mut Tx<'_>, table: &'static str, text: Text, ids: &[i64]) -> Result<u64, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    tx.any(table, "to be retired", sql(text).bind(to_json(&ids))).await
}

/// Keeps the numbers of deleted rows from being given out again.
async fn raise_floor(tx: &mut Tx<'_>, noun: &'static str, deleted: &[i64]) -> Result<(), StoreError> {
    let Some(highest) = deleted.iter().max() else { return Ok(()) };
    tx.any("number_floor", noun, sql(RAISE_FLOOR).bind(noun).bind(*highest)).await.map(drop)
}

#[cfg(test)]
crate::store::database::statements![KEEP_TURNS_OUT, RAISE_FLOOR];
