//! How much room each table takes, and how fast it grows.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_model::{BuildId, Timestamp};

use super::copy::SCHEMA_WITH_INSTANCE;
use super::database::{Connection, Text, failed, sql, sqlite};
use super::record::Record;
use super::{DATABASE_FILE, StoreError};

/// How much room a database takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Per table.
    pub tables: Vec<TableUse>,
    /// When the installation began.
    pub created_at: Option<Timestamp>,
    /// The first build that was leased since the time that was asked for.
    pub first_recent_build: Option<BuildId>,
}

/// How much room a table takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableUse {
    /// Which.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// Those of them that were written since the time that was asked for.
    pub recent: u64,
    /// Its bytes, indices included.
    pub bytes: u64,
}

macro_rules! counted {
    ($($table:literal by $at:literal),* $(,)?) => {
        [$(($table, concat!("SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE ", $at, " >= $1) AS recent FROM ", $table))),*]
    };
}

/// Every table that grows with what happens.
const TABLES: [(&str, &str); 10] = counted![
    "event" by "at",
    "build" by "leased_at",
    "step" by "started_at",
    "request" by "created_at",
    "buildset" by "created_at",
    "change" by "at",
    "verdict" by "at",
    "upstream" by "at",
    "delivery" by "at",
    "outbox" by "at",
];
/// The table whose rows belong to deliveries and have no time of their own.
const BODIES: (&str, &str) = (
    "delivery_body",
    "SELECT COUNT(*) AS total, COUNT(*) FILTER (WHERE delivery.at >= $1) AS recent
    FROM delivery_body JOIN delivery ON delivery.id = delivery_body.delivery",
);
const BYTES: Text = Text::Each {
    sqlite: "SELECT place.tbl_name AS name, SUM(page.pgsize) AS bytes
        FROM dbstat AS page JOIN sqlite_schema AS place ON place.name = page.name GROUP BY place.tbl_name",
    postgres: "SELECT CAST(relname AS TEXT) AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
        WHERE relkind = 'r' AND pg_table_is_visible(oid)",
};
const CREATED_AT: &str = "SELECT created_at FROM instance WHERE one = 1";
const SCHEMA: &str = "SELECT COALESCE(MAX(number), 0) AS number FROM schema_version";
const FIRST_RECENT_BUILD: &str = "SELECT MIN(id) AS id FROM build WHERE leased_at >= $1";

/// Measures the database in the data folder `folder`, while a service may be writing.
///
/// # Errors
/// If it cannot be read.
pub async fn measure(folder: &Path, since: Timestamp) -> Result<Usage, StoreError> {
    let mut connection = Connection::Sqlite(Box::new(sqlite::open_beside(&folder.join(DATABASE_FILE)).await?));
    let usage = read(&mut connection, since).await;
    // Nothing was written.
    drop(connection.close().await);
    usage
}

async fn read(connection: &mut Connection, since: Timestamp) -> Result<Usage, StoreError> {
    let failure = || failed("measure the database");
    let mut bytes = BTreeMap::new();
    for row in &sql(BYTES).fetch_all(&mut *connection).await.map_err(failure())? {
        let row = Record::of("dbstat", row);
        bytes.insert(row.text("name")?, number(row.int("bytes")?));
    }
    let mut usage = Usage::default();
    for (table, text) in TABLES.into_iter().chain([BODIES]) {
        let row = sql(text).bind(since.0).fetch_one(&mut *connection).await.map_err(failure())?;
        let row = Record::of(table, &row);
        let (rows, recent) = (number(row.int("total")?), number(row.int("recent")?));
        usage.tables.push(TableUse { table, rows, recent, bytes: bytes.get(table).copied().unwrap_or_default() });
    }
    let row = sql(FIRST_RECENT_BUILD).bind(since.0).fetch_one(&mut *connection).await.map_err(failure())?;
    usage.first_recent_build = Record::of("build", &row).id_maybe("id")?;
    let row = sql(SCHEMA).fetch_one(&mut *connection).await.map_err(failure())?;
    if Record::of("schema_version", &row).int("number")? >= SCHEMA_WITH_INSTANCE {
        let row = sql(CREATED_AT).fetch_one(connection).await.map_err(failure())?;
        usage.created_at = Some(Record::of("instance", &row).time("created_at")?);
    }
    Ok(usage)
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
crate::store::database::statements![BYTES, CREATED_AT, SCHEMA, FIRST_RECENT_BUILD];
