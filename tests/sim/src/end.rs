//! The second phase: nothing fails any more, and everything that was begun must come to its end (L1, L3 to L6, L9).

use std::time::Duration;

use gristmill_model::{MessageState, RefName, RepositoryName};

use crate::check::Violation;
use crate::world::World;

/// How long after the faults a ref that no hook told of may stay unseen: one interval, one more for a look that failed
/// just before, and the look itself (L6).
const SEEN_WITHIN: Duration = Duration::from_secs(60 * 2 + 120);
/// How long a message may be due although its target works: what hung before must have been given up (L5).
const SENT_WITHIN: Duration = Duration::from_secs(300 + 120);

impl World {
    /// Says what is not at its end yet, if anything is. Only what was begun before the second phase counts.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let healed = self.healed?;
        let rows = &self.store.rows;
        let old = |id: &&gristmill_model::BuildsetId| rows.buildsets[id].buildset.created_at <= healed;
        if let Some(open) = rows.open_buildsets.iter().find(old) {
            let requests = rows.buildsets[open].requests.iter().map(|id| &rows.requests[id]);
            let states: Vec<String> =
                requests.map(|request| format!("{} {}", request.id, request.state.as_str())).collect();
            let of_it =
                rows.open_builds.iter().map(|id| &rows.builds[id].build).filter(|build| build.buildset == *open);
            let builds: Vec<String> =
                of_it.map(|build| format!("build {} {} on {}", build.id, build.state.as_str(), build.worker)).collect();
            return Some(format!("buildset {open} is open: {}; {}", states.join(", "), builds.join(", ")));
        }
        if let Some((repository, reference)) = self.unseen() {
            return Some(format!("{reference} of {repository} is not where it is seen to be"));
        }
        // Whether a token still admits its worker is for people to say.
        if !self.workers.iter().all(|worker| worker.link.is_some() || worker.is_lost || worker.token.is_some()) {
            return Some("a worker is not connected".to_owned());
        }
        if let Some(wish) = self.wishes.iter().find(|wish| wish.once.is_some() && !wish.is_over) {
            return Some(format!("a person asks again and again, and is not answered: {:?}", wish.input));
        }
        let is_late = |row: &crate::store::rows::MessageRow| {
            row.state == MessageState::Due && row.due.after(SENT_WITHIN) < self.now
        };
        let late = rows.due.iter().map(|id| &rows.outbox[id]).find(|row| is_late(row));
        let is_early = self.now < healed.after(SENT_WITHIN);
        late.filter(|_| !is_early).map(|row| format!("message {} is due and not sent", row.message.id))
    }

    /// Names a ref whose accepted tip is not the true one.
    fn unseen(&self) -> Option<(&RepositoryName, &RefName)> {
        let tips = self.git.0.iter().flat_map(|(name, repository)| repository.tips().map(move |tip| (name, tip)));
        tips.filter(|(name, (reference, tip))| {
            let key = ((*name).clone(), (*reference).clone());
            self.store.rows.tips.get(&key).and_then(|(revision, ..)| revision.as_ref()) != *tip
        })
        .map(|(name, (reference, _))| (name, reference))
        .next()
    }

    /// Looks once more at everything, at the end of a run.
    pub(crate) fn check_end(&mut self) -> Result<(), Violation> {
        self.checker.s28_conservation(&self.store)?;
        let loaded = self.store.load();
        if loaded != self.folded {
            return Err(Violation::new("load", "at the end the tables give another state than the journal"));
        }
        let rows = &self.store.rows;
        for row in rows.outbox.values().filter(|row| row.state == MessageState::Delivered) {
            if !self.target.keys.contains_key(&row.message.key) {
                let why = format!("message {} counts as delivered, and never was", row.message.id);
                return Err(Violation::new("S17", why));
            }
        }
        Ok(())
    }

    /// L6, L5: what has a bound of its own is looked at when that is over.
    pub(crate) fn check_bounds(&self) -> Result<(), Violation> {
        let Some(healed) = self.healed else { return Ok(()) };
        if self.now >= healed.after(SEEN_WITHIN)
            && let Some((repository, reference)) = self.unseen()
        {
            return Err(Violation::new("L6", format!("{reference} of {repository} moved, and nobody has seen it")));
        }
        Ok(())
    }
}
