//! What came out of a build's steps: values, tests, files.

use gristmill_model::{BuildId, Digest, TestOutcome, Timestamp};
use serde::Serialize;

use super::Reader;
use super::row::{Cells, ReadError, read_all, rfc3339};
use crate::store::database::{Text, sql};
use crate::store::record::to_json;

/// A value that a step gave out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputRow {
    /// The step.
    pub step: u32,
    /// Its name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// What a test came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestRow {
    /// The step.
    pub step: u32,
    /// Its number in the step.
    pub number: u32,
    /// The suite that it belongs to.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// What it came to.
    pub outcome: TestOutcome,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// What it said.
    pub message: String,
}

/// How many tests of a build came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TestCounts {
    /// Failed, or not run to their end.
    pub failed: u64,
    /// Left out.
    pub skipped: u64,
    /// Passed.
    pub passed: u64,
}

impl TestCounts {
    /// Counts all.
    pub fn total(&self) -> u64 {
        self.failed + self.skipped + self.passed
    }
}

/// A file that is kept of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArtifactRow {
    /// The step that made it.
    pub step: u32,
    /// Its path from the step's folder.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// When it was stored.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

const OUTPUTS: &str = "SELECT step, name, value FROM output WHERE build = $1 ORDER BY step, name LIMIT $2";
const TESTS: &str = "SELECT step, number, suite, name, outcome, micros, message FROM test_result WHERE build = $1
    ORDER BY rank, step, number LIMIT $2 OFFSET $3";
const TEST_COUNTS: &str =
    "SELECT outcome, COUNT(*) AS tests FROM test_result WHERE build = $1 GROUP BY outcome LIMIT 10";
const ARTIFACTS: &str =
    "SELECT step, path, bytes, digest, at FROM artifact WHERE build = $1 ORDER BY step, path LIMIT $2";
const ARTIFACT: &str =
    "SELECT step, path, bytes, digest, at FROM artifact WHERE build = $1 AND step = $2 AND path = $3 LIMIT 1";
const DIGESTS_KNOWN: Text = Text::Each {
    sqlite: "SELECT DISTINCT digest FROM artifact WHERE digest IN (SELECT value FROM json_each($1))",
    postgres: "SELECT DISTINCT digest FROM artifact
        WHERE digest IN (SELECT value FROM json_array_elements_text(CAST($1 AS json)) AS list (value))",
};

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 5] = [
    ("outputs", Text::Same(OUTPUTS)),
    ("tests", Text::Same(TESTS)),
    ("test counts", Text::Same(TEST_COUNTS)),
    ("artifacts", Text::Same(ARTIFACTS)),
    ("artifact", Text::Same(ARTIFACT)),
];

/// Rows of one build that are given at once, of outputs and of artifacts.
const ROWS_MAX: i64 = 20_000;

fn test_row(cells: &Cells<'_>) -> Result<TestRow, ReadError> {
    Ok(TestRow {
        step: cells.count("step")?,
        number: cells.count("number")?,
        suite: cells.text("suite")?,
        name: cells.text("name")?,
        outcome: cells.word("outcome", TestOutcome::parse)?,
        micros: u64::try_from(cells.int("micros")?).unwrap_or(0),
        message: cells.text("message")?,
    })
}

fn artifact_row(cells: &Cells<'_>) -> Result<ArtifactRow, ReadError> {
    Ok(ArtifactRow {
        step: cells.count("step")?,
        path: cells.text("path")?,
        bytes: u64::try_from(cells.int("bytes")?).unwrap_or(0),
        sha256: Digest(cells.text("digest")?),
        at: cells.time("at")?,
    })
}

impl Reader {
    /// Lists the values that a build's steps gave out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn outputs_of_build(&self, build: BuildId) -> Result<Vec<OutputRow>, ReadError> {
        let rows = sql(OUTPUTS).bind(build.0).bind(ROWS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| {
            Ok(OutputRow { step: cells.count("step")?, name: cells.text("name")?, value: cells.text("value")? })
        })
    }

    /// Lists what a build's tests came to, from the `after`-th on: those that failed first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn tests_of_build(&self, build: BuildId, after: i64, limit: i64) -> Result<Vec<TestRow>, ReadError> {
        let rows = sql(TESTS).bind(build.0).bind(limit).bind(after).fetch_all(self.pool()).await?;
        read_all(&rows, test_row)
    }

    /// Counts a build's tests.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn count_tests(&self, build: BuildId) -> Result<TestCounts, ReadError> {
        let rows = sql(TEST_COUNTS).bind(build.0).fetch_all(self.pool()).await?;
        let read = |cells: &Cells<'_>| Ok((cells.word("outcome", TestOutcome::parse)?, cells.int("tests")?));
        let mut counts = TestCounts::default();
        for (outcome, count) in read_all(&rows, read)? {
            let count = u64::try_from(count).unwrap_or(0);
            match outcome {
                TestOutcome::Failed | TestOutcome::Error => counts.failed += count,
                TestOutcome::Skipped => counts.skipped += count,
                TestOutcome::Passed => counts.passed += count,
            }
        }
        Ok(counts)
    }

    /// Lists the files that are kept of a build.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn artifacts_of_build(&self, build: BuildId) -> Result<Vec<ArtifactRow>, ReadError> {
        let rows = sql(ARTIFACTS).bind(build.0).bind(ROWS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, artifact_row)
    }

    /// Finds one of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_artifact(&self, build: BuildId, step: u32, path: &str) -> Result<Option<ArtifactRow>, ReadError> {
        let row = sql(ARTIFACT).bind(build.0).bind(step).bind(path).fetch_optional(self.pool()).await?;
        row.map(|row| artifact_row(&Cells(&row))).transpose()
    }

    /// Gives those of `digests` that some build has.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn known_artifacts(&self, digests: &[Digest]) -> Result<Vec<Digest>, ReadError> {
        let texts: Vec<&str> = digests.iter().map(Digest::as_str).collect();
        let rows = sql(DIGESTS_KNOWN).bind(to_json(&texts)).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| Ok(Digest(cells.text("digest")?)))
    }
}

#[cfg(test)]
crate::store::database::statements![OUTPUTS, TESTS, TEST_COUNTS, ARTIFACTS, ARTIFACT, DIGESTS_KNOWN];
