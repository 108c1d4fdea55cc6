//! Changes and what each scheduler made of them.

use gristmill_model::{
    BuildsetId, Change, ChangeId, Movement, Place, Reason, RefName, RepositoryName, Revision, SchedulerName, Timestamp,
};
use serde::Serialize;

use super::Reader;
use super::buildset::BuildsetRow;
use super::row::{Cells, Page, ReadError, id_list, opt_rfc3339, read_all, rfc3339};
use crate::store::database::{Text, postgres_ids, sql};

/// A change in a list. Title and author are untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeRow {
    /// Its number.
    pub id: ChangeId,
    /// Where it happened.
    pub repository: RepositoryName,
    /// Which ref moved.
    pub reference: RefName,
    /// Its short name.
    pub branch: String,
    /// Where it was.
    pub old: Option<Revision>,
    /// Where it is.
    pub new: Option<Revision>,
    /// How it moved.
    pub movement: Movement,
    /// The newest commit's subject, or what happened to the ref.
    pub title: String,
    /// Who wrote the newest commit.
    pub author: String,
    /// When it was accepted.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

impl ChangeRow {
    /// Gives the revision's first characters, or `gone`.
    pub fn short(&self) -> &str {
        self.new.as_ref().map_or("gone", Revision::short)
    }
}

/// What one scheduler made of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRow {
    /// The change.
    pub change: ChangeId,
    /// The scheduler.
    pub scheduler: SchedulerName,
    /// `built`, `held` or `nothing`.
    pub verdict: String,
    /// What it made.
    pub buildset: Option<BuildsetId>,
    /// Until when it is held.
    pub until: Option<Timestamp>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Where the scheduler is configured, as `file:line`.
    pub place: String,
    /// When it was given.
    pub at: Timestamp,
}

/// A change with everything that its page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeDetail {
    /// The change, with its commits.
    pub change: Change,
    /// What every scheduler that was active made of it.
    pub verdicts: Vec<VerdictRow>,
    /// The buildsets that contain it, in all projects.
    pub buildsets: Vec<BuildsetRow>,
}

/// What a prefix of a revision means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShaLookup {
    /// No change brought such a revision.
    Unknown,
    /// One revision, and its newest change.
    One(ChangeId),
    /// Several revisions begin so; these are some of their changes.
    Ambiguous(Vec<ChangeId>),
}

/// Which changes a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeFilter {
    /// Only of this repository.
    pub repository: Option<RepositoryName>,
    /// Only of this branch or tag.
    pub branch: Option<String>,
}

macro_rules! change_rows {
    ($($rest:expr),+) => {
        concat!(
            "SELECT c.id, c.repository, c.reference, c.branch, c.old, c.new, c.movement, c.title, c.author, c.at FROM change c ",
            $($rest),+
        )
    };
}

const ALL: &str = change_rows!("WHERE c.id < $1 ORDER BY c.id DESC LIMIT $2");
const BY_REPOSITORY: &str = change_rows!("WHERE c.repository = $3 AND c.id < $1 ORDER BY c.id DESC LIMIT $2");
const BY_BRANCH: &str = change_rows!("WHERE c.branch = $3 AND c.id < $1 ORDER BY c.id DESC LIMIT $2");
const BY_REPOSITORY_AND_BRANCH: &str =
    change_rows!("WHERE c.repository = $3 AND c.branch = $4 AND c.id < $1 ORDER BY c.id DESC LIMIT $2");
const OF_BUILDSET: &str =
    change_rows!("JOIN buildset_change bc ON bc.change = c.id WHERE bc.buildset = $1 ORDER BY c.id DESC LIMIT $2");
const BY_IDS: Text = Text::Each {
    sqlite: change_rows!("WHERE c.id IN (SELECT value FROM json_each($1)) ORDER BY c.id LIMIT $2"),
    postgres: change_rows!("WHERE c.id IN ", postgres_ids!("$1"), " ORDER BY c.id LIMIT $2"),
};
const BY_SHA: &str = change_rows!("WHERE c.new >= $1 AND c.new < $2 ORDER BY c.new, c.id DESC LIMIT $3");

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 7] = [
    ("all", Text::Same(ALL)),
    ("by repository", Text::Same(BY_REPOSITORY)),
    ("by branch", Text::Same(BY_BRANCH)),
    ("by repository and branch", Text::Same(BY_REPOSITORY_AND_BRANCH)),
    ("of a buildset", Text::Same(OF_BUILDSET)),
    ("by ids", BY_IDS),
    ("by revision", Text::Same(BY_SHA)),
];

