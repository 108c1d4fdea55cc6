//! Buildsets: what was made together, its graph, and what hangs on its end.

use std::collections::BTreeMap;

use gristmill_model::{
    Buildset, BuildsetId, CatalogHash, ChangeId, CodebaseName, Condition, Outcome, ProjectName, RepositoryName,
    RequestId, Revision, SchedulerName, StampSet, Timestamp, Trigger,
};
use serde::Serialize;

use super::Reader;
use super::change::{ChangeRow, VerdictRow};
use super::request::RequestRow;
use super::row::{Cells, Page, ReadError, opt_rfc3339, read_all, rfc3339};
#[cfg(test)]
use crate::store::database::Text;
use crate::store::database::sql;

/// A buildset in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildsetRow {
    /// Its number.
    pub id: BuildsetId,
    /// The scheduler that made it.
    pub scheduler: SchedulerName,
    /// The project of that scheduler.
    pub project: Option<ProjectName>,
    /// The branch that its outcome counts for.
    pub branch: String,
    /// What set it off.
    #[serde(serialize_with = "trigger_json")]
    pub trigger: Trigger,
    /// Codebase → what it was frozen at; of it the API's lists show the revision.
    #[serde(serialize_with = "only_revisions")]
    pub stamps: BTreeMap<CodebaseName, StampRow>,
    /// How its requests stand.
    pub counts: Counts,
    /// `running` or `completed`.
    pub state: &'static str,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// When it was made.
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
    /// When it was complete.
    #[serde(serialize_with = "opt_rfc3339")]
    pub completed_at: Option<Timestamp>,
}

/// One codebase of a buildset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StampRow {
    /// Where it comes from.
    pub repository: RepositoryName,
    /// The branch or tag it was on.
    pub branch: String,
    /// The revision.
    pub revision: Revision,
    /// The newest change that it contains, if one was accepted.
    pub change: Option<ChangeId>,
}

/// How many requests of a buildset stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// All of them.
    pub total: u32,
    /// Those whose needs are not met, and those that wait for a worker.
    pub waiting: u32,
    /// Those that a worker has.
    pub running: u32,
    /// Those that ended well: success, warnings, skipped.
    pub good: u32,
    /// Those that ended badly: failure, exception, cancelled.
    pub bad: u32,
}

/// "This request needs that one."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EdgeRow {
    /// The request that waits.
    pub request: RequestId,
    /// The request it needs.
    pub needs: RequestId,
    /// How that must end.
    pub on: Condition,
}

/// What a dependent scheduler made of a completed buildset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Downstream {
    /// Which scheduler.
    pub scheduler: SchedulerName,
    /// What came of it, in a sentence.
    pub result: String,
    /// When.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// A buildset with everything that its page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildsetDetail {
    /// The buildset.
    pub buildset: BuildsetRow,
    /// Values given by whoever set it off.
    pub properties: BTreeMap<String, String>,
    /// Requests with a higher one go first.
    pub priority: i32,
    /// The configuration it was decided under.
    pub catalog: CatalogHash,
    /// Its requests, in the order of their numbers.
    pub requests: Vec<RequestRow>,
    /// What needs what.
    pub edges: Vec<EdgeRow>,
    /// The changes that it was made for, newest first.
    pub changes: Vec<ChangeRow>,
    /// The verdicts by which its scheduler took those in.
    pub verdicts: Vec<VerdictRow>,
    /// What dependent schedulers made of it.
    pub downstream: Vec<Downstream>,
}

/// Which buildsets a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildsetFilter {
    /// Only of this scheduler.
    pub scheduler: Option<SchedulerName>,
    /// Only of this project.
    pub project: Option<ProjectName>,
    /// Only of this branch.
    pub branch: Option<String>,
}

