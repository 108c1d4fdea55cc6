//! The database, as this harness looks into it: by plain SQL of its own, past everything that the product has for it.

use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::support;

/// Which database the service keeps its state in. A further kind is a further variant, and nothing else in this folder
/// needs to know: statements are written in what all of them speak, and every column is asked for as text.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// The one in the data folder.
    Sqlite(PathBuf),
    /// One of a server, and the folder of logs that all who use it share.
    Postgres { url: String, logs: PathBuf },
}

/// Asks on a connection, of whichever database, and closes it.
macro_rules! ask_all {
    ($connection:expr, $begin:expr, $queries:expr) => {{
        let mut connection = $connection;
        sqlx::query($begin).execute(&mut connection).await?;
        let mut answers = std::array::from_fn(|_| Vec::new());
        for (query, answer) in $queries.into_iter().zip(&mut answers) {
            let rows = sqlx::query(query).fetch_all(&mut connection).await?;
            *answer = rows.iter().map(|row| Row((0..row.len()).map(|index| row.get(index)).collect())).collect();
        }
        connection.close().await?;
        Ok(answers)
    }};
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
            Self::Postgres { url, logs } => {
                ["--database", url, "--logs", logs.to_str().expect("a name that this test has made")]
                    .map(str::to_owned)
                    .to_vec()
            }
        }
    }

    /// Runs several queries in one transaction that can only read; each gives its rows. Columns must be texts.
    pub(crate) async fn ask<const N: usize>(&self, queries: [&'static str; N]) -> [Vec<Row>; N] {
        self.try_ask(queries).await.unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    async fn try_ask<const N: usize>(&self, queries: [&'static str; N]) -> Result<[Vec<Row>; N], sqlx::Error> {
        match self {
            Self::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).busy_timeout(support::DEADLINE);
                ask_all!(options.pragma("query_only", "ON").connect().await?, "BEGIN", queries)
            }
            Self::Postgres { url, .. } => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                ask_all!(PgConnection::connect(url).await?, begin, queries)
            }
        }
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
            // It fails by itself where an index is not what its table says.
            Self::Postgres { url, .. } => {
                support::postgres::ask(url, "CREATE EXTENSION IF NOT EXISTS amcheck").expect("amcheck is installed");
                let looked = self
                    .try_ask(["SELECT CAST(bt_index_check(pg_index.indexrelid, true) AS TEXT) FROM pg_index
                        JOIN pg_class ON pg_class.oid = pg_index.indexrelid
                        JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
                        WHERE pg_namespace.nspname = 'public'"])
                    .await;
                match looked {
                    Ok([indexes]) if !indexes.is_empty() => Vec::new(),
                    Ok(_) => vec!["no index was looked at".to_owned()],
                    Err(error) => vec![error.to_string()],
                }
            }
        }
    }
}
