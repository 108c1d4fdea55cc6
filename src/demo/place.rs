//! The demo's folder: three bare repositories, the clones of two people, the configuration.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gristmill_model::Revision;
use tokio::process::Command;

/// Somebody who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Somebody {
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    /// The name of the folder with their clones.
    folder: &'static str,
}

/// She writes the code.
pub(super) const ADA: Somebody = Somebody { name: "Ada", email: "ada@example.org", folder: "ada" };
/// He looks after it.
pub(super) const LIN: Somebody = Somebody { name: "Lin", email: "lin@example.org", folder: "lin" };

/// The repositories, each with the files that it begins with.
const REPOSITORIES: [(&str, &[(&str, &str)]); 3] = [
    ("lib", &[("queue.sh", include_str!("files/lib-queue.sh")), ("test.sh", include_str!("files/lib-test.sh"))]),
    ("app", &[("till.sh", TILL), ("check.sh", include_str!("files/app-check.sh"))]),
    (
        "docs",
        &[("guide.md", "# Guide\n\nPut things into the basket.\n"), ("check.sh", include_str!("files/docs-check.sh"))],
    ),
];

/// The till as it should be.
pub(super) const TILL: &str = include_str!("files/app-till.sh");

const CONFIGURATION: &str = include_str!("files/gristmill.yaml");

/// Why the folder could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program git could not be started.
    #[error("cannot run git; the demo needs it: install the package `git`")]
    NoGit(#[source] io::Error),
    /// Git did not do as asked.
    #[error("git {command} failed: {said}")]
    Git {
        /// The subcommand.
        command: String,
        /// What it said.
        said: String,
    },
}

/// The folder.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    /// Makes repositories and clones below `root`, and the first commits, by Ada.
    pub(super) async fn make(root: &Path) -> Result<Self, PlaceError> {
        let place = Self { root: root.to_owned() };
        for (name, files) in REPOSITORIES {
            let bare = place.bare(name);
            create_folder(&bare)?;
            place.git(&bare, ADA, &["init", "--quiet", "--bare", "--initial-branch=main", "."]).await?;
            for somebody in [ADA, LIN] {
                let clone = place.clone_of(somebody, name);
                create_folder(&clone)?;
                let (bare, clone_path) = (bare.to_string_lossy(), clone.to_string_lossy());
                place.git(root, somebody, &["clone", "--quiet", "--", &bare, &clone_path]).await?;
                // For whoever goes on from here by hand.
                for setting in [["user.name", somebody.name], ["user.email", somebody.email]] {
                    place.git(&clone, somebody, &["config", setting[0], setting[1]]).await?;
                }
                place.git(&clone, somebody, &["symbolic-ref", "HEAD", "refs/heads/main"]).await?;
            }
            place.push(ADA, name, files, "Begin").await?;
        }
        Ok(place)
    }

    /// Writes the configuration and gives its path. `here` is where the service will listen, for links in mails.
    pub(super) fn configure(&self, here: SocketAddr, smtp: SocketAddr, irc: SocketAddr) -> Result<PathBuf, PlaceError> {
        let addresses = [("@HERE@", here), ("@SMTP@", smtp), ("@IRC@", irc)];
        let text = addresses
            .into_iter()
            .fold(CONFIGURATION.to_owned(), |text, (sign, address)| text.replace(sign, &address.to_string()));
        let file = self.root.join("gristmill.yaml");
        write(&file, &text)?;
        Ok(file)
    }

    /// Commits files in somebody's clone, pushes them to `main` and gives the new revision.
    pub(super) async fn push(
        &self,
        somebody: Somebody,
        repository: &str,
        files: &[(&str, &str)],
        message: &str,
    ) -> Result<Revision, PlaceError> {
        let clone = self.clone_of(somebody, repository);
        if self.git(&clone, somebody, &["ls-remote", "--exit-code", "origin", "refs/heads/main"]).await.is_ok() {
            self.git(&clone, somebody, &["pull", "--quiet", "--ff-only", "origin", "main"]).await?;
        }
        for (name, text) in files {
            write(&clone.join(name), text)?;
        }
        self.git(&clone, somebody, &["add", "--all"]).await?;
        self.git(&clone, somebody, &["commit", "--quiet", "--message", message]).await?;
        self.git(&clone, somebody, &["push", "--quiet", "origin", "main"]).await?;
        let revision = self.git(&clone, somebody, &["rev-parse", "HEAD"]).await?;
        Ok(revision.trim().into())
    }

    /// Where the mails go.
    pub(super) fn mail_folder(&self) -> PathBuf {
        self.root.join("mail")
    }

    /// Where the lines said on IRC go.
    pub(super) fn irc_file(&self) -> PathBuf {
        self.root.join("irc.log")
    }

    /// Where the service keeps its data.
    pub(super) fn data_folder(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where the repositories are.
    pub(super) fn repositories_folder(&self) -> PathBuf {
        self.root.join("git")
    }

    fn bare(&self, repository: &str) -> PathBuf {
        self.repositories_folder().join(format!("{repository}.git"))
    }

    /// Somebody's clone of a repository.
    pub(super) fn clone_of(&self, somebody: Somebody, repository: &str) -> PathBuf {
        self.root.join("clones").join(somebody.folder).join(repository)
    }

    async fn git(&self, folder: &Path, somebody: Somebody, arguments: &[&str]) -> Result<String, PlaceError> {
        let output = Command::new("git")
            .args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(folder)
            // Whoever runs the demo has a configuration of their own, which must not matter here.
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", somebody.name)
            .env("GIT_AUTHOR_EMAIL", somebody.email)
            .env("GIT_COMMITTER_NAME", somebody.name)
            .env("GIT_COMMITTER_EMAIL", somebody.email)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(PlaceError::NoGit)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(PlaceError::Git { command: arguments[0].to_owned(), said })
    }
}

