//! What a repository says it has: refs and the commits they point to, before anything is fetched.

use std::collections::BTreeMap;

use git2::{ErrorCode, ObjectType, Oid, Reference};
use gristmill_model::catalog::Repository;
use gristmill_model::source::limit;
use gristmill_model::{RefName, Revision};

use super::SweepError;

/// Warnings that one sweep keeps; more are counted.
pub const WARNINGS_MAX: usize = 20;

/// The refs that a repository has and that its configuration wants looked at.
#[derive(Debug, Default)]
pub struct Listing {
    /// The commit that each ref points to, tags peeled.
    pub tips: BTreeMap<RefName, Oid>,
    /// The objects that must be there for the tips to be read: the same, but tags unpeeled.
    pub objects: BTreeMap<RefName, Oid>,
    /// What could not be looked at, and why.
    pub warnings: Vec<String>,
    /// How many warnings there were.
    pub warning_count: usize,
}

impl Listing {
    /// Tells that something was left out.
    pub fn warn(&mut self, warning: String) {
        self.warning_count += 1;
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        }
    }

    /// Gives the warnings, with one more that counts those that were not kept.
    pub fn into_warnings(mut self) -> Vec<String> {
        let dropped = self.warning_count - self.warnings.len();
        if dropped > 0 {
            self.warnings.push(format!("and {dropped} more like these"));
        }
        self.warnings
    }

    /// Takes a ref in, if its name is one that can be kept.
    ///
    /// # Errors
    /// If there are more than `refs_max`.
    pub fn take(&mut self, name: RefName, object: Oid, commit: Oid, refs_max: usize) -> Result<(), SweepError> {
        if self.tips.len() >= refs_max {
            return Err(SweepError::TooManyRefs { limit: refs_max });
        }
        self.tips.insert(name.clone(), commit);
        self.objects.insert(name, object);
        Ok(())
    }
}

/// Says whether the configuration wants a ref looked at.
pub fn is_wanted(config: &Repository, name: &RefName) -> bool {
    match name.branch() {
        Some(branch) => config.branches.as_ref().is_none_or(|branches| branches.accepts(branch)),
        None => config.tags && name.tag().is_some(),
    }
}

/// Reads a ref's name as the other side gives it. `None` without a warning for what is not a branch or tag.
pub fn read_name(bytes: &[u8], listing: &mut Listing) -> Option<RefName> {
    if !(bytes.starts_with(b"refs/heads/") || bytes.starts_with(b"refs/tags/")) {
        return None;
    }
    let shown: String = String::from_utf8_lossy(bytes).chars().take(100).flat_map(char::escape_debug).collect();
    if bytes.len() > limit::NAME_BYTES_MAX {
        let size = bytes.len();
        listing.warn(format!(
            "ref `{shown}…` is left out: its name has {size} bytes, at most {} are kept",
            limit::NAME_BYTES_MAX
        ));
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(name) if Reference::is_valid_name(name) => Some(RefName::from(name)),
        Ok(_) => {
            listing.warn(format!("ref `{shown}` is left out: git does not allow this name"));
            None
        }
        Err(_) => {
            listing.warn(format!("ref `{shown}` is left out: its name is not UTF-8; rename it to have it seen"));
            None
        }
    }
}

/// Lists the refs of a repository on this machine. Commits that are `known` to be a ref's tip are not opened again.
///
/// # Errors
/// If the refs cannot be read at all, or are too many.
pub fn list_local(
    repository: &git2::Repository,
    config: &Repository,
    known: Option<&BTreeMap<RefName, Option<Revision>>>,
    refs_max: usize,
) -> Result<Listing, SweepError> {
    let mut listing = Listing::default();
    for reference in repository.references().map_err(SweepError::reading)? {
        let reference = match reference {
            Ok(reference) => reference,
            Err(error) => {
                listing.warn(format!("a ref cannot be read: {}", error.message()));
                continue;
            }
        };
        let Some(name) = read_name(reference.name_bytes(), &mut listing) else { continue };
        if !is_wanted(config, &name) {
            continue;
        }
        let known = known.and_then(|known| oid_of(known.get(&name)?.as_ref()?));
        match commit_of(&reference, known) {
            Ok((object, commit)) => listing.take(name, object, commit, refs_max)?,
            Err(problem) => listing.warn(format!("ref `{name}` is left out: {problem}")),
        }
    }
    Ok(listing)
}

/// Reads one ref again. `Ok(None)` if it is gone.
///
/// Listing and packing of refs may overlap, so that a listing misses a ref or sees where it was before. A single lookup
/// does not, so whatever seems to have moved is looked up once more.
///
/// # Errors
/// In words, if it is there and cannot be read.
pub fn look_up_local(repository: &git2::Repository, name: &RefName) -> Result<Option<Oid>, String> {
    match repository.find_reference(name.as_str()) {
        Ok(reference) => commit_of(&reference, None).map(|(_, commit)| Some(commit)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// Gives the object that a ref points to and the commit that it leads to; `known` is one, so it need not be opened.
fn commit_of(reference: &Reference<'_>, known: Option<Oid>) -> Result<(Oid, Oid), String> {
    let direct = reference.resolve().map_err(|error| error.message().to_owned())?;
    let object = direct.target().ok_or("it points to nothing")?;
    if let Some(known) = known.filter(|&known| known == object || Some(known) == direct.target_peel()) {
        return Ok((object, known));
    }
    match direct.peel(ObjectType::Commit) {
        Ok(commit) => Ok((object, commit.id())),
        Err(error) if matches!(error.code(), ErrorCode::Peel | ErrorCode::InvalidSpec) => {
            Err("it leads to no commit".to_owned())
        }
        Err(error) => Err(format!("its commit cannot be read ({})", error.message())),
    }
}

/// Reads a revision as git names it.
pub fn oid_of(revision: &Revision) -> Option<Oid> {
    Oid::from_str(revision.as_str()).ok().filter(|_| revision.as_str().len() == 40)
}

/// Names an object as the model does.
pub fn revision_of(oid: Oid) -> Revision {
    Revision(oid.to_string())
}
