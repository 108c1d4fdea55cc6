//! Reading cells of a row as the model's types, and writing times as people and programs read them.

use gristmill_model::{Revision, StampSet, Timestamp};
use serde::Serializer;
use serde::de::DeserializeOwned;

use super::{LIMIT_DEFAULT, LIMIT_MAX};
use crate::store::database::{Cell, Json, Row};

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database did not answer.
    #[error("cannot read the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A cell holds what this version cannot read.
    #[error("column `{column}` holds what this version cannot read: {problem}")]
    Cell {
        /// Which.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// A page of a list: rows older than `before`, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only rows with a smaller number.
    pub before: i64,
    /// At most so many.
    pub limit: i64,
}

impl Page {
    /// Makes a page of what was asked for; the limit is kept within what is allowed.
    pub fn of(before: Option<i64>, limit: Option<i64>) -> Self {
        Self { before: before.unwrap_or(i64::MAX), limit: limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX) }
    }

    /// Gives the page with one row more, which tells whether another page follows.
    #[must_use]
    pub fn and_one_more(self) -> Self {
        Self { limit: self.limit + 1, ..self }
    }

    /// Makes the first page with at most `limit` rows.
    pub fn first(limit: i64) -> Self {
        Self::of(None, Some(limit))
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::of(None, None)
    }
}

/// A row's cells, read by column name.
pub(crate) struct Cells<'r>(pub(in crate::store) &'r Row);

impl Cells<'_> {
    fn value<T: Cell>(&self, column: &'static str) -> Result<T, ReadError> {
        Ok(self.0.value(column)?)
    }

    fn maybe<T: Cell>(&self, column: &'static str) -> Result<Option<T>, ReadError> {
        Ok(self.0.maybe(column)?)
    }

    pub(crate) fn int(&self, column: &'static str) -> Result<i64, ReadError> {
        self.value(column)
    }

    pub(crate) fn count(&self, column: &'static str) -> Result<u32, ReadError> {
        Ok(u32::try_from(self.int(column)?).unwrap_or(0))
    }

    pub(crate) fn flag(&self, column: &'static str) -> Result<bool, ReadError> {
        Ok(self.int(column)? != 0)
    }

    pub(crate) fn id<T>(&self, column: &'static str, make: impl FnOnce(i64) -> T) -> Result<T, ReadError> {
        Ok(make(self.int(column)?))
    }

    pub(crate) fn opt_id<T>(&self, column: &'static str, make: impl FnOnce(i64) -> T) -> Result<Option<T>, ReadError> {
        Ok(self.maybe::<i64>(column)?.map(make))
    }

    pub(crate) fn text<T: From<String>>(&self, column: &'static str) -> Result<T, ReadError> {
        Ok(T::from(self.value::<String>(column)?))
    }

    pub(crate) fn opt_text<T: From<String>>(&self, column: &'static str) -> Result<Option<T>, ReadError> {
        Ok(self.maybe::<String>(column)?.map(T::from))
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, ReadError> {
        self.id(column, Timestamp)
    }

    pub(crate) fn opt_time(&self, column: &'static str) -> Result<Option<Timestamp>, ReadError> {
        self.opt_id(column, Timestamp)
    }

    pub(crate) fn word<T>(&self, column: &'static str, parse: fn(&str) -> Option<T>) -> Result<T, ReadError> {
        let word: String = self.value(column)?;
        parse(&word).ok_or_else(|| ReadError::Cell { column, problem: format!("`{word}` is not a known word") })
    }

    pub(crate) fn opt_word<T>(
        &self,
        column: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        match self.maybe::<String>(column)? {
            None => Ok(None),
            Some(_) => self.word(column, parse).map(Some),
        }
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, ReadError> {
        let Json(text) = self.value(column)?;
        serde_json::from_str(&text).map_err(|error| ReadError::Cell { column, problem: error.to_string() })
    }
}

/// Reads all rows with the same function.
pub(in crate::store) fn read_all<T>(
    rows: &[Row],
    read: impl Fn(&Cells<'_>) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    rows.iter().map(|row| read(&Cells(row))).collect()
}

/// Makes the JSON list that `json_each` takes a list of numbers from.
pub(crate) fn id_list(ids: impl IntoIterator<Item = i64>) -> String {
    let texts: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("[{}]", texts.join(","))
}

/// Gives codebase → revision.
pub(crate) fn revisions(stamps: &StampSet) -> std::collections::BTreeMap<gristmill_model::CodebaseName, Revision> {
    stamps.iter().map(|(codebase, stamp)| (codebase.clone(), stamp.revision.clone())).collect()
}

/// Writes a time as RFC 3339.
pub(crate) fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339())
}

/// Writes a time as RFC 3339, or null.
#[expect(clippy::ref_option, reason = "the form that serde asks for")]
pub(crate) fn opt_rfc3339<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}