fn create_folder(path: &Path) -> Result<(), PlaceError> {
    std::fs::create_dir_all(path).map_err(|source| PlaceError::Write { path: path.display().to_string(), source })
}

fn write(path: &Path, text: &str) -> Result<(), PlaceError> {
    std::fs::write(path, text).map_err(|source| PlaceError::Write { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_configuration_is_good() {
        let root = tempfile::tempdir().unwrap();
        let address = "127.0.0.1:8020".parse().unwrap();
        let file = Place { root: root.path().to_owned() }.configure(address, address, address).unwrap();
        let loaded = crate::config::load(&file).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
        // The one doubt is meant: nobody has a gpu.
        assert!(loaded.warnings.warnings() <= 1, "{}", loaded.warnings.render(false));
    }

    #[tokio::test]
    async fn both_people_can_push_in_turn() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::make(root.path()).await.unwrap();
        place.push(ADA, "app", &[("till.sh", "echo 1\n")], "Break it").await.unwrap();
        place.push(LIN, "app", &[("till.sh", TILL)], "Fix it").await.unwrap();
        let log = std::process::Command::new("git")
            .args(["log", "--format=%an %s", "main"])
            .current_dir(place.bare("app"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(log.stdout).unwrap(), "Lin Fix it\nAda Break it\nAda Begin\n");
    }

    #[tokio::test]
    async fn the_projects_really_work_and_the_bad_commit_really_breaks() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::make(root.path()).await.unwrap();
        let ada = root.path().join("clones/ada");
        let check = |basket: &str| {
            std::process::Command::new("sh").args(["app/check.sh", basket]).current_dir(&ada).output().unwrap()
        };
        assert!(check("small").status.success() && check("large").status.success());
        place.push(ADA, "app", &[("till.sh", &super::super::story::broken_till())], "x").await.unwrap();
        let broken = check("large");
        assert!(!broken.status.success());
        assert!(String::from_utf8_lossy(&broken.stderr).contains("error: the till should count 4 in the large basket"));
        for folder in ["lib", "docs"] {
            let script = if folder == "lib" { "test.sh" } else { "check.sh" };
            let run = std::process::Command::new("sh").arg(script).current_dir(ada.join(folder)).output().unwrap();
            assert!(run.status.success(), "{folder}");
        }
    }
}
