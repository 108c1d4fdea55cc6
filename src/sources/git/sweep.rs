//! One look at one repository: list, compare with what is known, read what moved.
//!
//! Blocking; run it on the pool. It decides nothing about what a movement means: it says what moved, from where to
//! where, and with which commits.

use std::collections::BTreeMap;
use std::path::Path;

use git2::Oid;
use gristmill_model::catalog::Repository;
use gristmill_model::{Movement, RefName, RefUpdate, RepositoryName, Revision, Sighting, Via};

use super::commits::{self, Brought};
use super::listing::{self, Listing, is_wanted, oid_of, revision_of};
use super::location::Location;
use super::mirror;
use super::{Limits, Login, Patience, SweepError};

/// Refs whose tip commit is read at the first look; the others are recorded by their revision alone.
pub const FIRST_SIGHT_COMMITS_MAX: usize = 1_000;

/// What to look at, and what is known of it.
#[derive(Debug)]
pub struct Look<'a> {
    /// Which repository.
    pub repository: &'a RepositoryName,
    /// How it is configured.
    pub config: &'a Repository,
    /// Where its mirror is or will be; not used for a repository on this machine.
    pub mirror: &'a Path,
    /// The accepted tips; `None` at the first look ever.
    pub known: Option<&'a BTreeMap<RefName, Option<Revision>>>,
    /// What made us look.
    pub via: Via,
    /// What is sent to be let in.
    pub login: Login,
    /// How much.
    pub limits: Limits,
    /// How long.
    pub patience: Patience,
    /// The program that speaks ssh.
    pub ssh: &'a Path,
}

/// What a look brought.
#[derive(Debug)]
pub struct Swept {
    /// What moved.
    pub sighting: Sighting,
    /// What could not be looked at, and why; for people.
    pub warnings: Vec<String>,
    /// How many refs there are that the configuration wants looked at.
    pub refs: usize,
}

/// Looks at a repository.
///
/// # Errors
/// Why it could not be looked at, and what to do about it. Nothing was changed then, except perhaps that the mirror
/// holds more objects.
pub fn sweep(look: &Look<'_>) -> Result<Swept, SweepError> {
    super::register_transports();
    match Location::parse(&look.config.url)? {
        Location::Local(path) => {
            let repository = open_local(&path)?;
            let mut listing = listing::list_local(&repository, look.config, look.known, look.limits.refs)?;
            let moved = confirm_local(&repository, compare(look, &listing), &mut listing);
            report(look, &repository, listing, moved)
        }
        location => {
            let mut connection = mirror::connect(look, &location)?;
            let listing = connection.list(look.config, look.limits.refs)?;
            let moved = compare(look, &listing);
            mirror::fetch(look, connection, &listing)
                .and_then(|repository| report(look, &repository, listing, moved))
                .inspect(|_| mirror::tidy(look.mirror, mirror::PACKS_MAX))
                .inspect_err(|error| mirror::discard_if_broken(look, error))
        }
    }
}

/// A ref that is not where it was accepted to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub name: RefName,
    /// Where it was accepted to be.
    pub old: Option<Revision>,
    /// Where it is.
    pub new: Option<Oid>,
}

/// Compares the listing with what is known. Refs that the configuration no longer wants are left alone: they are not
/// gone, only not looked at.
pub(super) fn compare(look: &Look<'_>, listing: &Listing) -> Vec<Moved> {
    let nothing = BTreeMap::new();
    let known = look.known.unwrap_or(&nothing);
    let mut moved: Vec<Moved> = Vec::new();
    for (name, &tip) in &listing.tips {
        let old = known.get(name).cloned().flatten();
        if old.as_ref().and_then(oid_of) != Some(tip) {
            moved.push(Moved { name: name.clone(), old, new: Some(tip) });
        }
    }
    for (name, revision) in known {
        if let Some(old) = revision
            && !listing.tips.contains_key(name)
            && is_wanted(look.config, name)
        {
            moved.push(Moved { name: name.clone(), old: Some(old.clone()), new: None });
        }
    }
    moved
}

/// Looks once more at each ref that seems to have moved or gone: see [`listing::look_up_local`]. What is there and cannot
/// be read is left where it was.
fn confirm_local(repository: &git2::Repository, moved: Vec<Moved>, listing: &mut Listing) -> Vec<Moved> {
    let mut confirmed = Vec::with_capacity(moved.len());
    for mut candidate in moved {
        match listing::look_up_local(repository, &candidate.name) {
            Ok(now) => {
                candidate.new = now;
                if candidate.old.as_ref().and_then(oid_of) != now {
                    confirmed.push(candidate);
                }
            }
            Err(problem) => listing.warn(format!("ref `{}` cannot be read: {problem}", candidate.name)),
        }
    }
    confirmed
}

