//! Bringing the schema up to date: numbered texts, each applied once, in a transaction of its own.

use std::path::Path;

use gristmill_model::Digest;

use super::dialect::{self, BEGIN_WRITE, Connection, failed, sql};
use super::record::Record;
use super::{DATABASE_FILE, StoreError};

/// One step of the schema. A released one is never edited.
pub(super) struct Migration {
    /// Its number, from 1 without gaps.
    pub(super) number: i64,
    /// What it is for.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) text: &'static str,
}

/// All of them, in order.
pub(super) const MIGRATIONS: &[Migration] =
    &[Migration { number: 1, name: "first", text: include_str!("migrations/0001_first.sql") }];

const CREATE_VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_version (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL
) STRICT";
const COUNT_TABLES: &str = "SELECT COUNT(*) AS tables,
    COUNT(*) FILTER (WHERE name = 'schema_version') AS ours FROM sqlite_schema WHERE type = 'table'";
const LIST_VERSIONS: &str = "SELECT number, name, sha256 FROM schema_version ORDER BY number LIMIT 10000";
const INSERT_VERSION: &str = "INSERT INTO schema_version (number, name, sha256) VALUES ($1, $2, $3)";

/// Applies what is missing; refuses a schema that is newer than, or different from, what this program knows.
pub(super) async fn bring_up_to_date(connection: &mut Connection, folder: &Path) -> Result<(), StoreError> {
    apply_all(connection, folder, MIGRATIONS).await
}

/// The same for any list of migrations.
pub(super) async fn apply_all(
    connection: &mut Connection,
    folder: &Path,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    refuse_foreign(connection, folder).await?;
    run(connection, CREATE_VERSIONS).await?;
    let applied = sql(LIST_VERSIONS).fetch_all(&mut *connection).await.map_err(failed("read the schema's version"))?;
    let mut done = 0;
    for row in &applied {
        let row = Record::of("schema_version", row);
        let (number, name, sha256) = (row.int("number")?, row.text("name")?, row.text("sha256")?);
        let Some(migration) = migrations.iter().find(|migration| migration.number == number) else {
            let known = migrations.last().map_or(0, |migration| migration.number);
            let found = Record::of("schema_version", &applied[applied.len() - 1]).int("number")?;
            return Err(StoreError::SchemaNewer { folder: folder.to_owned(), found, known });
        };
        if sha256_of(migration) != sha256 {
            return Err(StoreError::SchemaDiffers { folder: folder.to_owned(), number, name });
        }
        done = number;
    }
    for migration in migrations.iter().filter(|migration| migration.number > done) {
        apply(connection, migration).await?;
    }
    Ok(())
}

async fn refuse_foreign(connection: &mut Connection, folder: &Path) -> Result<(), StoreError> {
    let row = sql(COUNT_TABLES).fetch_one(connection).await.map_err(failed("look at the database"))?;
    let row = Record::of("sqlite_schema", &row);
    if row.int("tables")? > 0 && row.int("ours")? == 0 {
        return Err(StoreError::Foreign { file: folder.join(DATABASE_FILE) });
    }
    Ok(())
}

async fn apply(connection: &mut Connection, migration: &Migration) -> Result<(), StoreError> {
    run(connection, BEGIN_WRITE).await?;
    let applied = apply_inside(connection, migration).await;
    // When the program ends here, the database takes an unfinished transaction back by itself.
    run(connection, if applied.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    applied
}

async fn apply_inside(connection: &mut Connection, migration: &Migration) -> Result<(), StoreError> {
    run(connection, migration.text).await?;
    sql(INSERT_VERSION)
        .bind(migration.number)
        .bind(migration.name)
        .bind(sha256_of(migration))
        .execute(connection)
        .await
        .map(drop)
        .map_err(dialect::failed("note the schema's version"))
}

async fn run(connection: &mut Connection, text: &'static str) -> Result<(), StoreError> {
    sqlx::raw_sql(text).execute(connection).await.map(drop).map_err(failed("bring the schema up to date"))
}

fn sha256_of(migration: &Migration) -> String {
    Digest::of(migration.text.as_bytes()).0
}