macro_rules! buildset_rows {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.scheduler, b.project, b.branch, b.body, b.outcome, b.created_at, b.completed_at, ",
            "(SELECT COUNT(*) FROM request r WHERE r.buildset = b.id) AS total, ",
            "(SELECT COUNT(*) FROM request r WHERE r.buildset = b.id AND r.state IN ('waiting', 'ready')) AS waiting, ",
            "(SELECT COUNT(*) FROM request r WHERE r.buildset = b.id AND r.state = 'leased') AS running, ",
            "(SELECT COUNT(*) FROM request r WHERE r.buildset = b.id ",
            "AND r.outcome IN ('success', 'warnings', 'skipped')) AS good, ",
            "(SELECT COUNT(*) FROM request r WHERE r.buildset = b.id ",
            "AND r.outcome IN ('failure', 'exception', 'cancelled')) AS bad FROM buildset b ",
            $rest
        )
    };
}

const BUILDSET: &str = buildset_rows!("WHERE b.id = $1 LIMIT 1");
const ALL: &str = buildset_rows!("WHERE b.id < $1 AND ($3 IS NULL OR b.branch = $3) ORDER BY b.id DESC LIMIT $2");
const BY_SCHEDULER: &str = buildset_rows!(
    "WHERE b.scheduler = $4 AND b.id < $1 AND ($3 IS NULL OR b.branch = $3) ORDER BY b.id DESC LIMIT $2"
);
const BY_PROJECT: &str =
    buildset_rows!("WHERE b.project = $4 AND b.id < $1 AND ($3 IS NULL OR b.branch = $3) ORDER BY b.id DESC LIMIT $2");
const BY_SCHEDULER_AND_PROJECT: &str = buildset_rows!(
    "WHERE b.scheduler = $4 AND b.project = $5 AND b.id < $1 AND ($3 IS NULL OR b.branch = $3) \
     ORDER BY b.id DESC LIMIT $2"
);
const OF_CHANGE: &str =
    buildset_rows!("JOIN buildset_change bc ON bc.buildset = b.id WHERE bc.change = $1 ORDER BY b.id DESC LIMIT $2");

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 5] = [
    ("all", Text::Same(ALL)),
    ("by scheduler", Text::Same(BY_SCHEDULER)),
    ("by project", Text::Same(BY_PROJECT)),
    ("by scheduler and project", Text::Same(BY_SCHEDULER_AND_PROJECT)),
    ("of a change", Text::Same(OF_CHANGE)),
];

const BODY: &str = "SELECT body FROM buildset WHERE id = $1 LIMIT 1";
const EDGES: &str = "SELECT e.request, e.needs, e.on_outcome FROM request r JOIN edge e ON e.request = r.id \
                     WHERE r.buildset = $1 ORDER BY e.request, e.needs LIMIT $2";
const DOWNSTREAM: &str = "SELECT scheduler, result, at FROM upstream WHERE buildset = $1 ORDER BY scheduler LIMIT $2";

/// Edges of one buildset that are shown.
pub const EDGES_MAX: i64 = 20_000;
/// Buildsets that one change's page shows.
const BUILDSETS_OF_CHANGE_MAX: i64 = 200;
/// Dependent schedulers that one buildset's page names.
const DOWNSTREAM_MAX: i64 = 200;

fn buildset_row(cells: &Cells<'_>) -> Result<BuildsetRow, ReadError> {
    let body: Buildset = cells.json("body")?;
    let outcome = cells.opt_word("outcome", Outcome::parse)?;
    Ok(BuildsetRow {
        id: cells.id("id", BuildsetId)?,
        scheduler: cells.text("scheduler")?,
        project: cells.opt_text("project")?,
        branch: cells.text("branch")?,
        trigger: body.trigger,
        stamps: stamp_rows(body.stamps),
        counts: Counts {
            total: cells.count("total")?,
            waiting: cells.count("waiting")?,
            running: cells.count("running")?,
            good: cells.count("good")?,
            bad: cells.count("bad")?,
        },
        state: if outcome.is_some() { "completed" } else { "running" },
        outcome,
        created_at: cells.time("created_at")?,
        completed_at: cells.opt_time("completed_at")?,
    })
}

/// Makes what is shown of frozen stamps.
pub fn stamp_rows(stamps: StampSet) -> BTreeMap<CodebaseName, StampRow> {
    stamps
        .into_iter()
        .map(|(codebase, stamp)| {
            let row = StampRow {
                repository: stamp.repository,
                branch: stamp.branch,
                revision: stamp.revision,
                change: stamp.change,
            };
            (codebase, row)
        })
        .collect()
}

