//! Which tables come from events, and how their rows are compared with rows written again.
//!
//! Texts that are JSON may have been written by an older version, which knew fewer fields: where they differ, both are
//! read and written again before that counts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use gristmill_model::{
    About, Admits, Buildset, Change, ChangeId, Hold, HoldKind, Message, Place, Rated, Reason, Recipe, RepositoryName,
    StampSet, Suspects,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ROWS_NAMED;
use super::journal::Extent;
use crate::store::StoreError;
use crate::store::database::{self, Connection, Row, failed, sql};

/// Characters of a value that are shown.
const VALUE_MAX: usize = 80;

/// A table that is compared.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Whether its rows come out right only from the whole journal.
    pub(super) needs_all: bool,
    pub(super) select: &'static str,
    /// How many of the columns are its key.
    keys: usize,
    columns: &'static [(&'static str, Kind)],
}

/// What a column has.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Int,
    Text,
    /// JSON, with what reads it and writes it again.
    Json(fn(&str) -> Option<String>),
}

fn again<T: DeserializeOwned + Serialize>(text: &str) -> Option<String> {
    serde_json::to_string(&serde_json::from_str::<T>(text).ok()?).ok()
}

/// Columns of compared tables that no event makes.
#[cfg(test)]
const COLUMNS_NOT_COMPARED: [(&str, &str); 1] = [("build", "logs_retired_at")];
/// Tables that no event alone can make: what came beside an event, what followers and masters note for themselves, what
/// callers were answered, what retention and restoring leave, and the journal itself.
#[cfg(test)]
const NOT_COMPARED: [&str; 10] = [
    "answer",
    "catalog_text",
    "cursor",
    "delivery_body",
    "event",
    "instance",
    "journal_head",
    "leader",
    "number_floor",
    "schema_version",
];

macro_rules! table {
    ($name:ident, needs_all: $all:literal, [$key:ident: $kind:expr $(, $more:ident: $kinds:expr)*],
        [$($column:ident: $what:expr),* $(,)?]) => {
        Table {
            name: stringify!($name),
            needs_all: $all,
            select: concat!(
                "SELECT ", stringify!($key), $(", ", stringify!($more),)* $(", ", stringify!($column),)*
                " FROM ", stringify!($name), " ORDER BY ", stringify!($key) $(, ", ", stringify!($more))*
            ),
            keys: [stringify!($key) $(, stringify!($more))*].len(),
            columns: &[(stringify!($key), $kind) $(, (stringify!($more), $kinds))* $(, (stringify!($column), $what))*],
        }
    };
}

use Kind::{Int, Json, Text};

