//! Proving that the database is as it should be: rules over rows, the journal folded again, the file itself.
//!
//! Only reads, on a connection of its own, beside a service that runs or where none does. What is found is said, never
//! mended. In reading order: [`check`] is what can be asked; [`rules`] ask it in SQL; `order` looks for circles among
//! edges, `journal` reads events, `fold` and `replay` fold them again and compare with what there is, `tables` says
//! which columns are compared; `file` asks the database whether its files are whole.

pub mod check;

mod file;
mod fold;
mod journal;
mod order;
mod replay;
mod rules;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gristmill_model::Digest;

pub use check::{CHECKS, Check, Found, Looked};
use rules::Rule;

use super::database::postgres::Server;
use super::database::{Connection, Place, Text, failed, sql};
use super::record::Record;
use super::{DATABASE_FILE, Database, StoreError, migrate};

/// Rows that are counted of one finding; more are said to be more.
const ROWS_COUNTED: i64 = 1_000;
/// Rows that are named of one finding.
pub(in crate::store) const ROWS_NAMED: usize = 5;

const HURRY: Text = Text::Each {
    sqlite: "SELECT $1 AS set_config",
    postgres: "SELECT set_config('statement_timeout', $1, false) AS set_config",
};
const BUILDS: &str = "SELECT id, epoch, CASE WHEN state = 'finished'
        AND outcome IN ('success', 'warnings', 'failure', 'skipped') THEN 1 ELSE 0 END AS told,
        CASE WHEN logs_retired_at IS NULL THEN 0 ELSE 1 END AS retired,
        (SELECT MAX(number) FROM step WHERE step.build = build.id) AS steps
    FROM build WHERE id BETWEEN $1 AND $2";

const ARTIFACTS: &str = "SELECT digest, MAX(bytes) AS bytes, MAX(build) AS build FROM artifact
    WHERE digest > $1 GROUP BY digest ORDER BY digest LIMIT $2";

/// Artifacts that are read at once.
const ARTIFACTS_AT_ONCE: i64 = 10_000;

/// A connection that looks at everything.
#[derive(Debug)]
pub struct Inspector {
    connection: Connection,
}

impl Inspector {
    /// Opens the database of the service whose files are in `folder`, whether that runs or not.
    ///
    /// # Errors
    /// If there is none, if it cannot be read, or if it has not the schema that this program knows.
    pub async fn open(folder: &Path, database: &Database) -> Result<Self, StoreError> {
        let place = match database {
            Database::Embedded => Place::Sqlite(folder.join(DATABASE_FILE)),
            Database::Server(url) => Place::Postgres(Box::new(Server::parse(url)?)),
        };
        Self::of(&place).await
    }

    pub(super) async fn of(place: &Place) -> Result<Self, StoreError> {
        let mut connection = place.open_looker().await?;
        migrate::expect_current(&mut connection, &place.to_string()).await?;
        Ok(Self { connection })
    }

