//! Builds and their steps.

use std::collections::BTreeMap;

use gristmill_model::protocol::LogAddress;
use gristmill_model::{
    BuildId, BuildState, BuilderName, Buildset, BuildsetId, Cause, ChangeId, CodebaseName, Digest, NodeName, Outcome,
    ProjectName, Recipe, RequestId, Revision, SchedulerName, StampSet, Timestamp, Trigger, WorkerName,
};
use serde::Serialize;

use super::change::ChangeRow;
use super::row::{Cells, Page, ReadError, opt_rfc3339, read_all, revisions, rfc3339};
use super::{LIMIT_DEFAULT, Reader};
use crate::store::database::{Text, sql};

/// A build in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildRow {
    /// Its number.
    pub id: BuildId,
    /// The builder.
    pub builder: BuilderName,
    /// The project.
    pub project: Option<ProjectName>,
    /// The buildset.
    pub buildset: BuildsetId,
    /// The request.
    pub request: RequestId,
    /// The scheduler that set it off.
    pub scheduler: SchedulerName,
    /// The branch that it counts for.
    pub branch: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The lease's epoch, which its logs are stored under.
    #[serde(skip)]
    pub epoch: i64,
    /// The worker.
    pub worker: WorkerName,
    /// Where it stands.
    pub state: BuildState,
    /// Who asked for its end, if somebody did.
    pub cancel: Option<String>,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// One line on the end.
    pub summary: Option<String>,
    /// Codebase → revision.
    pub stamps: BTreeMap<CodebaseName, Revision>,
    /// The step that failed, or while it runs the newest one.
    pub step: Option<StepBrief>,
    /// How many steps its recipe has.
    pub steps_total: u32,
    /// When the lease was given.
    #[serde(serialize_with = "rfc3339")]
    pub leased_at: Timestamp,
    /// When the worker began.
    #[serde(serialize_with = "opt_rfc3339")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(serialize_with = "opt_rfc3339")]
    pub finished_at: Option<Timestamp>,
}

impl BuildRow {
    /// Gives the address of a step's log.
    pub fn log(&self, step: u32) -> LogAddress {
        LogAddress::output(self.id, self.epoch, step)
    }
}

/// A step, by number and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepBrief {
    /// Its number, from 0.
    pub number: u32,
    /// Its name.
    pub name: String,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepRow {
    /// Its number, from 0.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// One line on the end.
    pub summary: Option<String>,
    /// When it began.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(serialize_with = "opt_rfc3339")]
    pub finished_at: Option<Timestamp>,
    /// The buildset that a trigger step started.
    pub triggered: Option<BuildsetId>,
    /// Lines of its output that are warnings.
    pub warnings: u64,
}

/// A build with everything that its page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildDetail {
    /// The build.
    pub build: BuildRow,
    /// Its node in the buildset's graph.
    pub node: NodeName,
    /// What it was built from, in full.
    pub stamps: StampSet,
    /// What set its buildset off.
    pub trigger: Trigger,
    /// Values given by whoever set it off.
    pub properties: BTreeMap<String, String>,
    /// The recipe it is built by.
    pub recipe: Recipe,
    /// The recipe's digest.
    pub recipe_digest: Digest,
    /// The steps that began.
    pub steps: Vec<StepRow>,
    /// The changes that its buildset was made for.
    pub changes: Vec<ChangeRow>,
    /// All attempts of its request, oldest first, this one included.
    pub attempts: Vec<(BuildId, Option<Outcome>)>,
    /// What lies beside it in its builder's history.
    pub neighbours: BuildNeighbours,
}

impl BuildDetail {
    /// Gives the step whose log is shown when none is named: the first that ended badly, else the newest.
    pub fn telling_step(&self) -> Option<&StepRow> {
        self.steps.iter().find(|step| step.outcome.is_some_and(Outcome::is_bad)).or_else(|| self.steps.last())
    }

    /// Gives the names of the steps that have not begun.
    pub fn steps_ahead(&self) -> impl Iterator<Item = &str> {
        let begun = self.steps.iter().map(|step| step.number + 1).max().unwrap_or(0);
        self.recipe.steps.iter().skip(usize::try_from(begun).unwrap_or(usize::MAX)).map(|step| step.name.as_str())
    }
}

/// What lies beside a build in the history of its builder on its branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BuildNeighbours {
    /// The build before it.
    pub previous: Option<BuildId>,
    /// The build after it.
    pub next: Option<BuildId>,
    /// The last good build before it.
    pub last_good: Option<BuildId>,
}

