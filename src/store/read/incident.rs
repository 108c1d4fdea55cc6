//! Incidents: what one culprit range broke, over however many builders.

use std::collections::BTreeMap;

use gristmill_model::protocol::LogAddress;
use gristmill_model::{BuildId, BuilderName, IncidentId, ProjectName, Suspects, Timestamp};
use serde::Serialize;

use super::Reader;
use super::blame::Suspect;
use super::row::{Cells, Page, ReadError, id_list, opt_rfc3339, read_all, rfc3339};
use crate::store::database::{Text, postgres_ids, sql};

/// An incident with what is broken, by whom, and what the first build says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentRow {
    /// Its number.
    pub id: IncidentId,
    /// The branch that is broken.
    pub branch: String,
    /// The project of the first build.
    pub project: Option<ProjectName>,
    /// The first build that showed it.
    pub first_build: BuildId,
    /// That build's builder.
    pub first_builder: BuilderName,
    /// What that build says in one line.
    pub summary: Option<String>,
    /// The name of its failing step.
    pub step: Option<String>,
    /// Where that step's log is, which has the first error.
    #[serde(skip)]
    pub log: Option<LogAddress>,
    /// Its builders, broken ones first.
    pub builders: Vec<IncidentBuilder>,
    /// The changes that may have done it, oldest first.
    pub suspects: Vec<Suspect>,
    /// When it was opened.
    #[serde(serialize_with = "rfc3339")]
    pub opened_at: Timestamp,
    /// When the last of its builders became good again.
    #[serde(serialize_with = "opt_rfc3339")]
    pub closed_at: Option<Timestamp>,
}

impl IncidentRow {
    /// Counts the builders that are still broken.
    pub fn broken_count(&self) -> usize {
        self.builders.iter().filter(|builder| builder.fixed_build.is_none()).count()
    }
}

/// One builder of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncidentBuilder {
    /// Which.
    pub builder: BuilderName,
    /// The build that showed it.
    pub broke_build: BuildId,
    /// The build that showed it to be good again.
    pub fixed_build: Option<BuildId>,
}

macro_rules! incident_rows {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.branch, i.first_build, i.suspects, i.opened_at, i.closed_at, ",
            "b.builder, b.summary, b.epoch, bs.project, s.number AS step_number, s.name AS step_name FROM incident i ",
            "JOIN build b ON b.id = i.first_build JOIN buildset bs ON bs.id = b.buildset ",
            "LEFT JOIN step s ON s.build = b.id AND s.number = (SELECT MIN(f.number) FROM step f ",
            "WHERE f.build = b.id AND f.outcome IN ('failure', 'exception')) ",
            $rest
        )
    };
}

const OPEN: &str = incident_rows!("WHERE i.closed_at IS NULL AND i.id < $1 ORDER BY i.id DESC LIMIT $2");
const CLOSED: &str = incident_rows!("WHERE i.closed_at IS NOT NULL AND i.id < $1 ORDER BY i.id DESC LIMIT $2");
const ALL: &str = incident_rows!("WHERE i.id < $1 ORDER BY i.id DESC LIMIT $2");
const ONE: &str = incident_rows!("WHERE i.id = $1 LIMIT 1");
macro_rules! builders_of {
    ($ids:expr) => {
        concat!(
            "SELECT incident, builder, broke_build, fixed_build FROM incident_builder WHERE incident IN ",
            $ids,
            " ORDER BY incident, fixed_build IS NOT NULL, builder LIMIT $2"
        )
    };
}

const BUILDERS: Text = Text::Each {
    sqlite: builders_of!("(SELECT value FROM json_each($1))"),
    postgres: builders_of!(postgres_ids!("$1")),
};

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 4] =
    [("open", Text::Same(OPEN)), ("all", Text::Same(ALL)), ("closed", Text::Same(CLOSED)), ("builders", BUILDERS)];

/// Builders that are named over all incidents of one list.
const BUILDERS_MAX: i64 = 5_000;
/// An incident without its builders, and with its suspects as ranges.
struct Bare {
    row: IncidentRow,
    suspects: Suspects,
}

fn bare_row(cells: &Cells<'_>) -> Result<Bare, ReadError> {
    let first_build = cells.id("first_build", BuildId)?;
    let step: Option<i64> = cells.opt_id("step_number", |number| number)?;
    let epoch = cells.int("epoch")?;
    let row = IncidentRow {
        id: cells.id("id", IncidentId)?,
        branch: cells.text("branch")?,
        project: cells.opt_text("project")?,
        first_build,
        first_builder: cells.text("builder")?,
        summary: cells.opt_text("summary")?,
        step: cells.opt_text("step_name")?,
        log: step.map(|step| LogAddress::output(first_build, epoch, u32::try_from(step).unwrap_or(0))),
        builders: Vec::new(),
        suspects: Vec::new(),
        opened_at: cells.time("opened_at")?,
        closed_at: cells.opt_time("closed_at")?,
    };
    Ok(Bare { row, suspects: cells.json("suspects")? })
}

impl Reader {
    /// Lists incidents that are open, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn open_incidents(&self, page: Page) -> Result<Vec<IncidentRow>, ReadError> {
        self.incidents(OPEN, page).await
    }

    /// Lists incidents that are over, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn closed_incidents(&self, page: Page) -> Result<Vec<IncidentRow>, ReadError> {
        self.incidents(CLOSED, page).await
    }

    /// Lists all incidents, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list_incidents(&self, page: Page) -> Result<Vec<IncidentRow>, ReadError> {
        self.incidents(ALL, page).await
    }

    /// Finds an incident.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_incident(&self, id: IncidentId) -> Result<Option<IncidentRow>, ReadError> {
        let rows = sql(ONE).bind(id.0).fetch_all(self.pool()).await?;
        Ok(self.complete(read_all(&rows, bare_row)?).await?.pop())
    }

    async fn incidents(&self, text: &'static str, page: Page) -> Result<Vec<IncidentRow>, ReadError> {
        let rows = sql(text).bind(page.before).bind(page.limit).fetch_all(self.pool()).await?;
        self.complete(read_all(&rows, bare_row)?).await
    }

    /// Adds builders, all in one query, and suspects, one indexed query per incident and repository.
    async fn complete(&self, bare: Vec<Bare>) -> Result<Vec<IncidentRow>, ReadError> {
        if bare.is_empty() {
            return Ok(Vec::new());
        }
        let ids = id_list(bare.iter().map(|incident| incident.row.id.0));
        let rows = sql(BUILDERS).bind(ids).bind(BUILDERS_MAX).fetch_all(self.pool()).await?;
        let mut builders: BTreeMap<IncidentId, Vec<IncidentBuilder>> = BTreeMap::new();
        for row in &rows {
            let cells = Cells(row);
            builders.entry(cells.id("incident", IncidentId)?).or_default().push(IncidentBuilder {
                builder: cells.text("builder")?,
                broke_build: cells.id("broke_build", BuildId)?,
                fixed_build: cells.opt_id("fixed_build", BuildId)?,
            });
        }
        let mut incidents = Vec::with_capacity(bare.len());
        for Bare { mut row, suspects } in bare {
            row.builders = builders.remove(&row.id).unwrap_or_default();
            row.suspects = self.suspects(&suspects).await?;
            incidents.push(row);
        }
        Ok(incidents)
    }
}

#[cfg(test)]
crate::store::database::statements![OPEN, CLOSED, ALL, ONE, BUILDERS];