fn only_revisions<S: serde::Serializer>(
    stamps: &BTreeMap<CodebaseName, StampRow>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(stamps.iter().map(|(codebase, stamp)| (codebase, &stamp.revision)))
}

/// Writes what set a buildset off, with its time as text.
pub fn trigger_json<S: serde::Serializer>(trigger: &Trigger, serializer: S) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(trigger).map_err(serde::ser::Error::custom)?;
    if let (Trigger::Time { nominal, .. }, Some(fields)) = (trigger, value.as_object_mut()) {
        fields.insert("nominal".to_owned(), nominal.to_rfc3339().into());
    }
    value.serialize(serializer)
}

impl Reader {
    /// Lists buildsets, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list_buildsets(&self, filter: &BuildsetFilter, page: Page) -> Result<Vec<BuildsetRow>, ReadError> {
        let text = match (&filter.scheduler, &filter.project) {
            (None, None) => ALL,
            (Some(_), None) => BY_SCHEDULER,
            (None, Some(_)) => BY_PROJECT,
            (Some(_), Some(_)) => BY_SCHEDULER_AND_PROJECT,
        };
        let mut query = sql(text).bind(page.before).bind(page.limit).bind(filter.branch.as_deref());
        if let Some(scheduler) = &filter.scheduler {
            query = query.bind(scheduler.as_str());
        }
        if let Some(project) = &filter.project {
            query = query.bind(project.as_str());
        }
        read_all(&query.fetch_all(self.pool()).await?, buildset_row)
    }

    /// Lists the buildsets that contain a change, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn buildsets_of_change(&self, change: ChangeId) -> Result<Vec<BuildsetRow>, ReadError> {
        let rows = sql(OF_CHANGE).bind(change.0).bind(BUILDSETS_OF_CHANGE_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, buildset_row)
    }

    /// Finds a buildset.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_buildset(&self, id: BuildsetId) -> Result<Option<BuildsetRow>, ReadError> {
        let row = sql(BUILDSET).bind(id.0).fetch_optional(self.pool()).await?;
        row.map(|row| buildset_row(&Cells(&row))).transpose()
    }

    /// Finds a buildset with everything that its page shows.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_buildset_detail(&self, id: BuildsetId) -> Result<Option<BuildsetDetail>, ReadError> {
        let Some(buildset) = self.find_buildset(id).await? else { return Ok(None) };
        let Some(body) = sql(BODY).bind(id.0).fetch_optional(self.pool()).await? else { return Ok(None) };
        let body: Buildset = Cells(&body).json("body")?;
        let edges = sql(EDGES).bind(id.0).bind(EDGES_MAX).fetch_all(self.pool()).await?;
        let downstream = sql(DOWNSTREAM).bind(id.0).bind(DOWNSTREAM_MAX).fetch_all(self.pool()).await?;
        Ok(Some(BuildsetDetail {
            buildset,
            properties: body.properties,
            priority: body.priority,
            catalog: body.catalog,
            requests: self.requests_of_buildset(id).await?,
            edges: read_all(&edges, |cells| {
                Ok(EdgeRow {
                    request: cells.id("request", RequestId)?,
                    needs: cells.id("needs", RequestId)?,
                    on: cells.word("on_outcome", Condition::parse)?,
                })
            })?,
            changes: self.changes_of_buildset(id).await?,
            verdicts: self.verdicts_for_buildset(id).await?,
            downstream: read_all(&downstream, |cells| {
                Ok(Downstream {
                    scheduler: cells.text("scheduler")?,
                    result: cells.text("result")?,
                    at: cells.time("at")?,
                })
            })?,
        }))
    }
}

#[cfg(test)]
crate::store::database::statements![
    BUILDSET,
    ALL,
    BY_SCHEDULER,
    BY_PROJECT,
    BY_SCHEDULER_AND_PROJECT,
    OF_CHANGE,
    BODY,
    EDGES,
    DOWNSTREAM
];
