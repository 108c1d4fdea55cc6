//! Bringing the schema up to date: numbered texts, each applied once, in a transaction of its own.

use gristmill_model::Digest;

use super::StoreError;
use super::database::{BEGIN_WRITE, Connection, Text, failed, sql};
use super::record::Record;

/// One step of the schema. A released one is never edited.
pub(super) struct Migration {
    /// Its number, from 1 without gaps.
    pub(super) number: i64,
    /// What it is for.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) text: Text,
}

/// The texts of a step, which are files of the same name for both databases.
macro_rules! migration {
    ($number:literal, $name:literal) => {
        Migration {
            number: $number,
            name: $name,
            text: Text::Each {
                sqlite: include_str!(concat!("migrations/sqlite/000", $number, "_", $name, ".sql")),
                postgres: include_str!(concat!("migrations/postgres/000", $number, "_", $name, ".sql")),
            },
        }
    };
}

/// All of them, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    migration!(1, "first"),
    migration!(2, "leader"),
    migration!(3, "instance"),
    migration!(4, "finding"),
    migration!(5, "workers"),
    migration!(6, "unread"),
    migration!(7, "care"),
    migration!(8, "steps"),
];

const CREATE_VERSIONS: Text = Text::Each {
    sqlite: "CREATE TABLE IF NOT EXISTS schema_version (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL
    ) STRICT",
    postgres: "CREATE TABLE IF NOT EXISTS schema_version (
        number BIGINT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL
    )",
};
const COUNT_TABLES: Text = Text::Each {
    sqlite: "SELECT COUNT(*) AS tables, COUNT(*) FILTER (WHERE name = 'schema_version') AS ours
        FROM sqlite_schema WHERE type = 'table'",
    postgres: "SELECT COUNT(*) AS tables, COUNT(*) FILTER (WHERE table_name = 'schema_version') AS ours
        FROM information_schema.tables WHERE table_schema = current_schema()",
};
/// Bringing a schema up to date may take long, and whoever waits for the other who does it must wait longer than usual.
const BE_PATIENT: Text = Text::Each {
    sqlite: "SELECT 1",
    postgres: "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '60s', false)",
};
const BE_AS_BEFORE: Text = Text::Each { sqlite: "SELECT 1", postgres: "RESET ALL" };
/// Two masters that start together bring the schema up to date one after the other. The number is `grist` in ASCII.
const TAKE_MIGRATION_LOCK: Text = Text::Each { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_lock(444033987444)" };
const FREE_MIGRATION_LOCK: Text =
    Text::Each { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_unlock(444033987444)" };
const LIST_VERSIONS: &str = "SELECT number, name, sha256 FROM schema_version ORDER BY number LIMIT 10000";
const INSERT_VERSION: &str = "INSERT INTO schema_version (number, name, sha256) VALUES ($1, $2, $3)";

/// Gives the number of the newest schema that this program knows.
pub(super) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.number)
}

/// Applies what is missing; refuses a schema that is newer than, or different from, what this program knows. `place` is
/// how the database is called in a refusal.
pub(super) async fn bring_up_to_date(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    apply_all(connection, place, MIGRATIONS).await
}

/// Refuses a schema that is not exactly the one that this program knows, and changes nothing.
pub(super) async fn expect_current(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    refuse_foreign(connection, place).await?;
    let found = if has_tables(connection).await? { check_applied(connection, place, MIGRATIONS).await? } else { 0 };
    let known = newest();
    if found < known {
        return Err(StoreError::SchemaOlder { place: place.to_owned(), found, known });
    }
    Ok(())
}

/// Refuses a database that is not ours, or whose schema is newer than this program knows, and changes nothing.
pub(super) async fn expect_known(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    refuse_foreign(connection, place).await?;
    if !has_tables(connection).await? {
        return Err(StoreError::SchemaOlder { place: place.to_owned(), found: 0, known: newest() });
    }
    check_applied(connection, place, MIGRATIONS).await.map(drop)
}

