//! Folders that builds work in. Each builder keeps its own from build to build.
//!
//! Two builds of one builder at the same time have two folders; the lowest free one is taken, so it stays warm.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use gristmill_model::{BuilderName, Digest};

/// Bytes of a builder's name that its folder's name keeps.
const SLUG_BYTES_MAX: usize = 60;

/// The file beside a workspace that was touched when it was last taken or given back: `0.used` beside `0`.
const STAMP: &str = "used";
/// How long a workspace is kept that no build uses: as long as a branch may well be quiet.
pub(crate) const UNUSED_MAX: Duration = Duration::from_secs(30 * 86_400);
/// The time between two looks for such ones.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(86_400);

/// All folders of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Workspaces {
    root: PathBuf,
    in_use: Arc<Mutex<BTreeMap<String, BTreeSet<u32>>>>,
}

/// One build's folder. It belongs to that build until this is dropped.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The build's own folder, without a symbolic link in it.
    pub(crate) folder: PathBuf,
    slug: String,
    number: u32,
    stamp: PathBuf,
    in_use: Arc<Mutex<BTreeMap<String, BTreeSet<u32>>>>,
}

/// A workspace that is there, and when it was last used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    slug: String,
    number: u32,
    used: SystemTime,
}

/// Says which workspaces may go. One that was used in the future, by a clock that was wrong then or is now, stays.
fn unused(mut there: Vec<Idle>, now: SystemTime) -> Vec<Idle> {
    there.retain(|idle| now.duration_since(idle.used).is_ok_and(|since| since > UNUSED_MAX));
    there
}

impl Workspaces {
    /// Makes the keeper of the folders below `root`.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, in_use: Arc::default() }
    }

    /// Takes a free folder of a builder, and makes it if need be.
    pub(crate) fn take(&self, builder: &BuilderName) -> io::Result<Workspace> {
        let slug = slug(builder.as_str());
        let number = {
            let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
            let numbers = in_use.entry(slug.clone()).or_default();
            let number = (0..).find(|number| !numbers.contains(number)).expect("fewer builds than numbers");
            numbers.insert(number);
            number
        };
        let folder = self.root.join(&slug).join(number.to_string());
        let stamp = self.stamp(&slug, number);
        let workspace = Workspace { folder, slug, number, stamp, in_use: Arc::clone(&self.in_use) };
        if !workspace.folder.is_dir() {
            fs::create_dir_all(&workspace.folder)?;
        }
        workspace.touch();
        Ok(workspace)
    }

    fn stamp(&self, slug: &str, number: u32) -> PathBuf {
        self.root.join(slug).join(format!("{number}.{STAMP}"))
    }

    /// Removes the workspaces that no build has used for [`UNUSED_MAX`], such as those of builders that are gone, and gives
    /// how many. One that cannot be removed is said and passed over. Blocks.
    pub(crate) fn remove_unused(&self, now: SystemTime) -> usize {
        let found = self.list().unwrap_or_else(|error| {
            tracing::warn!(%error, "workspaces that nobody uses stay, because `{}` cannot be read", self.root.display());
            Vec::new()
        });
        unused(found, now).iter().filter(|idle| self.remove(idle)).count()
    }

    fn remove(&self, Idle { slug, number, .. }: &Idle) -> bool {
        // Taken like a build takes it, so that none gets it meanwhile.
        {
            let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
            if !in_use.entry(slug.clone()).or_default().insert(*number) {
                return false;
            }
        }
        let builder = self.root.join(slug);
        let folder = builder.join(number.to_string());
        let removed = match remove(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the unused workspace `{}` cannot be removed", folder.display());
                false
            }
            _ => {
                // The builder's folder goes with the last one; it is made again when it is needed.
                fs::remove_file(self.stamp(slug, *number)).and_then(|()| fs::remove_dir(&builder)).ok();
                true
            }
        };
        give_back(&self.in_use, slug, *number);
        removed
    }

    /// Lists the workspaces. One without a stamp is of a worker from before there were any: its stamp is made now.
    fn list(&self) -> io::Result<Vec<Idle>> {
        let mut found = Vec::new();
        for slug in names_in(&self.root)? {
            for number in names_in(&self.root.join(&slug))?.iter().filter_map(|name| name.parse().ok()) {
                let stamp = self.stamp(&slug, number);
                match fs::metadata(&stamp).and_then(|metadata| metadata.modified()) {
                    Ok(used) => found.push(Idle { slug: slug.clone(), number, used }),
                    Err(_) => touch(&stamp),
                }
            }
        }
        Ok(found)
    }
}