fn report(
    look: &Look<'_>,
    repository: &git2::Repository,
    listing: Listing,
    moved: Vec<Moved>,
) -> Result<Swept, SweepError> {
    let first_sight = look.known.is_none();
    let base = Base::of(look, &listing, repository);
    let mut updates = Vec::with_capacity(moved.len());
    for (number, moved) in moved.into_iter().enumerate() {
        look.patience.check()?;
        let update = if first_sight {
            first_update(repository, moved, number < FIRST_SIGHT_COMMITS_MAX)?
        } else {
            update(repository, moved, &base)?
        };
        updates.push(update);
    }
    let sighting = Sighting { repository: look.repository.clone(), via: look.via, first_sight, updates };
    Ok(Swept { sighting, refs: listing.tips.len(), warnings: listing.into_warnings() })
}

/// What the commits of a new branch are counted from.
struct Base {
    default_branch: RefName,
    default_tip: Option<Oid>,
    /// The accepted tips: what a new default branch is counted from.
    accepted: Vec<Oid>,
}

impl Base {
    fn of(look: &Look<'_>, listing: &Listing, repository: &git2::Repository) -> Self {
        let default_branch = RefName::of_branch(&look.config.default_branch);
        let is_new = look.known.is_some_and(|known| !matches!(known.get(&default_branch), Some(Some(_))));
        let known = look.known.into_iter().flatten().filter_map(|(_, revision)| oid_of(revision.as_ref()?));
        Self {
            default_tip: listing.tips.get(&default_branch).copied(),
            accepted: if is_new {
                known.filter(|&oid| repository.find_commit(oid).is_ok()).collect()
            } else {
                Vec::new()
            },
            default_branch,
        }
    }

    /// Gives what is hidden from a new ref's commits; `None` if only its tip is listed, as for a tag.
    fn of_new(&self, name: &RefName) -> Option<&[Oid]> {
        match name.branch() {
            Some(_) if *name == self.default_branch => Some(&self.accepted),
            Some(_) => self.default_tip.as_ref().map(std::slice::from_ref),
            None => None,
        }
    }
}

fn first_update(repository: &git2::Repository, moved: Moved, with_tip: bool) -> Result<RefUpdate, SweepError> {
    let brought = match moved.new.filter(|_| with_tip) {
        Some(tip) => commits::only(repository, tip)?,
        None => Brought { incomplete: true, ..Brought::default() },
    };
    Ok(as_update(moved, Movement::Created, brought))
}

fn update(repository: &git2::Repository, moved: Moved, base: &Base) -> Result<RefUpdate, SweepError> {
    let Some(new) = moved.new else {
        return Ok(as_update(moved, Movement::Deleted, Brought::default()));
    };
    let Some(old) = &moved.old else {
        let brought = match base.of_new(&moved.name) {
            Some(hidden) => commits::between(repository, new, hidden)?,
            None => commits::only(repository, new)?,
        };
        return Ok(as_update(moved, Movement::Created, brought));
    };
    // Where it was may be nowhere any more: rewritten, and never fetched or already cleaned away.
    let Some(old) = oid_of(old).filter(|&old| repository.find_commit(old).is_ok()) else {
        let brought = Brought { incomplete: true, ..commits::only(repository, new)? };
        return Ok(as_update(moved, Movement::Forced, brought));
    };
    let descends = repository.graph_descendant_of(new, old).map_err(SweepError::reading)?;
    let movement = if descends && moved.name.branch().is_some() { Movement::Moved } else { Movement::Forced };
    let hidden = if descends { vec![old] } else { merge_bases(repository, old, new)? };
    let brought = match hidden.as_slice() {
        // Without common history there is no telling where the new one begins.
        [] => Brought { incomplete: true, ..commits::only(repository, new)? },
        bases => commits::between(repository, new, bases)?,
    };
    Ok(as_update(moved, movement, brought))
}

fn merge_bases(repository: &git2::Repository, one: Oid, other: Oid) -> Result<Vec<Oid>, SweepError> {
    match repository.merge_bases(one, other) {
        Ok(bases) => Ok(bases.iter().copied().collect()),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(Vec::new()),
        Err(error) => Err(SweepError::reading(error)),
    }
}

fn as_update(moved: Moved, movement: Movement, brought: Brought) -> RefUpdate {
    RefUpdate {
        reference: moved.name,
        old: moved.old,
        new: moved.new.map(revision_of),
        movement,
        commits: brought.commits,
        incomplete: brought.incomplete,
    }
}

fn open_local(path: &Path) -> Result<git2::Repository, SweepError> {
    git2::Repository::open(path).map_err(|error| {
        let path = path.display().to_string();
        match error.code() {
            git2::ErrorCode::NotFound => SweepError::NotThere { path },
            _ => SweepError::Open { path, problem: error.message().to_owned() },
        }
    })
}