const BODY: &str = "SELECT body FROM change WHERE id = $1 LIMIT 1";
pub(super) const VERDICTS_OF_CHANGE: &str = "SELECT change, scheduler, kind, buildset, until, reasons, place, at \
                                             FROM verdict WHERE change = $1 ORDER BY scheduler LIMIT $2";
const VERDICTS_FOR_BUILDSET: &str = "SELECT v.change, v.scheduler, v.kind, v.buildset, v.until, v.reasons, v.place, v.at FROM buildset_change bc \
     JOIN buildset bs ON bs.id = bc.buildset \
     JOIN verdict v ON v.change = bc.change AND v.scheduler = bs.scheduler \
     WHERE bc.buildset = $1 ORDER BY v.change DESC LIMIT $2";

/// Changes that one buildset's page names.
const CHANGES_OF_BUILDSET_MAX: i64 = 200;
/// Verdicts that one change's page shows: one per scheduler.
const VERDICTS_MAX: i64 = 1_000;
/// Characters of a revision that are enough to look it up.
pub const SHA_PREFIX_MIN: usize = 6;

pub(super) fn change_row(cells: &Cells<'_>) -> Result<ChangeRow, ReadError> {
    Ok(ChangeRow {
        id: cells.id("id", ChangeId)?,
        repository: cells.text("repository")?,
        reference: cells.text("reference")?,
        branch: cells.text("branch")?,
        old: cells.opt_text("old")?,
        new: cells.opt_text("new")?,
        movement: cells.word("movement", parse_movement)?,
        title: cells.text("title")?,
        author: cells.text("author")?,
        at: cells.time("at")?,
    })
}

pub(super) fn verdict_row(cells: &Cells<'_>) -> Result<VerdictRow, ReadError> {
    Ok(VerdictRow {
        change: cells.id("change", ChangeId)?,
        scheduler: cells.text("scheduler")?,
        verdict: cells.text("kind")?,
        buildset: cells.opt_id("buildset", BuildsetId)?,
        until: cells.opt_time("until")?,
        reasons: cells.json("reasons")?,
        place: cells.json::<Place>("place")?.to_string(),
        at: cells.time("at")?,
    })
}

fn parse_movement(word: &str) -> Option<Movement> {
    match word {
        "created" => Some(Movement::Created),
        "moved" => Some(Movement::Moved),
        "forced" => Some(Movement::Forced),
        "deleted" => Some(Movement::Deleted),
        _ => None,
    }
}

/// Gives the smallest text that is greater than every text beginning with `prefix`, which is hexadecimal.
fn after_prefix(prefix: &str) -> String {
    format!("{prefix}g")
}

