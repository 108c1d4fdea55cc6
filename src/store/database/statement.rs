//! A statement: a constant text and the values for its places.

use super::connection::Seat;
use super::row::Row;

/// The text of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Text {
    /// The same for both databases.
    Same(&'static str),
    /// One for each.
    Each {
        /// SQLite's.
        sqlite: &'static str,
        /// PostgreSQL's.
        postgres: &'static str,
    },
}

impl Text {
    /// Gives SQLite's text.
    pub(in crate::store) const fn sqlite(self) -> &'static str {
        match self {
            Self::Same(text) | Self::Each { sqlite: text, .. } => text,
        }
    }

    /// Gives PostgreSQL's text.
    pub(in crate::store) const fn postgres(self) -> &'static str {
        match self {
            Self::Same(text) | Self::Each { postgres: text, .. } => text,
        }
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Same(text)
    }
}

/// A value for a place of a statement. The absence of a value has a kind too, because PostgreSQL asks for it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Value {
    /// An integer.
    Int(Option<i64>),
    /// A text.
    Text(Option<String>),
    /// A list of things to write, as JSON, which the database takes apart.
    List(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

macro_rules! value_from {
    ($($kind:ty: $name:ident => $value:expr),* $(,)?) => {$(
        impl From<$kind> for Value {
            fn from($name: $kind) -> Self {
                $value
            }
        }
        impl From<Option<$kind>> for Value {
            fn from(maybe: Option<$kind>) -> Self {
                maybe.map_or(<$kind as Absent>::ABSENT, Value::from)
            }
        }
    )*};
}

/// What a kind of value is when it is not there.
trait Absent {
    const ABSENT: Value;
}

macro_rules! absent {
    ($absent:expr; $($kind:ty),*) => {$(
        impl Absent for $kind {
            const ABSENT: Value = $absent;
        }
    )*};
}

absent!(Value::Int(None); i64, u32, i32);
absent!(Value::Text(None); &str, String);

value_from! {
    i64: number => Value::Int(Some(number)),
    u32: number => Value::Int(Some(i64::from(number))),
    i32: number => Value::Int(Some(i64::from(number))),
    &str: text => Value::Text(Some(text.to_owned())),
    String: text => Value::Text(Some(text)),
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_owned())
    }
}

/// A statement with its values, ready to run on either database.
#[derive(Debug, Clone)]
#[must_use]
pub(in crate::store) struct Statement {
    pub(super) text: Text,
    pub(super) values: Vec<Value>,
}

/// Makes a statement of a constant text; its preparation is kept per connection.
pub(in crate::store) fn sql(text: impl Into<Text>) -> Statement {
    Statement { text: text.into(), values: Vec::new() }
}

impl Statement {
    /// Gives the next place its value.
    pub(in crate::store) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Gives the next place a list, as JSON.
    pub(in crate::store) fn bind_list(mut self, json: String) -> Self {
        self.values.push(Value::List(json));
        self
    }

    /// Runs it, and gives how many rows it wrote.
    pub(in crate::store) async fn execute<'c>(self, seat: impl Into<Seat<'c>>) -> Result<u64, sqlx::Error> {
        seat.into().execute(self).await
    }

    /// Runs it, and gives all rows.
    pub(in crate::store) async fn fetch_all<'c>(self, seat: impl Into<Seat<'c>>) -> Result<Vec<Row>, sqlx::Error> {
        seat.into().fetch_all(self).await
    }

    /// Runs it, and gives the first row if there is one.
    pub(in crate::store) async fn fetch_optional<'c>(
        self,
        seat: impl Into<Seat<'c>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        seat.into().fetch_optional(self).await
    }

    /// Runs it, and gives its one row.
    pub(in crate::store) async fn fetch_one<'c>(self, seat: impl Into<Seat<'c>>) -> Result<Row, sqlx::Error> {
        self.fetch_optional(seat).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// Makes the list of a file's statements, for the tests that run each of them. One that is forgotten is found by them too.
#[cfg(test)]
macro_rules! statements {
    ($($name:ident),* $(,)?) => {
        pub(in crate::store) fn statements() -> Vec<(&'static str, $crate::store::database::Text)> {
            vec![$((stringify!($name), $crate::store::database::Text::from($name))),*]
        }
    };
}
#[cfg(test)]
pub(in crate::store) use statements;
