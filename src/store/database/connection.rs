//! What runs statements: one connection, or a pool of them, of either database.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::postgres::{PgArguments, PgPool, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool};

use super::joined;
use super::packet::{Executed, Link};
use super::postgres;
use super::row::Row;
use super::statement::{Statement, Text, Value, sql};
use super::text;

/// One connection.
#[derive(Debug)]
pub(in crate::store) enum Connection {
    /// To a file.
    Sqlite(Box<SqliteConnection>),
    /// To a server.
    Postgres(Box<Link>),
}

/// Several connections for readers.
#[derive(Debug, Clone)]
pub(in crate::store) enum Pool {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server.
    Postgres(PgPool),
}

impl Connection {
    /// Runs several statements that have no values, one after the other.
    pub(in crate::store) async fn script(&mut self, text: Text) -> Result<(), sqlx::Error> {
        let text = self.text_of(text);
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop),
            Self::Postgres(link) => sqlx::raw_sql(text).execute(&mut link.plain).await.map(drop),
        }
    }

    /// Begins or ends a transaction. A server is told so in one packet, however often it has been told before.
    pub(in crate::store) async fn control(&mut self, text: impl Into<Text>) -> Result<(), sqlx::Error> {
        let text = text.into();
        match self {
            Self::Sqlite(_) => sql(text).execute(self).await.map(drop),
            Self::Postgres(link) => {
                let told = sqlx::raw_sql(text.postgres()).execute(&mut link.plain);
                postgres::answered(link.answer_max, told).await.map(drop)
            }
        }
    }

    /// Runs several statements that write, until one fails. As many go at once as may be.
    pub(in crate::store) async fn execute_all(&mut self, statements: Vec<Statement>) -> Executed {
        match self {
            Self::Sqlite(connection) => joined::execute_all(connection, statements).await,
            Self::Postgres(link) => link.execute_all(statements).await,
        }
    }

    /// Gives the text for its kind of database.
    pub(in crate::store) fn text_of(&self, text: Text) -> &'static str {
        match self {
            Self::Sqlite(_) => text.sqlite(),
            Self::Postgres(_) => text.postgres(),
        }
    }

    /// Closes it, which takes back what is not committed.
    pub(in crate::store) async fn close(self) -> Result<(), sqlx::Error> {
        use sqlx::Connection as _;
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(link) => postgres::close(link.plain).await,
        }
    }
}

impl Pool {
    /// Closes all connections, once those who read are done.
    pub(in crate::store) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Statement {
    /// Runs it, and gives its rows as they come: only a few are held at a time.
    pub(in crate::store) fn stream(self, connection: &mut Connection) -> BoxStream<'_, Result<Row, sqlx::Error>> {
        match connection {
            Connection::Sqlite(connection) => for_sqlite(self).fetch(&mut **connection).map_ok(Row::Sqlite).boxed(),
            Connection::Postgres(link) => for_postgres(self).fetch(&mut link.plain).map_ok(Row::Postgres).boxed(),
        }
    }
}

/// Where a statement runs.
pub(in crate::store) enum Seat<'c> {
    /// On one connection.
    Connection(&'c mut Connection),
    /// On any that is free.
    Pool(&'c Pool),
}

impl<'c> From<&'c mut Connection> for Seat<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Self::Connection(connection)
    }
}

impl<'c> From<&'c Pool> for Seat<'c> {
    fn from(pool: &'c Pool) -> Self {
        Self::Pool(pool)
    }
}

/// Runs `$call` on whatever is behind `$seat`, with a query of its kind.
macro_rules! on {
    ($seat:ident, $statement:ident, $query:ident, $executor:ident => $sqlite:expr, $postgres:expr) => {
        match $seat {
            Seat::Connection(Connection::Sqlite(connection)) => {
                let ($query, $executor) = (for_sqlite($statement), &mut **connection);
                $sqlite
            }
            Seat::Pool(Pool::Sqlite($executor)) => {
                let $query = for_sqlite($statement);
                $sqlite
            }
            Seat::Connection(Connection::Postgres(link)) => {
                let answer_max = link.answer_max;
                let ($query, $executor) = (for_postgres($statement), &mut link.plain);
                postgres::answered(answer_max, async { $postgres }).await
            }
            Seat::Pool(Pool::Postgres($executor)) => {
                let $query = for_postgres($statement);
                $postgres
            }
        }
    };
}

impl Seat<'_> {
    pub(super) async fn execute(self, statement: Statement) -> Result<u64, sqlx::Error> {
        on!(self, statement, query, executor =>
            query.execute(executor).await.map(|done| done.rows_affected()),
            query.execute(executor).await.map(|done| done.rows_affected()))
    }

    pub(super) async fn fetch_all(self, statement: Statement) -> Result<Vec<Row>, sqlx::Error> {
        on!(self, statement, query, executor =>
            query.fetch_all(executor).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            query.fetch_all(executor).await.map(|rows| rows.into_iter().map(Row::Postgres).collect()))
    }

    pub(super) async fn fetch_optional(self, statement: Statement) -> Result<Option<Row>, sqlx::Error> {
        on!(self, statement, query, executor =>
            query.fetch_optional(executor).await.map(|row| row.map(Row::Sqlite)),
            query.fetch_optional(executor).await.map(|row| row.map(Row::Postgres)))
    }
}

fn for_sqlite(statement: Statement) -> Query<'static, Sqlite, SqliteArguments> {
    with_values(sqlx::query(statement.text.sqlite()), statement.values)
}

/// Gives the places of one of SQLite's statements their values.
pub(super) fn with_values(
    query: Query<'static, Sqlite, SqliteArguments>,
    values: Vec<Value>,
) -> Query<'static, Sqlite, SqliteArguments> {
    values.into_iter().fold(query, |query, value| match value {
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::List(json) => query.bind(json),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}

fn for_postgres(statement: Statement) -> Query<'static, Postgres, PgArguments> {
    statement.values.into_iter().fold(sqlx::query(statement.text.postgres()), |query, value| match value {
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text.map(text::kept)),
        Value::List(json) => query.bind(text::kept_json(json)),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}
