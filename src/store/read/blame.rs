//! Who may have broken it, and the facts that a message about a build needs.
//!
//! The culprit range of a build is counted from the last good build of the same builder on the same branch before it:
//! per repository, the changes after what that build contained, up to what this one contains.

use gristmill_model::protocol::LogAddress;
use gristmill_model::{
    BuildId, BuilderName, Buildset, BuildsetId, Cause, Change, ChangeId, Outcome, Person, ProjectName, RepositoryName,
    Revision, SchedulerName, SourceStamp, StampSet, SuspectRange, Suspects, Timestamp, Trigger, WorkerName,
};
use serde::Serialize;

use super::Reader;
use super::row::{Cells, ReadError, read_all, rfc3339};
#[cfg(test)]
use crate::store::database::Text;
use crate::store::database::sql;

/// A change that may have broken something. All of its text is untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspect {
    /// The change.
    pub change: ChangeId,
    /// Where it happened.
    pub repository: RepositoryName,
    /// On which branch.
    pub branch: String,
    /// The revision that it brought.
    pub revision: Option<Revision>,
    /// The newest commit's subject.
    pub title: String,
    /// Who wrote its commits, each once.
    pub authors: Vec<Person>,
    /// When it was accepted.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

/// The changes between a builder's last good build and a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CulpritRange {
    /// The last good build; `None` if there was none: then only the buildset's own changes are suspects.
    pub last_good: Option<BuildId>,
    /// The changes, oldest first, at most [`SUSPECTS_MAX`].
    pub suspects: Vec<Suspect>,
}

/// The step that a build failed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailingStep {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// One line on its end.
    pub summary: Option<String>,
    /// Where its log is, which has the first error.
    #[serde(skip)]
    pub log: Option<LogAddress>,
}

/// The facts about a build that messages are written from.
#[derive(Debug, Clone, PartialEq)]
pub struct HappeningFacts {
    /// The build.
    pub build: BuildId,
    /// Its builder.
    pub builder: BuilderName,
    /// The branch that it counts for.
    pub branch: String,
    /// The project.
    pub project: Option<ProjectName>,
    /// The scheduler that set it off.
    pub scheduler: SchedulerName,
    /// Its buildset.
    pub buildset: BuildsetId,
    /// What set that off.
    pub trigger: Trigger,
    /// What it was built from.
    pub stamps: StampSet,
    /// The worker.
    pub worker: WorkerName,
    /// Which attempt it is.
    pub attempt: u32,
    /// What it came to, once it has.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad end was.
    pub cause: Option<Cause>,
    /// One line on the end.
    pub summary: Option<String>,
    /// The step that failed, if one did.
    pub failing_step: Option<FailingStep>,
    /// When the worker began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

const FACTS: &str = "SELECT b.id, b.builder, b.branch, b.buildset, b.worker, b.attempt, b.epoch, b.outcome, b.cause, b.summary, \
     b.started_at, b.finished_at, bs.project, bs.scheduler, bs.body, \
     s.number AS step_number, s.name AS step_name, s.summary AS step_summary \
     FROM build b JOIN buildset bs ON bs.id = b.buildset \
     LEFT JOIN step s ON s.build = b.id AND s.number = (SELECT MIN(f.number) FROM step f \
     WHERE f.build = b.id AND f.outcome IN ('failure', 'exception')) WHERE b.id = $1 LIMIT 1";
const OWN: &str = "SELECT c.id, c.body FROM buildset_change bc JOIN change c ON c.id = bc.change \
                   WHERE bc.buildset = $1 ORDER BY c.id LIMIT $2";
const LAST_GOOD: &str = "SELECT b.id, bs.body FROM build b JOIN buildset bs ON bs.id = b.buildset \
                         WHERE b.builder = $1 AND b.branch = $2 AND b.id < $3 AND b.outcome IN ('success', 'warnings') \
                         ORDER BY b.id DESC LIMIT 1";
const BETWEEN: &str = "SELECT id, body FROM change WHERE repository = $1 AND branch = $2 AND id > $3 AND id <= $4 \
                       ORDER BY id DESC LIMIT $5";

#[cfg(test)]
pub(in crate::store) const LISTS: [(&str, Text); 3] =
    [("own", Text::Same(OWN)), ("last good", Text::Same(LAST_GOOD)), ("between", Text::Same(BETWEEN))];

/// Suspects that a range or a list names; of more, the newest are kept.
pub const SUSPECTS_MAX: i64 = 200;

fn suspect(change: Change) -> Suspect {
    Suspect {
        change: change.id,
        authors: change.authors().into_iter().cloned().collect(),
        title: change.title(),
        branch: change.reference.short().to_owned(),
        repository: change.repository,
        revision: change.new,
        at: change.at,
    }
}

impl Reader {
    /// Gives the changes in these ranges, oldest first, at most [`SUSPECTS_MAX`] of each repository.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn suspects(&self, ranges: &Suspects) -> Result<Vec<Suspect>, ReadError> {
        let mut suspects = Vec::new();
        for (repository, range) in ranges {
            let rows = sql(BETWEEN)
                .bind(repository.as_str())
                .bind(range.branch.as_str())
                .bind(range.after.0)
                .bind(range.upto.0)
                .bind(SUSPECTS_MAX)
                .fetch_all(self.pool())
                .await?;
            suspects.extend(read_all(&rows, |cells| Ok(suspect(cells.json("body")?)))?);
        }
        suspects.sort_by_key(|suspect| suspect.change);
        Ok(suspects)
    }