/// Says whether there is any table, whosever it is.
pub(super) async fn has_tables(connection: &mut Connection) -> Result<bool, StoreError> {
    let tables = sql(COUNT_TABLES).fetch_one(connection).await.map_err(failed("look at the database"))?;
    Ok(Record::of("sqlite_schema", &tables).int("tables")? > 0)
}

/// The same for any list of migrations.
pub(super) async fn apply_all(
    connection: &mut Connection,
    place: &str,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    run(connection, BE_PATIENT).await?;
    run(connection, TAKE_MIGRATION_LOCK).await?;
    let applied = apply_missing(connection, place, migrations).await;
    // A connection that broke has let go of it.
    let freed = run(connection, FREE_MIGRATION_LOCK).await;
    applied.and(freed)?;
    run(connection, BE_AS_BEFORE).await
}

async fn apply_missing(connection: &mut Connection, place: &str, migrations: &[Migration]) -> Result<(), StoreError> {
    refuse_foreign(connection, place).await?;
    run(connection, CREATE_VERSIONS).await?;
    let done = check_applied(connection, place, migrations).await?;
    for migration in migrations.iter().filter(|migration| migration.number > done) {
        apply(connection, migration).await?;
    }
    Ok(())
}

/// Gives the number of the last migration that was applied, once all of them are known to this program.
async fn check_applied(connection: &mut Connection, place: &str, migrations: &[Migration]) -> Result<i64, StoreError> {
    let applied = sql(LIST_VERSIONS).fetch_all(&mut *connection).await.map_err(failed("read the schema's version"))?;
    let mut done = 0;
    for row in &applied {
        let row = Record::of("schema_version", row);
        let (number, name, sha256) = (row.int("number")?, row.text("name")?, row.text("sha256")?);
        let Some(migration) = migrations.iter().find(|migration| migration.number == number) else {
            let known = migrations.last().map_or(0, |migration| migration.number);
            let found = Record::of("schema_version", &applied[applied.len() - 1]).int("number")?;
            return Err(StoreError::SchemaNewer { place: place.to_owned(), found, known });
        };
        if sha256_of(connection, migration) != sha256 {
            return Err(StoreError::SchemaDiffers { place: place.to_owned(), number, name });
        }
        done = number;
    }
    Ok(done)
}

async fn refuse_foreign(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    let row = sql(COUNT_TABLES).fetch_one(connection).await.map_err(failed("look at the database"))?;
    let row = Record::of("sqlite_schema", &row);
    if row.int("tables")? > 0 && row.int("ours")? == 0 {
        return Err(StoreError::Foreign { place: place.to_owned() });
    }
    Ok(())
}

async fn apply(connection: &mut Connection, migration: &Migration) -> Result<(), StoreError> {
    run(connection, BEGIN_WRITE).await?;
    let applied = apply_inside(connection, migration).await;
    // When the program ends here, the database takes an unfinished transaction back by itself.
    run(connection, Text::Same(if applied.is_ok() { "COMMIT" } else { "ROLLBACK" })).await?;
    applied
}

async fn apply_inside(connection: &mut Connection, migration: &Migration) -> Result<(), StoreError> {
    run(connection, migration.text).await?;
    sql(INSERT_VERSION)
        .bind(migration.number)
        .bind(migration.name)
        .bind(sha256_of(connection, migration))
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed("note the schema's version"))
}

async fn run(connection: &mut Connection, text: Text) -> Result<(), StoreError> {
    connection.script(text).await.map_err(failed("bring the schema up to date"))
}

fn sha256_of(connection: &Connection, migration: &Migration) -> String {
    Digest::of(connection.text_of(migration.text).as_bytes()).0
}

#[cfg(test)]
crate::store::database::statements![
    CREATE_VERSIONS,
    COUNT_TABLES,
    BE_PATIENT,
    BE_AS_BEFORE,
    TAKE_MIGRATION_LOCK,
    FREE_MIGRATION_LOCK,
    LIST_VERSIONS,
    INSERT_VERSION
];
