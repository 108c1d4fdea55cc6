//! One bare mirror per repository elsewhere: objects, and a name for each tip so that the next fetch can say what is
//! already here.
//!
//! The mirror keeps no ref under the name that the server gives it. Names are therefore never a file name here, `a` and
//! `a/b` may follow each other, and the whole set is written at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use git2::{Oid, Repository};
use gristmill_model::RepositoryName;

use super::SweepError;
use super::listing::Listing;
use super::location::Location;
use super::sweep::Look;
use super::transport::{Connection, Opening};

/// Packs that a mirror may gather, one with each fetch, before they are put together.
pub const PACKS_MAX: usize = 50;

/// Gives the folder of a repository's mirror under `folder`. Any name makes one that is safe as a file name.
pub fn folder_of(folder: &Path, repository: &RepositoryName) -> PathBuf {
    let mut name = String::new();
    for byte in repository.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            _ => write!(name, "%{byte:02x}").expect("writing to a string works"),
        }
    }
    folder.join(format!("{name}.git"))
}

pub(super) fn connect(look: &Look<'_>, location: &Location) -> Result<Connection, SweepError> {
    Connection::open(&Opening {
        location,
        login: &look.login,
        patience: &look.patience,
        bytes_max: look.limits.bytes,
        ssh: look.ssh,
    })
}

/// Fetches what is not here, and gives the mirror. Whatever moved is then here, and so is what was accepted by other ways:
/// builds are checked out from the mirror.
pub(super) fn fetch(look: &Look<'_>, connection: Connection, listing: &Listing) -> Result<Repository, SweepError> {
    let repository = open(look.mirror)?;
    let odb = repository.odb().map_err(SweepError::reading)?;
    let wanted: BTreeSet<Oid> = listing.objects.values().copied().filter(|&oid| !odb.exists(oid)).collect();
    drop(odb);
    if wanted.is_empty() {
        connection.part();
        return Ok(repository);
    }
    connection.download(&repository, &wanted)?;
    let kept = listing.objects.values().copied().collect();
    // Objects before their names: a name after a power cut must have something to point to.
    let kept = sync_packs(look.mirror).and_then(|_| keep(&repository, &kept));
    kept.map_err(|error| broken(look.mirror, error.to_string()))?;
    // Opened anew, because the names were written behind this handle's back.
    open(look.mirror)
}

fn open(path: &Path) -> Result<Repository, SweepError> {
    match Repository::open_bare(path) {
        Ok(repository) => Ok(repository),
        Err(_) => {
            // Not there yet, or half made: nothing in a mirror is worth more than a fetch.
            remove(path).map_err(|error| broken(path, error.to_string()))?;
            Repository::init_bare(path).map_err(|error| broken(path, error.message().to_owned()))
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Throws the mirror away if it is the reason for an error, so that the next look makes it again.
pub(super) fn discard_if_broken(look: &Look<'_>, error: &SweepError) {
    if matches!(error, SweepError::Reading(_)) {
        tracing::warn!(repository = %look.repository, "the mirror is thrown away, because it cannot be read: {error}");
        if let Err(error) = remove(look.mirror) {
            tracing::error!(repository = %look.repository, "the mirror cannot be thrown away: {error}");
        }
    }
}

/// Puts packs together once there are many, so that finding an object stays cheap. Only the small ones are rewritten, and
/// nothing is thrown away. libgit2 cannot do this, so the system's git does; without it the mirror is only slower.
pub(super) fn tidy(path: &Path, packs_max: usize) {
    let is_pack = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|kind| kind == "pack");
    let Ok(entries) = std::fs::read_dir(path.join("objects/pack")) else { return };
    if entries.flatten().filter(is_pack).count() <= packs_max {
        return;
    }
    let mut git = std::process::Command::new("git");
    git.arg("-C").arg(path).args(["repack", "-d", "-q", "--geometric=2"]);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(std::process::Stdio::null());
    let problem = match git.output() {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::warn!("the packs of the mirror `{}` cannot be put together: {problem}", path.display());
}

/// Makes packs and their indexes durable, and gives how many files: libgit2 writes them without, and its own switch for that
/// (`GIT_OPT_ENABLE_FSYNC_GITDIR`) is not among the options that git2 has. Those of earlier fetches are synced with them,
/// because one that was killed may have left them so; what is on the disk already costs next to nothing.
fn sync_packs(mirror: &Path) -> std::io::Result<usize> {
    let (objects, folder) = (mirror.join("objects"), mirror.join("objects/pack"));
    let mut synced = 0;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "pack" || kind == "idx") {
            File::open(&path)?.sync_all()?;
            synced += 1;
        }
    }
    // Their names, that of their folder, and those of a mirror that may be new.
    for folder in [folder.as_path(), &objects, mirror].into_iter().chain(mirror.parent()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(synced)
}

/// Writes the names of all tips at once, as git's own `packed-refs`.
fn keep(repository: &Repository, tips: &BTreeSet<Oid>) -> std::io::Result<()> {
    let mut text = String::from("# pack-refs with: sorted \n");
    for tip in tips {
        writeln!(text, "{tip} refs/tips/{tip}").expect("writing to a string works");
    }
    let mut file = tempfile::NamedTempFile::new_in(repository.path())?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(repository.path().join("packed-refs"))?;
    File::open(repository.path())?.sync_all()
}

fn broken(path: &Path, problem: String) -> SweepError {
    SweepError::Mirror { path: path.display().to_string(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pack_and_index_is_synced_and_one_that_cannot_be_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = folder.path().join("app.git");
        Repository::init_bare(&mirror).unwrap();
        assert_eq!(sync_packs(&mirror).unwrap(), 0);
        let packs = mirror.join("objects/pack");
        for name in ["pack-1.pack", "pack-1.idx", "pack-2.pack", "pack-2.idx", "pack-2.keep"] {
            std::fs::write(packs.join(name), "").unwrap();
        }
        assert_eq!(sync_packs(&mirror).unwrap(), 4);
        // What is no file cannot be synced.
        std::os::unix::fs::symlink("/dev/null", packs.join("pack-3.pack")).unwrap();
        assert!(sync_packs(&mirror).is_err());
    }

    #[test]
    fn any_name_makes_a_folder_of_its_own_inside() {
        let folder = |name: &str| folder_of(Path::new("/d"), &RepositoryName::from(name)).display().to_string();
        assert_eq!(folder("app"), "/d/app.git");
        assert_eq!(folder("team/app.v2"), "/d/team%2fapp.v2.git");
        assert_eq!(folder(".."), "/d/%2e..git");
        assert_eq!(folder("a%2f"), "/d/a%252f.git");
        assert_eq!(folder("ä"), "/d/%c3%a4.git");
    }
}