    /// Gives the changes that a buildset was made for, oldest first, at most [`SUSPECTS_MAX`].
    async fn own_changes(&self, buildset: BuildsetId) -> Result<Vec<Suspect>, ReadError> {
        let rows = sql(OWN).bind(buildset.0).bind(SUSPECTS_MAX).fetch_all(self.pool()).await?;
        read_all(&rows, |cells| Ok(suspect(cells.json("body")?)))
    }

    /// Gives the facts about a build that messages are written from.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn happening_facts(&self, build: BuildId) -> Result<Option<HappeningFacts>, ReadError> {
        let Some(row) = sql(FACTS).bind(build.0).fetch_optional(self.pool()).await? else { return Ok(None) };
        let cells = Cells(&row);
        let buildset: Buildset = cells.json("body")?;
        let epoch = cells.int("epoch")?;
        let failing_step = match cells.opt_id("step_number", |number| number)? {
            None => None,
            Some(number) => {
                let step = u32::try_from(number).unwrap_or(0);
                Some(FailingStep {
                    number: step,
                    name: cells.text("step_name")?,
                    summary: cells.opt_text("step_summary")?,
                    log: Some(LogAddress::output(build, epoch, step)),
                })
            }
        };
        Ok(Some(HappeningFacts {
            build,
            builder: cells.text("builder")?,
            branch: cells.text("branch")?,
            project: cells.opt_text("project")?,
            scheduler: cells.text("scheduler")?,
            buildset: cells.id("buildset", BuildsetId)?,
            trigger: buildset.trigger,
            stamps: buildset.stamps,
            worker: cells.text("worker")?,
            attempt: cells.count("attempt")?,
            outcome: cells.opt_word("outcome", Outcome::parse)?,
            cause: cells.opt_word("cause", Cause::parse)?,
            summary: cells.opt_text("summary")?,
            failing_step,
            started_at: cells.opt_time("started_at")?,
            finished_at: cells.opt_time("finished_at")?,
        }))
    }

    /// Gives the changes that may have made a build differ from its builder's last good one on that branch.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn culprit_range(&self, build: BuildId) -> Result<Option<CulpritRange>, ReadError> {
        let Some(facts) = self.happening_facts(build).await? else { return Ok(None) };
        let row = sql(LAST_GOOD)
            .bind(facts.builder.as_str())
            .bind(facts.branch.as_str())
            .bind(build.0)
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else {
            return Ok(Some(CulpritRange { last_good: None, suspects: self.own_changes(facts.buildset).await? }));
        };
        let cells = Cells(&row);
        let good: Buildset = cells.json("body")?;
        let ranges = ranges_between(&good.stamps, &facts.stamps);
        let last_good = Some(cells.id("id", BuildId)?);
        Ok(Some(CulpritRange { last_good, suspects: self.suspects(&ranges).await? }))
    }
}

/// Gives what came between what a good build contained and what a later one does. A repository (or branch of it) that
/// the good one did not contain is suspected with its newest change alone: what came before it was never asked about.
fn ranges_between(good: &StampSet, later: &StampSet) -> Suspects {
    let contained = |stamp: &SourceStamp| {
        let same = |known: &&SourceStamp| known.repository == stamp.repository && known.branch == stamp.branch;
        // It was good where the repository was first seen, before any change of it: all that came since is suspect.
        good.values().find(same).map(|known| known.change.unwrap_or(ChangeId(0)))
    };
    later
        .values()
        .filter_map(|stamp| {
            let upto = stamp.change?;
            let after = contained(stamp).unwrap_or(ChangeId(upto.0 - 1));
            Some((stamp.repository.clone(), SuspectRange { branch: stamp.branch.clone(), after, upto }))
        })
        .collect()
}

#[cfg(test)]
crate::store::database::statements![FACTS, OWN, LAST_GOOD, BETWEEN];
