//! A transaction that is under way: every write says which row it means and how many it expects to hit.

use std::fmt::Display;

use super::StoreError;
use super::database::{Connection, Executed, Pool, Row, Statement, broken_rule, failed};
use super::writes::{Expectation, Writes};

/// A transaction that is under way, on the one connection that writes.
pub(super) struct Tx<'c> {
    connection: &'c mut Connection,
}

impl<'c> Tx<'c> {
    /// Works inside the transaction that was begun on `connection`.
    pub(super) fn on(connection: &'c mut Connection) -> Self {
        Self { connection }
    }

    /// Writes exactly one row of `table`, the one called `id`; anything else is an inconsistency.
    pub(super) async fn one(
        &mut self,
        table: &'static str,
        id: impl Display,
        statement: Statement,
    ) -> Result<(), StoreError> {
        match self.run(table, &id, statement).await? {
            0 => Err(inconsistent(table, id, "there is no such row in the state that this write starts from")),
            written => expect(table, id, 1, written),
        }
    }

    /// Writes all of a turn's rows.
    pub(super) async fn write(&mut self, writes: Writes) -> Result<(), StoreError> {
        let (expected, statements): (Vec<Expectation>, Vec<Statement>) = writes.finish().into_iter().unzip();
        let Executed { written, failed: error } = self.connection.execute_all(statements).await;
        for (expected, written) in expected.iter().zip(&written) {
            expected.check(*written)?;
        }
        let Some(error) = error else { return Ok(()) };
        match (broken_rule(&error), expected.get(written.len())) {
            (Some(rule), Some(expected)) => Err(expected.refused(&rule)),
            _ => Err(failed("write a turn")(error)),
        }
    }

    /// Writes any number of rows of `table`, and gives how many.
    pub(super) async fn any(
        &mut self,
        table: &'static str,
        id: impl Display,
        statement: Statement,
    ) -> Result<u64, StoreError> {
        self.run(table, &id, statement).await
    }

    /// Reads rows.
    pub(super) async fn rows(&mut self, doing: &'static str, statement: Statement) -> Result<Vec<Row>, StoreError> {
        statement.fetch_all(&mut *self.connection).await.map_err(failed(doing))
    }

    async fn run(&mut self, table: &'static str, id: &impl Display, statement: Statement) -> Result<u64, StoreError> {
        match statement.execute(&mut *self.connection).await {
            Ok(written) => Ok(written),
            Err(error) => match broken_rule(&error) {
                Some(rule) => Err(inconsistent(table, id, &rule)),
                None => Err(failed("write a turn")(error)),
            },
        }
    }
}

/// What answers questions: a transaction, or a reader's connection outside of any.
pub(super) trait Ask {
    /// Reads rows.
    fn rows(
        &mut self,
        doing: &'static str,
        statement: Statement,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;
}

impl Ask for Tx<'_> {
    async fn rows(&mut self, doing: &'static str, statement: Statement) -> Result<Vec<Row>, StoreError> {
        Tx::rows(self, doing, statement).await
    }
}

/// Asks beside the turns: each question sees a moment of its own.
pub(super) struct Beside<'p>(pub(super) &'p Pool);

impl Ask for Beside<'_> {
    async fn rows(&mut self, doing: &'static str, statement: Statement) -> Result<Vec<Row>, StoreError> {
        statement.fetch_all(self.0).await.map_err(failed(doing))
    }
}

fn expect(table: &'static str, id: impl Display, count: usize, written: u64) -> Result<(), StoreError> {
    if usize::try_from(written) == Ok(count) {
        return Ok(());
    }
    Err(inconsistent(table, id, &format!("{count} rows were to be written, and {written} would have been")))
}

/// A write that would break a rule.
pub(super) fn inconsistent(table: &'static str, id: impl Display, why: &str) -> StoreError {
    StoreError::Inconsistent { table, id: id.to_string(), why: why.to_owned() }
}
