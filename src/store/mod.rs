//! The store: rows (what is) and the journal (what happened), in one database: SQLite in the data folder, or PostgreSQL.
//!
//! The engine is the only one that writes, and writes only by [`Store::commit`]: one [`Turn`], one transaction, on
//! condition that the journal's head is where the engine left it. Everybody else reads through a [`Reader`].
//!
//! In reading order: [`turn`] is what a caller hands over and [`error`] what it may get back; `writer` owns the one
//! connection that writes; `commit` is the transaction; `rows` says, one file per noun, which rows an event means and
//! how open ones are read back; `load` makes a state of them; [`leader`] is who decides where there are several masters;
//! [`read`] are the reads for everybody else; [`retire`] deletes what is over and old, [`usage`] says where the room
//! goes; [`copy`] takes and restores copies, and [`dump`] those of a server; [`inspect`] proves that the rows are as they should be. What depends on the
//! kind of database is in `database` and the migrations, and nowhere else.

pub mod copy;
pub mod dump;
pub mod error;
pub mod inspect;
pub mod leader;
pub mod read;
pub mod retire;
pub mod turn;
pub mod usage;

mod commit;
mod database;
mod load;
mod lock;
mod migrate;
mod record;
mod rows;
mod tx;
mod writer;
mod writes;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use gristmill_model::Seq;
use gristmill_schedulers::State;

pub use error::{CommitError, StoreError};
pub use leader::{Claim, Leader};
pub use read::{DeliveryBody, IncidentRow, ReadError, Reader, Suspect as SuspectRow};
pub use retire::{InUse, Noun, Order, Retired};
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
    is_shared: bool,
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
        let place = Place::of(folder, database)?;
        let is_shared = matches!(place, Place::Postgres(_));
        let mut connection = place.open_writer().await?;
        migrate::bring_up_to_date(&mut connection, &place.to_string()).await?;
        let reader = Reader::new(place.open_readers());
        let writer = Writer::start(connection, place.clone(), lock).map_err(unusable)?;
        Ok(Self { folder: folder.to_owned(), place, writer, reader, is_shared })
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

    /// Deletes one piece of what is over, old, and referred to by nothing that stays. The state does not change by it.
    ///
    /// # Errors
    /// If the database does not answer. What was deleted stays deleted.
    pub async fn retire(&self, order: Order) -> Result<Retired, StoreError> {
        let Some(found) = retire::find(self.reader.pool(), &order).await? else {
            return self.writer.retire(order, Vec::new()).await;
        };
        let mut retired = Retired { next: found.next, ..Retired::default() };
        for batch in found.batches {
            retired.add(self.writer.retire(order.clone(), batch).await?);
        }
        Ok(retired)
    }

    /// Gives room that deleted rows left back to the disk, a bounded piece of it, and empties the write-ahead log.
    pub async fn give_back(&self) -> Result<(), StoreError> {
        self.writer.give_back().await
    }

    /// Compares `state` with what the tables say. The error names the first part that differs, and both sides of it.
    pub async fn verify(&self, state: &State) -> Result<(), String> {
        let tables = self.load().await.map_err(|error| error.to_string())?;
        load::compare(state, &tables)
    }

    /// Takes the lead from what was `seen`, if nothing has changed since. Gives whether it did.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn take_lead(&self, seen: &Leader, claim: &Claim) -> Result<bool, StoreError> {
        self.writer.lead(leader::Act::Take { seen: seen.clone(), claim: claim.clone() }).await
    }

    /// Shows that the leader of `epoch` lives. Gives whether it still leads.
    ///
    /// It goes the way of the turns, so that a master whose turns hang is not taken for one that works.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn beat(&self, epoch: i64, master: &str) -> Result<bool, StoreError> {
        self.writer.lead(leader::Act::Beat { epoch, master: master.to_owned() }).await
    }

    /// Lets others take the lead at once. Gives whether it was still held.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn give_up_lead(&self, epoch: i64, master: &str) -> Result<bool, StoreError> {
        self.writer.lead(leader::Act::GiveUp { epoch, master: master.to_owned() }).await
    }

    /// Says whether other masters may work with the same database.
    pub fn is_shared(&self) -> bool {
        self.is_shared
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
