//! Sightings: what sources noticed becomes changes, by compare-and-set on the tip (S2).

use gristmill_model::{
    Change, ChangeId, EventBody, Movement, RefName, RefUpdate, RepositoryName, Revision, Sighting, Via, mutant,
};

use crate::judge;
use crate::turn::Turn;

/// Events after which a sighting's other refs are left for another look, so that no turn grows without bound.
const EVENTS_ENOUGH: usize = 10_000;

/// What became of a sighting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sighted {
    /// The changes made of it.
    pub changes: Vec<ChangeId>,
    /// Refs whose accepted tip is not what the source started from.
    pub look_again: Vec<RefName>,
}

/// Accepts what it can of a sighting. Linear in the updates times the schedulers.
pub fn sight(turn: &mut Turn<'_>, sighting: Sighting) -> Sighted {
    let Some(repository) = turn.catalog.repositories.get(&sighting.repository) else { return Sighted::default() };
    let build_first_sight = repository.build_first_sight;
    let seen_before = turn.state.repositories.get(&sighting.repository).is_some_and(|sight| sight.seen);
    let is_first = !seen_before && sighting.first_sight;
    let mut sighted = Sighted::default();
    for update in sighting.updates {
        if turn.events.len() >= EVENTS_ENOUGH {
            sighted.look_again.push(update.reference);
        } else if is_first && !build_first_sight {
            record_tip(turn, &sighting.repository, &update);
        } else {
            let update = if is_first { starting_from_tip(turn, &sighting.repository, update) } else { update };
            accept(turn, &sighting.repository, sighting.via, update, &mut sighted);
        }
    }
    if sighting.via != Via::Webhook {
        // Until every ref was recorded it is still the first sight, so that none is taken for new later.
        let is_seen = seen_before || sighted.look_again.is_empty();
        note_health(turn, &sighting.repository, seen_before, is_seen);
    }
    if is_first || !sighted.changes.is_empty() {
        judge::reconsider_waiting_for_tips(turn);
    }
    sighted
}

/// Notes that a repository could not be read.
pub fn sight_failed(turn: &mut Turn<'_>, repository: RepositoryName, error: String) {
    if !turn.catalog.repositories.contains_key(&repository) {
        return;
    }
    let failures = turn.state.repositories.get(&repository).map_or(0, |sight| sight.failures) + 1;
    turn.emit(EventBody::SourceFailing { repository, error, failures });
}

fn note_health(turn: &mut Turn<'_>, repository: &RepositoryName, seen_before: bool, is_seen: bool) {
    let failures = turn.state.repositories.get(repository).map_or(0, |sight| sight.failures);
    if failures > 0 {
        turn.emit(EventBody::SourceRecovered { repository: repository.clone(), failures });
    }
    if !seen_before && is_seen {
        turn.emit(EventBody::RepositorySeen { repository: repository.clone() });
    }
}

fn record_tip(turn: &mut Turn<'_>, repository: &RepositoryName, update: &RefUpdate) {
    let is_known = turn.state.tips.get(repository).is_some_and(|tips| tips.contains_key(&update.reference));
    if let (false, Some(revision)) = (is_known, &update.new) {
        turn.emit(EventBody::TipRecorded {
            repository: repository.clone(),
            reference: update.reference.clone(),
            revision: revision.clone(),
        });
    }
}

/// Has a movement begin where its ref was accepted to be. Whoever looks for the first time starts from nothing, although a
/// webhook may have told of a ref before: what it was is known here, how it got from there to where it is nobody has said.
fn starting_from_tip(turn: &Turn<'_>, repository: &RepositoryName, mut update: RefUpdate) -> RefUpdate {
    let tip = turn.state.tips.get(repository).and_then(|tips| tips.get(&update.reference));
    if let (None, Some(accepted)) = (&update.old, tip.and_then(|tip| tip.revision.as_ref())) {
        update.old = Some(accepted.clone());
        update.movement = Movement::Moved;
        update.incomplete = true;
    }
    update
}

fn accept(turn: &mut Turn<'_>, repository: &RepositoryName, via: Via, update: RefUpdate, sighted: &mut Sighted) {
    let tip = turn.state.tips.get(repository).and_then(|tips| tips.get(&update.reference));
    let accepted: Option<&Revision> = tip.and_then(|tip| tip.revision.as_ref());
    if accepted == update.new.as_ref() {
        return;
    }
    if accepted != update.old.as_ref() && !mutant::is_on(29) {
        sighted.look_again.push(update.reference);
        return;
    }
    let change = Change {
        id: turn.next_change(),
        repository: repository.clone(),
        seq: tip.map_or(0, |tip| tip.seq) + 1,
        reference: update.reference,
        old: update.old,
        new: update.new,
        movement: update.movement,
        commits: update.commits,
        incomplete: update.incomplete,
        via,
        at: turn.now,
    };
    sighted.changes.push(change.id);
    turn.emit(EventBody::ChangeSeen { change: change.clone() });
    judge::judge(turn, &change);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gristmill_model::{Catalog, Place, Repository, Timestamp};

    use super::*;
    use crate::state::State;

    fn catalog() -> Catalog {
        let repository = Repository {
            url: "/srv/app.git".to_owned(),
            branches: None,
            tags: false,
            default_branch: "main".to_owned(),
            poll: Duration::from_secs(60),
            webhook: None,
            credentials: None,
            build_first_sight: true,
            place: Place::default(),
        };
        Catalog { repositories: [("app".into(), repository)].into(), ..Catalog::default() }
    }

    fn sighting(via: Via, first_sight: bool, new: &str) -> Sighting {
        let update = RefUpdate {
            reference: RefName::of_branch("main"),
            old: None,
            new: Some(new.into()),
            movement: Movement::Created,
            commits: Vec::new(),
            incomplete: false,
        };
        Sighting { repository: "app".into(), via, first_sight, updates: vec![update] }
    }

    #[test]
    fn a_first_look_after_a_webhook_starts_from_what_that_told() {
        let (catalog, mut state) = (catalog(), State::default());
        let mut turn = Turn::new(&catalog, &mut state, Timestamp::from_seconds(1));
        assert_eq!(sight(&mut turn, sighting(Via::Webhook, false, "a1")).changes.len(), 1);
        // It moves on, nobody tells, and only then somebody looks for the first time.
        let sighted = sight(&mut turn, sighting(Via::Poll, true, "a2"));
        assert_eq!((sighted.changes.len(), sighted.look_again.len()), (1, 0));
        assert!(turn.state.repositories["app"].seen, "it need not be looked at for the first time for ever");
        let moved = turn.events.iter().rev().find_map(|body| match body {
            EventBody::ChangeSeen { change } => Some((change.old.clone(), change.movement, change.incomplete)),
            _ => None,
        });
        assert_eq!(moved, Some((Some("a1".into()), Movement::Moved, true)));
    }
}
