//! What depends on the kind of database, behind one small front.
//!
//! Everything else writes its statements once, in what both databases speak: `$1`, `ON CONFLICT`, `IS NOT DISTINCT
//! FROM`, 64-bit integers, text and bytes. Where they differ a statement has one text for each ([`Text::Each`]).
//!
//! In reading order: [`statement`] is a text with its values, [`row`] what comes back, [`connection`] what runs it, and
//! [`joined`] and [`packet`] what runs several at once in a file and on a server; `text` is what becomes of zero characters; [`failure`] says what an
//! error means; [`sqlite`] and [`postgres`] open and set up; [`bulk`] has the statements that write many rows from one
//! list.

pub(super) mod bulk;
pub(super) mod connection;
pub(super) mod failure;
mod joined;
pub(super) mod packet;
pub(super) mod postgres;
pub(super) mod row;
pub(super) mod sqlite;
pub(super) mod statement;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

pub(super) use connection::{Connection, Pool};
pub(super) use failure::{broken_rule, failed, is_lost};
pub(super) use packet::Executed;
pub(super) use row::{Cell, Json, Row};
#[cfg(test)]
pub(super) use statement::statements;
pub(super) use statement::{Statement, Text, sql};

/// PostgreSQL's text for the numbers of the JSON list at a place, where SQLite has `(SELECT value FROM json_each($1))`.
macro_rules! postgres_ids {
    ($place:literal) => {
        concat!(
            "(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(",
            $place,
            " AS json)) AS list (value))"
        )
    };
}
pub(super) use postgres_ids;

use super::{DATABASE_FILE, Database, StoreError, lock};

/// Where a database is, and of which kind.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server.
    Postgres(Box<postgres::Server>),
}

impl Place {
    /// Says where the database of a data folder is. Its file is made if it is not there.
    pub(super) fn of(folder: &Path, database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Embedded => {
                let file = folder.join(DATABASE_FILE);
                // Its companions (the write-ahead log) get the same permissions. The file must be closed before SQLite
                // opens it: closing it later would let go of SQLite's own locks.
                let made = lock::open_private(&file).map(drop);
                made.map_err(|source| StoreError::Folder { folder: folder.to_owned(), source })?;
                Ok(Self::Sqlite(file))
            }
            Database::Server(url) => Ok(Self::Postgres(Box::new(postgres::Server::parse(url)?))),
        }
    }

    /// Opens the connection that writes, and checks that it keeps what it acknowledges.
    pub(super) async fn open_writer(&self) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(file) => sqlite::open_writer(file).await.map(Box::new).map(Connection::Sqlite),
            Self::Postgres(server) => postgres::open_writer(server).await.map(Box::new).map(Connection::Postgres),
        }
    }

    /// Opens a connection of its own for somebody who looks at everything, and cannot write. Unlike a reader's it may
    /// stay in a transaction, and its statements may take long.
    pub(super) async fn open_looker(&self) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(file) => sqlite::open_looker(file).await.map(Box::new).map(Connection::Sqlite),
            Self::Postgres(server) => postgres::open_looker(server).await.map(Box::new).map(Connection::Postgres),
        }
    }

    /// Makes the connections for readers; each is opened when it is first needed.
    pub(super) fn open_readers(&self) -> Pool {
        match self {
            Self::Sqlite(file) => Pool::Sqlite(sqlite::open_readers(file)),
            Self::Postgres(server) => Pool::Postgres(postgres::open_readers(server)),
        }
    }
}

/// Begins a transaction that may write.
pub(super) const BEGIN_WRITE: Text = Text::Each {
    // Takes the write lock at once, because a later upgrade fails without waiting.
    sqlite: "BEGIN IMMEDIATE",
    // The journal's head row is the lock: two turns meet there first of all.
    postgres: "BEGIN ISOLATION LEVEL READ COMMITTED",
};
/// Begins a transaction in which every read sees the same moment.
pub(super) const BEGIN_READ: Text =
    Text::Each { sqlite: "BEGIN", postgres: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" };

impl fmt::Display for Place {
    /// Says which database for people, after "the database", without any password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "in {}", file.parent().unwrap_or(Path::new(".")).display()),
            Self::Postgres(server) => server.fmt(f),
        }
    }
}

#[cfg(test)]
statements![BEGIN_WRITE, BEGIN_READ];
