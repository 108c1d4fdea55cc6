//! The one way in: an input, and what it comes to.

use std::collections::BTreeMap;

use gristmill_model::{BuilderOnBranch, Catalog, Delivery, Digest, EventBody, RefName, Scheduler, Timestamp};

use crate::input::{Denial, Input, NewDelivery, Reply};
use crate::judge::branch_due;
use crate::state::{State, Tip};
use crate::turn::Turn;
use crate::{finding, judge, people, place, report, sight, standing, timed, worker};

/// Decides one input. What it sets off is decided in the same turn; placement comes after the last input ([`close`]).
pub fn decide(turn: &mut Turn<'_>, input: Input) -> Reply {
    match input {
        Input::Activate { .. } => activate(turn),
        Input::Refuse { problems } => {
            turn.emit(EventBody::CatalogRefused { problems });
            Reply::Done
        }
        Input::Sight(sighting) => {
            let sighted = sight::sight(turn, sighting);
            Reply::Sighted { changes: sighted.changes, look_again: sighted.look_again }
        }
        Input::SightFailed { repository, error } => {
            sight::sight_failed(turn, repository, error);
            Reply::Done
        }
        Input::Deliver(delivery) => deliver(turn, delivery),
        Input::DeliveryRead { delivery, result } => {
            turn.emit(EventBody::DeliveryRead { delivery, result });
            Reply::Done
        }
        Input::Hello(hello) => worker::hello(turn, hello).map_or_else(Reply::Refused, Reply::Welcome),
        Input::Gone { worker, why } => {
            worker::gone(turn, worker, why);
            Reply::Done
        }
        Input::Ended { worker, why } => {
            worker::ended(turn, worker, why);
            Reply::Done
        }
        Input::Unheard { worker, silent } => {
            worker::unheard(turn, &worker, silent);
            Reply::Done
        }
        Input::Hold { worker, kind, hold } => done(worker::hold(turn, worker, kind, hold)),
        Input::Free { worker, kind, by } => done(worker::free(turn, worker, kind, &by)),
        Input::Forget { worker, by } => done(worker::forget(turn, worker, by)),
        Input::Dismiss { worker, token } => {
            worker::dismiss(turn, worker, token);
            Reply::Done
        }
        Input::MakeToken { token } => done(worker::make_token(turn, token)),
        Input::RevokeToken { token, by } => done(worker::revoke_token(turn, token, by)),
        Input::Report { worker, report } => done(report::report(turn, &worker, report)),
        Input::Force { scheduler, parameters, by, reason } => {
            match people::force(turn, &scheduler, &parameters, by, reason) {
                Ok(buildset) => Reply::Forced { buildset },
                Err(denial) => Reply::Refused(denial),
            }
        }
        Input::Cancel { what, by } => match people::cancel(turn, what, &by) {
            Ok(reached) => Reply::Cancelled { builds: reached.builds, requests: reached.requests },
            Err(denial) => Reply::Refused(denial),
        },
        Input::Announce { messages, .. } => {
            for mut message in messages {
                message.id = turn.next_message();
                message.at = turn.now;
                turn.emit(EventBody::MessageQueued { message });
            }
            Reply::Done
        }
        Input::Delivered { message, receipt } => {
            turn.emit(EventBody::MessageDelivered { message, receipt });
            Reply::Done
        }
        Input::Claim { message, until } => {
            turn.emit(EventBody::MessageClaimed { message, until });
            Reply::Done
        }
        Input::Deferred { message, attempts, error, due } => {
            turn.emit(EventBody::MessageDeferred { message, attempts, error, due });
            Reply::Done
        }
        Input::Dead { message, error } => {
            turn.emit(EventBody::MessageDead { message, error });
            Reply::Done
        }
        Input::Retired { deleted, recipes, standings } => {
            retired(turn, deleted, recipes, standings);
            Reply::Done
        }
        Input::Examine { examined } => {
            finding::examined(turn, examined);
            Reply::Done
        }
        Input::Tick => Reply::Done,
    }
}

fn done(result: Result<(), Denial>) -> Reply {
    result.map_or_else(Reply::Refused, |()| Reply::Done)
}

/// Puts the turn's catalog in force.
fn activate(turn: &mut Turn<'_>) -> Reply {
    turn.emit(EventBody::CatalogActivated { hash: turn.catalog.hash.clone() });
    worker::end_leases_of_before(turn);
    judge::let_go_of_orphans(turn);
    standing::close_orphans(turn);
    timed::set_moments(turn);
    judge::reconsider_waiting_for_tips(turn);
    Reply::Done
}

/// Notes what retention deleted. A recipe that an open request has come to use meanwhile stays, and so does the standing
/// on a branch that came back, is being built, or has an incident.
fn retired(
    turn: &mut Turn<'_>,
    mut deleted: BTreeMap<String, u64>,
    recipes: Vec<Digest>,
    mut standings: Vec<BuilderOnBranch>,
) {
    let is_used = |digest: &Digest| turn.state.requests.values().any(|request| request.recipe == *digest);
    let recipes: Vec<Digest> =
        recipes.into_iter().filter(|digest| turn.state.recipes.contains_key(digest) && !is_used(digest)).collect();
    standings.retain(|standing| is_over(turn.state, standing));
    if !standings.is_empty() {
        deleted.insert("standings".to_owned(), u64::try_from(standings.len()).unwrap_or(u64::MAX));
    }
    if !deleted.is_empty() || !recipes.is_empty() {
        turn.emit(EventBody::RetentionRan { deleted, recipes, standings });
    }
}