/// Lists the names of what a folder has; none if it is not there, or is no folder.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Notes that a workspace is used now. On a disk that is full or read-only the build itself says more than this could.
fn touch(stamp: &Path) {
    if let Err(error) = fs::write(stamp, b"") {
        tracing::debug!(%error, "`{}` cannot be written", stamp.display());
    }
}

impl Workspace {
    fn touch(&self) {
        touch(&self.stamp);
    }
}

fn give_back(in_use: &Mutex<BTreeMap<String, BTreeSet<u32>>>, slug: &str, number: u32) {
    let mut in_use = in_use.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(numbers) = in_use.get_mut(slug) {
        numbers.remove(&number);
        if numbers.is_empty() {
            in_use.remove(slug);
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // A build may have taken days.
        self.touch();
        give_back(&self.in_use, &self.slug, self.number);
    }
}

/// Makes a folder's name of a builder's: one that no build tool stumbles over. What is changed gets a digest, so that two
/// builders never meet in one folder.
fn slug(builder: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let mut slug: String =
        builder.chars().map(|c| c.to_ascii_lowercase()).map(|c| if is_plain(c) { c } else { '-' }).collect();
    slug.truncate(SLUG_BYTES_MAX);
    if slug == builder && !slug.starts_with(['.', '-']) && !slug.is_empty() {
        return slug;
    }
    let digest = Digest::of(builder.as_bytes());
    format!("b-{}-{}", slug.trim_matches(['.', '-']), &digest.as_str()[..8])
}

/// Why a path inside a build's folder is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    #[error("`{path}` is not a path inside the build's folder: it may have neither a `/` in front nor a `..`")]
    Outside { path: String },
    #[error("`{path}` leads out of the build's folder: `{link}` is a symbolic link")]
    Link { path: String, link: String },
    #[error("`{path}` is not a folder")]
    NotAFolder { path: String },
    #[error("the build's folder is gone: did an earlier step delete it?")]
    Gone,
    #[error("cannot make the folder `{path}`")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl PathError {
    /// Says whether another attempt may do better.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Gone)
    }
}

/// Checks a relative path from the configuration, without looking at any disk.
pub(crate) fn check_relative(path: &str) -> Result<PathBuf, PathError> {
    let refused = || PathError::Outside { path: path.to_owned() };
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) if !name.as_encoded_bytes().contains(&0) => clean.push(name),
            Component::CurDir => {}
            _ => return Err(refused()),
        }
    }
    // Nobody may reach into what git keeps there: hooks and settings are commands.
    if clean.components().any(|part| part.as_os_str().eq_ignore_ascii_case(OsStr::new(".git"))) {
        return Err(refused());
    }
    Ok(clean)
}

/// Gives the folder that a checkout goes to. No part of it may be a symbolic link, which a build might have left there.
pub(crate) fn folder_for_checkout(root: &Path, path: &str) -> Result<PathBuf, PathError> {
    let mut folder = root.to_owned();
    for part in check_relative(path)?.components() {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(metadata) if metadata.is_symlink() => {
                let link = folder.strip_prefix(root).unwrap_or(&folder).display().to_string();
                return Err(PathError::Link { path: path.to_owned(), link });
            }
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(PathError::NotAFolder { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&folder).map_err(|source| PathError::Io { path: path.to_owned(), source })?;
            }
            Err(source) => return Err(PathError::Io { path: path.to_owned(), source }),
        }
    }
    Ok(folder)
}

/// Gives the folder that a step runs in, and makes it if need be. Symbolic links may lead about inside the build's folder.
pub(crate) fn folder_for_step(root: &Path, path: &str) -> Result<PathBuf, PathError> {
    if !root.is_dir() {
        return Err(PathError::Gone);
    }
    if path.is_empty() {
        return Ok(root.to_owned());
    }
    let failed = |source| PathError::Io { path: path.to_owned(), source };
    let root = root.canonicalize().map_err(failed)?;
    let mut folder = root.clone();
    for part in check_relative(path)?.components() {
        folder.push(part);
        if fs::symlink_metadata(&folder).is_err() {
            fs::create_dir(&folder).map_err(failed)?;
        }
        folder = folder.canonicalize().map_err(failed)?;
        if !folder.starts_with(&root) {
            let link = Path::new(part.as_os_str()).display().to_string();
            return Err(PathError::Link { path: path.to_owned(), link });
        }
    }
    if folder.is_dir() { Ok(folder) } else { Err(PathError::NotAFolder { path: path.to_owned() }) }
}

