//! What came out of steps. A worker may say the same twice: what is there stays.

use std::collections::BTreeMap;

use gristmill_model::{Artifact, BuildId, TestCase};
use serde::Serialize;

use crate::store::database::bulk::{INSERT_OUTPUTS, INSERT_TESTS};
use crate::store::database::sql;
use crate::store::record::to_json;
use crate::store::writes::Writes;

const STORE: &str = "INSERT INTO artifact (build, step, path, bytes, digest, at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (build, step, path) DO NOTHING";

/// A test as the statement takes it.
#[derive(Serialize)]
struct TestRow<'a> {
    number: u32,
    suite: &'a str,
    name: &'a str,
    outcome: &'static str,
    rank: u8,
    micros: i64,
    message: &'a str,
}

pub(super) fn outputs(writes: &mut Writes, build: BuildId, step: u32, outputs: &BTreeMap<String, String>) {
    let insert = sql(INSERT_OUTPUTS).bind(build.0).bind(step).bind_list(to_json(outputs));
    writes.any("output", format!("{build}/{step}"), insert);
}

pub(super) fn tests(writes: &mut Writes, build: BuildId, step: u32, first: u32, tests: &[TestCase]) {
    let rows: Vec<TestRow<'_>> = tests
        .iter()
        .zip(first..)
        .map(|(test, number)| {
            // The order of the outcomes is the order in which people look.
            let (rank, micros) = (test.outcome as u8, i64::try_from(test.micros).unwrap_or(i64::MAX));
            let (suite, name, message) = (test.suite.as_str(), test.name.as_str(), test.message.as_str());
            TestRow { number, suite, name, outcome: test.outcome.as_str(), rank, micros, message }
        })
        .collect();
    let insert = sql(INSERT_TESTS).bind(build.0).bind(step).bind_list(to_json(&rows));
    writes.any("test_result", format!("{build}/{step}"), insert);
}

pub(super) fn artifact(writes: &mut Writes, artifact: &Artifact) {
    let Artifact { build, step, path, bytes, digest, at } = artifact;
    let store = sql(STORE)
        .bind(build.0)
        .bind(*step)
        .bind(path.as_str())
        .bind(i64::try_from(*bytes).unwrap_or(i64::MAX))
        .bind(digest.as_str())
        .bind(at.0);
    writes.any("artifact", format!("{build}/{step} {path}"), store);
}

#[cfg(test)]
crate::store::database::statements![STORE];
