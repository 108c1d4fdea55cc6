//! What a master calls itself: a name of its own, kept in its data folder.

use std::io;
use std::path::Path;

/// The file in the data folder that has the name.
pub const NAME_FILE: &str = "master";
/// Bytes of the file that are read.
const NAME_BYTES_MAX: usize = 200;

/// Gives the name of the master whose data is in `folder`, and makes one when there is none: the machine's name, so that
/// people know it, and a part that no other has.
///
/// # Errors
/// If the file cannot be read or written.
pub fn of(folder: &Path) -> io::Result<String> {
    let file = folder.join(NAME_FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) if is_name(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
        Err(problem) => return Err(problem),
    }
    let name = new();
    // Written under another name first: half a name would be somebody else's.
    let fresh = folder.join(format!("{NAME_FILE}.new"));
    std::fs::write(&fresh, format!("{name}\n"))?;
    std::fs::rename(fresh, file)?;
    Ok(name)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(|c| c.is_ascii_graphic())
}

fn new() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).take(63).collect();
    // A hash map's keys are the system's chance, which is all that is asked for here.
    let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("{}-{chance:016x}", if host.is_empty() { "master" } else { &host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = of(folder.path()).unwrap();
        assert!(is_name(&first), "{first}");
        assert_eq!(of(folder.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(of(other.path()).unwrap(), first);
    }

    #[test]
    fn a_file_that_holds_no_name_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME_FILE), "\u{0}\n").unwrap();
        let name = of(folder.path()).unwrap();
        assert_eq!(of(folder.path()).unwrap(), name);
    }
}