/// Says whether nothing can come of a standing any more: its branch was there and is gone everywhere, and nothing open is
/// about it.
fn is_over(state: &State, BuilderOnBranch { builder, branch }: &BuilderOnBranch) -> bool {
    let Some(standing) = state.standings.get(&(builder.clone(), branch.clone())) else { return false };
    let names = [RefName::of_branch(branch), RefName(format!("refs/tags/{branch}"))];
    let tips: Vec<&Tip> = state.tips.values().flat_map(|tips| names.iter().filter_map(|name| tips.get(name))).collect();
    standing.incident.is_none()
        && !tips.is_empty()
        && tips.iter().all(|tip| tip.revision.is_none())
        && state.buildsets.values().all(|buildset| buildset.branch != *branch)
}

fn deliver(turn: &mut Turn<'_>, new: NewDelivery) -> Reply {
    let delivery = Delivery {
        id: turn.next_delivery(),
        repository: new.repository,
        key: new.key,
        event: new.event,
        sha256: new.sha256,
        at: turn.now,
    };
    let id = delivery.id;
    turn.emit(EventBody::DeliveryAccepted { delivery });
    let Some(sighting) = new.sighting else {
        return Reply::Delivered { delivery: id, repeat: false, sweep: true, changes: Vec::new() };
    };
    let sighted = sight::sight(turn, sighting);
    let sweep = !sighted.look_again.is_empty();
    if !sweep {
        let ids: Vec<String> = sighted.changes.iter().map(ToString::to_string).collect();
        let result = if ids.is_empty() { "known already".to_owned() } else { format!("change {}", ids.join(", ")) };
        turn.emit(EventBody::DeliveryRead { delivery: id, result });
    }
    Reply::Delivered { delivery: id, repeat: false, sweep, changes: sighted.changes }
}

/// Ends a turn: fires what is due, builds what has been quiet, and places what is ready.
pub fn close(turn: &mut Turn<'_>) {
    timed::fire_due(turn);
    judge::release_quiet_branches(turn);
    worker::end_holds(turn);
    worker::end_drained(turn);
    place::place(turn);
}

/// Gives the next moment at which a turn is due although nothing comes in; `None` if there is none.
pub fn next_due(catalog: &Catalog, state: &State, now: Timestamp) -> Option<Timestamp> {
    let is_woken = |name| catalog.schedulers.get(name).is_some_and(|it: &Scheduler| it.kind.judges_changes());
    let held = state
        .held
        .iter()
        .filter(|(name, _)| is_woken(*name))
        .flat_map(|(_, branches)| branches.values())
        .filter_map(|changes| branch_due(changes));
    let timers = state
        .timers
        .iter()
        .filter(|(name, _)| catalog.schedulers.get(*name).is_some_and(|it| timed::target(&it.kind).is_some()))
        .filter_map(|(_, timer)| timer.next);
    held.chain(timers).chain(worker::next_due(state)).chain(place::next_due(catalog, state, now)).min()
}

#[cfg(test)]
mod tests {
    use gristmill_model::{BuildId, IncidentId, Outcome, Revision};

    use super::*;
    use crate::state::Standing;

    /// Hands in the standing of `check` on `topic`, and gives what is forgotten.
    fn forgets(change: impl FnOnce(&mut State)) -> Vec<BuilderOnBranch> {
        let of = || BuilderOnBranch { builder: "check".into(), branch: "topic".to_owned() };
        let gone = Tip { revision: None, seq: 2, change: None };
        let standing = Standing { outcome: Outcome::Failure, build: BuildId(7), good: BTreeMap::new(), incident: None };
        let mut state = State::default();
        state.tips.entry("lib".into()).or_default().insert(RefName::of_branch("topic"), gone);
        state.standings.insert((of().builder, of().branch), standing);
        change(&mut state);
        let catalog = Catalog::default();
        let mut turn = Turn::new(&catalog, &mut state, Timestamp::default());
        retired(&mut turn, BTreeMap::new(), vec![], vec![of()]);
        match turn.events.as_slice() {
            [] => vec![],
            [EventBody::RetentionRan { deleted, standings, .. }] => {
                assert_eq!(deleted.get("standings"), Some(&1));
                standings.clone()
            }
            others => panic!("{others:?}"),
        }
    }

    #[test]
    fn a_standing_goes_only_if_its_branch_is_gone_everywhere_and_nothing_open_is_about_it() {
        let tip = |revision: Option<&str>| Tip { revision: revision.map(Revision::from), seq: 1, change: None };
        assert_eq!(forgets(|_| ()).len(), 1);
        // The only word on its branch may be that of people who build it by hand.
        assert!(forgets(|state| state.tips.clear()).is_empty());
        for name in ["refs/heads/topic", "refs/tags/topic"] {
            let is_there = |state: &mut State| {
                state.tips.entry("app".into()).or_default().insert(RefName(name.to_owned()), tip(Some("c0ffee")));
            };
            assert!(forgets(is_there).is_empty(), "{name}");
        }
        let has_incident = |state: &mut State| {
            state.standings.values_mut().for_each(|standing| standing.incident = Some(IncidentId(1)));
        };
        assert!(forgets(has_incident).is_empty());
        assert!(forgets(|state| state.standings.clear()).is_empty());
    }
}
