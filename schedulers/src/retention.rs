//! Retention: what of all that is over may be deleted, and what must stay.
//!
//! Buildsets go with their requests, builds, steps and logs, and together with those that trigger steps started from
//! them: their *family*. Nothing that stays needs something that went.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use gristmill_model::matching::{Field, Subject, Values};
use gristmill_model::{BuildId, BuilderName, BuildsetId, Outcome, ProjectName, Retention, SchedulerName, Timestamp};

/// What is known of a buildset when its end is judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its scheduler.
    pub scheduler: SchedulerName,
    /// Its project.
    pub project: Option<ProjectName>,
    /// Its branch or tag.
    pub branch: String,
    /// Whether that branch is gone from every repository that the buildset was made from.
    pub branch_is_gone: bool,
    /// The repositories that it was made from.
    pub repositories: BTreeSet<String>,
    /// What it came to; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// When it completed; `None` while it is open.
    pub completed_at: Option<Timestamp>,
    /// Its builds.
    pub builds: BTreeMap<BuildId, BuildFacts>,
    /// Buildsets that were set off by a step of this one, or whose step set this one off.
    pub kin: BTreeSet<BuildsetId>,
    /// Buildsets that were made because this one completed.
    pub used_by: BTreeSet<BuildsetId>,
    /// Whether a dependent scheduler has noted it, and not yet built on it.
    pub is_noted: bool,
}

/// What is known of one build of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildFacts {
    /// Its builder.
    pub builder: BuilderName,
    /// When it finished; `None` while it has not.
    pub finished_at: Option<Timestamp>,
    /// How many newer finished builds its builder has on its branch; counted no further than is asked for.
    pub newer: u32,
}

/// Builds that open things refer to: standings and open incidents.
pub type Referred = BTreeSet<BuildId>;

/// Why something stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is not over.
    Open,
    /// It is not old enough.
    Young,
    /// It has one of the last builds of a builder on a branch.
    Last(BuildId),
    /// A rule says so.
    Rule,
    /// A standing or an open incident refers to this build of it.
    Referred(BuildId),
    /// A dependent scheduler waits for more before it builds on it.
    Noted,
    /// A buildset that stays was made because of it.
    UsedBy(BuildsetId),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("it is not over"),
            Self::Young => f.write_str("it is not old enough"),
            Self::Last(build) => write!(f, "build {build} is one of its builder's last on its branch"),
            Self::Rule => f.write_str("a rule keeps it for ever"),
            Self::Referred(build) => write!(f, "a builder's state or an open incident refers to build {build}"),
            Self::Noted => f.write_str("a dependent scheduler has noted it and not yet built on it"),
            Self::UsedBy(buildset) => write!(f, "buildset {buildset} was made because of it"),
        }
    }
}

/// Judges a family: all of it goes, or none.
///
/// # Errors
/// Why it stays.
pub fn judge_family(
    family: &BTreeMap<BuildsetId, Facts>,
    rules: &Retention,
    referred: &Referred,
    now: Timestamp,
) -> Result<(), Kept> {
    for facts in family.values() {
        let completed_at = facts.completed_at.ok_or(Kept::Open)?;
        is_old(completed_at, rules.builds, now)?;
        if let Some(user) = facts.used_by.iter().find(|user| !family.contains_key(user)) {
            return Err(Kept::UsedBy(*user));
        }
        if facts.is_noted {
            return Err(Kept::Noted);
        }
        for (id, build) in &facts.builds {
            is_free(facts, *id, build, rules, referred)?;
        }
        // A buildset without builds is matched, too.
        is_unruled(facts, rules)?;
    }
    Ok(())
}

/// Judges the logs of one build of a buildset.
///
/// # Errors
/// Why they stay.
pub fn judge_logs(
    facts: &Facts,
    build: BuildId,
    rules: &Retention,
    referred: &Referred,
    now: Timestamp,
) -> Result<(), Kept> {
    let known = facts.builds.get(&build).ok_or(Kept::Open)?;
    is_old(known.finished_at.ok_or(Kept::Open)?, rules.logs, now)?;
    is_free(facts, build, known, rules, referred)?;
    is_unruled(facts, rules)
}

/// Says whether something that was over at `at` is old enough to go.
///
/// # Errors
/// [`Kept::Young`].
pub fn is_old(at: Timestamp, age: Duration, now: Timestamp) -> Result<(), Kept> {
    if at.after(age) < now { Ok(()) } else { Err(Kept::Young) }
}

fn is_free(facts: &Facts, id: BuildId, build: &BuildFacts, rules: &Retention, referred: &Referred) -> Result<(), Kept> {
    if build.finished_at.is_none() {
        return Err(Kept::Open);
    }
    if referred.contains(&id) {
        return Err(Kept::Referred(id));
    }
    if build.newer < rules.last && !facts.branch_is_gone {
        return Err(Kept::Last(id));
    }
    Ok(())
}

