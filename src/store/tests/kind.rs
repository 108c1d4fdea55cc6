//! The kinds of database, and tests that are run on each.

use crate::postgres::Postgres;
use crate::store::Database;

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Kind {
    /// Gives a new empty database of this kind.
    pub(crate) fn database(self) -> Database {
        match self {
            Self::Sqlite => Database::Embedded,
            Self::Postgres => Database::Server(Postgres::shared().database()),
        }
    }
}

/// Says of which kind the filters of a list are, as the store does with their values.
pub(crate) fn with_kinds(text: &str) -> String {
    regex::Regex::new(r"(\$\d) IS NULL").unwrap().replace_all(text, "CAST($1 AS TEXT) IS NULL").into_owned()
}

/// Makes two tests of each function: it is told the kind of database to run on.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::store::tests::Kind::Sqlite).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::store::tests::Kind::Postgres).await;
            })*
        }
    };
}
pub(crate) use on_both;
