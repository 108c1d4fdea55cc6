//! What is told of: the one model that every route and every template sees.
//!
//! The announcer fills it from the journal and the tables. Its texts are as strangers wrote them; they are encoded
//! where they are used ([`crate::text`], [`crate::render`]), never here.

use gristmill_model::matching::{Field, Subject, Values};
use gristmill_model::{
    BuildId, BuilderName, BuildsetId, Cause, ChangeId, IncidentId, NotifierName, Outcome, Person, ProjectName,
    RepositoryName, Revision, SchedulerName, Seq, StampSet, Timestamp, Transition, WorkerName, mutant,
};

/// One thing that may be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Happening {
    /// The event that it tells of.
    pub event: Seq,
    /// The transition's name (`broke`, `fixed`, `still-failing`, `passing`), or the event's kind, such as
    /// `source.failing`, `source.recovered`, `catalog.refused`, `instance.restored`, `doctor.found`, `doctor.cleared`,
    /// `message.dead`, `worker.held`, `worker.freed`, `worker.ailing`, `worker.left`.
    pub kind: String,
    /// How the builders turned; `None` for what concerns the system itself.
    pub transition: Option<Transition>,
    /// The builders, the first one the one that showed it.
    pub builders: Vec<BuilderName>,
    /// The projects they belong to, or those of the repository.
    pub projects: Vec<ProjectName>,
    /// The repository, for what concerns a source.
    pub repository: Option<RepositoryName>,
    /// The branch.
    pub branch: Option<String>,
    /// The scheduler that made the buildset.
    pub scheduler: Option<SchedulerName>,
    /// What the build came to.
    pub outcome: Option<Outcome>,
    /// Whose fault a bad one is.
    pub cause: Option<Cause>,
    /// The build that showed it.
    pub build: Option<BuildId>,
    /// Its buildset.
    pub buildset: Option<BuildsetId>,
    /// The incident, which is also the mail thread.
    pub incident: Option<IncidentId>,
    /// The address that people reach the pages by; `http` or `https`, else there are no links.
    pub url: Option<String>,
    /// What was built.
    pub stamps: StampSet,
    /// The commits that may have done it, newest first; for `fixed` those that may have mended it.
    pub suspects: Vec<Suspect>,
    /// How many more there are than could be listed.
    pub suspects_more: usize,
    /// The step that failed.
    pub step: Option<FailedStep>,
    /// The log round the first error.
    pub excerpt: Vec<ExcerptLine>,
    /// When it broke; for `fixed` when it had broken.
    pub since: Option<Timestamp>,
    /// The worker that ran the build.
    pub worker: Option<WorkerName>,
    /// For `message.dead` the notifier that gave up: it is not asked to tell of its own silence. Whoever makes
    /// happenings must make none of messages that themselves told of a dead one.
    pub notifier: Option<NotifierName>,
    /// What there is to say beside, such as an error's text. May have several lines.
    pub detail: Option<String>,
    /// When it happened.
    pub at: Timestamp,
}

/// A commit that may have done it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suspect {
    /// The change that brought it.
    pub change: ChangeId,
    /// Where.
    pub repository: RepositoryName,
    /// Which commit.
    pub revision: Revision,
    /// Who wrote it.
    pub author: Person,
    /// The first line of its message.
    pub subject: String,
}

/// The step that a build failed in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailedStep {
    /// Its number, from 0.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// One line on its end, such as `exit code 2`.
    pub summary: String,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExcerptLine {
    /// Its number, from 1.
    pub number: u64,
    /// What it says, perhaps with terminal escapes.
    pub text: String,
    /// Whether it is the first error.
    pub is_error: bool,
}

impl Happening {
    /// Makes a happening of builders that turned; the rest is filled in by whoever knows it.
    pub fn turned(event: Seq, at: Timestamp, transition: Transition, builders: Vec<BuilderName>) -> Self {
        let kind = transition.as_str().to_owned();
        Self { event, at, kind, transition: Some(transition), builders, ..Self::default() }
    }