/// Which builds a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildFilter {
    /// Only of this builder.
    pub builder: Option<BuilderName>,
    /// Only of this branch.
    pub branch: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Only in this state.
    pub state: Option<BuildState>,
}

/// Begins every query that gives a [`BuildRow`]; `$where` follows.
macro_rules! build_rows_with {
    ($steps:literal, $rest:literal) => {
        concat!(
            "SELECT b.id, b.builder, b.buildset, b.request, b.branch, b.attempt, b.epoch, b.worker, b.state, b.cancel, ",
            "b.outcome, b.cause, b.summary, b.leased_at, b.started_at, b.finished_at, ",
            "bs.project, bs.scheduler, bs.body AS buildset_body, ",
            "COALESCE(",
            $steps,
            ", 0) AS steps_total, s.number AS step_number, s.name AS step_name ",
            "FROM build b JOIN buildset bs ON bs.id = b.buildset JOIN request r ON r.id = b.request ",
            "LEFT JOIN recipe c ON c.digest = r.recipe ",
            "LEFT JOIN step s ON s.build = b.id AND s.number = CASE WHEN b.state = 'finished' ",
            "THEN (SELECT MIN(f.number) FROM step f WHERE f.build = b.id AND f.outcome IN ('failure', 'exception')) ",
            "ELSE (SELECT MAX(n.number) FROM step n WHERE n.build = b.id) END ",
            $rest
        )
    };
}

macro_rules! build_rows {
    ($rest:literal) => {
        Text::Each {
            sqlite: build_rows_with!("json_array_length(c.body, '$.steps')", $rest),
            postgres: build_rows_with!("json_array_length(CAST(c.body AS json) -> 'steps')", $rest),
        }
    };
}

const BUILD: Text = build_rows!("WHERE b.id = $1 LIMIT 1");
const RUNNING: Text = build_rows!("WHERE b.state <> 'finished' AND b.id < $1 ORDER BY b.id DESC LIMIT $2");
const OF_BUILDSET: Text = build_rows!("WHERE b.buildset = $1 ORDER BY b.id LIMIT $2");
// Each filter has a query of its own that is driven by an index; what the index does not know is asked of its rows.
const ALL: Text = build_rows!(
    "WHERE b.id < $1 AND ($3 IS NULL OR b.outcome = $3) AND ($4 IS NULL OR b.state = $4) ORDER BY b.id DESC LIMIT $2"
);
const BY_OUTCOME: Text =
    build_rows!("WHERE b.outcome = $3 AND b.id < $1 AND ($4 IS NULL OR b.state = $4) ORDER BY b.id DESC LIMIT $2");
const BY_BRANCH: Text = build_rows!(
    "WHERE b.branch = $5 AND b.id < $1 AND ($3 IS NULL OR b.outcome = $3) AND ($4 IS NULL OR b.state = $4) \
     ORDER BY b.id DESC LIMIT $2"
);
const BY_BUILDER: Text = build_rows!(
    "WHERE b.builder = $5 AND b.id < $1 AND ($3 IS NULL OR b.outcome = $3) AND ($4 IS NULL OR b.state = $4) \
     ORDER BY b.id DESC LIMIT $2"
);
const BY_BUILDER_AND_BRANCH: Text = build_rows!(
    "WHERE b.builder = $5 AND b.branch = $6 AND b.id < $1 AND ($3 IS NULL OR b.outcome = $3) \
     AND ($4 IS NULL OR b.state = $4) ORDER BY b.id DESC LIMIT $2"
);
const OPEN_IN_STATE: Text = build_rows!(
    "WHERE b.state <> 'finished' AND b.id < $1 AND b.state = $4 AND ($3 IS NULL OR b.outcome = $3) \
     ORDER BY b.id DESC LIMIT $2"
);
const OF_CHANGE: Text = build_rows!(
    "JOIN buildset_change bc ON bc.buildset = b.buildset WHERE bc.change = $1 \
     AND (b.builder = $2 OR substr(b.builder, 1, length($2) + 1) = $2 || '[') ORDER BY b.id DESC LIMIT $3"
);

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 9] = [
    ("of a change", OF_CHANGE),
    ("all", ALL),
    ("by outcome", BY_OUTCOME),
    ("by branch", BY_BRANCH),
    ("by builder", BY_BUILDER),
    ("by builder and branch", BY_BUILDER_AND_BRANCH),
    ("open in state", OPEN_IN_STATE),
    ("running", RUNNING),
    ("of a buildset", OF_BUILDSET),
];

