//! One row of an answer, of either database.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use super::text;

/// One row of an answer.
pub(in crate::store) enum Row {
    /// SQLite's.
    Sqlite(SqliteRow),
    /// PostgreSQL's.
    Postgres(PgRow),
}

/// What a column can be read as. `None` if there is no value.
pub(in crate::store) trait Cell: Sized {
    /// Reads a column.
    fn read(row: &Row, column: &'static str) -> Result<Option<Self>, sqlx::Error>;
}

impl Row {
    /// Reads a column that may be empty.
    pub(in crate::store) fn maybe<T: Cell>(&self, column: &'static str) -> Result<Option<T>, sqlx::Error> {
        T::read(self, column)
    }

    /// Reads a column that has a value.
    pub(in crate::store) fn value<T: Cell>(&self, column: &'static str) -> Result<T, sqlx::Error> {
        self.maybe(column)?
            .ok_or_else(|| sqlx::Error::ColumnDecode { index: column.to_owned(), source: "it is empty".into() })
    }
}

impl Cell for i64 {
    /// Reads an integer of any width; a yes is 1 and a no is 0, as in SQLite.
    fn read(row: &Row, column: &'static str) -> Result<Option<Self>, sqlx::Error> {
        let row = match row {
            Row::Sqlite(row) => return row.try_get(column),
            Row::Postgres(row) => row,
        };
        let raw = row.try_get_raw(column)?;
        match raw.type_info().name() {
            "BOOL" => Ok(row.try_get::<Option<bool>, _>(column)?.map(Self::from)),
            "INT4" => Ok(row.try_get::<Option<i32>, _>(column)?.map(Self::from)),
            _ => row.try_get(column),
        }
    }
}

impl Cell for String {
    fn read(row: &Row, column: &'static str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => Ok(row.try_get::<Option<Self>, _>(column)?.map(text::given)),
        }
    }
}

/// A text that is JSON.
pub(in crate::store) struct Json(pub(in crate::store) String);

impl Cell for Json {
    fn read(row: &Row, column: &'static str) -> Result<Option<Self>, sqlx::Error> {
        let json: Option<String> = match row {
            Row::Sqlite(row) => row.try_get(column)?,
            Row::Postgres(row) => row.try_get::<Option<String>, _>(column)?.map(text::given_json),
        };
        Ok(json.map(Self))
    }
}

impl Cell for Vec<u8> {
    fn read(row: &Row, column: &'static str) -> Result<Option<Self>, sqlx::Error> {
        match row {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}
