//! Brings a build's folder to exact revisions, with the system's git.
//!
//! A revision is fetched by its id, never by a name that somebody chose. A folder of an earlier build is taken over: its
//! locks are removed and its settings rewritten, because a build may have changed them. What cannot be mended is made
//! anew, once; but not because the origin does not answer.

mod git;
mod mirrors;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gristmill_model::protocol::BuildOrder;
use gristmill_model::{CheckoutMethod, CodebaseName, SourceStamp};

use crate::LogWriter;
use crate::conclude::{StepResult, one_line, say};
use crate::executor::ExecutorError;
use crate::workspace::{PathError, empty, folder_for_checkout};

use git::{Ended, settings};
pub(crate) use git::{Git, write_settings};
pub(crate) use mirrors::Mirrors;
use mirrors::{Mirror, is_far};

/// Why a checkout did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    #[error("no revision of codebase `{codebase}` was given")]
    NoStamp { codebase: CodebaseName },
    #[error("`{revision}` is not a full object id")]
    BadRevision { revision: String },
    #[error("`{url}` is not a URL or path that can be fetched from")]
    BadOrigin { url: String },
    #[error("codebase `{codebase}` goes to `{into}`, where another one is already")]
    SameFolder { codebase: CodebaseName, into: String },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("cannot prepare the folder of codebase `{codebase}`")]
    Folder { codebase: CodebaseName, source: io::Error },
    #[error("cannot run git")]
    Git { source: ExecutorError },
    #[error("`{origin}` cannot be fetched from")]
    Unreachable { origin: String },
    #[error("revision {revision} is not in `{origin}` any more")]
    Gone { revision: String, origin: String },
    #[error("codebase `{codebase}` cannot be brought to revision {revision}, not even in a fresh folder")]
    Broken { codebase: CodebaseName, revision: String },
    #[error("git {0}")]
    Ended(Ended),
}

impl CheckoutError {
    /// Says whether it was stopped from outside.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self, Self::Ended(Ended::Stopped))
    }

    /// Says what this means for the step.
    pub(crate) fn into_result(self) -> StepResult {
        match &self {
            Self::Ended(Ended::Overtime) => {
                let limit = Some(gristmill_model::Cause::Limit);
                StepResult { cause: limit, ..StepResult::broken(say(&self)) }
            }
            Self::NoStamp { .. }
            | Self::BadRevision { .. }
            | Self::BadOrigin { .. }
            | Self::SameFolder { .. }
            | Self::Gone { .. } => StepResult::refused(say(&self)),
            Self::Path(error) if !error.is_transient() => StepResult::refused(say(&self)),
            _ => StepResult::broken(say(&self)),
        }
    }
}

/// One codebase and where it goes.
struct Target<'a> {
    codebase: &'a CodebaseName,
    stamp: &'a SourceStamp,
    url: &'a str,
    into: &'a str,
    folder: PathBuf,
}

/// Checks out every codebase of the order below `root`.
pub(crate) async fn checkout(
    order: &BuildOrder,
    method: CheckoutMethod,
    root: &Path,
    git: &mut Git<'_>,
    log: &mut LogWriter,
) -> Result<String, CheckoutError> {
    let mut targets = targets(order, root)?;
    // Outer folders first: making one anew must not cost what was just put inside.
    targets.sort_by_key(|target| target.folder.components().count());
    for target in &mut targets {
        target.folder = folder_for_checkout(root, target.into)?;
    }
    let mut folders = BTreeSet::new();
    for target in &targets {
        if !folders.insert(target.folder.clone()) {
            return Err(CheckoutError::SameFolder { codebase: target.codebase.clone(), into: target.into.to_owned() });
        }
    }
    for target in &targets {
        // Again, because what was checked out just now may have put a link in the way.
        folder_for_checkout(root, target.into)?;
        let inside: BTreeSet<PathBuf> = folders
            .iter()
            .filter(|folder| folder.starts_with(&target.folder) && **folder != target.folder)
            .cloned()
            .collect();
        bring(target, method, &inside, git, log).await?;
    }
    Ok(summary(&targets))
}

fn summary(targets: &[Target<'_>]) -> String {
    let parts: Vec<String> =
        targets.iter().map(|target| format!("{} at {}", target.codebase, target.stamp.revision.short())).collect();
    parts.join(", ")
}

/// Checks everything that the order says before anything is touched.
fn targets<'a>(order: &'a BuildOrder, root: &Path) -> Result<Vec<Target<'a>>, CheckoutError> {
    let mut targets = Vec::new();
    for (codebase, usage) in &order.recipe.sources {
        let no_stamp = || CheckoutError::NoStamp { codebase: codebase.clone() };
        let stamp = order.stamps.get(codebase).ok_or_else(no_stamp)?;
        if !is_object_id(stamp.revision.as_str()) {
            return Err(CheckoutError::BadRevision { revision: one_line(stamp.revision.as_str()) });
        }
        let bad_origin = |url: &str| CheckoutError::BadOrigin { url: one_line(url) };
        let origin = order.origins.get(&stamp.repository).ok_or_else(|| bad_origin(stamp.repository.as_str()))?;
        if origin.url.is_empty() || origin.url.starts_with('-') || origin.url.contains(['\0', '\n']) {
            return Err(bad_origin(&origin.url));
        }
        let folder = root.join(crate::workspace::check_relative(&usage.into)?);
        targets.push(Target { codebase, stamp, url: &origin.url, into: &usage.into, folder });
    }
    Ok(targets)
}

