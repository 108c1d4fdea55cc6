//! Requests: what waits, and what each has come to.

use gristmill_model::{
    BuildId, BuilderName, BuildsetId, Cause, Condition, Digest, NodeName, Outcome, ProjectName, RequestId,
    RequestState, SchedulerName, Timestamp,
};
use serde::Serialize;

use super::Reader;
use super::row::{Cells, Page, ReadError, opt_rfc3339, read_all, rfc3339};
#[cfg(test)]
use crate::store::database::Text;
use crate::store::database::sql;

/// A request in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestRow {
    /// Its number.
    pub id: RequestId,
    /// Its buildset.
    pub buildset: BuildsetId,
    /// Its node in that buildset's graph.
    pub node: NodeName,
    /// The builder.
    pub builder: BuilderName,
    /// The project.
    pub project: Option<ProjectName>,
    /// The scheduler that made it.
    pub scheduler: SchedulerName,
    /// The branch that it counts for.
    pub branch: String,
    /// Where it stands.
    pub state: RequestState,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// Why it ended without a build of its own, in a sentence.
    pub reason: Option<String>,
    /// Its newest attempt.
    pub build: Option<BuildId>,
    /// Attempts made.
    pub attempts: u32,
    /// When it was made.
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
    /// When its newest attempt began.
    #[serde(serialize_with = "opt_rfc3339")]
    pub started_at: Option<Timestamp>,
    /// When it was settled.
    #[serde(serialize_with = "opt_rfc3339")]
    pub settled_at: Option<Timestamp>,
}

/// A need of a request, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeedRow {
    /// The request that is needed.
    pub request: RequestId,
    /// Its node.
    pub node: NodeName,
    /// Its builder.
    pub builder: BuilderName,
    /// Where it stands.
    pub state: RequestState,
    /// What it came to.
    pub outcome: Option<Outcome>,
    /// How it must end.
    pub on: Condition,
}

/// A request with its story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestDetail {
    /// The request.
    #[serde(flatten)]
    pub request: RequestRow,
    /// What it needs.
    pub needs: Vec<NeedRow>,
    /// What needs it.
    pub needed_by: Vec<NeedRow>,
    /// Recipe, stamps used and parameters together: equal digests mean equal builds.
    pub digest: Digest,
    /// The recipe's digest.
    pub recipe: Digest,
}

macro_rules! request_rows {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.buildset, r.node, r.builder, r.state, r.outcome, r.cause, r.reason, r.attempts, ",
            "r.created_at, r.settled_at, bs.project, bs.scheduler, bs.branch, b.id AS build, b.started_at ",
            "FROM request r JOIN buildset bs ON bs.id = r.buildset ",
            "LEFT JOIN build b ON b.request = r.id ",
            "AND b.attempt = (SELECT MAX(a.attempt) FROM build a WHERE a.request = r.id) ",
            $rest
        )
    };
}

const REQUEST: &str = request_rows!("WHERE r.id = $1 LIMIT 1");
const OF_BUILDSET: &str = request_rows!("WHERE r.buildset = $1 ORDER BY r.id LIMIT $2");
// Written as one state each, because the partial index on (state, id) then gives the order as well.
const WAITING: &str = request_rows!(
    "WHERE r.state <> 'settled' AND r.state IN ('waiting', 'ready') AND r.id > $1 ORDER BY r.id LIMIT $2"
);

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 4] = [
    ("one", Text::Same(REQUEST)),
    ("of a buildset", Text::Same(OF_BUILDSET)),
    ("waiting", Text::Same(WAITING)),
    ("needs", Text::Same(NEEDS)),
];

const DIGESTS: &str = "SELECT digest, recipe FROM request WHERE id = $1 LIMIT 1";
const NEEDS: &str = "SELECT r.id, r.node, r.builder, r.state, r.outcome, e.on_outcome FROM edge e \
                     JOIN request r ON r.id = e.needs WHERE e.request = $1 ORDER BY r.id LIMIT $2";
