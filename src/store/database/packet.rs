//! Several statements that a server gets in one packet: a turn waits for it as often as it has packets, not statements.
//!
//! What the protocol has for one statement with values at a time it does not have for several, so here they are text:
//! each statement is prepared once under a name of ours, and then executed by that name with its values as literals.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Either};

use super::statement::{Statement, Value};
use super::{postgres, text};

/// Bytes after which a packet gets no further statement.
const PACKET_ENOUGH: usize = 1 << 20;

/// Why writing to a packet cannot fail.
const TAKES_ALL: &str = "a string takes everything";

/// A connection to a server, and what is prepared on it.
#[derive(Debug)]
pub(in crate::store) struct Link {
    /// The connection itself.
    pub(in crate::store) plain: PgConnection,
    /// Numbers of the statements that are prepared; there are as many as the program has.
    prepared: HashMap<&'static str, usize>,
    /// How long an answer is waited for.
    pub(super) answer_max: Duration,
}

/// What became of several statements: how many rows each wrote, up to the one that failed.
#[derive(Debug, Default)]
pub(in crate::store) struct Executed {
    /// Of those that were carried out.
    pub(in crate::store) written: Vec<u64>,
    /// Of the one after them; nothing was tried after it.
    pub(in crate::store) failed: Option<sqlx::Error>,
}

impl Link {
    /// Takes a connection on which nothing is prepared by us.
    pub(super) fn new(plain: PgConnection, answer_max: Duration) -> Self {
        Self { plain, prepared: HashMap::new(), answer_max }
    }

    /// Runs statements, in as few packets as may be.
    pub(super) async fn execute_all(&mut self, statements: Vec<Statement>) -> Executed {
        let mut executed = Executed::default();
        if let Err(error) = self.prepare(&statements).await {
            executed.failed = Some(error);
            return executed;
        }
        let mut statements = statements.into_iter().peekable();
        while executed.failed.is_none() && statements.peek().is_some() {
            let mut packet = String::new();
            while packet.len() < PACKET_ENOUGH
                && let Some(statement) = statements.next()
            {
                self.add(&mut packet, statement);
            }
            let sent = send(&mut self.plain, packet, &mut executed.written);
            executed.failed = postgres::answered(self.answer_max, sent).await.err();
        }
        executed
    }

    /// Prepares what is not prepared yet, all in one packet. It stays so, whatever becomes of the transaction.
    async fn prepare(&mut self, statements: &[Statement]) -> Result<(), sqlx::Error> {
        let (mut packet, mut new) = (String::new(), HashMap::new());
        for statement in statements.iter().filter(|statement| !statement.values.is_empty()) {
            let text = statement.text.postgres();
            if self.prepared.contains_key(text) || new.contains_key(text) {
                continue;
            }
            let number = self.prepared.len() + new.len();
            let kinds: Vec<&str> = statement.values.iter().map(kind).collect();
            // One packet is one transaction, in which all are prepared. A number that failed once is free again.
            writeln!(packet, "PREPARE gristmill_{number} ({}) AS {text};", kinds.join(", ")).expect(TAKES_ALL);
            new.insert(text, number);
        }
        if !new.is_empty() {
            postgres::answered(self.answer_max, send(&mut self.plain, packet, &mut Vec::new())).await?;
            self.prepared.extend(new);
        }
        Ok(())
    }

    fn add(&self, packet: &mut String, statement: Statement) {
        let text = statement.text.postgres();
        let Some(number) = self.prepared.get(text) else {
            // It has no values.
            packet.push_str(text);
            packet.push_str(";\n");
            return;
        };
        write!(packet, "EXECUTE gristmill_{number} (").expect(TAKES_ALL);
        for (index, value) in statement.values.into_iter().enumerate() {
            if index > 0 {
                packet.push_str(", ");
            }
            literal(packet, value);
        }
        packet.push_str(");\n");
    }
}

/// Sends a packet, and notes how many rows each of its statements wrote.
async fn send(plain: &mut PgConnection, packet: String, written: &mut Vec<u64>) -> Result<(), sqlx::Error> {
    // Every value in it is a literal.
    let mut results = sqlx::raw_sql(AssertSqlSafe(packet)).fetch_many(plain);
    while let Some(result) = results.try_next().await? {
        if let Either::Left(done) = result {
            written.push(done.rows_affected());
        }
    }
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "BIGINT",
        Value::Text(_) | Value::List(_) => "TEXT",
        Value::Bytes(_) => "BYTEA",
    }
}

/// Adds a value as the server reads it. In what stands between two quotes nothing but a quote means anything, because
/// `standard_conforming_strings` is on for every connection.
fn literal(packet: &mut String, value: Value) {
    match value {
        Value::Int(None) | Value::Text(None) => packet.push_str("NULL"),
        Value::Int(Some(number)) => {
            write!(packet, "{number}").expect(TAKES_ALL);
        }
        Value::Text(Some(value)) => quote(packet, &text::kept(value)),
        Value::List(json) => quote(packet, &text::kept_json(json)),
        Value::Bytes(bytes) => {
            packet.push_str("'\\x");
            bytes.iter().for_each(|byte| {
                write!(packet, "{byte:02x}").expect(TAKES_ALL);
            });
            packet.push('\'');
        }
    }
}

fn quote(packet: &mut String, text: &str) {
    packet.push('\'');
    packet.push_str(&text.replace('\'', "''"));
    packet.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_its_literal() {
        let mut packet = String::new();
        for value in [
            Value::from("it's'; DROP TABLE event; --\\"),
            Value::from(None::<i64>),
            Value::from(-7_i64),
            Value::List("[\"'\"]".to_owned()),
            Value::from(&b"'\0\xff"[..]),
        ] {
            literal(&mut packet, value);
            packet.push(' ');
        }
        assert_eq!(packet, r#"'it''s''; DROP TABLE event; --\' NULL -7 '["''"]' '\x2700ff' "#);
    }
}
