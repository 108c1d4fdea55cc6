//! When to take the lead: decided from what is seen, and from how long it has not changed.

use std::time::Duration;

use crate::store::Leader;

/// How long a leader's beat may stand still before another master takes over.
pub const LEASE: Duration = Duration::from_secs(20);
/// After how long without an acknowledged beat a leader takes itself for deposed: before anybody else can.
pub const FENCE: Duration = Duration::from_secs(16);
/// How often a leader beats, and the others look.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);

/// A master that would lead if nobody else did.
#[derive(Debug, Clone)]
pub struct Candidate {
    master: String,
    /// Whether nobody else can be there at all.
    is_alone: bool,
    /// What was seen last, and when it was first seen so.
    seen: Option<(Leader, Duration)>,
    /// Whether it has looked since its start.
    has_looked: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Somebody leads.
    Follow,
    /// Nobody does.
    Take,
}

impl Candidate {
    /// Makes the candidate called `master`. `is_alone` says that no other master can be there.
    pub fn new(master: &str, is_alone: bool) -> Self {
        Self { master: master.to_owned(), is_alone, seen: None, has_looked: false }
    }

    /// Says whether somebody else is called as it is: its name leads, by a lead that it has not taken since its start.
    /// `own` is what it last tried to take, of that epoch and with that address.
    ///
    /// At its first look that was its predecessor, or an other of which it does not know yet.
    pub fn has_namesake(&self, leader: &Leader, own: (i64, &str)) -> bool {
        let (epoch, address) = own;
        let is_new = self.has_looked && leader.master == self.master && leader.epoch != epoch;
        is_new && (epoch != 0 || leader.address != address)
    }

    /// Has another name from now on.
    pub fn rename(&mut self, master: &str) {
        master.clone_into(&mut self.master);
    }

    /// Gives its name.
    pub fn master(&self) -> &str {
        &self.master
    }

    /// Forgets what it saw: what could not be looked at has not stood still.
    pub fn forget(&mut self) {
        self.seen = None;
    }

    /// Decides by what it sees now; `now` is its own clock, which never jumps. Costs a comparison.
    ///
    /// A master that finds its own name knows that its predecessor is dead: only one process at a time has the data
    /// folder that the name is kept in.
    pub fn look(&mut self, leader: &Leader, now: Duration) -> Advice {
        self.has_looked = true;
        let since = match &self.seen {
            Some((seen, since)) if seen == leader => *since,
            _ => {
                self.seen = Some((leader.clone(), now));
                now
            }
        };
        let is_gone = leader.master.is_empty() || leader.master == self.master;
        if self.is_alone || is_gone || now.saturating_sub(since) >= LEASE { Advice::Take } else { Advice::Follow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(epoch: i64, master: &str, beat: i64) -> Leader {
        Leader { epoch, master: master.to_owned(), beat, ..Leader::default() }
    }

    fn advice(candidate: &mut Candidate, leader: &Leader, seconds: u64) -> Advice {
        candidate.look(leader, Duration::from_secs(seconds))
    }

    #[test]
    fn what_nobody_leads_is_taken_at_once() {
        let mut candidate = Candidate::new("b", false);
        assert_eq!(advice(&mut candidate, &leader(0, "", 0), 0), Advice::Take);
        assert_eq!(advice(&mut candidate, &leader(7, "", 3), 1), Advice::Take, "given up");
        let mut restarted = Candidate::new("b", false);
        assert_eq!(advice(&mut restarted, &leader(7, "b", 3), 2), Advice::Take, "our own, from before the restart");
        assert_eq!(advice(&mut Candidate::new("b", true), &leader(7, "a", 3), 0), Advice::Take, "there is no other");
    }

    #[test]
    fn a_leader_that_beats_is_followed_whatever_the_time() {
        let mut candidate = Candidate::new("b", false);
        for beat in 0..1000 {
            assert_eq!(advice(&mut candidate, &leader(1, "a", beat), beat as u64 * 19), Advice::Follow);
        }
    }

    #[test]
    fn a_database_that_did_not_answer_is_no_sign_of_a_dead_leader() {
        let mut candidate = Candidate::new("b", false);
        assert_eq!(advice(&mut candidate, &leader(1, "a", 5), 100), Advice::Follow);
        candidate.forget();
        assert_eq!(advice(&mut candidate, &leader(1, "a", 5), 130), Advice::Follow);
        assert_eq!(advice(&mut candidate, &leader(1, "a", 5), 150), Advice::Take);
    }

    #[test]
    fn who_leads_under_its_name_without_it_is_a_namesake() {
        let mut candidate = Candidate::new("b", false);
        assert!(!candidate.has_namesake(&leader(7, "b", 3), (0, "here")), "its predecessor, for all it knows");
        advice(&mut candidate, &leader(7, "b", 3), 0);
        assert!(!candidate.has_namesake(&leader(8, "b", 0), (8, "here")), "that was itself");
        assert!(candidate.has_namesake(&leader(9, "b", 0), (8, "here")), "it was deposed by its own name");
        assert!(candidate.has_namesake(&leader(8, "b", 0), (0, "here")), "that one is elsewhere");
        assert!(!candidate.has_namesake(&leader(9, "a", 0), (8, "here")));
        candidate.rename("c");
        assert_eq!(advice(&mut candidate, &leader(9, "b", 0), 1), Advice::Follow);
    }

    #[test]
    fn a_leader_that_stands_still_for_a_whole_lease_has_gone() {
        let mut candidate = Candidate::new("b", false);
        assert_eq!(advice(&mut candidate, &leader(1, "a", 5), 100), Advice::Follow);
        assert_eq!(advice(&mut candidate, &leader(1, "a", 5), 119), Advice::Follow);
        assert_eq!(advice(&mut candidate, &leader(1, "a", 5), 120), Advice::Take);
        // A third one was quicker: it has a whole lease of its own.
        assert_eq!(advice(&mut candidate, &leader(2, "c", 0), 121), Advice::Follow);
        assert_eq!(advice(&mut candidate, &leader(2, "c", 0), 140), Advice::Follow);
        assert_eq!(advice(&mut candidate, &leader(2, "c", 0), 141), Advice::Take);
    }
}
