//! Sightings: what sources noticed becomes changes, by compare-and-set on the tip (S2).

use gristmill_model::{
    Change, ChangeId, EventBody, RefName, RefUpdate, RepositoryName, Revision, Sighting, Via, mutant,
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
