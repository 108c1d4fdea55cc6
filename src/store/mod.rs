//! The store: rows (what is) and the journal (what happened), in one database: SQLite in the data folder, or PostgreSQL.
//!
//! The engine is the only one that writes, and writes only by [`Store::commit`]: one [`Turn`], one transaction, on
//! condition that the journal's head is where the engine left it. Everybody else reads through a [`Reader`].
//!
//! In reading order: [`turn`] is what a caller hands over and [`error`] what it may get back; `writer` owns the one
//! connection that writes; `commit` is the transaction; `rows` says, one file per noun, which rows an event means and
//! how open ones are read back; `load` makes a state of them; [`read`] are the reads for everybody else; [`inspect`]
//! proves that the rows are as they should be. What depends on the kind of database is in `database` and the
//! migrations, and nowhere else.

pub mod error;
pub mod inspect;
pub mod read;
pub mod turn;

mod commit;
mod database;
mod load;
mod lock;
mod migrate;
mod record;
mod rows;
mod tx;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use gristmill_model::Seq;
use gristmill_schedulers::State;

pub use error::{CommitError, StoreError};
pub use read::{DeliveryBody, IncidentRow, ReadError, Reader, Suspect as SuspectRow};
pub use turn::{Answer, Blob, Turn};

use database::Place;
use database::postgres::Server;
use inspect::Inspector;
use writer::Writer;

/// The name of the database file in the data folder.
pub const DATABASE_FILE: &str = "gristmill.db";
/// The name of the lock file in the data folder.
pub const LOCK_FILE: &str = "gristmill.lock";

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Database {
    /// SQLite, as a file in the data folder.
    #[default]
    Embedded,
    /// PostgreSQL, at this address: `postgres://user@host:5432/database`.
    Server(String),
}

impl std::str::FromStr for Database {
    type Err = StoreError;

    /// Reads `sqlite:` (the embedded one) or `postgres://…`.
    fn from_str(address: &str) -> Result<Self, StoreError> {
        match address.split_once(':') {
            Some(("sqlite", "")) => Ok(Self::Embedded),
            Some(("postgres" | "postgresql", _)) => {
                Server::parse(address)?;
                Ok(Self::Server(address.to_owned()))
            }
            _ => Err(StoreError::Address { why: "it begins with neither `sqlite:` nor `postgres://`".to_owned() }),
        }
    }
}

/// The engine's hold on the database: there is one per data folder.
///
/// Dropping it lets a transaction that is under way finish in the background; [`Store::close`] waits for that.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    place: Place,
    writer: Writer,
    reader: Reader,
}

impl Store {
    /// Opens the database in `folder`, which is made if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// If another process serves the folder, if the schema is newer than this program knows, or if the SQLite inside
    /// this program has known defects.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_database(folder, &Database::Embedded).await
    }

    /// Opens a database for the service whose other files are in `folder`, which is made if it is not there, and brings
    /// its schema up to date.
    ///
    /// # Errors
    /// As [`Store::open`], and if a server cannot be reached, is too old, or would not keep what it acknowledges.
    pub async fn open_database(folder: &Path, database: &Database) -> Result<Self, StoreError> {
        let lock = lock::take_soon(folder).await?;
        let unusable = |source| StoreError::Folder { folder: folder.to_owned(), source };
        let place = match database {
            Database::Embedded => {
                let file = folder.join(DATABASE_FILE);
                // Its companions (the write-ahead log) get the same permissions. The file must be closed before SQLite
                // opens it: closing it later would let go of SQLite's own locks.
                drop(lock::open_private(&file).map_err(unusable)?);
                Place::Sqlite(file)
            }
            Database::Server(url) => Place::Postgres(Box::new(Server::parse(url)?)),
        };
        let mut connection = place.open_writer().await?;
        migrate::bring_up_to_date(&mut connection, &place.to_string()).await?;
        let reader = Reader::new(place.open_readers());
        let writer = Writer::start(connection, place.clone(), lock).map_err(unusable)?;
        Ok(Self { folder: folder.to_owned(), place, writer, reader })
    }

    /// Commits a turn: all of it or nothing, durably. Gives the journal's new head.
    ///
    /// Once called, the turn is committed or refused whether or not the caller stays for the answer.
    pub async fn commit(&self, turn: Turn) -> Result<Seq, CommitError> {
        self.writer.commit(turn).await
    }

    /// Loads everything open, as folding the whole journal would give it.
    pub async fn load(&self) -> Result<State, StoreError> {
        self.writer.load().await
    }

    /// Compares `state` with what the tables say. The error names the first part that differs, and both sides of it.
    pub async fn verify(&self, state: &State) -> Result<(), String> {
        let tables = self.load().await.map_err(|error| error.to_string())?;
        load::compare(state, &tables)
    }

    /// Opens a connection of its own for looking at everything.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn inspector(&self) -> Result<Inspector, StoreError> {
        Inspector::of(&self.place).await
    }

    /// Gives the reads.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Gives the data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Finishes what is under way, closes every connection, and frees the folder for another process.
    pub async fn close(self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}
