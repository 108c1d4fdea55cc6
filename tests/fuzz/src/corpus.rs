//! Inputs that are kept: `tests/fuzz/corpus/<target>/`, one file each.

use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// The folder of this crate.
pub fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the repository.
pub fn repository() -> &'static Path {
    crate_folder().ancestors().nth(2).expect("this crate lies two folders deep")
}

/// Where a target's kept inputs are.
pub fn kept_folder(target: &Target) -> PathBuf {
    crate_folder().join("corpus").join(target.name)
}

/// Where a long run collects what it finds; not part of the repository.
pub fn found_folder(target: &Target) -> PathBuf {
    work_folder().join("found").join(target.name)
}

/// Where failing inputs are written; not part of the repository.
pub fn failure_folder() -> PathBuf {
    work_folder().join("failures")
}

/// Where the input on trial is written, so that it is known after the process was killed by it.
pub fn trial_folder() -> PathBuf {
    work_folder().join("on-trial")
}

fn work_folder() -> PathBuf {
    repository().join("target/fuzz")
}

/// Gives what a target starts from: its own seeds, and the kept inputs in the order of their names.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = (target.seeds)();
    seeds.extend(read_all(&kept_folder(target)).into_iter().map(|(_, bytes)| bytes));
    if seeds.is_empty() {
        seeds.push(Vec::new());
    }
    seeds
}

/// Reads every file of a folder, by name. A folder that is not there has none.
pub fn read_all(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    files.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect()
}

/// Writes an input under a name made of its bytes, and gives the path.
///
/// # Errors
/// If the folder or file cannot be written.
pub fn keep(folder: &Path, prefix: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let digest = gristmill_model::Digest::of(bytes).0;
    let path = folder.join(format!("{prefix}{}", digest.get(..16).unwrap_or(&digest)));
    std::fs::write(&path, bytes)?;
    Ok(path)
}