fn is_object_id(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Brings one folder to its revision.
async fn bring(
    target: &Target<'_>,
    method: CheckoutMethod,
    inside: &BTreeSet<PathBuf>,
    git: &mut Git<'_>,
    log: &mut LogWriter,
) -> Result<(), CheckoutError> {
    let revision = target.stamp.revision.as_str();
    let failed = |source| CheckoutError::Folder { codebase: target.codebase.clone(), source };
    let trouble = match take_over(&target.folder, revision) {
        Ok(was_there) => match attempt(target, method, inside, git, log, was_there).await {
            Err(CheckoutError::Broken { .. }) if was_there => "its repository is broken".to_owned(),
            other => return other,
        },
        Err(error) => error.to_string(),
    };
    log.remark(&format!("the folder of {} is made anew: {trouble}", target.codebase));
    let (folder, except) = (target.folder.clone(), above(&target.folder, inside));
    let emptied = tokio::task::spawn_blocking(move || empty(&folder, &except)).await;
    emptied.map_err(io::Error::other).and_then(|result| result).map_err(failed)?;
    take_over(&target.folder, revision).map_err(failed)?;
    attempt(target, method, inside, git, log, false).await
}

/// Gives the entries of `folder` that other codebases' folders are in.
fn above(folder: &Path, inside: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let entry = |path: &PathBuf| path.strip_prefix(folder).ok()?.components().next().map(|first| folder.join(first));
    inside.iter().filter_map(entry).collect()
}

async fn attempt(
    target: &Target<'_>,
    method: CheckoutMethod,
    inside: &BTreeSet<PathBuf>,
    git: &mut Git<'_>,
    log: &mut LogWriter,
    was_there: bool,
) -> Result<(), CheckoutError> {
    let revision = target.stamp.revision.as_str();
    let broken = || CheckoutError::Broken { codebase: target.codebase.clone(), revision: revision.to_owned() };
    if !(was_there && head_is(&target.folder, revision)) {
        fetch(target, git, log).await?;
    }
    let arguments = ["checkout", "--force", "--detach", revision, "--"];
    if !git.run(&target.folder, &arguments, log).await?.is_success() {
        // The fast way may have relied on objects that are not all there.
        fetch(target, git, log).await?;
        if !git.run(&target.folder, &arguments, log).await?.is_success() {
            return Err(broken());
        }
    }
    let options = match method {
        CheckoutMethod::Incremental => return Ok(()),
        CheckoutMethod::Clean => "-ffdq",
        CheckoutMethod::Fresh => "-ffdxq",
    };
    let mut arguments = vec!["clean".to_owned(), options.to_owned()];
    for folder in inside {
        let relative = folder.strip_prefix(&target.folder).unwrap_or(folder);
        arguments.push(format!("--exclude=/{}", literal(&relative.display().to_string())));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if !git.run(&target.folder, &arguments, log).await?.is_success() {
        return Err(broken());
    }
    Ok(())
}

/// Escapes what an exclude pattern would take for more than itself.
fn literal(path: &str) -> String {
    path.chars()
        .flat_map(|c| (matches!(c, '*' | '?' | '[' | ']' | '\\' | ' ')).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// Fetches the revision: from the worker's own mirror of the origin if there is one, else from the origin itself.
async fn fetch(target: &Target<'_>, git: &mut Git<'_>, log: &mut LogWriter) -> Result<(), CheckoutError> {
    let Some(mirrors) = git.mirrors().filter(|_| is_far(target.url)) else {
        return fetch_from_origin(target, git, log).await;
    };
    let mirror = git.unless_stopped(mirrors.take(target.url)).await?;
    let found = fetch_from_mirror(&mirror, target, git, log).await?;
    if found == Found::Here {
        drop(mirror);
        let made = tokio::task::spawn_blocking(move || mirrors.make_room()).await;
        if let Err(error) = made.map_err(io::Error::other).and_then(|result| result) {
            tracing::warn!(%error, "mirrors cannot be looked through");
        }
        return Ok(());
    }
    fetch_from_origin(target, git, log).await?;
    if found == Found::Broken {
        // The origin answers, so it is the mirror that is no good.
        mirror.delete();
    }
    Ok(())
}

/// What a mirror was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The revision was fetched from it.
    Here,
    /// The origin does not give the revision out by its branches and tags alone.
    Elsewhere,
    /// It could not be brought up to date, or read.
    Broken,
}

/// Brings the mirror up to the revision, and fetches from it.
async fn fetch_from_mirror(
    mirror: &Mirror,
    target: &Target<'_>,
    git: &mut Git<'_>,
    log: &mut LogWriter,
) -> Result<Found, CheckoutError> {
    let revision = target.stamp.revision.as_str();
    if let Err(error) = mirror.prepare(revision.len() == 64) {
        tracing::warn!(path = %mirror.folder.display(), %error, "a mirror cannot be used");
        return Ok(Found::Broken);
    }
    let is_there = ["cat-file", "-e", revision];
    if !git.run_bare(&mirror.folder, &is_there, log).await?.is_success() {
        let names = [&FETCH[..], &["--prune", "--end-of-options", target.url]].concat();
        let all = [&names[..], &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]].concat();
        if !git.run_bare(&mirror.folder, &all, log).await?.is_success() {
            return Ok(Found::Broken);
        }
        if !git.run_bare(&mirror.folder, &is_there, log).await?.is_success() {
            return Ok(Found::Elsewhere);
        }
    }
    let path = mirror.folder.display().to_string();
    let here = [&FETCH[..], &["--end-of-options", &path, revision]].concat();
    let is_fetched = git.run(&target.folder, &here, log).await?.is_success();
    Ok(if is_fetched { Found::Here } else { Found::Broken })
}

const FETCH: [&str; 6] =
    ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--update-shallow"];

/// Fetches the revision; if the origin does not give out single revisions, everything that it has a name for.
async fn fetch_from_origin(target: &Target<'_>, git: &mut Git<'_>, log: &mut LogWriter) -> Result<(), CheckoutError> {
    let revision = target.stamp.revision.as_str();
    let mut one = FETCH.to_vec();
    one.extend(["--end-of-options", target.url, revision]);
    if git.run(&target.folder, &one, log).await?.is_success() {
        return Ok(());
    }
    let mut all = FETCH.to_vec();
    all.extend(["--prune", "--end-of-options", target.url, "+refs/*:refs/gristmill/*"]);
    let has_all = git.run(&target.folder, &all, log).await?.is_success();
    let object = format!("{revision}^{{commit}}");
    if git.run(&target.folder, &["cat-file", "-e", &object], log).await?.is_success() {
        return Ok(());
    }
    let origin = one_line(target.url);
    if has_all {
        return Err(CheckoutError::Gone { revision: revision.to_owned(), origin });
    }
    // Is it the origin, or what is left here of an earlier build? Only in the latter case a new folder helps.
    let probe = ["ls-remote", "--quiet", "--end-of-options", target.url, "HEAD"];
    if git.run_outside(&probe, log).await?.is_success() {
        Err(CheckoutError::Broken { codebase: target.codebase.clone(), revision: revision.to_owned() })
    } else {
        Err(CheckoutError::Unreachable { origin })
    }
}

/// Makes the folder a repository that nothing but this checkout has a hand in; says whether it was one before.
fn take_over(folder: &Path, revision: &str) -> io::Result<bool> {
    let dot_git = folder.join(".git");
    let metadata = match fs::symlink_metadata(&dot_git) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let is_folder = metadata.as_ref().is_some_and(fs::Metadata::is_dir);
    if metadata.is_some() && !is_folder {
        // A link or a file would lead git to another repository.
        fs::remove_file(&dot_git)?;
    }
    let was_there = is_folder && dot_git.join("HEAD").is_file() && dot_git.join("objects").is_dir();
    if !was_there {
        for part in ["objects/info", "objects/pack", "refs/heads"] {
            fs::create_dir_all(dot_git.join(part))?;
        }
        fs::write(dot_git.join("HEAD"), "ref: refs/heads/none\n")?;
    }
    let (config, wanted) = (dot_git.join("config"), settings(revision.len() == 64));
    if fs::read_to_string(&config).ok().as_deref() != Some(wanted) {
        fs::write(&config, wanted)?;
    }
    for lock in ["index.lock", "HEAD.lock", "config.lock", "shallow.lock", "packed-refs.lock"] {
        match fs::remove_file(dot_git.join(lock)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(was_there)
}

/// Says whether the folder stands at this revision, so that its objects are there.
fn head_is(folder: &Path, revision: &str) -> bool {
    fs::read_to_string(folder.join(".git/HEAD")).is_ok_and(|head| head.trim_end() == revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_object_id_is_a_revision() {
        assert!(is_object_id(&"a1".repeat(20)) && is_object_id(&"0f".repeat(32)));
        for revision in ["", "main", "--upload-pack=x", "$(id)", &"A1".repeat(20), &"a1".repeat(19)] {
            assert!(!is_object_id(revision), "{revision}");
        }
    }

    #[test]
    fn patterns_mean_themselves() {
        assert_eq!(literal("lib"), "lib");
        assert_eq!(literal("a*[b]"), r"a\*\[b\]");
    }
}
