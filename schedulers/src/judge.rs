//! Verdicts: what each scheduler makes of a change. Exactly one per change and scheduler (S3), with its reasons.

use gristmill_model::matching::{ChangeSubject, Field};
use gristmill_model::{
    BuildsetId, Change, ChangeId, EventBody, Quiet, Reason, Scheduler, SchedulerKind, SchedulerName, Target, Timestamp,
    Trigger, Verdict, VerdictKind, mutant,
};

use crate::create::{self, Primary};
use crate::state::{BranchKey, HeldChange};
use crate::timed;
use crate::turn::Turn;

/// Asks every scheduler about a change that was just seen.
pub fn judge(turn: &mut Turn<'_>, change: &Change) {
    let catalog = turn.catalog;
    let projects = catalog.projects_of(&change.repository);
    for (name, scheduler) in catalog.schedulers.iter().skip(usize::from(mutant::is_on(27))) {
        let opinion = opine(turn, name, scheduler, ChangeSubject { change, projects: &projects });
        act_on(turn, name, scheduler, change, opinion);
    }
}

/// What a scheduler thinks of a change, before anything is done about it.
enum Opinion {
    Nothing(Vec<Reason>),
    Hold(Option<Timestamp>, Vec<Reason>),
    Build(Vec<Reason>),
}

fn opine(turn: &Turn<'_>, name: &SchedulerName, scheduler: &Scheduler, subject: ChangeSubject<'_>) -> Opinion {
    let change = subject.change;
    let target = match &scheduler.kind {
        SchedulerKind::Branch { .. } | SchedulerKind::AnyBranch { .. } => None,
        SchedulerKind::Periodic { target, .. } | SchedulerKind::Nightly { target, .. } => Some(target),
        kind => return Opinion::Nothing(vec![Reason::NotWokenByChanges { kind: kind.as_str().to_owned() }]),
    };
    if let Some(no) = refuse(turn, scheduler, subject, target) {
        return Opinion::Nothing(vec![no]);
    }
    let mut reasons = vec![Reason::Matches];
    if change.incomplete && scheduler.when.patterns(Field::Files).is_some() {
        reasons.push(Reason::MatchedConservatively);
    }
    let until = match &scheduler.kind {
        SchedulerKind::Branch { quiet: Some(quiet) } | SchedulerKind::AnyBranch { quiet: Some(quiet) } => {
            let key = (change.repository.clone(), change.reference.short().to_owned());
            let until = quiet_until(turn, name, &key, *quiet);
            reasons.push(Reason::QuietPeriod {
                until,
                quiet_s: quiet.span.as_secs(),
                at_most_s: quiet.at_most.as_secs(),
            });
            Some(until)
        }
        SchedulerKind::Branch { .. } | SchedulerKind::AnyBranch { .. } => return Opinion::Build(reasons),
        _ => {
            let next = turn.state.timers.get(name).and_then(|timer| timer.next);
            reasons.push(Reason::UntilFiring { next });
            next
        }
    };
    Opinion::Hold(until, reasons)
}

/// Gives the reason why a change does not concern a scheduler, if there is one.
fn refuse(
    turn: &Turn<'_>,
    scheduler: &Scheduler,
    subject: ChangeSubject<'_>,
    target: Option<&Target>,
) -> Option<Reason> {
    let change = subject.change;
    if let Some(target) = target
        && (target.repository != change.repository || change.reference.branch() != Some(target.branch.as_str()))
    {
        let (repository, branch) = (target.repository.clone(), target.branch.clone());
        return Some(Reason::OtherTarget { repository, branch });
    }
    if let Err(mismatch) = scheduler.when.check(&subject) {
        return Some(Reason::Mismatch { mismatch });
    }
    let codebases = create::codebases(turn.catalog, &scheduler.graph);
    if !codebases.values().any(|source| source.repository == change.repository) {
        return Some(Reason::RepositoryNotBuilt { codebases: codebases.into_keys().collect() });
    }
    if change.new.is_none() {
        return Some(Reason::RefDeleted);
    }
    let asks_for_tags = scheduler.when.patterns(Field::Tag).is_some();
    (change.reference.branch().is_none() && !asks_for_tags).then_some(Reason::TagNotAsked)
}

