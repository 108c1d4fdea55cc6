//! Dumps of a database on a server, and what is made of them, by PostgreSQL's own programs.
//!
//! A dump is one moment of the database, as a copy of a file is: `pg_dump` sees the very snapshot that the manifest is
//! read from. A password goes to the programs by their environment alone, where other users of the machine cannot read it.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use gristmill_model::{InstanceEpoch, Seq, Timestamp};
use tokio::process::Command;

use super::copy::{self, Restored, Snapshot};
use super::database::postgres::Server;
use super::database::{BEGIN_READ, Connection, Place, failed, sql};
use super::record::Record;
use super::{StoreError, lock, migrate};

const DUMP: &str = "pg_dump";
const RESTORE: &str = "pg_restore";

/// How long a dump or its loading may take.
const RUN_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a program may take to say its version.
const VERSION_WAIT_MAX: Duration = Duration::from_secs(30);
/// Characters of what a program complained that are told: the first lines say why.
const SAID_MAX: usize = 1_000;

const VERSION: &str = "SELECT current_setting('server_version_num') AS version";
/// The schema as `pg_dump` must be told it: in quotes, for all that is in it.
const PATTERN: &str = "SELECT '\"' || replace(CAST(current_schema() AS TEXT), '\"', '\"\"') || '\".*' AS pattern";
const EXPORT: &str = "SELECT CAST(pg_export_snapshot() AS TEXT) AS snapshot";

/// Writes a dump of the database at the address `url` to `into`, a file that is not there yet, while services may be
/// writing to it. The schema stays as it is.
///
/// # Errors
/// If the server or its programs are not there or too old, if there is no database of ours, or if there is no room.
pub async fn dump(url: &str, into: &Path) -> Result<Snapshot, StoreError> {
    let server = Server::parse(url)?;
    let place = Place::Postgres(Box::new(server.clone()));
    let mut connection = place.open_looker().await?;
    let dumped = dump_from(&mut connection, &server, &place, into).await;
    // The snapshot was taken over long ago, so it does not matter how the connection ends.
    drop(connection.close().await);
    dumped
}

async fn dump_from(
    connection: &mut Connection,
    server: &Server,
    place: &Place,
    into: &Path,
) -> Result<Snapshot, StoreError> {
    migrate::expect_known(connection, &place.to_string()).await?;
    expect_program(DUMP, connection).await?;
    sql(BEGIN_READ).execute(&mut *connection).await.map_err(failed("begin to copy the database"))?;
    let snapshot = copy::snapshot_of(connection).await?;
    let (pattern, shared) = (said(connection, PATTERN, "pattern").await?, said(connection, EXPORT, "snapshot").await?);
    // Made before, so that nobody else can read it at any time.
    lock::open_private(into).map(drop).map_err(|source| StoreError::Folder { folder: into.to_owned(), source })?;
    let mut command = command(DUMP, server);
    command.args(["--format=custom", "--no-owner", "--no-privileges", "--no-password", "--lock-wait-timeout=60000"]);
    command.arg(format!("--snapshot={shared}")).arg(format!("--table={pattern}")).arg("--file").arg(into);
    run(DUMP, command, RUN_MAX).await?;
    Ok(snapshot)
}

/// Reads all of a dump.
///
/// # Errors
/// [`StoreError::Damaged`] if it cannot be read to its end.
pub async fn check(file: &Path) -> Result<(), StoreError> {
    let mut command = Command::new(RESTORE);
    command.arg("--file=/dev/null").arg(file);
    match run(RESTORE, command, RUN_MAX).await {
        Err(StoreError::ToolFailed { said, .. }) => Err(StoreError::Damaged { file: file.to_owned(), why: said }),
        checked => checked.map(drop),
    }
}

/// What a dump must turn out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The schema's number.
    pub schema: i64,
    /// Whose database it is.
    pub instance: Option<String>,
    /// Which installation.
    pub epoch: InstanceEpoch,
    /// The journal's head.
    pub head: Seq,
}

