//! SQLite: how a file is opened, and which settings keep what is acknowledged.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};

use super::failed;
use crate::store::StoreError;

/// The oldest SQLite without the defect that damages databases when the write-ahead log is reset.
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for a lock that somebody else has.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Connections for readers.
const READERS: u32 = 4;
/// How long a reader waits for a connection.
const READER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Pages of the write-ahead log after which it is copied back: 16 MiB.
const WAL_PAGES: &str = "4000";
/// Prepared statements kept per connection: more than there are.
const STATEMENTS_KEPT: usize = 256;

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        // Counts for a database that is made now: room that rows leave can then be given back to the disk.
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_WAIT_MAX)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("mmap_size", "0")
        // A turn touches some thirty pages, often the same ones: the longer the log, the fewer are copied back.
        .pragma("wal_autocheckpoint", WAL_PAGES)
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging()
}

/// Opens the connection that writes, and checks that it keeps what it acknowledges.
pub(super) async fn open_writer(file: &Path) -> Result<SqliteConnection, StoreError> {
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

/// Opens a connection beside a service that may be writing, to a file that must be there. It is for copying, which
/// SQLite counts as writing, so it is not set to be read only.
pub(in crate::store) async fn open_beside(file: &Path) -> Result<SqliteConnection, StoreError> {
    let options = options(file).create_if_missing(false);
    options.connect().await.map_err(failed("open the database"))
}

/// Opens a copy that nobody writes, for looking only: nothing is written beside it.
pub(in crate::store) async fn open_copy(file: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).read_only(true).immutable(true);
    options.disable_statement_logging().connect().await.map_err(failed("open the database"))
}

/// Opens a connection that only reads, also beside a service that runs.
pub(super) async fn open_looker(file: &Path) -> Result<SqliteConnection, StoreError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .read_only(true)
        .busy_timeout(BUSY_WAIT_MAX)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("query_only", "ON")
        .disable_statement_logging()
        .connect()
        .await
        .map_err(failed("open the database"))?;
    check_version(&mut connection).await?;
    Ok(connection)
}

/// Makes an empty database for what is compared and thrown away: in memory, or in `file` where it may grow large. It
/// keeps nothing through a crash, and does not look at foreign keys.
pub(in crate::store) async fn open_scratch(file: Option<&Path>) -> Result<SqliteConnection, StoreError> {
    let options = match file {
        Some(file) => SqliteConnectOptions::new().filename(file).create_if_missing(true),
        None => SqliteConnectOptions::new().in_memory(true),
    };
    options
        .journal_mode(SqliteJournalMode::Memory)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false)
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(failed("open a database for comparing"))
}

/// Makes the connections for readers; each is opened when it is first needed.
pub(super) fn open_readers(file: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options(file).create_if_missing(false).pragma("query_only", "ON"))
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT sqlite_version()")
        .fetch_one(connection)
        .await
        .map_err(failed("ask SQLite for its version"))?;
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

async fn setting_of(connection: &mut SqliteConnection, setting: &'static str) -> Result<String, StoreError> {
    let text = match setting {
        "journal_mode" => "SELECT CAST(journal_mode AS TEXT) FROM pragma_journal_mode",
        "synchronous" => "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous",
        _ => "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys",
    };
    let row = sqlx::query(text).fetch_one(connection).await.map_err(failed("ask the database for its settings"))?;
    Ok(row.get(0))
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