/// When a branch counts as quiet if a change came just now (S20).
fn quiet_until(turn: &Turn<'_>, name: &SchedulerName, key: &BranchKey, quiet: Quiet) -> Timestamp {
    let first = turn.state.held.get(name).and_then(|held| held.get(key)).and_then(|changes| changes.first());
    let latest = first.map_or(turn.now, |held| held.at).after(quiet.at_most);
    if mutant::is_on(35) { turn.now.after(quiet.span) } else { turn.now.after(quiet.span).min(latest) }
}

fn act_on(turn: &mut Turn<'_>, name: &SchedulerName, scheduler: &Scheduler, change: &Change, opinion: Opinion) {
    match opinion {
        Opinion::Nothing(reasons) => give(turn, name, scheduler, change.id, VerdictKind::Nothing, reasons),
        Opinion::Hold(until, reasons) => {
            let kind = held(change, until);
            give(turn, name, scheduler, change.id, kind, reasons);
        }
        Opinion::Build(reasons) => {
            let primary = Primary::of_change(change);
            let trigger = Trigger::Changes { changes: vec![change.id] };
            match create::create(turn, name, scheduler, Some(&primary), trigger) {
                Ok(buildset) => give(turn, name, scheduler, change.id, VerdictKind::Built { buildset }, reasons),
                Err(missing) => give(turn, name, scheduler, change.id, held(change, None), vec![missing]),
            }
        }
    }
}

fn held(change: &Change, until: Option<Timestamp>) -> VerdictKind {
    VerdictKind::Held {
        until,
        repository: change.repository.clone(),
        branch: change.reference.short().to_owned(),
        revision: change.new.clone().expect("a deleted ref is refused before"),
    }
}

fn give(
    turn: &mut Turn<'_>,
    name: &SchedulerName,
    scheduler: &Scheduler,
    change: ChangeId,
    kind: VerdictKind,
    reasons: Vec<Reason>,
) {
    let verdict =
        Verdict { change, scheduler: name.clone(), kind, reasons, place: scheduler.place.clone(), at: turn.now };
    turn.emit(EventBody::VerdictGiven { verdict });
}

/// Builds every branch that has been quiet for long enough. Linear in the held branches.
pub fn release_quiet_branches(turn: &mut Turn<'_>) {
    let now = turn.now;
    let due: Vec<(SchedulerName, BranchKey)> = turn
        .state
        .held
        .iter()
        .filter(|(name, _)| is_woken_by_changes(turn, name))
        .flat_map(|(name, branches)| branches.iter().map(move |(key, changes)| (name, key, changes)))
        .filter(|(_, _, changes)| branch_due(changes).is_some_and(|due| due <= now))
        .map(|(name, key, _)| (name.clone(), key.clone()))
        .collect();
    for (name, key) in due {
        release(turn, &name, &key);
    }
}

/// The moment at which a held branch is due: the newest change's. `None` while it waits for a tip.
pub fn branch_due(changes: &[HeldChange]) -> Option<Timestamp> {
    changes.last().and_then(|held| held.until)
}

fn is_woken_by_changes(turn: &Turn<'_>, name: &SchedulerName) -> bool {
    turn.catalog.schedulers.get(name).is_some_and(|scheduler| scheduler.kind.judges_changes())
}

/// Tries again what waits for a tip that was not known.
pub fn reconsider_waiting_for_tips(turn: &mut Turn<'_>) {
    let waiting: Vec<(SchedulerName, BranchKey)> = turn
        .state
        .held
        .iter()
        .flat_map(|(name, branches)| branches.iter().map(move |(key, changes)| (name, key, changes)))
        .filter(|(name, _, changes)| branch_due(changes).is_none() && is_woken_by_changes(turn, name))
        .map(|(name, key, _)| (name.clone(), key.clone()))
        .collect();
    for (name, key) in waiting {
        release(turn, &name, &key);
    }
}

