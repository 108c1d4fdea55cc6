//! The database, as this harness looks into it: by plain SQL of its own, past everything that the product has for it.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

/// Which database the service keeps its state in. A further kind is a further variant, and nothing else in this folder
/// needs to know: statements are written in what all of them speak, and every column is asked for as text.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// The one in the data folder.
    Sqlite(PathBuf),
}

/// One row, as texts.
#[derive(Debug, Clone)]
pub(crate) struct Row(Vec<Option<String>>);

impl Row {
    pub(crate) fn maybe(&self, index: usize) -> Option<&str> {
        self.0[index].as_deref()
    }

    pub(crate) fn text(&self, index: usize) -> String {
        self.maybe(index).unwrap_or("").to_owned()
    }

    pub(crate) fn int(&self, index: usize) -> i64 {
        self.maybe(index).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("column {index} of {self:?}"))
    }
}

impl Database {
    /// The database in a data folder.
    pub(crate) fn in_folder(data: &Path) -> Self {
        Self::Sqlite(data.join("gristmill.db"))
    }

    /// What `gristmill serve` must be told so that it uses this database.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Sqlite(_) => Vec::new(),
        }
    }

    /// Opens a connection that can only read.
    async fn open(&self) -> Result<SqliteConnection, sqlx::Error> {
        match self {
            Self::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).busy_timeout(super::super::support::DEADLINE);
                options.pragma("query_only", "ON").connect().await
            }
        }
    }

    /// Runs several queries in one connection; each gives its rows. Columns must be texts.
    pub(crate) async fn ask<const N: usize>(&self, queries: [&'static str; N]) -> [Vec<Row>; N] {
        let mut connection = self.open().await.unwrap_or_else(|error| panic!("{self:?}: {error}"));
        sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
        let mut answers = std::array::from_fn(|_| Vec::new());
        for (query, answer) in queries.into_iter().zip(&mut answers) {
            let rows = sqlx::query(query).fetch_all(&mut connection).await;
            let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
            *answer = rows.iter().map(|row| Row((0..row.len()).map(|index| row.get(index)).collect())).collect();
        }
        connection.close().await.unwrap();
        answers
    }

    /// Lets the database look at itself; gives what it complains of.
    pub(crate) async fn check_itself(&self) -> Vec<String> {
        match self {
            Self::Sqlite(_) => {
                let [whole, foreign] = self
                    .ask([
                        "SELECT integrity_check FROM pragma_integrity_check",
                        "SELECT CAST(\"table\" AS TEXT) FROM pragma_foreign_key_check",
                    ])
                    .await;
                let whole = whole.iter().map(|row| row.text(0)).filter(|text| text != "ok");
                whole.chain(foreign.iter().map(|row| format!("a row of {} refers to nothing", row.text(0)))).collect()
            }
        }
    }
}
