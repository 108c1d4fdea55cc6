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

use gristmill_model::{BuilderName, Digest};

/// Bytes of a builder's name that its folder's name keeps.
const SLUG_BYTES_MAX: usize = 60;

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
    in_use: Arc<Mutex<BTreeMap<String, BTreeSet<u32>>>>,
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
        let workspace = Workspace { folder, slug, number, in_use: Arc::clone(&self.in_use) };
        if !workspace.folder.is_dir() {
            fs::create_dir_all(&workspace.folder)?;
        }
        Ok(workspace)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(numbers) = in_use.get_mut(&self.slug) {
            numbers.remove(&self.number);
            if numbers.is_empty() {
                in_use.remove(&self.slug);
            }
        }
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