const NEEDED_BY: &str = "SELECT r.id, r.node, r.builder, r.state, r.outcome, e.on_outcome FROM edge e \
                         JOIN request r ON r.id = e.request WHERE e.needs = $1 ORDER BY r.id LIMIT $2";

/// Requests of one buildset that are shown.
pub const REQUESTS_OF_BUILDSET_MAX: i64 = 2_000;
/// Needs of one request that are shown.
const NEEDS_MAX: i64 = 1_000;

fn request_row(cells: &Cells<'_>) -> Result<RequestRow, ReadError> {
    Ok(RequestRow {
        id: cells.id("id", RequestId)?,
        buildset: cells.id("buildset", BuildsetId)?,
        node: cells.text("node")?,
        builder: cells.text("builder")?,
        project: cells.opt_text("project")?,
        scheduler: cells.text("scheduler")?,
        branch: cells.text("branch")?,
        state: cells.word("state", RequestState::parse)?,
        outcome: cells.opt_word("outcome", Outcome::parse)?,
        cause: cells.opt_word("cause", Cause::parse)?,
        reason: cells.opt_text("reason")?,
        build: cells.opt_id("build", BuildId)?,
        attempts: cells.count("attempts")?,
        created_at: cells.time("created_at")?,
        started_at: cells.opt_time("started_at")?,
        settled_at: cells.opt_time("settled_at")?,
    })
}

fn need_row(cells: &Cells<'_>) -> Result<NeedRow, ReadError> {
    Ok(NeedRow {
        request: cells.id("id", RequestId)?,
        node: cells.text("node")?,
        builder: cells.text("builder")?,
        state: cells.word("state", RequestState::parse)?,
        outcome: cells.opt_word("outcome", Outcome::parse)?,
        on: cells.word("on_outcome", Condition::parse)?,
    })
}

impl Reader {
    /// Lists requests that no worker has yet, oldest first; `page.before` is not used here, `after` is.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn waiting_requests(&self, after: RequestId, page: Page) -> Result<Vec<RequestRow>, ReadError> {
        let rows = sql(WAITING).bind(after.0).bind(page.limit).fetch_all(self.pool()).await?;
        read_all(&rows, request_row)
    }

    /// Lists all requests of a buildset, at most [`REQUESTS_OF_BUILDSET_MAX`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn requests_of_buildset(&self, buildset: BuildsetId) -> Result<Vec<RequestRow>, ReadError> {
        let rows = sql(OF_BUILDSET).bind(buildset.0).bind(REQUESTS_OF_BUILDSET_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, request_row)
    }

    /// Finds a request.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_request(&self, id: RequestId) -> Result<Option<RequestRow>, ReadError> {
        let row = sql(REQUEST).bind(id.0).fetch_optional(self.pool()).await?;
        row.map(|row| request_row(&Cells(&row))).transpose()
    }

    /// Finds a request with its story.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_request_detail(&self, id: RequestId) -> Result<Option<RequestDetail>, ReadError> {
        let Some(request) = self.find_request(id).await? else { return Ok(None) };
        let Some(digests) = sql(DIGESTS).bind(id.0).fetch_optional(self.pool()).await? else { return Ok(None) };
        let needs = sql(NEEDS).bind(id.0).bind(NEEDS_MAX).fetch_all(self.pool()).await?;
        let needed_by = sql(NEEDED_BY).bind(id.0).bind(NEEDS_MAX).fetch_all(self.pool()).await?;
        Ok(Some(RequestDetail {
            request,
            needs: read_all(&needs, need_row)?,
            needed_by: read_all(&needed_by, need_row)?,
            digest: Cells(&digests).text("digest")?,
            recipe: Cells(&digests).text("recipe")?,
        }))
    }
}

#[cfg(test)]
crate::store::database::statements![REQUEST, OF_BUILDSET, WAITING, DIGESTS, NEEDS, NEEDED_BY];