    /// Lets no statement take longer from now on: one that nobody waits for any more would keep a server busy. A file is
    /// read by this process alone, and ends with the wait.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn hurry(&mut self, statement_max: Duration) -> Result<(), StoreError> {
        let limit = format!("{}ms", statement_max.as_millis());
        let set = sql(HURRY).bind(limit).execute(&mut self.connection).await;
        set.map(drop).map_err(failed("limit how long a look takes"))
    }

    /// Runs one check. Those that compare with a second database hold one moment of this one for as long as that takes.
    ///
    /// # Errors
    /// If it could not look.
    pub async fn look(&mut self, check: &Check) -> Result<Looked, StoreError> {
        match check.kind {
            check::Kind::Rule(rule) => self.ask(rule).await,
            check::Kind::Circles => order::look(&mut self.connection).await,
            check::Kind::Recent => journal::look_at_recent(&mut self.connection).await,
            check::Kind::State => fold::look(&mut self.connection).await,
            check::Kind::Rows => replay::look(&mut self.connection).await,
            check::Kind::File(depth) => file::look(&mut self.connection, depth).await,
            check::Kind::ForeignKeys => file::look_at_foreign_keys(&mut self.connection).await,
        }
    }

    async fn ask(&mut self, rule: &'static Rule) -> Result<Looked, StoreError> {
        let asked = sql(rule.text).bind(ROWS_COUNTED + 1).fetch_all(&mut self.connection).await;
        let rows = asked.map_err(failed("ask whether a rule holds"))?;
        let mut named = Vec::new();
        for row in rows.iter().take(ROWS_NAMED) {
            named.push(Record::of(rule.id, row).text("what")?);
        }
        Ok(Looked::of_rows(named, rows.len(), rule.means))
    }

    /// Says whether no row was ever deleted on purpose.
    ///
    /// # Errors
    /// If it could not look.
    pub async fn is_nothing_retired(&mut self) -> Result<bool, StoreError> {
        Ok(journal::extent(&mut self.connection).await?.nothing_retired)
    }

    /// Says which of these builds there are, with the greatest number of their steps, and whether they ended with an
    /// outcome that their worker told: then their logs are whole.
    ///
    /// # Errors
    /// If it could not look.
    pub async fn builds(&mut self, from: i64, upto: i64) -> Result<Vec<BuildLogs>, StoreError> {
        let rows = sql(BUILDS).bind(from).bind(upto).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(failed("list builds"))?;
        rows.iter()
            .map(|row| {
                let row = Record::of("build", row);
                Ok(BuildLogs {
                    build: row.int("id")?,
                    epoch: row.int("epoch")?,
                    last_step: row.int_maybe("steps")?,
                    is_told: row.flag("told")?,
                    is_retired: row.flag("retired")?,
                })
            })
            .collect()
    }

    /// Lists every file that some build has, with its size and the newest build that has it.
    ///
    /// # Errors
    /// If it could not look.
    pub async fn artifacts(&mut self) -> Result<BTreeMap<Digest, (u64, i64)>, StoreError> {
        let (mut artifacts, mut after) = (BTreeMap::new(), String::new());
        loop {
            let list = sql(ARTIFACTS).bind(after.as_str()).bind(ARTIFACTS_AT_ONCE);
            let rows = list.fetch_all(&mut self.connection).await.map_err(failed("list artifacts"))?;
            for row in &rows {
                let row = Record::of("artifact", row);
                after = row.text("digest")?;
                let bytes = u64::try_from(row.int("bytes")?).unwrap_or(0);
                artifacts.insert(Digest(after.clone()), (bytes, row.int("build")?));
            }
            if rows.is_empty() {
                return Ok(artifacts);
            }
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!("a connection that looked did not close in order: {error}");
        }
    }
}

/// What the tables say of a build's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildLogs {
    /// The build.
    pub build: i64,
    /// Its epoch, which its logs are named by.
    pub epoch: i64,
    /// Its last step; `None` if it never began one.
    pub last_step: Option<i64>,
    /// Whether its worker told of its end, after its logs were sent.
    pub is_told: bool,
    /// Whether its logs may be deleted, or are.
    pub is_retired: bool,
}

#[cfg(test)]
crate::store::database::statements![HURRY, BUILDS, ARTIFACTS];

/// The statements of all its files.
#[cfg(test)]
pub(in crate::store) fn all_statements() -> Vec<(&'static str, Vec<(&'static str, Text)>)> {
    vec![
        ("inspect/mod.rs", statements()),
        ("inspect/file.rs", file::statements()),
        ("inspect/journal.rs", journal::statements()),
        ("inspect/order.rs", order::statements()),
        ("inspect/replay.rs", replay::statements()),
        ("inspect/rules", rules::all().map(|rule| (rule.id, rule.text)).collect()),
        ("inspect/tables.rs", tables::COMPARED.iter().map(|table| (table.name, table.select.into())).collect()),
    ]
}
