//! Opening files below a folder that somebody hostile may be changing at this moment.
//!
//! Every part of the path is opened from the one before and must not be a symbolic link, so nothing outside is reached,
//! whatever is renamed meanwhile. Never blocks on a pipe.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// Opens a regular file below `root` for reading. `root` itself is trusted.
///
/// # Errors
/// If it is not there, is not a regular file, or a link is in the way.
pub(crate) fn open_file(root: &Path, path: &Path) -> io::Result<File> {
    let mut folder = open(root, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads elsewhere"));
        };
        let is_last = parts.peek().is_none();
        let kind = if is_last { OFlag::O_NONBLOCK } else { OFlag::O_DIRECTORY };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | kind;
        let next: OwnedFd = openat(&folder, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ELOOP | Errno::ENOTDIR => io::Error::other("a symbolic link, or no folder, is in the way"),
            other => other.into(),
        })?;
        if is_last {
            let file = File::from(next);
            return if file.metadata()?.is_file() {
                Ok(file)
            } else {
                Err(io::Error::other("it is not a regular file"))
            };
        }
        folder = next;
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is empty"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere() {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().join("root");
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::fs::write(root.join("real/file"), "inside").unwrap();
        std::fs::write(data.path().join("secret"), "outside").unwrap();
        symlink(data.path(), root.join("up")).unwrap();
        symlink("../secret", root.join("file")).unwrap();
        symlink("real", root.join("also")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();

        let read = |path: &str| open_file(&root, Path::new(path)).and_then(io::read_to_string).ok();
        assert_eq!(read("real/file").as_deref(), Some("inside"));
        for path in ["up/secret", "file", "also/file", "../secret", "/etc/passwd", "pipe", "real", "nothing", ""] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
