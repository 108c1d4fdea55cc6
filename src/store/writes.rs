//! What a turn writes, listed before any of it is sent: each write says which rows it means and how many it expects to hit.
//!
//! Sending costs more than writing, so rows of one [`Sort`] share a statement, however many events they come from. A
//! sort's rows go with the first of them, parents before children; whatever else is written comes after all rows that
//! were listed before it, so that everything finds the rows that its event found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Serialize;

use super::StoreError;
use super::database::bulk::Sort;
use super::database::{Statement, sql};
use super::record::to_json;
use super::tx::inconsistent;

/// Several writes, in their order.
#[derive(Debug, Default)]
pub(super) struct Writes {
    list: Vec<(Expectation, Statement)>,
    /// Rows to which more may come.
    open: BTreeMap<Sort, Rows>,
}

/// What is expected of a statement.
#[derive(Debug)]
pub(super) struct Expectation {
    table: &'static str,
    /// Names what is written, if anybody wants to know.
    ids: Vec<String>,
    rows: Expected,
}

/// How many rows a statement is to hit.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// The one that is there.
    One,
    /// So many.
    Exactly(usize),
    /// Whatever there is.
    Any,
}

/// Rows of one sort, as a JSON list without its end.
#[derive(Debug, Default)]
struct Rows {
    json: String,
    ids: Vec<String>,
    known: BTreeSet<String>,
}

impl Writes {
    /// Writes exactly one row of `table`, the one called `id`; anything else is an inconsistency.
    pub(super) fn one(&mut self, table: &'static str, id: impl Display, statement: Statement) {
        self.push(table, vec![id.to_string()], Expected::One, statement);
    }

    /// Writes exactly `count` rows of `table`, which belong to `id`.
    pub(super) fn many(&mut self, table: &'static str, id: impl Display, count: usize, statement: Statement) {
        self.push(table, vec![id.to_string()], Expected::Exactly(count), statement);
    }

    /// Writes any number of rows of `table`.
    pub(super) fn any(&mut self, table: &'static str, id: impl Display, statement: Statement) {
        self.push(table, vec![id.to_string()], Expected::Any, statement);
    }

    /// Writes one row, called `id`, by the statement of its sort, together with others. A statement writes a row once:
    /// what is written of the same row later is another statement's.
    pub(super) fn row(&mut self, sort: Sort, id: impl Display, row: &impl Serialize) {
        let id = id.to_string();
        if self.open.get(&sort).is_some_and(|rows| rows.known.contains(&id)) {
            self.end_rows();
        }
        let rows = self.open.entry(sort).or_default();
        rows.json.push(if rows.ids.is_empty() { '[' } else { ',' });
        rows.json.push_str(&to_json(row));
        rows.known.insert(id.clone());
        rows.ids.push(id);
    }

    /// Gives all of it, in the order in which it is to be written.
    pub(super) fn finish(mut self) -> Vec<(Expectation, Statement)> {
        self.end_rows();
        self.list
    }

    fn push(&mut self, table: &'static str, ids: Vec<String>, rows: Expected, statement: Statement) {
        self.end_rows();
        self.list.push((Expectation { table, ids, rows }, statement));
    }

    fn end_rows(&mut self) {
        for (sort, Rows { mut json, ids, .. }) in std::mem::take(&mut self.open) {
            json.push(']');
            let (table, text) = sort.written_by();
            let rows = Expected::Exactly(ids.len());
            self.list.push((Expectation { table, ids, rows }, sql(text).bind_list(json)));
        }
    }
}

impl Expectation {
    /// Judges how many rows were hit.
    pub(super) fn check(&self, written: u64) -> Result<(), StoreError> {
        let expected = match self.rows {
            Expected::Any => return Ok(()),
            Expected::One if written == 0 => {
                return Err(self.refused("there is no such row in the state that this write starts from"));
            }
            Expected::One => 1,
            Expected::Exactly(count) => count,
        };
        if usize::try_from(written) == Ok(expected) {
            return Ok(());
        }
        Err(self.refused(&format!("{expected} rows were to be written, and {written} would have been")))
    }

    /// Says that a rule would be broken.
    pub(super) fn refused(&self, why: &str) -> StoreError {
        inconsistent(self.table, self.ids.join(", "), why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(writes: Writes) -> Vec<(&'static str, String)> {
        writes.finish().into_iter().map(|(expected, _)| (expected.table, expected.ids.join(", "))).collect()
    }

    fn entry(table: &'static str, ids: &str) -> (&'static str, String) {
        (table, ids.to_owned())
    }

    #[test]
    fn rows_of_one_sort_share_a_statement_and_parents_come_first() {
        let mut writes = Writes::default();
        for id in [1, 2] {
            writes.row(Sort::Verdict, id, &id);
            writes.row(Sort::Change, id, &id);
        }
        assert_eq!(listed(writes), [entry("change", "1, 2"), entry("verdict", "1, 2")]);
    }

    #[test]
    fn what_was_listed_before_another_write_is_written_before_it() {
        let mut writes = Writes::default();
        writes.row(Sort::Verdict, 1, &1);
        writes.any("upstream", "all", sql("DELETE FROM upstream"));
        writes.row(Sort::Change, 2, &2);
        assert_eq!(listed(writes), [entry("verdict", "1"), entry("upstream", "all"), entry("change", "2")]);
    }

    #[test]
    fn a_statement_writes_a_row_once() {
        let mut writes = Writes::default();
        for id in ["1 push", "2 push", "1 push"] {
            writes.row(Sort::Verdict, id, &id);
        }
        assert_eq!(listed(writes), [entry("verdict", "1 push, 2 push"), entry("verdict", "1 push")]);
    }

    #[test]
    fn a_count_that_is_not_the_expected_one_is_refused() {
        let mut writes = Writes::default();
        writes.one("build", 7, sql("DELETE FROM build"));
        writes.row(Sort::Edge, "1 2", &1);
        writes.any("upstream", "all", sql("DELETE FROM upstream"));
        let (expected, _): (Vec<Expectation>, Vec<Statement>) = writes.finish().into_iter().unzip();
        let [one, rows, any] = <[Expectation; 3]>::try_from(expected).unwrap();
        assert!(one.check(0).unwrap_err().to_string().contains("no such row"));
        one.check(1).unwrap();
        one.check(2).unwrap_err();
        rows.check(0).unwrap_err();
        any.check(9).unwrap();
    }
}