const STEPS: &str = "SELECT number, name, outcome, cause, summary, triggered, warnings, started_at, finished_at FROM step \
                     WHERE build = $1 ORDER BY number LIMIT $2";
const MAKING: &str = "SELECT r.node, r.recipe, c.body AS recipe_body, bs.body AS buildset_body FROM build b \
                      JOIN request r ON r.id = b.request JOIN buildset bs ON bs.id = b.buildset \
                      JOIN recipe c ON c.digest = r.recipe WHERE b.id = $1 LIMIT 1";
const ATTEMPTS: &str = "SELECT id, outcome FROM build WHERE request = $1 ORDER BY attempt LIMIT $2";
const NEIGHBOURS: &str = "SELECT \
    (SELECT id FROM build WHERE builder = $1 AND branch = $2 AND id < $3 ORDER BY id DESC LIMIT 1) AS previous, \
    (SELECT id FROM build WHERE builder = $1 AND branch = $2 AND id > $3 ORDER BY id LIMIT 1) AS next, \
    (SELECT id FROM build WHERE builder = $1 AND branch = $2 AND id < $3 AND outcome IN ('success', 'warnings') \
     ORDER BY id DESC LIMIT 1) AS last_good";

/// Steps that a build's page shows; a recipe has no more.
pub const STEPS_MAX: i64 = 1_000;
/// Attempts of one request that are shown.
const ATTEMPTS_MAX: i64 = 50;
/// Builds of one buildset that are shown.
pub const BUILDS_OF_BUILDSET_MAX: i64 = 2_000;

fn build_row(cells: &Cells<'_>) -> Result<BuildRow, ReadError> {
    let buildset: Buildset = cells.json("buildset_body")?;
    let step = match cells.opt_id("step_number", |number| number)? {
        Some(number) => Some(StepBrief { number: u32::try_from(number).unwrap_or(0), name: cells.text("step_name")? }),
        None => None,
    };
    Ok(BuildRow {
        id: cells.id("id", BuildId)?,
        builder: cells.text("builder")?,
        project: cells.opt_text("project")?,
        buildset: cells.id("buildset", BuildsetId)?,
        request: cells.id("request", RequestId)?,
        scheduler: cells.text("scheduler")?,
        branch: cells.text("branch")?,
        attempt: cells.count("attempt")?,
        epoch: cells.int("epoch")?,
        worker: cells.text("worker")?,
        state: cells.word("state", BuildState::parse)?,
        cancel: cells.opt_text("cancel")?,
        outcome: cells.opt_word("outcome", Outcome::parse)?,
        cause: cells.opt_word("cause", Cause::parse)?,
        summary: cells.opt_text("summary")?,
        stamps: revisions(&buildset.stamps),
        step,
        steps_total: cells.count("steps_total")?,
        leased_at: cells.time("leased_at")?,
        started_at: cells.opt_time("started_at")?,
        finished_at: cells.opt_time("finished_at")?,
    })
}

fn step_row(cells: &Cells<'_>) -> Result<StepRow, ReadError> {
    Ok(StepRow {
        number: cells.count("number")?,
        name: cells.text("name")?,
        outcome: cells.opt_word("outcome", Outcome::parse)?,
        cause: cells.opt_word("cause", Cause::parse)?,
        summary: cells.opt_text("summary")?,
        started_at: cells.time("started_at")?,
        finished_at: cells.opt_time("finished_at")?,
        triggered: cells.opt_id("triggered", BuildsetId)?,
        warnings: u64::try_from(cells.int("warnings")?).unwrap_or(0),
    })
}

