//! Several statements that SQLite gets at once: each waits for another thread, which costs more than a small statement.

use std::iter::Peekable;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Either, Executor as _};

use super::connection::with_values;
use super::packet::Executed;
use super::statement::{Statement, Value};

/// Runs statements. Those that write lists and follow each other are joined: they come in few combinations, so that what
/// is joined stays prepared.
pub(super) async fn execute_all(connection: &mut SqliteConnection, statements: Vec<Statement>) -> Executed {
    let mut executed = Executed::default();
    let mut statements = statements.into_iter().peekable();
    while executed.failed.is_none()
        && let Some((text, values)) = next(&mut statements)
    {
        executed.failed = send(connection, text, values, &mut executed.written).await.err();
    }
    executed
}

/// Takes the next statements that are joined, or the next one.
fn next(statements: &mut Peekable<impl Iterator<Item = Statement>>) -> Option<(String, Vec<Value>)> {
    let first = statements.next()?;
    let (mut text, mut values) = (first.text.sqlite().to_owned(), first.values);
    if !writes_list(&values) {
        return Some((text, values));
    }
    while let Some(more) = statements.next_if(|more| writes_list(&more.values)) {
        text.push_str(";\n");
        push_shifted(&mut text, more.text.sqlite(), values.len());
        values.extend(more.values);
    }
    Some((text, values))
}

fn writes_list(values: &[Value]) -> bool {
    matches!(values.last(), Some(Value::List(_)))
}

/// Adds a text whose places are numbered from `before` on.
fn push_shifted(joined: &mut String, text: &str, before: usize) {
    let mut parts = text.split('$');
    joined.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let number: usize = part[..end].parse().expect("a place is a number, and no statement has another `$`");
        joined.push_str(&format!("${}{}", number + before, &part[end..]));
    }
}

async fn send(
    connection: &mut SqliteConnection,
    text: String,
    values: Vec<Value>,
    written: &mut Vec<u64>,
) -> Result<(), sqlx::Error> {
    // Constant texts after each other.
    let mut results = connection.fetch_many(with_values(sqlx::query(AssertSqlSafe(text)), values));
    while let Some(result) = results.try_next().await? {
        if let Either::Left(done) = result {
            written.push(done.rows_affected());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::sql;

    #[test]
    fn statements_that_write_lists_are_joined_and_others_are_not() {
        let list = |text| sql(text).bind(1_i64).bind_list("[]".to_owned());
        let statements = [list("A $2, $1"), list("B ($1, $2)"), sql("C $1").bind(1_i64), list("D $2")];
        let mut statements = statements.into_iter().peekable();
        let texts: Vec<(String, usize)> =
            std::iter::from_fn(|| next(&mut statements)).map(|(text, values)| (text, values.len())).collect();
        let wanted = [("A $2, $1;\nB ($3, $4)", 4), ("C $1", 1), ("D $2", 2)];
        assert_eq!(texts, wanted.map(|(text, values)| (text.to_owned(), values)));
    }
}
