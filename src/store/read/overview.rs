//! The first page: what is broken, what runs, what waits, what was just fixed, how each project fares.

use gristmill_model::{BuildsetId, Outcome, ProjectName, RequestId, Seq};
use serde::Serialize;

use super::Reader;
use super::build::BuildRow;
use super::incident::IncidentRow;
use super::request::RequestRow;
use super::row::{Cells, Page, ReadError};
#[cfg(test)]
use crate::store::database::Text;
use crate::store::database::sql;

/// How much is open, over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Open incidents.
    pub incidents: u32,
    /// Builds that are not over.
    pub running: u32,
    /// Requests that no worker has yet.
    pub waiting: u32,
}

/// How a project fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProjectRow {
    /// Its name; `None` for what belongs to none.
    pub project: Option<ProjectName>,
    /// Its last buildsets, newest first.
    pub strip: Vec<StripCell>,
}

/// A buildset in a project's strip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StripCell {
    /// Which.
    pub buildset: BuildsetId,
    /// Its branch.
    pub branch: String,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
}

/// The first page.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// The journal's head before anything else was read: what events go on from.
    pub head: Seq,
    /// How much is open.
    pub totals: Totals,
    /// Open incidents, newest first.
    pub incidents: Vec<IncidentRow>,
    /// Builds that are not over, newest first.
    pub running: Vec<BuildRow>,
    /// Requests that no worker has yet, oldest first.
    pub waiting: Vec<RequestRow>,
    /// Incidents that are over, newest first.
    pub fixed: Vec<IncidentRow>,
    /// The projects asked for, in that order.
    pub projects: Vec<ProjectRow>,
}

const TOTALS: &str = "SELECT \
    (SELECT COUNT(*) FROM incident WHERE closed_at IS NULL) AS incidents, \
    (SELECT COUNT(*) FROM build WHERE state <> 'finished') AS running, \
    (SELECT COUNT(*) FROM request WHERE state <> 'settled' AND state IN ('waiting', 'ready')) AS waiting";
const STRIP: &str = "SELECT id, branch, outcome FROM buildset WHERE project = $2 ORDER BY id DESC LIMIT $1";
// Apart, because what may be absent is compared in a way that PostgreSQL has no index for.
const STRIP_OF_NONE: &str = "SELECT id, branch, outcome FROM buildset WHERE project IS NULL ORDER BY id DESC LIMIT $1";

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 3] =
    [("totals", Text::Same(TOTALS)), ("strip", Text::Same(STRIP)), ("strip of none", Text::Same(STRIP_OF_NONE))];

/// Incidents on the first page.
pub const INCIDENTS_SHOWN: i64 = 20;
/// Running builds on the first page.
pub const RUNNING_SHOWN: i64 = 12;
/// Waiting requests on the first page.
pub const WAITING_SHOWN: i64 = 12;
/// Fixed incidents on the first page.
pub const FIXED_SHOWN: i64 = 5;
/// Buildsets in a project's strip.
pub const STRIP_LENGTH: i64 = 20;

impl Reader {
    /// Gives the journal's head as the database has it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn journal_head(&self) -> Result<Seq, ReadError> {
        Ok(self.head().await?)
    }

    /// Counts what is open.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn totals(&self) -> Result<Totals, ReadError> {
        let row = sql(TOTALS).fetch_one(self.pool()).await?;
        let cells = Cells(&row);
        Ok(Totals {
            incidents: cells.count("incidents")?,
            running: cells.count("running")?,
            waiting: cells.count("waiting")?,
        })
    }

    /// Gives the last buildsets of a project, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn project_strip(&self, project: Option<&ProjectName>) -> Result<Vec<StripCell>, ReadError> {
        let strip = match project {
            Some(project) => sql(STRIP).bind(STRIP_LENGTH).bind(project.as_str()),
            None => sql(STRIP_OF_NONE).bind(STRIP_LENGTH),
        };
        let rows = strip.fetch_all(self.pool()).await?;
        super::row::read_all(&rows, |cells| {
            Ok(StripCell {
                buildset: cells.id("id", BuildsetId)?,
                branch: cells.text("branch")?,
                outcome: cells.opt_word("outcome", Outcome::parse)?,
            })
        })
    }

    /// Reads the first page. Projects without a buildset are kept, so that they are seen; what belongs to no project
    /// comes last, and only if it has buildsets.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn overview(&self, projects: &[ProjectName]) -> Result<Overview, ReadError> {
        let head = self.journal_head().await?;
        let mut rows = Vec::with_capacity(projects.len() + 1);
        for project in projects {
            rows.push(ProjectRow { project: Some(project.clone()), strip: self.project_strip(Some(project)).await? });
        }
        let strip = self.project_strip(None).await?;
        if !strip.is_empty() {
            rows.push(ProjectRow { project: None, strip });
        }
        Ok(Overview {
            head,
            totals: self.totals().await?,
            incidents: self.open_incidents(Page::first(INCIDENTS_SHOWN)).await?,
            running: self.running_builds(Page::first(RUNNING_SHOWN)).await?,
            waiting: self.waiting_requests(RequestId(0), Page::first(WAITING_SHOWN)).await?,
            fixed: self.closed_incidents(Page::first(FIXED_SHOWN)).await?,
            projects: rows,
        })
    }
}

#[cfg(test)]
crate::store::database::statements![TOTALS, STRIP, STRIP_OF_NONE];
