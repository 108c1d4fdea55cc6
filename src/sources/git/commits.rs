//! Which commits a movement brought, with the files they touched, within the limits of a change.

use git2::{Commit as GitCommit, DiffOptions, Oid, Repository, Sort};
use gristmill_model::source::limit;
use gristmill_model::{Commit, Person, Timestamp};

use super::SweepError;
use super::listing::revision_of;

/// Commits of one movement, oldest first.
#[derive(Debug, Default)]
pub struct Brought {
    /// They themselves.
    pub commits: Vec<Commit>,
    /// Whether commits or files were left out.
    pub incomplete: bool,
}

/// Lists what is reachable from `new` and not from `hidden`: the newest [`limit::COMMITS_MAX`] of it, oldest first.
///
/// # Errors
/// If an object on the way cannot be read.
pub fn between(repository: &Repository, new: Oid, hidden: &[Oid]) -> Result<Brought, SweepError> {
    let mut walk = repository.revwalk().map_err(SweepError::reading)?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).map_err(SweepError::reading)?;
    walk.push(new).map_err(SweepError::reading)?;
    for &oid in hidden {
        walk.hide(oid).map_err(SweepError::reading)?;
    }
    let mut found = Vec::new();
    for oid in walk.take(limit::COMMITS_MAX + 1) {
        found.push(oid.map_err(SweepError::reading)?);
    }
    let too_many = found.len() > limit::COMMITS_MAX;
    found.truncate(limit::COMMITS_MAX);
    let mut brought = read_all(repository, &found)?;
    brought.incomplete |= too_many;
    Ok(brought)
}

/// Reads one commit by itself.
///
/// # Errors
/// If it cannot be read.
pub fn only(repository: &Repository, oid: Oid) -> Result<Brought, SweepError> {
    read_all(repository, &[oid])
}

/// Reads commits given newest first, and gives them oldest first.
fn read_all(repository: &Repository, newest_first: &[Oid]) -> Result<Brought, SweepError> {
    let mut brought = Brought::default();
    let mut files_left = limit::FILES_MAX;
    // The newest are read first, so that they keep their files when the limit is reached.
    for &oid in newest_first {
        let commit = repository.find_commit(oid).map_err(SweepError::reading)?;
        let files = files_of(repository, &commit, files_left)?;
        files_left -= files.paths.len();
        brought.incomplete |= files.incomplete;
        brought.commits.push(Commit {
            revision: revision_of(oid),
            author: person(&commit),
            message: cut(commit.message_bytes(), limit::MESSAGE_BYTES_MAX),
            files: files.paths,
            at: Timestamp::from_seconds(commit.time().seconds()),
        });
    }
    brought.commits.reverse();
    Ok(brought)
}

fn person(commit: &GitCommit<'_>) -> Person {
    let author = commit.author();
    Person {
        name: cut(author.name_bytes(), limit::PERSON_BYTES_MAX),
        email: cut(author.email_bytes(), limit::PERSON_BYTES_MAX),
    }
}

#[derive(Default)]
struct Files {
    paths: Vec<String>,
    incomplete: bool,
}

/// Lists the files that a commit changed against its first parent: for a merge, what it brought into its branch.
fn files_of(repository: &Repository, commit: &GitCommit<'_>, files_max: usize) -> Result<Files, SweepError> {
    let parent = match commit.parent_count() {
        0 => None,
        _ => Some(commit.parent(0).and_then(|parent| parent.tree()).map_err(SweepError::reading)?),
    };
    let tree = commit.tree().map_err(SweepError::reading)?;
    let mut options = DiffOptions::new();
    options.include_typechange(true).skip_binary_check(true);
    let diff =
        repository.diff_tree_to_tree(parent.as_ref(), Some(&tree), Some(&mut options)).map_err(SweepError::reading)?;
    let mut files = Files::default();
    for delta in diff.deltas() {
        let path = delta.new_file().path_bytes().or_else(|| delta.old_file().path_bytes()).unwrap_or_default();
        if files.paths.len() == files_max || path.len() > limit::NAME_BYTES_MAX {
            files.incomplete = true;
            if files.paths.len() == files_max {
                break;
            }
            continue;
        }
        files.paths.push(String::from_utf8_lossy(path).into_owned());
    }
    Ok(files)
}

/// Makes text of bytes: what is not UTF-8 is replaced, what is too long is cut between characters.
pub fn cut(bytes: &[u8], bytes_max: usize) -> String {
    // Replacing can make the text longer than the bytes were, so it is cut twice.
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max + 4)]).into_owned();
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("aé".as_bytes(), 2), "a");
        assert_eq!(cut("aé".as_bytes(), 3), "aé");
        assert_eq!(cut(b"a\xff\xfeb", 100), "a\u{fffd}\u{fffd}b");
    }

    proptest! {
        #[test]
        fn cutting_never_exceeds_the_limit(bytes in proptest::collection::vec(any::<u8>(), 0..64), max in 0usize..40) {
            prop_assert!(cut(&bytes, max).len() <= max);
        }
    }
}