impl Reader {
    /// Lists builds, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list_builds(&self, filter: &BuildFilter, page: Page) -> Result<Vec<BuildRow>, ReadError> {
        let is_open = filter.state.is_some_and(|state| state != BuildState::Finished);
        let text = match (&filter.builder, &filter.branch, filter.outcome) {
            (Some(_), Some(_), _) => BY_BUILDER_AND_BRANCH,
            (Some(_), None, _) => BY_BUILDER,
            (None, Some(_), _) => BY_BRANCH,
            (None, None, _) if is_open => OPEN_IN_STATE,
            (None, None, Some(_)) => BY_OUTCOME,
            (None, None, None) => ALL,
        };
        let mut query = sql(text)
            .bind(page.before)
            .bind(page.limit)
            .bind(filter.outcome.map(Outcome::as_str))
            .bind(filter.state.map(BuildState::as_str));
        if let Some(builder) = &filter.builder {
            query = query.bind(builder.as_str());
        }
        if let Some(branch) = &filter.branch {
            query = query.bind(branch.as_str());
        }
        read_all(&query.fetch_all(self.pool()).await?, build_row)
    }

    /// Lists builds that are not over, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn running_builds(&self, page: Page) -> Result<Vec<BuildRow>, ReadError> {
        let rows = sql(RUNNING).bind(page.before).bind(page.limit).fetch_all(self.pool()).await?;
        read_all(&rows, build_row)
    }

    /// Lists all builds of a buildset, oldest first, at most [`BUILDS_OF_BUILDSET_MAX`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn builds_of_buildset(&self, buildset: BuildsetId) -> Result<Vec<BuildRow>, ReadError> {
        let rows = sql(OF_BUILDSET).bind(buildset.0).bind(BUILDS_OF_BUILDSET_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, build_row)
    }

    /// Lists the builds of a builder (or of a whole matrix, by its family's name) that contain a change, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn builds_of_change(&self, change: ChangeId, builder: &BuilderName) -> Result<Vec<BuildRow>, ReadError> {
        let rows =
            sql(OF_CHANGE).bind(change.0).bind(builder.as_str()).bind(LIMIT_DEFAULT).fetch_all(self.pool()).await?;
        read_all(&rows, build_row)
    }

    /// Finds a build.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_build(&self, id: BuildId) -> Result<Option<BuildRow>, ReadError> {
        let row = sql(BUILD).bind(id.0).fetch_optional(self.pool()).await?;
        row.map(|row| build_row(&Cells(&row))).transpose()
    }

    /// Lists the steps of a build that began.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn steps_of_build(&self, id: BuildId) -> Result<Vec<StepRow>, ReadError> {
        let rows = sql(STEPS).bind(id.0).bind(STEPS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, step_row)
    }

    /// Finds a build with everything that its page shows.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_build_detail(&self, id: BuildId) -> Result<Option<BuildDetail>, ReadError> {
        let Some(build) = self.find_build(id).await? else { return Ok(None) };
        let Some(making) = sql(MAKING).bind(id.0).fetch_optional(self.pool()).await? else { return Ok(None) };
        let making = Cells(&making);
        let buildset: Buildset = making.json("buildset_body")?;
        let attempts = sql(ATTEMPTS).bind(build.request.0).bind(ATTEMPTS_MAX).fetch_all(self.pool()).await?;
        let attempts =
            read_all(&attempts, |cells| Ok((cells.id("id", BuildId)?, cells.opt_word("outcome", Outcome::parse)?)))?;
        let steps = self.steps_of_build(id).await?;
        let changes = self.changes_of_buildset(build.buildset).await?;
        let neighbours = self.neighbours(&build).await?;
        Ok(Some(BuildDetail {
            node: making.text("node")?,
            recipe: making.json("recipe_body")?,
            recipe_digest: making.text("recipe")?,
            stamps: buildset.stamps,
            trigger: buildset.trigger,
            properties: buildset.properties,
            build,
            steps,
            changes,
            attempts,
            neighbours,
        }))
    }

    async fn neighbours(&self, build: &BuildRow) -> Result<BuildNeighbours, ReadError> {
        let row = sql(NEIGHBOURS)
            .bind(build.builder.as_str())
            .bind(build.branch.as_str())
            .bind(build.id.0)
            .fetch_one(self.pool())
            .await?;
        let cells = Cells(&row);
        Ok(BuildNeighbours {
            previous: cells.opt_id("previous", BuildId)?,
            next: cells.opt_id("next", BuildId)?,
            last_good: cells.opt_id("last_good", BuildId)?,
        })
    }
}

#[cfg(test)]
crate::store::database::statements![
    BUILD,
    RUNNING,
    OF_BUILDSET,
    ALL,
    BY_OUTCOME,
    BY_BRANCH,
    BY_BUILDER,
    BY_BUILDER_AND_BRANCH,
    OPEN_IN_STATE,
    OF_CHANGE,
    STEPS,
    MAKING,
    ATTEMPTS,
    NEIGHBOURS
];
