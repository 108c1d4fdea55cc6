//! What can go wrong with the store, and who must act.

use std::path::PathBuf;

use gristmill_model::Seq;

/// The underlying error of whatever library failed.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the store did not do what was asked. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: it must be a folder that this user may write to", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process serves the data folder.
    #[error(
        "another gristmill ({process}) already serves the data folder {}: stop it first, or give this one a folder of \
         its own",
        folder.display()
    )]
    InUse {
        /// Which folder.
        folder: PathBuf,
        /// `process 812`, as far as it is known.
        process: String,
    },
    /// The SQLite in this program has known defects.
    #[error("this program was built with SQLite {found}, which can damage databases: build it with {wanted} or newer")]
    DatabaseTooOld {
        /// What it is.
        found: String,
        /// What it must be at least.
        wanted: String,
    },
    /// The server is older than what is tested.
    #[error("the database server is {found}, and gristmill needs PostgreSQL {wanted} or newer")]
    ServerTooOld {
        /// What it is.
        found: String,
        /// What it must be at least.
        wanted: String,
    },
    /// The server does not let us in, or is not there.
    #[error(
        "cannot reach the database {server}: is PostgreSQL running there, and may this user use that database? Its name, \
         user and password come from the address given, PGPASSWORD or the password file"
    )]
    Unreached {
        /// Which database and where, without any password.
        server: String,
        /// Whether trying again later may help by itself.
        is_transient: bool,
        /// What was said.
        #[source]
        source: Source,
    },
    /// The address of a database cannot be read.
    #[error("this is no address of a database: {why}; one looks like postgres://user@host:5432/gristmill")]
    Address {
        /// What is wrong with it. Without the address itself, which may have a password in it.
        why: String,
    },
    /// One of PostgreSQL's own programs is not there.
    #[error(
        "{program} is not on the path, and a database on a server is copied and restored with it: install PostgreSQL's \
         client programs (Debian's package is postgresql-client-{version})"
    )]
    ToolMissing {
        /// Which one.
        program: &'static str,
        /// The server's version.
        version: String,
    },
    /// One of PostgreSQL's own programs is older than the server, and does not know all that this has.
    #[error(
        "the program on the path is {found}, and the server is PostgreSQL {wanted}: install the client programs of that \
         version (Debian's package is postgresql-client-{wanted}), or put their folder first on the path for {program}"
    )]
    ToolTooOld {
        /// Which one.
        program: &'static str,
        /// What it says of itself.
        found: String,
        /// The server's version.
        wanted: String,
    },
    /// One of PostgreSQL's own programs failed.
    #[error("{program} failed: {said}")]
    ToolFailed {
        /// Which one.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// Something would be restored into a database that has tables.
    #[error(
        "the database {place} has tables, and nothing is overwritten: make an empty one (`createdb NAME`), and give that"
    )]
    NotEmpty {
        /// Which, as it stands after "the database".
        place: String,
    },
    /// A database was loaded, but not made another installation.
    #[error(
        "the database {place} was loaded, but numbers and leases of before still count in it: start no service on it; \
         drop it, make an empty one, and restore again"
    )]
    HalfRestored {
        /// Which, as it stands after "the database".
        place: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// The database would not keep what it acknowledges.
    #[error(
        "the database did not take the setting `{setting}` (it says `{found}`): SQLite must not lie on a network file system, and a server must keep what it acknowledges"
    )]
    Setting {
        /// Which setting and value.
        setting: String,
        /// What it has instead.
        found: String,
    },
    /// The file is a database of something else.
    #[error("the database {place} has tables, but none of gristmill: move it away, or give another one")]
    Foreign {
        /// Which, as it stands after "the database".
        place: String,
    },
    /// A newer version of this program has written the database.
    #[error(
        "the database {place} was written by a newer gristmill (schema {found}, this one knows up to {known}): run that \
         version, or restore a backup from before the upgrade"
    )]
    SchemaNewer {
        /// Which, as it stands after "the database".
        place: String,
        /// The schema it has.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The database was not brought up to date yet, and whoever looks at it must not.
    #[error(
        "the database {place} has schema {found}, and this program looks at schema {known}: start the service once, \
         which brings it up to date"
    )]
    SchemaOlder {
        /// Which, as it stands after "the database".
        place: String,
        /// The schema it has.
        found: i64,
        /// The schema that this program knows.
        known: i64,
    },
    /// A migration was applied with another text than this program has.
    #[error(
        "the database {place} was made by a different development version (migration {number} `{name}` has another \
         text): restore a backup, or start with an empty one"
    )]
    SchemaDiffers {
        /// Which, as it stands after "the database".
        place: String,
        /// Which migration.
        number: i64,
        /// Its name.
        name: String,
    },
    /// A copy of a database is damaged.
    #[error("{} is damaged: {why}", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The disk is full or failing, the server is not reached, or the database is held by somebody else.
    #[error("cannot {doing}: {}", hint(*is_transient))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Whether trying again later may help by itself.
        is_transient: bool,
        /// What the database said.
        #[source]
        source: Source,
    },
    /// A write would have broken a rule: a defect of this program. The turn was taken back.
    #[error("{table} {id} is not as the turn expects: {why}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// Which rule, in a sentence.
        why: String,
    },
    /// A stored row says something that this program cannot read.
    #[error("cannot read `{column}` of table {table}: {why}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The database refused a statement: a defect of this program.
    #[error("cannot {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: Source,
    },
    /// The turn is larger than any turn may be.
    #[error("the turn has {found} events, and one may have {max}")]
    TooLarge {
        /// How many it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Says whether trying again later may help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Io { is_transient: true, .. } | Self::Unreached { is_transient: true, .. })
    }
}

fn hint(is_transient: bool) -> &'static str {
    if is_transient {
        "is it full, failing, busy or not reached? once it has room and works again, this goes on by itself"
    } else {
        "the database cannot be used: is it damaged, another user's, or its password wrong?"
    }
}

/// Why a turn was not committed. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else has written: load the state again.
    #[error("the journal's head is {found}, not {expected}: another master has taken over")]
    HeadMoved {
        /// Where the turn expected it.
        expected: Seq,
        /// Where it is.
        found: Seq,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
