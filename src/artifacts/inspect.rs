//! Looking whether the rows of artifacts and the kept files belong together. Only reads.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;

use gristmill_model::Digest;

use super::{ArtifactStore, Keep as _, YOUNG, digest_of};

/// What the rows say of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// A build that has it.
    pub build: i64,
    /// Its bytes.
    pub bytes: u64,
}

impl ArtifactStore {
    /// Gives a sentence on each file that is missing, is not what it should be, or belongs to nothing. Of every file its
    /// size is looked at; with `every_byte` all of it.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn look(&self, named: &BTreeMap<Digest, Named>, every_byte: bool) -> io::Result<Vec<String>> {
        let mut problems = Vec::new();
        for (digest, Named { build, bytes }) in named {
            let called = format!("artifact {} of build {build}", digest.as_str().get(..12).unwrap_or_default());
            let Some(file) = self.open(digest)? else {
                problems.push(format!("{called} is missing"));
                continue;
            };
            let size = file.metadata()?.size();
            if size != *bytes {
                problems.push(format!("{called} has {size} bytes, and had {bytes}"));
            } else if every_byte && digest_of(&file)? != *digest {
                problems.push(format!("{called} is not what it was"));
            }
        }
        for (digest, age) in self.list()? {
            // Retention looks every hour.
            if age > 4 * YOUNG && !named.contains_key(&digest) {
                problems.push(format!("the file {digest} belongs to no build"));
            }
        }
        Ok(problems)
    }
}

#[cfg(test)]
mod tests {
    use gristmill_model::BuildId;
    use gristmill_model::protocol::ArtifactPiece;

    use super::*;

    #[test]
    fn what_is_missing_or_damaged_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::beside(&folder.path().join("logs"));
        let digest = Digest::of(b"hello");
        let piece = ArtifactPiece {
            build: BuildId(7),
            epoch: 1,
            digest: digest.clone(),
            total: 5,
            offset: 0,
            bytes: b"hello".to_vec(),
        };
        store.append(&piece).unwrap();
        let named = BTreeMap::from([(digest.clone(), Named { build: 7, bytes: 5 })]);
        assert_eq!(store.look(&named, true).unwrap(), Vec::<String>::new());
        let path = folder.path().join("artifacts").join(&digest.as_str()[..2]).join(&digest.as_str()[2..]);
        std::fs::write(&path, "jello").unwrap();
        assert_eq!(store.look(&named, false).unwrap(), Vec::<String>::new());
        assert_eq!(store.look(&named, true).unwrap(), ["artifact 2cf24dba5fb0 of build 7 is not what it was"]);
        std::fs::write(&path, "jell").unwrap();
        assert_eq!(store.look(&named, false).unwrap(), ["artifact 2cf24dba5fb0 of build 7 has 4 bytes, and had 5"]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(store.look(&named, false).unwrap(), ["artifact 2cf24dba5fb0 of build 7 is missing"]);
    }
}