fn is_unruled(facts: &Facts, rules: &Retention) -> Result<(), Kept> {
    if rules.keep.iter().any(|rule| rule.check(facts).is_ok()) { Err(Kept::Rule) } else { Ok(()) }
}

impl Subject for Facts {
    /// A tag is a branch here, too: what was built is known by the short name alone.
    fn values(&self, field: Field) -> Values {
        let all = match field {
            Field::Repository => self.repositories.iter().cloned().collect(),
            Field::Project => self.project.iter().map(|project| project.0.clone()).collect(),
            Field::Branch | Field::Tag => vec![self.branch.clone()],
            Field::Builder => self.builds.values().map(|build| build.builder.0.clone()).collect(),
            Field::Scheduler => vec![self.scheduler.0.clone()],
            Field::Outcome => self.outcome.iter().map(|outcome| outcome.as_str().to_owned()).collect(),
            Field::Author
            | Field::Files
            | Field::Message
            | Field::Event
            | Field::Movement
            | Field::Cause
            | Field::Transition => Vec::new(),
        };
        Values { all, incomplete: false }
    }
}

#[cfg(test)]
mod tests {
    use gristmill_model::matching::Matcher;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000 * 86_400_000_000);

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * 86_400)
    }

    fn old() -> Facts {
        let at = Some(NOW.before(days(100)));
        let build = BuildFacts { builder: "test".into(), finished_at: at, newer: 50 };
        Facts {
            branch: "main".to_owned(),
            outcome: Some(Outcome::Success),
            completed_at: at,
            builds: [(BuildId(7), build)].into(),
            ..Facts::default()
        }
    }

    fn judge(facts: Facts, rules: &Retention, referred: &[i64]) -> Result<(), Kept> {
        let referred = referred.iter().map(|id| BuildId(*id)).collect();
        judge_family(&[(BuildsetId(1), facts)].into(), rules, &referred, NOW)
    }

    #[test]
    fn what_is_over_and_old_goes() {
        assert_eq!(judge(old(), &Retention::default(), &[]), Ok(()));
    }

    #[test]
    fn everything_else_stays_and_says_why() {
        let rules = Retention::default();
        let is_kept = |change: &dyn Fn(&mut Facts), why: Kept| {
            let mut facts = old();
            change(&mut facts);
            assert_eq!(judge(facts, &rules, &[]), Err(why));
        };
        is_kept(&|facts| facts.completed_at = None, Kept::Open);
        is_kept(&|facts| facts.completed_at = Some(NOW.before(days(89))), Kept::Young);
        is_kept(&|facts| facts.is_noted = true, Kept::Noted);
        is_kept(&|facts| facts.used_by = [BuildsetId(9)].into(), Kept::UsedBy(BuildsetId(9)));
        is_kept(&|facts| facts.builds.get_mut(&BuildId(7)).unwrap().newer = 9, Kept::Last(BuildId(7)));
        assert_eq!(judge(old(), &rules, &[7]), Err(Kept::Referred(BuildId(7))));
        let keep = vec![Matcher::any().with(Field::Branch, ["ma*"]).unwrap()];
        assert_eq!(judge(old(), &Retention { keep, ..rules }, &[]), Err(Kept::Rule));
    }

    #[test]
    fn the_last_builds_of_a_branch_go_with_the_branch() {
        let mut facts = old();
        facts.builds.get_mut(&BuildId(7)).unwrap().newer = 0;
        facts.branch_is_gone = true;
        assert_eq!(judge(facts, &Retention::default(), &[]), Ok(()));
    }

    #[test]
    fn a_family_goes_together_or_stays_together() {
        let parent = Facts { kin: [BuildsetId(2)].into(), ..old() };
        let child = Facts { kin: [BuildsetId(1)].into(), completed_at: Some(NOW), ..old() };
        let family = [(BuildsetId(1), parent), (BuildsetId(2), child)].into();
        let judged = judge_family(&family, &Retention::default(), &Referred::new(), NOW);
        assert_eq!(judged, Err(Kept::Young));
    }

    #[test]
    fn logs_go_sooner_than_their_build_and_stay_for_the_same_reasons() {
        let rules = Retention::default();
        let mut facts = old();
        facts.completed_at = Some(NOW.before(days(40)));
        facts.builds.get_mut(&BuildId(7)).unwrap().finished_at = Some(NOW.before(days(40)));
        let judge = |facts: &Facts, referred: &Referred| judge_logs(facts, BuildId(7), &rules, referred, NOW);
        assert_eq!(judge(&facts, &Referred::new()), Ok(()));
        assert_eq!(judge(&facts, &[BuildId(7)].into()), Err(Kept::Referred(BuildId(7))));
        facts.builds.get_mut(&BuildId(7)).unwrap().newer = 2;
        assert_eq!(judge(&facts, &Referred::new()), Err(Kept::Last(BuildId(7))));
    }
}