/// Loads the dump in `file`, which was taken at `taken`, into the empty database at the address `url`, and makes another
/// installation of it, as [`copy::begin_anew`] does.
///
/// # Errors
/// As [`super::Store::open_database`]; if the database has tables; if it is not what was wanted. The database is as empty
/// as before then, but for [`StoreError::HalfRestored`].
pub async fn load(
    url: &str,
    file: &Path,
    wanted: &Wanted,
    taken: Timestamp,
    now: Timestamp,
) -> Result<Restored, StoreError> {
    let server = Server::parse(url)?;
    let place = Place::Postgres(Box::new(server.clone()));
    let mut connection = place.open_writer().await?;
    let ready = expect_ready(&mut connection, &place).await;
    drop(connection.close().await);
    ready?;
    let mut command = command(RESTORE, &server);
    command.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]);
    command.arg(format!("--dbname={}", server.conninfo())).arg(file);
    run(RESTORE, command, RUN_MAX).await?;
    let mut connection = place.open_writer().await.map_err(|error| half_restored(&place, error))?;
    let made = make_another(&mut connection, &place, file, wanted, (taken, now)).await;
    drop(connection.close().await);
    made.map_err(|error| half_restored(&place, error))
}

async fn expect_ready(connection: &mut Connection, place: &Place) -> Result<(), StoreError> {
    if migrate::has_tables(connection).await? {
        return Err(StoreError::NotEmpty { place: place.to_string() });
    }
    expect_program(RESTORE, connection).await
}

async fn make_another(
    connection: &mut Connection,
    place: &Place,
    file: &Path,
    wanted: &Wanted,
    (taken, now): (Timestamp, Timestamp),
) -> Result<Restored, StoreError> {
    let Snapshot { schema, instance, epoch, head, .. } = copy::snapshot_of(connection).await?;
    if *wanted != (Wanted { schema, instance, epoch, head }) {
        let why = format!("it ends at event {head}, and event {} was expected", wanted.head);
        return Err(StoreError::Damaged { file: file.to_owned(), why });
    }
    copy::restore(connection, place, taken, now).await
}

fn half_restored(place: &Place, error: StoreError) -> StoreError {
    StoreError::HalfRestored { place: place.to_string(), source: Box::new(error) }
}

async fn said(connection: &mut Connection, text: &'static str, column: &'static str) -> Result<String, StoreError> {
    let row = sql(text).fetch_one(connection).await.map_err(failed("ask the database for its settings"))?;
    Record::of("settings", &row).text(column)
}

/// Refuses a program that is not there, or older than the server: it could not know all that there is.
async fn expect_program(program: &'static str, connection: &mut Connection) -> Result<(), StoreError> {
    let version = said(connection, VERSION, "version").await?;
    let server = version.parse::<u32>().unwrap_or(0) / 10_000;
    let mut command = Command::new(program);
    command.arg("--version");
    let output = run(program, command, VERSION_WAIT_MAX).await.map_err(|error| match error {
        StoreError::ToolMissing { program, .. } => StoreError::ToolMissing { program, version: server.to_string() },
        error => error,
    })?;
    refuse_older(program, &String::from_utf8_lossy(&output.stdout), server)
}

fn refuse_older(program: &'static str, said: &str, server: u32) -> Result<(), StoreError> {
    match major_of(said) {
        Some(found) if found >= server => Ok(()),
        _ => Err(StoreError::ToolTooOld { program, found: said.trim().to_owned(), wanted: server.to_string() }),
    }
}

/// Gives 15 of `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major_of(said: &str) -> Option<u32> {
    let number = said.split_once(") ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A program that is told by its environment which database is meant.
fn command(program: &str, server: &Server) -> Command {
    let mut command = Command::new(program);
    // A service file would go before the rest of the environment.
    for name in ["PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGOPTIONS"] {
        command.env_remove(name);
    }
    command.envs(server.environment());
    command
}

async fn run(program: &'static str, mut command: Command, limit: Duration) -> Result<Output, StoreError> {
    command.env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let failed = |said: String| StoreError::ToolFailed { program, said };
    let output = match tokio::time::timeout(limit, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::ToolMissing { program, version: "VERSION".to_owned() });
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("it was not done after {} hours", limit.as_secs() / 3600))),
    };
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(SAID_MAX).collect();
    Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_older_than_the_server_is_refused_with_the_package() {
        let said = "pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n";
        refuse_older(DUMP, said, 14).unwrap();
        refuse_older(DUMP, said, 15).unwrap();
        let refusal = refuse_older(DUMP, said, 16).unwrap_err().to_string();
        assert!(refusal.contains("15.14") && refusal.contains("postgresql-client-16"), "{refusal}");
        refuse_older(DUMP, "something else", 14).unwrap_err();
    }
}
