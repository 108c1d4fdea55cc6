//! Standings: how a builder fares on a branch, who may have broken it, and what broke together.

use std::collections::BTreeMap;

use gristmill_model::{
    Build, Buildset, Cause, ChangeId, EventBody, Incident, IncidentId, Outcome, Recipe, RepositoryName, SuspectRange,
    Suspects, Transition, Trigger, mutant,
};

use crate::create;
use crate::state::Standing;
use crate::turn::Turn;

/// Tells what a build that settled its request means for its builder on its branch.
pub fn tell(
    turn: &mut Turn<'_>,
    build: &Build,
    buildset: &Buildset,
    recipe: &Recipe,
    outcome: Outcome,
    cause: Option<Cause>,
) {
    let key = (build.builder.clone(), buildset.branch.clone());
    let before = turn.state.standings.get(&key).cloned();
    let Some(transition) = Transition::between(before.as_ref().map(|it| it.outcome), outcome) else { return };
    let contained = create::contained(recipe, buildset);
    let contains = contained.iter().map(|(repository, (_, change))| (repository.clone(), *change)).collect();
    turn.emit(EventBody::BuilderTurned {
        builder: build.builder.clone(),
        branch: buildset.branch.clone(),
        transition,
        outcome,
        cause,
        build: build.id,
        contains,
    });
    match transition {
        Transition::Broke => {
            let good = before.as_ref().map(|standing| &standing.good);
            let suspects = suspects(&contained, good, buildset);
            open_or_join(turn, build, buildset, suspects);
        }
        Transition::Fixed => ease(turn, build, before.as_ref()),
        Transition::StillFailing | Transition::Passing => {}
    }
}

/// Names the changes since the last good build; if there never was one, those that set the buildset off.
fn suspects(
    contained: &BTreeMap<RepositoryName, (String, ChangeId)>,
    good: Option<&BTreeMap<RepositoryName, ChangeId>>,
    buildset: &Buildset,
) -> Suspects {
    let never_good = good.is_none_or(BTreeMap::is_empty) || mutant::is_on(105);
    contained
        .iter()
        .filter_map(|(repository, (branch, upto))| {
            let after = match good.and_then(|good| good.get(repository)).filter(|_| !mutant::is_on(105)) {
                Some(after) => *after,
                None if never_good => before_first_trigger(buildset, *upto),
                // It was good when this repository had brought no change at all.
                None => ChangeId(0),
            };
            (after < *upto).then(|| (repository.clone(), SuspectRange { branch: branch.clone(), after, upto: *upto }))
        })
        .collect()
}

/// Gives the change before the first of those that set a buildset off, if `upto` is one of them; else just the one
/// before `upto`: somebody should look at the newest.
fn before_first_trigger(buildset: &Buildset, upto: ChangeId) -> ChangeId {
    let first = match &buildset.trigger {
        Trigger::Changes { changes } | Trigger::Time { changes, .. } if changes.contains(&upto) => changes.first(),
        _ => None,
    };
    ChangeId(first.map_or(upto.0, |first| first.0) - 1)
}

fn open_or_join(turn: &mut Turn<'_>, build: &Build, buildset: &Buildset, suspects: Suspects) {
    let (builder, branch) = (build.builder.clone(), buildset.branch.clone());
    match find_joinable(turn, &branch, &suspects) {
        Some((incident, narrowed)) => {
            turn.emit(EventBody::IncidentJoined { incident, builder, build: build.id, suspects: narrowed });
        }
        None => {
            let incident = turn.next_incident();
            turn.emit(EventBody::IncidentOpened { incident, branch, builder, build: build.id, suspects });
        }
    }
}

/// Finds an open incident that the same changes may have caused, and what both suspect.
fn find_joinable(turn: &Turn<'_>, branch: &str, suspects: &Suspects) -> Option<(IncidentId, Suspects)> {
    turn.state.incidents.values().filter(|incident| incident.branch == branch).find_map(|incident| {
        let shared: Suspects = suspects
            .iter()
            .filter_map(|(repository, range)| {
                Some((repository.clone(), incident.suspects.get(repository)?.intersect(range)?))
            })
            .collect();
        (!shared.is_empty()).then_some((incident.id, shared))
    })
}

fn ease(turn: &mut Turn<'_>, build: &Build, before: Option<&Standing>) {
    let Some(incident) = before.and_then(|standing| standing.incident) else { return };
    if !turn.state.incidents.contains_key(&incident) {
        return;
    }
    turn.emit(EventBody::IncidentEased { incident, builder: build.builder.clone(), build: build.id });
    if turn.state.incidents.get(&incident).is_some_and(|open| is_over(turn, open)) {
        turn.emit(EventBody::IncidentClosed { incident, build: build.id });
    }
}

/// Says whether all that an incident broke is good again, or no longer configured.
fn is_over(turn: &Turn<'_>, incident: &Incident) -> bool {
    let is_done = |builder| incident.fixed.contains_key(builder) || !turn.catalog.builders.contains_key(builder);
    incident.builders.keys().all(is_done)
}

/// Closes incidents of which only builders are left that are no longer configured.
pub fn close_orphans(turn: &mut Turn<'_>) {
    let orphans: Vec<_> = turn
        .state
        .incidents
        .values()
        .filter(|incident| is_over(turn, incident))
        .map(|incident| (incident.id, incident.first_build))
        .collect();
    for (incident, build) in orphans {
        turn.emit(EventBody::IncidentClosed { incident, build });
    }
}