impl Reader {
    /// Lists changes, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list_changes(&self, filter: &ChangeFilter, page: Page) -> Result<Vec<ChangeRow>, ReadError> {
        let text = match (&filter.repository, &filter.branch) {
            (None, None) => ALL,
            (Some(_), None) => BY_REPOSITORY,
            (None, Some(_)) => BY_BRANCH,
            (Some(_), Some(_)) => BY_REPOSITORY_AND_BRANCH,
        };
        let mut query = sql(text).bind(page.before).bind(page.limit);
        if let Some(repository) = &filter.repository {
            query = query.bind(repository.as_str());
        }
        if let Some(branch) = &filter.branch {
            query = query.bind(branch.as_str());
        }
        read_all(&query.fetch_all(self.pool()).await?, change_row)
    }

    /// Lists the changes that a buildset was made for, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn changes_of_buildset(&self, buildset: BuildsetId) -> Result<Vec<ChangeRow>, ReadError> {
        let rows = sql(OF_BUILDSET).bind(buildset.0).bind(CHANGES_OF_BUILDSET_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, change_row)
    }

    /// Lists the changes with these numbers, oldest first; unknown numbers are passed over.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn changes_by_id(&self, ids: &[ChangeId]) -> Result<Vec<ChangeRow>, ReadError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = id_list(ids.iter().map(|id| id.0));
        let rows = sql(BY_IDS).bind(list).bind(CHANGES_OF_BUILDSET_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, change_row)
    }

    /// Finds the change that brought the revision beginning with `prefix`.
    ///
    /// Anything but at least [`SHA_PREFIX_MIN`] hexadecimal digits is unknown.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_change_by_sha(&self, prefix: &str) -> Result<ShaLookup, ReadError> {
        let prefix = prefix.to_ascii_lowercase();
        if prefix.len() < SHA_PREFIX_MIN || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(ShaLookup::Unknown);
        }
        let rows =
            sql(BY_SHA).bind(prefix.as_str()).bind(after_prefix(&prefix)).bind(20_i64).fetch_all(self.pool()).await?;
        let changes = read_all(&rows, change_row)?;
        let Some(first) = changes.first() else { return Ok(ShaLookup::Unknown) };
        if changes.iter().all(|change| change.new == first.new) {
            return Ok(ShaLookup::One(first.id));
        }
        Ok(ShaLookup::Ambiguous(changes.iter().map(|change| change.id).collect()))
    }

    /// Finds a change as it was accepted, with its commits.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_change(&self, id: ChangeId) -> Result<Option<Change>, ReadError> {
        let row = sql(BODY).bind(id.0).fetch_optional(self.pool()).await?;
        row.map(|row| Cells(&row).json("body")).transpose()
    }

    /// Lists what every scheduler made of a change.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn verdicts_of_change(&self, id: ChangeId) -> Result<Vec<VerdictRow>, ReadError> {
        let rows = sql(VERDICTS_OF_CHANGE).bind(id.0).bind(VERDICTS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, verdict_row)
    }

    /// Lists the verdicts by which a buildset's own scheduler took in its changes, newest change first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn verdicts_for_buildset(&self, id: BuildsetId) -> Result<Vec<VerdictRow>, ReadError> {
        let rows = sql(VERDICTS_FOR_BUILDSET).bind(id.0).bind(CHANGES_OF_BUILDSET_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, verdict_row)
    }

    /// Finds a change with everything that its page shows.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find_change_detail(&self, id: ChangeId) -> Result<Option<ChangeDetail>, ReadError> {
        let Some(change) = self.find_change(id).await? else { return Ok(None) };
        let verdicts = self.verdicts_of_change(id).await?;
        let buildsets = self.buildsets_of_change(id).await?;
        Ok(Some(ChangeDetail { change, verdicts, buildsets }))
    }
}

impl Serialize for VerdictRow {
    /// Writes the form of the API: every reason with its sentence, every time as text.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            change: ChangeId,
            scheduler: &'a SchedulerName,
            verdict: &'a str,
            buildset: Option<BuildsetId>,
            #[serde(serialize_with = "opt_rfc3339")]
            until: Option<Timestamp>,
            reasons: Vec<serde_json::Value>,
            place: &'a str,
            #[serde(serialize_with = "rfc3339")]
            at: Timestamp,
        }
        Shown {
            change: self.change,
            scheduler: &self.scheduler,
            verdict: &self.verdict,
            buildset: self.buildset,
            until: self.until,
            reasons: self.reasons.iter().map(reason_json).collect(),
            place: &self.place,
            at: self.at,
        }
        .serialize(serializer)
    }
}

/// Writes a reason as the API shows it: its code, its fields, and its sentence under `text`.
pub fn reason_json(reason: &Reason) -> serde_json::Value {
    let mut value = serde_json::to_value(reason).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        for moment in ["until", "next", "nominal"] {
            if let Some(at) = fields.get(moment).and_then(serde_json::Value::as_i64) {
                fields.insert(moment.to_owned(), Timestamp(at).to_rfc3339().into());
            }
        }
        fields.insert("text".to_owned(), reason.to_string().into());
    }
    value
}

#[cfg(test)]
crate::store::database::statements![
    ALL,
    BY_REPOSITORY,
    BY_BRANCH,
    BY_REPOSITORY_AND_BRANCH,
    OF_BUILDSET,
    BY_IDS,
    BY_SHA,
    BODY,
    VERDICTS_OF_CHANGE,
    VERDICTS_FOR_BUILDSET
];