/// All tables whose rows come from events alone.
pub(super) const COMPARED: &[Table] = &[
    table!(catalog, needs_all: false, [hash: Text], [active: Int, at: Int]),
    table!(repository, needs_all: true, [name: Text], [seen: Int, failures: Int, error: Text, at: Int]),
    table!(ref_tip, needs_all: false, [repository: Text, reference: Text], [revision: Text, seq: Int, change: Int]),
    table!(delivery, needs_all: false, [id: Int],
        [repository: Text, key: Text, event: Text, sha256: Text, at: Int, result: Text]),
    table!(change, needs_all: false, [id: Int], [repository: Text, reference: Text, branch: Text, seq: Int, old: Text,
        new: Text, movement: Text, title: Text, author: Text, body: Json(again::<Change>), at: Int]),
    table!(verdict, needs_all: false, [change: Int, scheduler: Text], [kind: Text, buildset: Int, until: Int,
        reasons: Json(again::<Vec<Reason>>), place: Json(again::<Place>), at: Int]),
    table!(timer, needs_all: true, [scheduler: Text], [nominal: Int, next: Int, why_nothing: Text, at: Int]),
    table!(recipe, needs_all: false, [digest: Text], [body: Json(again::<Recipe>)]),
    table!(buildset, needs_all: false, [id: Int], [scheduler: Text, project: Text, branch: Text, trigger_key: Text,
        body: Json(again::<Buildset>), remaining: Int, outcome: Text, created_at: Int, completed_at: Int]),
    table!(buildset_change, needs_all: false, [buildset: Int, change: Int], []),
    table!(request, needs_all: false, [id: Int], [buildset: Int, node: Text, builder: Text, recipe: Text, digest: Text,
        mode: Text, state: Text, attempts: Int, epoch: Int, outcome: Text, cause: Text, reason: Text, created_at: Int,
        settled_at: Int]),
    table!(edge, needs_all: false, [request: Int, needs: Int], [on_outcome: Text, position: Int]),
    table!(build, needs_all: false, [id: Int], [request: Int, buildset: Int, builder: Text, branch: Text, attempt: Int,
        epoch: Int, worker: Text, state: Text, cancel: Text, suspended_step: Int, outcome: Text, cause: Text,
        summary: Text, leased_at: Int, started_at: Int, finished_at: Int]),
    // Half of what sets off another buildset is in the build, which an older event may have made.
    table!(step, needs_all: true, [build: Int, number: Int], [name: Text, outcome: Text, cause: Text, summary: Text,
        triggered: Int, started_at: Int, finished_at: Int, warnings: Int]),
    table!(output, needs_all: false, [build: Int, step: Int, name: Text], [value: Text]),
    table!(test_result, needs_all: false, [build: Int, step: Int, number: Int], [suite: Text, name: Text, outcome: Text,
        rank: Int, micros: Int, message: Text]),
    table!(artifact, needs_all: false, [build: Int, step: Int, path: Text], [bytes: Int, digest: Text, at: Int]),
    table!(standing, needs_all: true, [builder: Text, branch: Text], [outcome: Text, build: Int,
        good: Json(again::<BTreeMap<RepositoryName, ChangeId>>), incident: Int, at: Int]),
    table!(incident, needs_all: false, [id: Int], [branch: Text, first_build: Int, suspects: Json(again::<Suspects>),
        opened_at: Int, closed_at: Int]),
    table!(incident_builder, needs_all: false, [incident: Int, builder: Text], [broke_build: Int, fixed_build: Int]),
    table!(upstream, needs_all: false, [scheduler: Text, buildset: Int], [upstream: Text, outcome: Text, meets: Int,
        branch: Text, stamps: Json(again::<StampSet>), depth: Int, result: Text, noted: Int, used_by: Int, at: Int]),
    table!(outbox, needs_all: false, [id: Int], [event: Int, notifier: Text, target: Text, key: Text,
        body: Json(again::<Message>), state: Text, attempts: Int, claimed: Int, due_at: Int, error: Text, receipt: Text,
        at: Int, incident: Int]),
    table!(worker, needs_all: false, [name: Text], [labels: Json(again::<BTreeMap<String, String>>), slots: Int,
        connected: Int, since: Int, about: Json(again::<About>), token: Text, public_key: Text,
        holds: Json(again::<BTreeMap<HoldKind, Hold>>)]),
    table!(pace, needs_all: true, [builder: Text], [worker: Text, runs: Int, mean: Int]),
    table!(rating, needs_all: true, [worker: Text], [recent: Json(again::<Vec<Rated>>), quarantines: Int]),
    table!(token, needs_all: false, [id: Text], [admits: Json(again::<Admits>), sha256: Text, owner: Text, made_at: Int,
        made_by: Text, expires_at: Int, revoked_at: Int, revoked_by: Text]),
    table!(finding, needs_all: false, [name: Text], [detail: Text, at: Int]),
];

/// What differs: the first few by name, all by number.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) named: Vec<String>,
    pub(super) count: usize,
}

impl Differences {
    fn add(&mut self, sentence: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < ROWS_NAMED {
            self.named.push(sentence());
        }
    }
}

/// A value; keys of a table have the same kind in every row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Nothing,
    Int(i64),
    Text(String),
}

/// Compares a table with itself as its events make it. Where not all events are there, rows that none of them made are
/// passed over; where rows were retired, those that are missing are.
pub(super) async fn compare(
    table: &Table,
    there: &mut Connection,
    again: &mut Connection,
    extent: Extent,
    differences: &mut Differences,
) -> Result<(), StoreError> {
    let reading = || failed("compare rows");
    let (mut there, mut again) = (sql(table.select).stream(there), sql(table.select).stream(again));
    let mut real = there.try_next().await.map_err(reading())?.map(|row| values(table, &row)).transpose()?;
    let mut made = again.try_next().await.map_err(reading())?.map(|row| values(table, &row)).transpose()?;
    loop {
        let order = match (&real, &made) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(real), Some(made)) => real[..table.keys].cmp(&made[..table.keys]),
        };
        match (order, &real, &made) {
            (Ordering::Less, Some(real), _) if extent.is_whole() => {
                differences.add(|| format!("{} is there, and no event made it", named(table, real)));
            }
            (Ordering::Greater, _, Some(made)) if extent.nothing_retired => {
                differences.add(|| format!("{} is missing", named(table, made)));
            }
            (Ordering::Equal, Some(real), Some(made)) => {
                if let Some(column) = differing(table, real, made) {
                    differences.add(|| sentence(table, column, real, made));
                }
            }
            _ => {}
        }
        if order != Ordering::Greater {
            real = there.try_next().await.map_err(reading())?.map(|row| values(table, &row)).transpose()?;
        }
        if order != Ordering::Less {
            made = again.try_next().await.map_err(reading())?.map(|row| values(table, &row)).transpose()?;
        }
    }
}