/// Makes one buildset of all that a scheduler holds of a branch, at its newest revision.
fn release(turn: &mut Turn<'_>, name: &SchedulerName, key: &BranchKey) {
    let Some(scheduler) = turn.catalog.schedulers.get(name) else { return };
    let Some(changes) = turn.state.held.get(name).and_then(|held| held.get(key)).cloned() else { return };
    let Some(newest) = changes.last() else { return };
    let primary = Primary {
        repository: key.0.clone(),
        branch: key.1.clone(),
        revision: newest.revision.clone(),
        change: Some(newest.change),
    };
    let skipped = if mutant::is_on(33) { changes.len() - 1 } else { 0 };
    let trigger = Trigger::Changes { changes: changes.iter().skip(skipped).map(|held| held.change).collect() };
    match create::create(turn, name, scheduler, Some(&primary), trigger) {
        Ok(buildset) => {
            let why = newest.until.map_or(Reason::Matches, |_| quiet_reason(scheduler, &changes));
            built(turn, name, scheduler, &changes, buildset, &why);
        }
        Err(missing) => {
            for held in changes.iter().filter(|held| held.until.is_some()) {
                let kind = VerdictKind::Held {
                    until: None,
                    repository: key.0.clone(),
                    branch: key.1.clone(),
                    revision: held.revision.clone(),
                };
                give(turn, name, scheduler, held.change, kind, vec![missing.clone()]);
            }
        }
    }
}

/// Says whether the branch was quiet or the longest wait was over.
fn quiet_reason(scheduler: &Scheduler, changes: &[HeldChange]) -> Reason {
    let quiet = match &scheduler.kind {
        SchedulerKind::Branch { quiet } | SchedulerKind::AnyBranch { quiet } => *quiet,
        _ => None,
    };
    let (first, newest) = (&changes[0], &changes[changes.len() - 1]);
    match quiet {
        Some(quiet) if Some(newest.at.after(quiet.span)) > newest.until => Reason::QuietAtMost { first: first.change },
        _ => Reason::Quiet { since: newest.change },
    }
}

/// Gives the final verdict on changes that were held.
pub fn built(
    turn: &mut Turn<'_>,
    name: &SchedulerName,
    scheduler: &Scheduler,
    changes: &[HeldChange],
    buildset: BuildsetId,
    why: &Reason,
) {
    let newest = changes.last().map(|held| held.change);
    for held in changes {
        let reason = match newest {
            Some(newest) if newest != held.change => Reason::BuiltWith { change: newest },
            _ => why.clone(),
        };
        give(turn, name, scheduler, held.change, VerdictKind::Built { buildset }, vec![reason]);
    }
}

/// Gives a final verdict on what is held and can be built no more: its scheduler is gone, or is of another kind or for
/// another branch now.
pub fn let_go_of_orphans(turn: &mut Turn<'_>) {
    let orphans: Vec<(SchedulerName, ChangeId, Reason)> = turn
        .state
        .held
        .iter()
        .flat_map(|(name, branches)| branches.iter().map(move |(key, changes)| (name, key, changes)))
        .filter_map(|(name, key, changes)| Some((name, changes, never_released(turn, name, key)?)))
        .flat_map(|(name, changes, why)| changes.iter().map(move |held| (name.clone(), held.change, why.clone())))
        .collect();
    for (scheduler, change, why) in orphans {
        let place = turn.catalog.schedulers.get(&scheduler).map(|scheduler| scheduler.place.clone());
        let verdict = Verdict {
            change,
            scheduler,
            kind: VerdictKind::Nothing,
            reasons: vec![why],
            place: place.unwrap_or_default(),
            at: turn.now,
        };
        turn.emit(EventBody::VerdictGiven { verdict });
    }
}

/// Says why what a scheduler holds of a branch will never be built, if so.
fn never_released(turn: &Turn<'_>, name: &SchedulerName, key: &BranchKey) -> Option<Reason> {
    let known = turn.catalog.schedulers.get(name).filter(|_| !mutant::is_on(45));
    let Some(scheduler) = known else { return Some(Reason::SchedulerRemoved) };
    match timed::target(&scheduler.kind) {
        Some(target) if (&target.repository, &target.branch) == (&key.0, &key.1) => None,
        Some(target) => {
            Some(Reason::OtherTarget { repository: target.repository.clone(), branch: target.branch.clone() })
        }
        None if scheduler.kind.judges_changes() => None,
        None => Some(Reason::NotWokenByChanges { kind: scheduler.kind.as_str().to_owned() }),
    }
}
