//! Asking the database whether what it keeps is whole.

use super::ROWS_NAMED;
use super::check::{Depth, Found, Looked};
use crate::store::StoreError;
use crate::store::database::{Connection, Text, failed, sql};
use crate::store::record::Record;

const QUICK: Text = Text::Each {
    sqlite: "PRAGMA quick_check(6)",
    postgres: "SELECT 'index ' || CAST(CAST(indexrelid AS regclass) AS TEXT) || ' is not valid' AS quick_check
        FROM pg_index JOIN pg_class ON pg_class.oid = pg_index.indrelid
        JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
        WHERE NOT indisvalid AND nspname = current_schema() LIMIT 6",
};
const WHOLE: &str = "PRAGMA integrity_check(6)";
const FOREIGN_KEYS: Text = Text::Each {
    sqlite: "SELECT 'a row of ' || \"table\" || COALESCE(', number ' || rowid, '') || ', refers to a row of '
            || parent || ' that is not there' AS what
        FROM pragma_foreign_key_check LIMIT 1001",
    postgres: "SELECT 'constraint ' || conname || ' was not validated' AS what
        FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
        WHERE NOT convalidated AND nspname = current_schema() LIMIT 1001",
};
/// Makes one statement of all foreign keys: it gives the rows whose key is not there.
const DANGLING: &str = "SELECT string_agg(format('SELECT concat(%L, %s, %L) AS what FROM %s AS child WHERE %s
            AND NOT EXISTS (SELECT 1 FROM %s AS parent WHERE %s)', 'a row of ' || child || ', ', value,
            ', refers to a row of ' || parent || ' that is not there', child, present, parent, same),
        ' UNION ALL ') || ' LIMIT 1001' AS text
    FROM (SELECT CAST(CAST(conrelid AS regclass) AS TEXT) AS child, CAST(CAST(confrelid AS regclass) AS TEXT) AS parent,
            string_agg(format('%L, child.%I', one.attname || ' ', one.attname), ', ' ORDER BY at) AS value,
            string_agg(format('child.%I IS NOT NULL', one.attname), ' AND ') AS present,
            string_agg(format('child.%I = parent.%I', one.attname, other.attname), ' AND ') AS same
        FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
            CROSS JOIN LATERAL unnest(conkey, confkey) WITH ORDINALITY AS pair (here, there, at)
            JOIN pg_attribute AS one ON one.attrelid = conrelid AND one.attnum = here
            JOIN pg_attribute AS other ON other.attrelid = confrelid AND other.attnum = there
        WHERE contype = 'f' AND nspname = current_schema() GROUP BY conname, conrelid, confrelid) AS keys";
const HAS_AMCHECK: &str = "SELECT COUNT(*) AS count FROM pg_extension WHERE extname = 'amcheck'";
/// Reads every index of ours against its table; the first one that is damaged ends it with an error.
const AMCHECK: &str = "SELECT COUNT(bt_index_check(CAST(pg_class.oid AS regclass), TRUE)) AS count
    FROM pg_class JOIN pg_am ON pg_am.oid = pg_class.relam
    JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
    WHERE pg_am.amname = 'btree' AND pg_class.relkind = 'i' AND nspname = current_schema()";

/// What damaged pages mean, and what to do about them.
const MEANS: &str = "the database is damaged, and what it says cannot be relied on";
const MEND: &str = "stop the service, keep a copy of the data folder, look at the disk, and restore a backup";

/// Looks at the pages, and if asked at every index against its table.
pub(super) async fn look(connection: &mut Connection, depth: Depth) -> Result<Looked, StoreError> {
    if let (Connection::Postgres(_), Depth::Whole) = (&*connection, depth) {
        return look_with_amcheck(connection).await;
    }
    let (text, column) = match depth {
        Depth::Quick => (QUICK, "quick_check"),
        Depth::Whole => (Text::Same(WHOLE), "integrity_check"),
    };
    let rows = match sql(text).fetch_all(connection).await.map_err(failed("look at the database's pages")) {
        Ok(rows) => rows,
        // A page may be damaged so much that even looking fails.
        Err(problem @ StoreError::Io { is_transient: false, .. }) => {
            return Ok(damaged(vec![crate::chain::chain(&problem)]));
        }
        Err(problem) => return Err(problem),
    };
    let said: Result<Vec<String>, StoreError> = rows.iter().map(|row| Record::of("file", row).text(column)).collect();
    Ok(damaged(said?.into_iter().filter(|said| said != "ok").collect()))
}

/// Looks whether every row that is referred to is there. Where a server's rules were passed over, as a superuser can, or
/// where it is damaged, they may not be.
pub(super) async fn look_at_foreign_keys(connection: &mut Connection) -> Result<Looked, StoreError> {
    let rows = sql(FOREIGN_KEYS).fetch_all(&mut *connection).await.map_err(failed("look at foreign keys"))?;
    let said: Result<Vec<String>, StoreError> = rows.iter().map(|row| Record::of("file", row).text("what")).collect();
    let mut said = said?;
    if let Connection::Postgres(_) = connection {
        said.extend(dangling_rows(connection).await?);
    }
    let count = said.len();
    said.truncate(ROWS_NAMED);
    Ok(Looked::of_rows(said, count, "a row was removed that another one needs"))
}

async fn dangling_rows(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    let text = sql(DANGLING).fetch_one(&mut *connection).await.map_err(failed("list foreign keys"))?;
    let (Some(text), Connection::Postgres(link)) = (Record::of("pg_constraint", &text).text_maybe("text")?, connection)
    else {
        return Ok(Vec::new());
    };
    // The server made it, and has put its own names into quotes.
    let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&mut link.plain).await;
    rows.map_err(failed("look at foreign keys"))
}

async fn look_with_amcheck(connection: &mut Connection) -> Result<Looked, StoreError> {
    let row = sql(HAS_AMCHECK).fetch_one(&mut *connection).await.map_err(failed("look for amcheck"))?;
    if Record::of("pg_extension", &row).int("count")? == 0 {
        let note = "the extension amcheck is not installed: indexes were not compared with their tables".to_owned();
        return Ok(Looked::Sound { note: Some(note) });
    }
    match sql(AMCHECK).fetch_one(connection).await {
        Ok(_) => Ok(Looked::SOUND),
        Err(error) => match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
            // Index corrupted, data corrupted.
            Some(code) if matches!(&*code, "XX002" | "XX001") => Ok(damaged(vec![error.to_string()])),
            _ => Err(failed("compare indexes with their tables")(error)),
        },
    }
}

fn damaged(said: Vec<String>) -> Looked {
    match Looked::of_rows(said.iter().take(ROWS_NAMED).cloned().collect(), said.len(), MEANS) {
        Looked::Found(found) => Looked::Found(Found { mend: MEND.to_owned(), ..found }),
        sound => sound,
    }
}

#[cfg(test)]
crate::store::database::statements![QUICK, FOREIGN_KEYS];
