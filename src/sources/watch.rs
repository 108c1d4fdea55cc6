//! Movements on this machine, noticed as they happen: `notify` on `refs/` and `packed-refs`.
//!
//! Only a hint: what is missed here is found by the next interval look, and a repository that cannot be watched is
//! looked at in intervals alone, and that is said.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_model::RepositoryName;
use notify::event::{CreateKind, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

/// What is called when a repository moved. The argument says whether a folder was made: what is put into it before it is
/// watched itself makes no event, so one more look is due shortly after.
pub type Poke = Arc<dyn Fn(bool) + Send + Sync>;

/// Watches repositories on this machine.
pub struct Watch {
    /// Taken before `roots` where both are needed; the thread that gets the events takes `roots` alone.
    inner: Mutex<Inner>,
    roots: Arc<Mutex<BTreeMap<PathBuf, BTreeMap<RepositoryName, Poke>>>>,
}

#[derive(Default)]
struct Inner {
    watcher: Option<RecommendedWatcher>,
    tended: BTreeMap<RepositoryName, Tended>,
}

/// What is watched for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tended {
    path: PathBuf,
    root: PathBuf,
    /// Which folders stand there: another one may be put in the same place.
    identity: Vec<(u64, u64)>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Makes one that watches nothing yet.
    pub fn new() -> Self {
        Self { inner: Mutex::default(), roots: Arc::default() }
    }

    /// Sees to it that the repository at `path` is watched. To be called before each look, so that nothing falls between
    /// looking and watching. Blocking, and cheap if it is watched already.
    ///
    /// # Errors
    /// In words, if it cannot be watched.
    pub fn tend(&self, name: &RepositoryName, path: &Path, poke: &Poke) -> Result<(), String> {
        let mut inner = lock(&self.inner);
        if let Some(tended) = inner.tended.get(name) {
            if tended.path == path && identity_of(&tended.root).is_some_and(|now| now == tended.identity) {
                return Ok(());
            }
            self.forget_in(&mut inner, name);
        }
        // Something else may be there now, or nothing: the look says so better.
        let Ok(repository) = git2::Repository::open(path) else { return Ok(()) };
        // Resolved, because events come under the resolved name.
        let root = std::fs::canonicalize(repository.commondir()).map_err(|error| error.to_string())?;
        let identity = identity_of(&root).ok_or("its `refs` folder cannot be read")?;
        let is_first = !lock(&self.roots).contains_key(&root);
        lock(&self.roots).entry(root.clone()).or_default().insert(name.clone(), Arc::clone(poke));
        if is_first && let Err(error) = self.add(&mut inner, &root) {
            lock(&self.roots).remove(&root);
            return Err(error);
        }
        inner.tended.insert(name.clone(), Tended { path: path.to_owned(), root, identity });
        Ok(())
    }

    /// Stops watching a repository.
    pub fn forget(&self, name: &RepositoryName) {
        self.forget_in(&mut lock(&self.inner), name);
    }

    fn add(&self, inner: &mut Inner, root: &Path) -> Result<(), String> {
        if inner.watcher.is_none() {
            let roots = Arc::clone(&self.roots);
            let watcher = notify::recommended_watcher(move |event| on_event(&roots, event)).map_err(explain)?;
            inner.watcher = Some(watcher);
        }
        let watcher = inner.watcher.as_mut().expect("it was just made");
        watcher.watch(&root.join("refs"), RecursiveMode::Recursive).map_err(explain)?;
        watcher.watch(root, RecursiveMode::NonRecursive).map_err(explain)
    }

    fn forget_in(&self, inner: &mut Inner, name: &RepositoryName) {
        let Some(tended) = inner.tended.remove(name) else { return };
        let is_last = {
            let mut roots = lock(&self.roots);
            let names = roots.entry(tended.root.clone()).or_default();
            names.remove(name);
            let is_last = names.is_empty();
            if is_last {
                roots.remove(&tended.root);
            }
            is_last
        };
        if let Some(watcher) = inner.watcher.as_mut().filter(|_| is_last) {
            for path in [tended.root.join("refs"), tended.root] {
                if let Err(error) = watcher.unwatch(&path) {
                    // The folder is gone, and its watch with it.
                    tracing::debug!("`{}` was not watched any more: {error}", path.display());
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity_of(root: &Path) -> Option<Vec<(u64, u64)>> {
    [root.to_owned(), root.join("refs")]
        .iter()
        .map(|path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino())))
        .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn explain(error: notify::Error) -> String {
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system has no watch left; raise the sysctl fs.inotify.max_user_watches".to_owned()
        }
        notify::ErrorKind::Io(ref io) if io.raw_os_error() == Some(24) => {
            "the system has no watcher left; raise the sysctl fs.inotify.max_user_instances".to_owned()
        }
        _ => error.to_string(),
    }
}

fn on_event(roots: &Mutex<BTreeMap<PathBuf, BTreeMap<RepositoryName, Poke>>>, event: notify::Result<Event>) {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!("watching repositories is disturbed, intervals go on: {error}");
            return;
        }
    };
    let roots = lock(roots);
    if event.need_rescan() {
        // Events were lost, nobody knows whose.
        roots.values().flat_map(BTreeMap::values).for_each(|poke| poke(false));
        return;
    }
    let makes_folder = event.kind == EventKind::Create(CreateKind::Folder);
    for path in event.paths.iter().filter(|_| !matches!(event.kind, EventKind::Access(_))) {
        let Some((root, names)) = path.ancestors().find_map(|parent| roots.get_key_value(parent)) else { continue };
        if path.strip_prefix(root).is_ok_and(concerns_refs) {
            names.values().for_each(|poke| poke(makes_folder));
        }
    }
}

/// Says whether a path in a repository's folder has to do with where its refs are. Git writes `x.lock` and renames it.
fn concerns_refs(path: &Path) -> bool {
    let is_lock = path.extension().is_some_and(|extension| extension == "lock");
    let is_gone = path.as_os_str().is_empty();
    is_gone || !is_lock && (path.starts_with("refs") || path == Path::new("packed-refs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refs_that_are_in_place_concern_us() {
        for (path, wanted) in [
            ("refs/heads/main", true),
            ("refs/heads/a/b", true),
            ("packed-refs", true),
            ("", true),
            ("refs/heads/main.lock", false),
            ("packed-refs.lock", false),
            ("packed-refs.new", false),
            ("HEAD", false),
            ("index.lock", false),
            ("objects/ab", false),
        ] {
            assert_eq!(concerns_refs(Path::new(path)), wanted, "{path}");
        }
    }
}