fn values(table: &Table, row: &Row) -> Result<Vec<Value>, StoreError> {
    let read = |(column, kind): &(&'static str, Kind)| -> Result<Value, sqlx::Error> {
        Ok(match kind {
            Int => row.maybe(column)?.map_or(Value::Nothing, Value::Int),
            Text => row.maybe(column)?.map_or(Value::Nothing, Value::Text),
            Json(_) => row.maybe::<database::Json>(column)?.map_or(Value::Nothing, |json| Value::Text(json.0)),
        })
    };
    table.columns.iter().map(read).collect::<Result<_, _>>().map_err(failed("read a row"))
}

/// Gives the first column that differs.
fn differing(table: &Table, real: &[Value], made: &[Value]) -> Option<usize> {
    if real == made {
        return None;
    }
    (0..table.columns.len()).find(|column| !are_same(table.columns[*column].1, &real[*column], &made[*column]))
}

fn are_same(kind: Kind, real: &Value, made: &Value) -> bool {
    let (Value::Text(real_text), Value::Text(made_text)) = (real, made) else { return real == made };
    // PostgreSQL has no place for a zero character in a text.
    if real_text == made_text || real_text.replace('\0', "\u{fffd}") == made_text.replace('\0', "\u{fffd}") {
        return true;
    }
    match kind {
        Json(again) => again(real_text).is_some_and(|real| again(made_text) == Some(real)),
        Int | Text => false,
    }
}

fn named(table: &Table, values: &[Value]) -> String {
    let key: Vec<String> = values[..table.keys].iter().map(shown).collect();
    format!("{} {}", table.name, key.join(" "))
}

fn sentence(table: &Table, column: usize, real: &[Value], made: &[Value]) -> String {
    let (name, (real_value, made_value)) = (table.columns[column].0, (&real[column], &made[column]));
    format!("{} has {name} {}, and by its events {}", named(table, real), shown(real_value), shown(made_value))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Nothing => "nothing".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) if text.chars().count() > VALUE_MAX => {
            format!("{}…", text.chars().take(VALUE_MAX).collect::<String>())
        }
        Value::Text(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::database::sqlite::open_scratch;
    use crate::store::migrate;

    async fn names(connection: &mut Connection, text: &'static str) -> BTreeSet<String> {
        let rows = sql(text).fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.value("name").unwrap()).collect()
    }

    #[tokio::test]
    async fn every_table_and_every_column_is_compared_or_named_as_not() {
        let mut connection = Connection::Sqlite(Box::new(open_scratch(None).await.unwrap()));
        migrate::bring_up_to_date(&mut connection, "here").await.unwrap();
        let there = names(&mut connection, "SELECT name FROM sqlite_schema WHERE type = 'table'").await;
        let known = COMPARED.iter().map(|table| table.name).chain(NOT_COMPARED);
        assert_eq!(there, known.map(ToOwned::to_owned).collect());
        for table in COMPARED {
            let text: &'static str = format!("SELECT name FROM pragma_table_info('{}')", table.name).leak();
            let others = COLUMNS_NOT_COMPARED.iter().filter(|(of, _)| *of == table.name).map(|(_, column)| *column);
            let columns = table.columns.iter().map(|(name, _)| *name).chain(others).map(ToOwned::to_owned).collect();
            assert_eq!(names(&mut connection, text).await, columns, "{}", table.name);
        }
    }

    #[test]
    fn a_json_text_of_an_older_version_is_the_same_as_todays() {
        let kind = Json(again::<Place>);
        let [one, other, wrong] = [r#"{"file":"a","line":1}"#, r#"{"line":1, "file":"a"}"#, r#"{"file":"a","line":2}"#]
            .map(|text| Value::Text(text.to_owned()));
        assert!(are_same(kind, &one, &other) && !are_same(kind, &one, &wrong) && !are_same(Text, &one, &other));
    }
}
