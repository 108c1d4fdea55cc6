//! Who is there: the sessions of workers, and when each was last heard of. Pure: the time is an argument.
//!
//! Kept in the memory of the master that leads. Whoever takes the lead has none, so every worker says hello to it, which
//! it must anyway. A session's secret is nowhere but here and at its worker.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gristmill_model::{TokenId, WorkerName};

/// Silence after which a worker is late. Until then another one of the same name is refused.
pub const LATE: Duration = Duration::from_secs(25);
/// Silence after which a worker is no longer there.
pub const DETACHED: Duration = Duration::from_secs(60);

/// A session by the SHA-256 of its secret.
pub type SessionHash = [u8; 32];

/// One run of a worker's program, as it introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub worker: WorkerName,
    /// The token that it joined by.
    pub token: TokenId,
    /// Which run of its program.
    pub run: String,
}

/// Why a session is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSession {
    /// This master does not know it: it may be of before.
    Unknown,
    /// A later run of the worker took its place.
    Superseded,
}

#[derive(Debug)]
struct Present {
    session: SessionHash,
    /// The one that this one took the place of.
    superseded: Option<SessionHash>,
    run: String,
    token: TokenId,
}

/// All that is known of who is there.
#[derive(Debug, Default)]
pub(super) struct Roster {
    present: BTreeMap<WorkerName, Present>,
    by_session: HashMap<SessionHash, WorkerName>,
    heard: BTreeMap<WorkerName, Duration>,
    /// Since when this master listens: nobody can have been silent for longer.
    since: Duration,
    /// The built-in worker, which is there as long as it runs.
    inside: Option<WorkerName>,
}

impl Roster {
    /// Begins to listen: everybody counts as heard of now, and must say hello.
    pub(super) fn begin(&mut self, now: Duration) {
        *self = Self { since: now, inside: self.inside.take(), ..Self::default() };
    }

    /// Notes that nobody could be heard for a while that has just ended.
    pub(super) fn was_deaf(&mut self, now: Duration) {
        self.since = now;
    }

    /// Notes whether the built-in worker runs.
    pub(super) fn set_inside(&mut self, worker: Option<WorkerName>) {
        self.inside = worker;
    }

    /// Says for how long nobody heard of a worker.
    pub(super) fn silent(&self, worker: &WorkerName, now: Duration) -> Duration {
        if self.inside.as_ref() == Some(worker) {
            return Duration::ZERO;
        }
        let heard = self.heard.get(worker).copied().unwrap_or_default().max(self.since);
        now.saturating_sub(heard)
    }

    pub(super) fn hear(&mut self, worker: &WorkerName, now: Duration) {
        self.heard.insert(worker.clone(), now);
    }

    /// Gives the seconds since another run of the same worker was heard of, if that is why `run` must wait.
    pub(super) fn duplicate_of(&self, worker: &WorkerName, run: &str, now: Duration) -> Option<Duration> {
        let other = self.present.get(worker).filter(|present| present.run != run)?;
        let silent = self.silent(worker, now);
        (silent < LATE && self.by_session.contains_key(&other.session)).then_some(silent)
    }

    /// Opens a session, and ends the one before it.
    pub(super) fn open(&mut self, hash: SessionHash, session: Session, now: Duration) {
        let Session { worker, token, run } = session;
        let before = self.present.remove(&worker);
        if let Some(before) = &before {
            self.by_session.remove(&before.session);
        }
        let superseded = before.filter(|before| before.run != run).map(|before| before.session);
        self.by_session.insert(hash, worker.clone());
        self.hear(&worker, now);
        self.present.insert(worker, Present { session: hash, superseded, run, token });
    }

    /// Finds a session.
    pub(super) fn find(&self, hash: &SessionHash) -> Result<Session, NoSession> {
        if let Some((worker, present)) = self.by_session.get(hash).and_then(|name| self.present.get_key_value(name)) {
            let (worker, token, run) = (worker.clone(), present.token.clone(), present.run.clone());
            return Ok(Session { worker, token, run });
        }
        let is_superseded = self.present.values().any(|present| present.superseded.as_ref() == Some(hash));
        Err(if is_superseded { NoSession::Superseded } else { NoSession::Unknown })
    }

    /// Forgets workers that nobody knows any more, unless they have just come.
    pub(super) fn keep_only(&mut self, is_known: impl Fn(&WorkerName) -> bool, now: Duration) {
        self.heard.retain(|worker, heard| is_known(worker) || now.saturating_sub(*heard) < DETACHED);
        let heard = &self.heard;
        let is_known = |worker: &WorkerName| heard.contains_key(worker);
        self.present.retain(|worker, _| is_known(worker));
        let present = &self.present;
        self.by_session.retain(|_, worker| present.contains_key(worker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(run: &str) -> Session {
        Session { worker: "one".into(), token: TokenId::from("abcdefgh"), run: run.to_owned() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_second_run_waits_until_the_first_is_late_and_then_takes_its_place() {
        let (mut roster, one) = (Roster::default(), WorkerName::from("one"));
        roster.open([1; 32], session("a"), at(100));
        assert_eq!(roster.duplicate_of(&one, "a", at(101)), None, "the same run says hello again");
        assert_eq!(roster.duplicate_of(&one, "b", at(124)), Some(at(24)));
        assert_eq!(roster.duplicate_of(&one, "b", at(125)), None);
        roster.open([2; 32], session("b"), at(125));
        assert_eq!(roster.find(&[2; 32]), Ok(session("b")));
        assert_eq!(roster.find(&[1; 32]), Err(NoSession::Superseded));
        assert_eq!(roster.find(&[3; 32]), Err(NoSession::Unknown));
        roster.open([4; 32], session("b"), at(126));
        assert_eq!(roster.find(&[2; 32]), Err(NoSession::Unknown), "its own session of before");
    }

    #[test]
    fn nobody_was_silent_for_longer_than_somebody_listened() {
        let (mut roster, one) = (Roster::default(), WorkerName::from("one"));
        roster.hear(&one, at(10));
        assert_eq!(roster.silent(&one, at(70)), at(60));
        assert_eq!(roster.silent(&"two".into(), at(70)), at(70));
        roster.was_deaf(at(50));
        assert_eq!(roster.silent(&one, at(70)), at(20));
        roster.set_inside(Some(one.clone()));
        roster.begin(at(100));
        assert_eq!(roster.silent(&"two".into(), at(130)), at(30));
        assert_eq!(roster.silent(&one, at(130)), at(0), "it is in this very process");
    }

    #[test]
    fn a_worker_that_is_forgotten_has_no_session() {
        let mut roster = Roster::default();
        roster.open([1; 32], session("a"), at(1));
        roster.keep_only(|_| false, at(2));
        assert!(roster.find(&[1; 32]).is_ok(), "it has just come");
        roster.keep_only(|_| false, at(1) + DETACHED);
        assert_eq!(roster.find(&[1; 32]), Err(NoSession::Unknown));
    }
}
