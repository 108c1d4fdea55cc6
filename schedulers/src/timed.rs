//! Timed schedulers: periodic and nightly. Each moment fires at most once, and is fired or recorded (S19).

use gristmill_model::{EventBody, Reason, Scheduler, SchedulerKind, SchedulerName, Target, Timestamp, Trigger, mutant};

use crate::create::{self, Primary};
use crate::cron::{self, Crontab};
use crate::judge;
use crate::state::HeldChange;
use crate::turn::Turn;

/// Sets the next moment of every timed scheduler that has none, or whose configured moments are others now.
pub fn set_moments(turn: &mut Turn<'_>) {
    let catalog = turn.catalog;
    for (name, scheduler) in &catalog.schedulers {
        let timer = turn.state.timers.get(name);
        // A clock that was put back does not bring moments back that have fired.
        let from = timer.and_then(|timer| timer.nominal).map_or(turn.now, |nominal| nominal.max(turn.now));
        let known = timer.and_then(|timer| timer.next);
        let still_meant = known.is_some_and(|next| is_moment(&scheduler.kind, next, from));
        if target(&scheduler.kind).is_some() && !still_meant {
            let next = next_after(&scheduler.kind, from, from);
            turn.emit(EventBody::TimerFired { scheduler: name.clone(), nominal: None, next, nothing: None });
        }
    }
}

/// Fires everything that is due. Moments that passed while nobody looked fire once, together.
pub fn fire_due(turn: &mut Turn<'_>) {
    let catalog = turn.catalog;
    let now = turn.now;
    for (name, scheduler) in &catalog.schedulers {
        let due = turn.state.timers.get(name).and_then(|timer| timer.next).filter(|next| *next <= now);
        if let (Some(nominal), Some(target)) = (due, target(&scheduler.kind)) {
            fire(turn, name, scheduler, target, nominal);
        }
    }
}

fn fire(turn: &mut Turn<'_>, name: &SchedulerName, scheduler: &Scheduler, target: &Target, nominal: Timestamp) {
    let now = if mutant::is_on(37) { nominal } else { turn.now };
    let next = next_after(&scheduler.kind, nominal, now);
    let key = (target.repository.clone(), target.branch.clone());
    let changes: Vec<HeldChange> =
        turn.state.held.get(name).and_then(|held| held.get(&key)).cloned().unwrap_or_default();
    let tip = create::tip_of(turn, &target.repository, &target.branch);
    let made = match tip {
        _ if target.only_if_changed && changes.is_empty() => Err(Reason::NothingChanged),
        None => Err(Reason::TipUnknown { repository: target.repository.clone(), branch: target.branch.clone() }),
        Some(stamp) => {
            let primary = Primary {
                repository: stamp.repository,
                branch: stamp.branch,
                revision: stamp.revision,
                change: stamp.change,
            };
            let trigger = Trigger::Time { nominal, changes: changes.iter().map(|held| held.change).collect() };
            create::create(turn, name, scheduler, Some(&primary), trigger)
        }
    };
    // One event a moment: it fires once, whatever comes of it (S19).
    let nothing = made.as_ref().err().map(ToString::to_string);
    turn.emit(EventBody::TimerFired { scheduler: name.clone(), nominal: Some(nominal), next, nothing });
    if let Ok(buildset) = made {
        judge::built(turn, name, scheduler, &changes, buildset, &Reason::Fired { nominal });
    }
}

/// Gives what a timed scheduler builds; `None` for other kinds.
pub fn target(kind: &SchedulerKind) -> Option<&Target> {
    match kind {
        SchedulerKind::Periodic { target, .. } | SchedulerKind::Nightly { target, .. } => Some(target),
        _ => None,
    }
}

/// Gives the first moment after both `nominal` and `now`.
pub fn next_after(kind: &SchedulerKind, nominal: Timestamp, now: Timestamp) -> Option<Timestamp> {
    match kind {
        SchedulerKind::Periodic { every, .. } => {
            let next = nominal.after(*every);
            Some(if next > now { next } else { now.after(*every) })
        }
        SchedulerKind::Nightly { cron, timezone, .. } => {
            Crontab::parse(cron).ok()?.next(nominal.max(now), cron::zone(timezone)?)
        }
        _ => None,
    }
}

/// Says whether `moment`, which was set before, is one that the configuration still means.
fn is_moment(kind: &SchedulerKind, moment: Timestamp, now: Timestamp) -> bool {
    match kind {
        SchedulerKind::Periodic { every, .. } => moment <= now.after(*every),
        SchedulerKind::Nightly { .. } => {
            let just_before = Timestamp::from_seconds(moment.seconds() - 1);
            next_after(kind, just_before, just_before) == Some(moment)
        }
        _ => false,
    }
}
