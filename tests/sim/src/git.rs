//! The repositories as they truly are: refs that are pushed, forced, deleted, tagged, and all that ever was on them.

use std::collections::BTreeMap;

use gristmill_model::{Commit, Movement, Person, RefName, RefUpdate, RepositoryName, Revision, Timestamp};
use gristmill_schedulers::input::Tips;

use crate::rng::Rng;

/// The files that commits touch.
const FILES: [&[&str]; 4] = [&["src/lib.rs"], &["docs/a.md"], &["src/a.rs", "docs/b.md"], &["README"]];

/// Where a ref was put by one push.
#[derive(Debug, Clone)]
struct Push {
    to: Option<Revision>,
    commits: Vec<Commit>,
    forced: bool,
}

/// One repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Repository {
    /// All pushes of each ref, oldest first.
    refs: BTreeMap<RefName, Vec<Push>>,
    /// Revisions given out.
    revisions: u32,
}

/// All repositories.
#[derive(Debug, Clone, Default)]
pub(crate) struct Git(pub BTreeMap<RepositoryName, Repository>);

impl Repository {
    /// Gives where a ref is.
    pub(crate) fn tip(&self, name: &RefName) -> Option<&Revision> {
        self.refs.get(name)?.last()?.to.as_ref()
    }

    /// Lists the refs that were ever there, with where they are.
    pub(crate) fn tips(&self) -> impl Iterator<Item = (&RefName, Option<&Revision>)> {
        self.refs.iter().map(|(name, pushes)| (name, pushes.last().and_then(|push| push.to.as_ref())))
    }

    /// Says whether a ref was ever at a revision (or gone).
    pub(crate) fn was_at(&self, name: &RefName, revision: Option<&Revision>) -> bool {
        self.refs.get(name).is_some_and(|pushes| pushes.iter().any(|push| push.to.as_ref() == revision))
    }

    /// Pushes something, and gives the movement as a complete webhook would tell it.
    pub(crate) fn push(&mut self, rng: &mut Rng, repository: &str, now: Timestamp) -> RefUpdate {
        let (name, is_delete) = self.choose(rng);
        let old = self.tip(&name).cloned();
        let is_delete = is_delete && old.is_some();
        let commits: Vec<Commit> = if is_delete {
            Vec::new()
        } else {
            (0..rng.between(1, 3)).map(|_| self.commit(rng, repository, now)).collect()
        };
        let forced = old.is_some() && !is_delete && (name.tag().is_some() || rng.chance(0.1));
        let to = commits.last().map(|commit| commit.revision.clone());
        self.refs.entry(name.clone()).or_default().push(Push { to, commits, forced });
        self.update(&name, old.as_ref()).expect("it has just moved")
    }

    fn choose(&self, rng: &mut Rng) -> (RefName, bool) {
        match rng.below(20) {
            0..=12 => (RefName::of_branch("main"), false),
            13..=14 => (RefName::of_branch(&format!("rel-{}", rng.below(2))), false),
            15..=16 => (RefName::of_branch(&format!("topic-{}", rng.below(3))), false),
            17 => (RefName(format!("refs/tags/v{}", rng.below(3))), false),
            _ => (RefName::of_branch(&format!("topic-{}", rng.below(3))), true),
        }
    }

    fn commit(&mut self, rng: &mut Rng, repository: &str, now: Timestamp) -> Commit {
        self.revisions += 1;
        let name = *rng.pick(&["ada", "bob", "cyd"]);
        let files = *rng.pick(&FILES);
        Commit {
            revision: Revision(format!("{repository}-{:05x}", self.revisions)),
            author: Person { name: name.to_owned(), email: format!("{name}@example.org") },
            message: format!("change {}", self.revisions),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            at: now,
        }
    }

    /// Tells how a ref got from `old` to where it is; `None` if it did not move.
    fn update(&self, name: &RefName, old: Option<&Revision>) -> Option<RefUpdate> {
        let pushes = self.refs.get(name)?;
        let new = pushes.last()?.to.clone();
        if new.as_ref() == old {
            return None;
        }
        let from = old.and_then(|old| pushes.iter().rposition(|push| push.to.as_ref() == Some(old)));
        let since = &pushes[from.map_or(pushes.len() - 1, |from| from + 1)..];
        let movement = match (old, &new) {
            (_, None) => Movement::Deleted,
            (None, Some(_)) => Movement::Created,
            _ if since.iter().any(|push| push.forced) || from.is_none() => Movement::Forced,
            _ => Movement::Moved,
        };
        let commits =
            if new.is_some() { since.iter().flat_map(|push| push.commits.clone()).collect() } else { Vec::new() };
        Some(RefUpdate { reference: name.clone(), old: old.cloned(), new, movement, commits, incomplete: false })
    }

    /// Compares what was accepted with what is, as a sweep does.
    pub(crate) fn sweep(&self, accepted: Option<&Tips>) -> Vec<RefUpdate> {
        let known = |name: &RefName| accepted.and_then(|tips| tips.get(name)).and_then(Option::as_ref);
        self.refs.keys().filter_map(|name| self.update(name, known(name))).collect()
    }
}