/// Deletes everything in a folder, except the named entries, also what a build has made read-only. Blocks.
pub(crate) fn empty(folder: &Path, except: &BTreeSet<PathBuf>) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !except.contains(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Lets this user into a folder and all those below it.
fn make_writable(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_have_folders_of_their_own_that_tools_can_live_in() {
        assert_eq!(slug("lib-test"), "lib-test");
        let odd = ["test[a,b]", "test[a.b]", "Test[a,b]", "../../etc", "..", ".", "", "-rf", "täst", &"x".repeat(300)];
        let slugs: BTreeSet<String> = odd.iter().map(|name| slug(name)).collect();
        assert_eq!(slugs.len(), odd.len());
        for slug in slugs {
            assert!(slug.starts_with("b-") && slug.len() < 80, "{slug}");
            assert!(slug.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')), "{slug}");
        }
    }

    #[test]
    fn two_builds_of_one_builder_never_share_a_folder_and_the_first_is_taken_again() {
        let data = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::new(data.path().to_owned());
        let builder = BuilderName::from("check");
        let first = workspaces.take(&builder).unwrap();
        let second = workspaces.take(&builder).unwrap();
        assert_ne!(first.folder, second.folder);
        let folder = first.folder.clone();
        drop(first);
        assert_eq!(workspaces.take(&builder).unwrap().folder, folder);
    }

    #[test]
    fn a_workspace_goes_when_it_was_unused_for_long_and_a_wrong_clock_removes_none() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_518_131);
        let idle = |name: &str, used| Idle { slug: name.to_owned(), number: 0, used };
        let second = Duration::from_secs(1);
        let there = vec![
            idle("long", now - UNUSED_MAX - second),
            idle("lately", now - UNUSED_MAX),
            idle("tomorrow", now + LOOK_EVERY),
        ];
        let gone: Vec<String> = unused(there, now).into_iter().map(|idle| idle.slug).collect();
        assert_eq!(gone, ["long"]);
    }

    #[test]
    fn unused_workspaces_are_removed_and_one_that_a_build_has_is_not() {
        let data = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::new(data.path().join("workspaces"));
        let builder = |name: &str| BuilderName::from(name);
        let kept = workspaces.take(&builder("kept")).unwrap();
        let gone = workspaces.take(&builder("gone")).unwrap().folder.clone();
        fs::write(gone.join("file"), "").unwrap();
        fs::set_permissions(&gone, fs::Permissions::from_mode(0o500)).unwrap();
        // One of before there were stamps.
        let before = data.path().join("workspaces/before/0");
        fs::create_dir_all(&before).unwrap();
        let now = fs::metadata(&kept.stamp).unwrap().modified().unwrap();
        assert_eq!(workspaces.remove_unused(now), 0);
        let later = now + UNUSED_MAX + LOOK_EVERY;
        assert_eq!(workspaces.remove_unused(later), 2);
        assert!(!gone.parent().unwrap().exists() && !before.exists() && kept.folder.is_dir());
        drop(kept);
        assert_eq!(workspaces.remove_unused(later), 1);
        assert!(workspaces.take(&builder("gone")).unwrap().folder.is_dir());
    }

    #[test]
    fn no_path_leads_out_of_the_builds_folder() {
        for path in ["..", "a/../b", "/etc", "a/../../b", ".git", "a/.git/hooks", "lib/.GIT"] {
            assert!(matches!(check_relative(path), Err(PathError::Outside { .. })), "{path}");
        }
        assert_eq!(check_relative("./a//b/.").unwrap(), Path::new("a/b"));

        let data = tempfile::tempdir().unwrap();
        let (root, out) = (data.path().join("root"), data.path().join("out"));
        fs::create_dir_all(root.join("real")).unwrap();
        fs::create_dir(&out).unwrap();
        std::os::unix::fs::symlink(&out, root.join("out")).unwrap();
        std::os::unix::fs::symlink("real", root.join("in")).unwrap();
        assert!(matches!(folder_for_checkout(&root, "out/x"), Err(PathError::Link { .. })));
        assert!(matches!(folder_for_checkout(&root, "in"), Err(PathError::Link { .. })));
        assert!(matches!(folder_for_step(&root, "out/x"), Err(PathError::Link { .. })));
        assert!(folder_for_step(&root, "in/x").unwrap().ends_with("real/x"));
        assert!(fs::read_dir(&out).unwrap().next().is_none());
    }

    #[test]
    fn what_a_build_made_read_only_can_be_deleted() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o500)).unwrap();
        make_writable(&data.path().join("a")).unwrap();
        empty(data.path(), &BTreeSet::new()).unwrap();
        assert!(fs::read_dir(data.path()).unwrap().next().is_none());
    }
}