    /// Makes a happening of the system itself, by the event's kind.
    pub fn of_system(event: Seq, at: Timestamp, kind: &str, detail: impl Into<String>) -> Self {
        Self { event, at, kind: kind.to_owned(), detail: Some(detail.into()), ..Self::default() }
    }

    /// Says whether the people who wrote the code are concerned. What infrastructure, a rule or a person did to a
    /// build is no culprit's business.
    pub fn concerns_authors(&self) -> bool {
        self.transition.is_some()
            && !matches!(self.cause, Some(Cause::Infrastructure | Cause::Policy | Cause::Person | Cause::Superseded))
    }

    /// Gives what repeats are recognised by: an incident breaks once and is fixed once, however many builders show
    /// it; all else is told per event.
    pub(crate) fn identity(&self) -> String {
        match (self.incident, self.transition) {
            (Some(incident), Some(Transition::Broke | Transition::Fixed)) if !mutant::is_on(40) => {
                format!("incident-{incident}")
            }
            _ => format!("event-{}", self.event),
        }
    }
}

impl Subject for Happening {
    fn values(&self, field: Field) -> Values {
        fn one(text: Option<&str>) -> Vec<String> {
            text.map(str::to_owned).into_iter().collect()
        }
        let repositories = || {
            let stamped = self.stamps.values().map(|stamp| &stamp.repository);
            let mut all: Vec<String> = self.repository.iter().chain(stamped).map(|name| name.0.clone()).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let all = match field {
            Field::Repository => repositories(),
            Field::Project => self.projects.iter().map(|project| project.0.clone()).collect(),
            Field::Branch => one(self.branch.as_deref()),
            Field::Builder => self.builders.iter().map(|builder| builder.0.clone()).collect(),
            Field::Scheduler => one(self.scheduler.as_ref().map(SchedulerName::as_str)),
            Field::Outcome => one(self.outcome.map(Outcome::as_str)),
            Field::Cause => one(self.cause.map(Cause::as_str)),
            Field::Transition => one(self.transition.map(Transition::as_str)),
            Field::Event => one(Some(&self.kind)),
            Field::Author => self
                .suspects
                .iter()
                .map(|suspect| format!("{} <{}>", suspect.author.name, suspect.author.email))
                .collect(),
            Field::Message => self.suspects.iter().map(|suspect| suspect.subject.clone()).collect(),
            Field::Tag | Field::Files | Field::Movement => Vec::new(),
        };
        let cut_short = self.suspects_more > 0 && matches!(field, Field::Author | Field::Message);
        Values { all, incomplete: cut_short }
    }
}

#[cfg(test)]
mod tests {
    use gristmill_model::matching::Matcher;

    use super::*;
    use crate::sample;

    #[test]
    fn every_field_of_the_match_language_is_answered() {
        let happening = sample::broke();
        for (field, pattern) in [
            (Field::Repository, "core"),
            (Field::Project, "core"),
            (Field::Branch, "ma*"),
            (Field::Builder, "lib-*"),
            (Field::Scheduler, "core-main"),
            (Field::Outcome, "failure"),
            (Field::Cause, "test"),
            (Field::Transition, "broke"),
            (Field::Event, "broke"),
            (Field::Author, "Ada <*>"),
            (Field::Message, "*bounded*"),
        ] {
            let matcher = Matcher::any().with(field, [pattern]).expect("pattern is good");
            assert_eq!(matcher.check(&happening), Ok(()), "{field}");
        }
    }

    #[test]
    fn infrastructure_is_no_authors_business() {
        let mut happening = sample::broke();
        assert!(happening.concerns_authors());
        happening.cause = Some(Cause::Infrastructure);
        assert!(!happening.concerns_authors());
        assert!(!sample::source_failing().concerns_authors());
    }
}
