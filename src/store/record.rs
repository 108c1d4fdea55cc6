//! Reading columns: what does not fit is named with its table and column.

use gristmill_model::Timestamp;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::database::{Cell, Json, Row};

/// One row of `table`, for reading.
#[derive(Clone, Copy)]
pub(super) struct Record<'r> {
    table: &'static str,
    row: &'r Row,
}

impl<'r> Record<'r> {
    /// Reads `row` as one of `table`.
    pub(super) fn of(table: &'static str, row: &'r Row) -> Self {
        Self { table, row }
    }

    fn value<T: Cell>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.value(column).map_err(|error| self.unreadable(column, &error.to_string()))
    }

    fn maybe<T: Cell>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        self.row.maybe(column).map_err(|error| self.unreadable(column, &error.to_string()))
    }

    /// Gives bytes.
    pub(super) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.value(column)
    }

    /// Gives an integer.
    pub(super) fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        self.value(column)
    }

    /// Gives an integer, if there is one.
    pub(super) fn int_maybe(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.maybe(column)
    }

    /// Gives an identity.
    pub(super) fn id<I: From<i64>>(&self, column: &'static str) -> Result<I, StoreError> {
        Ok(self.int(column)?.into())
    }

    /// Gives an identity, if there is one.
    pub(super) fn id_maybe<I: From<i64>>(&self, column: &'static str) -> Result<Option<I>, StoreError> {
        Ok(self.int_maybe(column)?.map(Into::into))
    }

    /// Gives a small count.
    pub(super) fn count(&self, column: &'static str) -> Result<u32, StoreError> {
        let wide = self.int(column)?;
        u32::try_from(wide).map_err(|_| self.unreadable(column, &format!("{wide} is no count")))
    }

    /// Gives a small count, if there is one.
    pub(super) fn count_maybe(&self, column: &'static str) -> Result<Option<u32>, StoreError> {
        self.int_maybe(column)?.map(|_| self.count(column)).transpose()
    }

    /// Gives a yes or no.
    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    /// Gives a time.
    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp(self.int(column)?))
    }

    /// Gives a time, if there is one.
    pub(super) fn time_maybe(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.int_maybe(column)?.map(Timestamp))
    }

    /// Gives a text.
    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.value(column)
    }

    /// Gives a text, if there is one.
    pub(super) fn text_maybe(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.maybe(column)
    }

    /// Gives what a word stands for.
    pub(super) fn word<T>(&self, column: &'static str, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let word: String = self.value(column)?;
        parse(&word).ok_or_else(|| self.unreadable(column, &format!("the word `{word}` is unknown")))
    }

    /// Gives what a word stands for, if there is one.
    pub(super) fn word_maybe<T>(
        &self,
        column: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        match self.maybe::<String>(column)? {
            None => Ok(None),
            Some(word) => match parse(&word) {
                Some(value) => Ok(Some(value)),
                None => Err(self.unreadable(column, &format!("the word `{word}` is unknown"))),
            },
        }
    }

    /// Gives what is stored as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let Json(text) = self.value(column)?;
        serde_json::from_str(&text).map_err(|error| self.unreadable(column, &error.to_string()))
    }

    fn unreadable(&self, column: &'static str, why: &str) -> StoreError {
        StoreError::Unreadable { table: self.table, column, why: why.to_owned() }
    }
}

/// Writes what is stored as JSON.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the nouns have only string keys")
}
