//! What a master, and what a folder of logs, is called: a name of its own, kept in the folder itself.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// The file in the data folder that has the master's name.
pub const MASTER_FILE: &str = "master";
/// The file in the folder of logs that has that folder's name.
pub const LOGS_FILE: &str = "folder-name";
/// Bytes of the file that are read.
const NAME_BYTES_MAX: usize = 200;

/// Gives the name that `folder` keeps in `file`, and makes one when there is none: the machine's name, so that people
/// know it, and a part that no other has. The folder is made if it is not there.
///
/// # Errors
/// If the file cannot be read or written.
pub fn of(folder: &Path, file: &str) -> io::Result<String> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join(file);
    match std::fs::read_to_string(&file) {
        // One without its line's end was cut off by a crash, and may be somebody else's.
        Ok(text) if text.strip_suffix('\n').is_some_and(is_name) => return Ok(text.trim_end().to_owned()),
        Ok(_) => {}
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
        Err(problem) => return Err(problem),
    }
    let name = fresh();
    keep(&file, &name)?;
    Ok(name)
}

/// Makes a name that nobody has.
pub fn fresh() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).take(63).collect();
    // A hash map's keys are the system's chance, which is all that is asked for here.
    let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("{}-{chance:016x}", if host.is_empty() { "master" } else { &host })
}

/// Keeps a name in a file, instead of the one that is there.
///
/// # Errors
/// If it cannot be written.
pub fn keep(file: &Path, name: &str) -> io::Result<()> {
    let mut made = File::create(file)?;
    made.write_all(format!("{name}\n").as_bytes())?;
    made.sync_all()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = of(folder.path(), MASTER_FILE).unwrap();
        assert!(is_name(&first), "{first}");
        assert_eq!(of(folder.path(), MASTER_FILE).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(of(other.path(), MASTER_FILE).unwrap(), first);
    }

    #[test]
    fn a_file_that_holds_no_name_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MASTER_FILE), "half-a-na").unwrap();
        let name = of(folder.path(), MASTER_FILE).unwrap();
        assert_eq!(of(folder.path(), MASTER_FILE).unwrap(), name);
    }
}
