//! What depends on the kind of database: its types, its settings, its way to begin, what its errors mean.
//!
//! A second database is a second one of these, of `migrate`'s folder, and nothing else: every other statement is
//! written in what both speak (`$1`, `ON CONFLICT`, `IS NOT DISTINCT FROM`, integers, text and blobs).

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};

use super::StoreError;

/// One connection.
pub(super) type Connection = SqliteConnection;
/// Several connections for readers.
pub(super) type Pool = SqlitePool;
/// One row of an answer.
pub(super) type Row = SqliteRow;
/// A statement with its values.
pub(super) type Statement = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

/// Makes a statement of a constant text; its preparation is kept per connection.
pub(super) fn sql(text: &'static str) -> Statement {
    sqlx::query(text)
}

/// Begins a transaction that may write: takes the write lock at once, because a later upgrade fails without waiting.
pub(super) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// Writes many events at once: `$1` the number before the first, `$2` their time, `$3` their bodies as a JSON list. A
/// statement costs more than a row, so whatever comes in lists is written by one statement.
pub(super) const INSERT_EVENTS: &str = "INSERT INTO event (seq, at, kind, body)
    SELECT $1 + key + 1, $2, value ->> 'kind', value FROM json_each($3)";
/// Writes many requests at once, from a JSON list of them.
pub(super) const INSERT_REQUESTS: &str = "INSERT INTO request
    (id, buildset, node, builder, recipe, digest, mode, state, attempts, epoch, outcome, cause, created_at, settled_at)
    SELECT value ->> 'id', value ->> 'buildset', value ->> 'node', value ->> 'builder', value ->> 'recipe',
        value ->> 'digest', value ->> 'mode', value ->> 'state', value ->> 'attempts', value ->> 'epoch',
        value ->> 'outcome', value ->> 'cause', value ->> 'created_at', value ->> 'settled_at'
    FROM json_each($1)";
/// Writes many edges at once, from a JSON list of them.
pub(super) const INSERT_EDGES: &str = "INSERT INTO edge (request, needs, on_outcome, position)
    SELECT value ->> 'request', value ->> 'needs', value ->> 'on', key FROM json_each($1)";
/// Writes the changes of buildset `$1`, from a JSON list of their numbers.
pub(super) const INSERT_BUILDSET_CHANGES: &str =
    "INSERT INTO buildset_change (buildset, change) SELECT $1, value FROM json_each($2)";
/// Writes many verdicts at once, from a JSON list of them. One that would replace another than a held one is left out.
pub(super) const GIVE_VERDICTS: &str = "INSERT INTO verdict
    (change, scheduler, kind, buildset, until, reasons, place, at)
    SELECT value ->> 'change', value ->> 'scheduler', value ->> 'verdict', value ->> 'buildset', value ->> 'until',
        value -> 'reasons', value -> 'place', value ->> 'at'
    FROM json_each($1) WHERE true
    ON CONFLICT (change, scheduler) DO UPDATE SET kind = excluded.kind, buildset = excluded.buildset,
        until = excluded.until, reasons = excluded.reasons, place = excluded.place, at = excluded.at
    WHERE verdict.kind = 'held'";

/// The oldest SQLite without the defect that damages databases when the write-ahead log is reset.
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for a lock that somebody else has.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections for readers.
const READERS: u32 = 4;
/// How long a reader waits for a connection.
const READER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Prepared statements kept per connection: more than there are.
const STATEMENTS_KEPT: usize = 256;

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_WAIT_MAX)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("mmap_size", "0")
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging()
}

/// Opens the connection that writes, and checks that it keeps what it acknowledges.
pub(super) async fn open_writer(file: &Path) -> Result<Connection, StoreError> {
    let mut connection = options(file).connect().await.map_err(failed("open the database"))?;
    check_version(&mut connection).await?;
    for (setting, wanted) in [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")] {
        let found = setting_of(&mut connection, setting).await?;
        if found != wanted {
            return Err(StoreError::Setting { setting: format!("{setting} = {wanted}"), found });
        }
    }
    Ok(connection)
}

/// Makes the connections for readers; each is opened when it is first needed.
pub(super) fn open_readers(file: &Path) -> Pool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options(file).create_if_missing(false).pragma("query_only", "ON"))
}

async fn check_version(connection: &mut Connection) -> Result<(), StoreError> {
    let row =
        sql("SELECT sqlite_version()").fetch_one(connection).await.map_err(failed("ask SQLite for its version"))?;
    let found: String = row.get(0);
    if version(&found) < Some(VERSION_MIN) {
        let (major, minor, patch) = VERSION_MIN;
        return Err(StoreError::DatabaseTooOld { found, wanted: format!("{major}.{minor}.{patch}") });
    }
    Ok(())
}

fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

async fn setting_of(connection: &mut Connection, setting: &'static str) -> Result<String, StoreError> {
    let text = match setting {
        "journal_mode" => "SELECT CAST(journal_mode AS TEXT) FROM pragma_journal_mode",
        "synchronous" => "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous",
        _ => "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys",
    };
    let row = sql(text).fetch_one(connection).await.map_err(failed("ask the database for its settings"))?;
    Ok(row.get(0))
}

/// Says what an error means: for `map_err`, where no rule of the tables can have been broken.
pub(super) fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| classify(doing, error)
}

fn classify(doing: &'static str, error: sqlx::Error) -> StoreError {
    let transient = match &error {
        sqlx::Error::Io(_) => Some(true),
        sqlx::Error::PoolTimedOut => Some(true),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => return StoreError::Closed,
        _ => primary_code(&error).and_then(|code| match code {
            // Busy, locked, out of memory, input or output failed, full.
            5 | 6 | 7 | 10 | 13 => Some(true),
            // Read-only, damaged, cannot be opened, not a database.
            8 | 11 | 14 | 26 => Some(false),
            _ => None,
        }),
    };
    match transient {
        Some(is_transient) => StoreError::Io { doing, is_transient, source: Box::new(error) },
        None => StoreError::Database { doing, source: Box::new(error) },
    }
}

/// Gives the rule of the tables that a statement would have broken, if that is why it failed.
pub(super) fn broken_rule(error: &sqlx::Error) -> Option<String> {
    let is_constraint = primary_code(error) == Some(19);
    let database = error.as_database_error().filter(|_| is_constraint)?;
    Some(database.message().to_owned())
}

/// The error's code without its details (the low byte of SQLite's extended codes).
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_nonsense_is_too_old() {
        assert!(version("3.51.3") >= Some(VERSION_MIN));
        assert!(version("3.100.0") >= Some(VERSION_MIN));
        assert!(version("3.46.1") < Some(VERSION_MIN));
        assert!(version("three") < Some(VERSION_MIN));
    }
}
