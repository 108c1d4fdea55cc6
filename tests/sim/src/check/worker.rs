//! Workers: who is let in (S26), who may be forgotten (S16), which holds are over (S20).

use gristmill_model::{Admits, HoldKind, Timestamp, Worker, WorkerName};

use super::{Checked, Checker, must};
use crate::store::Store;

impl Checker {
    /// S26: a worker joins by a token that admits it, and a pool has no more workers than it may.
    pub(super) fn s26_joined(&mut self, store: &Store, at: Timestamp, worker: &Worker) -> Checked {
        let Some(id) = &worker.token else { return Ok(()) };
        self.count("S26");
        let rows = &store.rows;
        let token = rows.tokens.get(id);
        let is_good = token.is_some_and(|it| it.revoked.is_none() && it.expires_at.is_none_or(|end| end > at));
        must(is_good, "S26", || format!("{} joins by token {id}, which admits nobody", worker.name))?;
        let Some(Admits::Pool { max, .. }) = token.map(|token| &token.admits) else { return Ok(()) };
        let has_builds = |name: &WorkerName| rows.open_builds.iter().any(|id| rows.builds[id].build.worker == *name);
        let is_other = |other: &&Worker| {
            other.name != worker.name
                && other.token.as_ref() == Some(id)
                && (other.connected || has_builds(&other.name))
        };
        let others = rows.workers.values().filter(is_other).count();
        must(others < *max as usize, "S26", || {
            format!("{} joins a pool of {max}, which has {others} others", worker.name)
        })
    }

    /// S16: who is there, or has builds, is not forgotten.
    pub(super) fn s16_forgotten(&mut self, store: &Store, name: &WorkerName) -> Checked {
        self.count("S16");
        let rows = &store.rows;
        let is_there = rows.workers.get(name).is_some_and(|worker| worker.connected);
        let has_builds = rows.open_builds.iter().any(|id| rows.builds[id].build.worker == *name);
        must(!is_there && !has_builds, "S16", || {
            format!("{name} is forgotten; it is there: {is_there}, has builds: {has_builds}")
        })
    }

    /// L2: somebody is left when a worker is quarantined.
    pub(super) fn l2_not_the_last(&mut self, store: &Store, name: &WorkerName) -> Checked {
        self.count("L2");
        let mut others = store.rows.workers.values().filter(|worker| worker.name != *name);
        must(others.any(|worker| worker.connected && worker.holds.is_empty()), "L2", || {
            format!("{name} is quarantined, and nobody is left")
        })
    }

    /// S20: a pause that is over is over.
    pub(super) fn s20_holds_end(&mut self, store: &Store, at: Timestamp) -> Checked {
        let holds = store.rows.workers.values().flat_map(|worker| worker.holds.iter().map(move |hold| (worker, hold)));
        for (worker, (kind, hold)) in holds.filter(|(_, (kind, _))| **kind != HoldKind::Drain) {
            self.count("S20");
            must(hold.until.is_none_or(|until| until > at), "S20", || {
                format!("{} of {} was to end at {:?}", kind.as_str(), worker.name, hold.until)
            })?;
        }
        Ok(())
    }
}
