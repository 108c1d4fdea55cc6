//! Whose logs are in a folder: the installation's name is kept in the folder itself.
//!
//! A database that was restored for a trial may be started with the folder of the installation that goes on. It knows
//! nothing of that one's newer builds, and would delete their logs as those of no build.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::store::LogStore;

/// The file in the folder of logs that names the installation.
pub const OWNER_FILE: &str = "installation";
/// Bytes of a name: that of an installation is far shorter.
const NAME_BYTES_MAX: usize = 200;

/// Why nothing may be deleted from a folder of logs.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// It has another installation's logs.
    #[error(
        "{} says that these are the logs of installation `{found}`, and this one is `{own}`: delete that file once no \
         service of the other one runs any more, or give this one a folder of its own (`--logs DIR --forget-logs`)",
        file.display()
    )]
    Other {
        /// The file that says so.
        file: PathBuf,
        /// Whose they are.
        found: String,
        /// Who wanted to delete some.
        own: String,
    },
    /// Its name cannot be read or written.
    #[error("cannot read or write {}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LogStore {
    /// Makes sure that the logs are those of the installation called `own`: a folder that names none gets its name.
    ///
    /// # Errors
    /// If they are another one's, or if that cannot be found out.
    pub fn claim(&self, own: &str) -> Result<(), OwnerError> {
        let file = self.folder().join(OWNER_FILE);
        let failed = |source| OwnerError::Io { file: file.clone(), source };
        fs::create_dir_all(self.folder()).map_err(failed)?;
        if let Some(found) = read(&file).map_err(failed)? {
            return refuse_other(file.clone(), found, own);
        }
        // Several masters may do so at once: half a name counts as none, and they all write the same one. Of two
        // installations the last one has it, and the other one is refused from then on.
        let written = write(&file, own);
        written.and_then(|()| File::open(self.folder())?.sync_all()).map_err(failed)?;
        let found = read(&file).map_err(failed)?.unwrap_or_default();
        refuse_other(file.clone(), found, own)
    }
}

fn refuse_other(file: PathBuf, found: String, own: &str) -> Result<(), OwnerError> {
    if found == own { Ok(()) } else { Err(OwnerError::Other { file, found, own: own.to_owned() }) }
}

/// Reads a name; `None` if there is none, or half of one.
fn read(file: &std::path::Path) -> io::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.strip_suffix('\n').filter(|name| name.len() <= NAME_BYTES_MAX).map(str::to_owned)),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn write(file: &std::path::Path, name: &str) -> io::Result<()> {
    let mut made = OpenOptions::new().write(true).create(true).truncate(true).open(file)?;
    made.write_all(format!("{name}\n").as_bytes())?;
    made.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_logs_belongs_to_the_first_that_names_it_until_a_person_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogStore::new(folder.path().join("logs"));
        logs.claim("a-0").unwrap();
        logs.claim("a-0").unwrap();
        let refused = logs.claim("a-17").unwrap_err().to_string();
        let file = folder.path().join("logs").join(OWNER_FILE);
        assert!(refused.starts_with(&format!("{} says that these are the logs of installation `a-0`", file.display())));
        fs::remove_file(&file).unwrap();
        logs.claim("a-17").unwrap();
        // What a crash leaves of a name is nobody's.
        fs::write(&file, "a").unwrap();
        logs.claim("a-17").unwrap();
        assert_eq!(fs::read_dir(folder.path().join("logs")).unwrap().count(), 1);
    }
}
