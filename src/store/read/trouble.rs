//! What the service itself suffers from: a configuration that was refused, messages that do not reach anybody.
//! Repositories that cannot be read are in `outside`.

use gristmill_model::{EventBody, NotifierName, Timestamp};
use serde::Serialize;

use super::Reader;
use super::row::{Cells, ReadError, read_all, rfc3339};
use crate::store::database::sql;

/// A configuration that was refused and not mended since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogProblem {
    /// The mistakes, as they are shown to people.
    pub problems: String,
    /// When it was refused.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// A notifier whose messages wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilentNotifier {
    /// Which.
    pub notifier: NotifierName,
    /// How many messages wait after a failure.
    pub waiting: u32,
    /// What the last failure was.
    pub error: String,
}

/// Something that the service found wrong with its own data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check found it.
    pub check: String,
    /// What it found, in plain words.
    pub detail: String,
    /// When it was first found.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

const LAST_CATALOG: &str = "SELECT at, body FROM event WHERE kind IN ('catalog.activated', 'catalog.refused') \
                            ORDER BY seq DESC LIMIT 1";
const SILENT: &str = "SELECT notifier, COUNT(*) AS waiting, MAX(error) AS error FROM outbox \
                      WHERE state = 'due' AND error IS NOT NULL GROUP BY notifier LIMIT $1";

const FINDINGS: &str = "SELECT name, detail, at FROM finding ORDER BY at, name LIMIT $1";

/// Findings that are named: there are fewer checks.
const FINDINGS_MAX: i64 = 100;
/// Notifiers that are named.
const NOTIFIERS_MAX: i64 = 50;

impl Reader {
    /// Gives the refusal of the configuration's last text, if it was refused.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn catalog_problem(&self) -> Result<Option<CatalogProblem>, ReadError> {
        let Some(row) = sql(LAST_CATALOG).fetch_optional(self.pool()).await? else { return Ok(None) };
        let cells = Cells(&row);
        let at = cells.time("at")?;
        Ok(match cells.json("body")? {
            EventBody::CatalogRefused { problems } => Some(CatalogProblem { problems, at }),
            _ => None,
        })
    }

    /// Lists notifiers with messages that wait after a failure.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn silent_notifiers(&self) -> Result<Vec<SilentNotifier>, ReadError> {
        let rows = sql(SILENT).bind(NOTIFIERS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            Ok(SilentNotifier {
                notifier: cells.text("notifier")?,
                waiting: cells.count("waiting")?,
                error: cells.text("error")?,
            })
        })
    }

    /// Lists what the service found wrong with its own data and has not found mended, the oldest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn findings(&self) -> Result<Vec<Finding>, ReadError> {
        let rows = sql(FINDINGS).bind(FINDINGS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            Ok(Finding { check: cells.text("name")?, detail: cells.text("detail")?, at: cells.time("at")? })
        })
    }
}

#[cfg(test)]
crate::store::database::statements![FINDINGS, LAST_CATALOG, SILENT];
