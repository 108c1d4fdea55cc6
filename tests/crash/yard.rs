//! Where a lane plays: repositories, their histories, the configuration, and what steps do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::database::Database;
use super::ledger::Terms;
use crate::support::git;

/// The webhooks' secret.
pub(crate) const SECRET: &str = "s3cret";
/// Lines that a step prints.
pub(crate) const LINES: usize = 40;

const CONFIG: &str = "
gristmill: {slots: 3}
repositories:
  app: {git: FOLDER/app.git, webhook: {forge: github, secret: hook}, poll: 1h}
  lib: {git: FOLDER/lib.git, webhook: {forge: github, secret: hook}, poll: 1h}
secrets: {hook: {file: FOLDER/secret}}
builders:
  quick: {source: app, retries: 3, steps: [{run: 'sh FOLDER/step.sh 0'}]}
  slow: {source: app, retries: 3, steps: [checkout, {run: 'sh FOLDER/step.sh 3'}]}
  lib: {source: lib, retries: 3, steps: [{run: 'sh FOLDER/step.sh 1'}]}
schedulers:
  push: {kind: any-branch, when: {repository: app}, build: {first: quick, second: {builder: slow, needs: first}}}
  calm: {kind: branch, when: {repository: lib, branch: main}, quiet: {for: 1s, at-most: 2s}, build: [lib]}
  after: {kind: dependent, upstream: [calm], build: [lib]}
  hand: {kind: force, build: [quick]}
notifiers: {mail: {kind: mail, smtp: 'smtp://127.0.0.1:PORT', from: 'CI <ci@example.org>'}}
routes:
  - {when: {transition: [broke, fixed, still-failing]}, to: [{mail: [one@example.org, two@example.org]}]}
";

/// Writes down that it began, how it goes on, and that it ended; prints lines; fails for one revision in two.
const STEP: &str = "
name=\"$GRISTMILL_BUILD $GRISTMILL_ATTEMPT\"
echo \"start $name\" >> FOLDER/effects
i=0
while [ $i -lt LINES ]; do
  i=$((i + 1))
  echo \"line $i of $name\"
done
i=0
while [ $i -lt $1 ]; do
  i=$((i + 1))
  echo \"tick $name\" >> FOLDER/effects
  sleep 0.03
done
echo \"end $name\" >> FOLDER/effects
case $GRISTMILL_REVISION in *[0-7]) exit 1;; esac
";

/// Which step of a builder writes effects, and how often that ticks.
const BUILDERS: [(&str, u32, usize); 3] = [("quick", 0, 0), ("slow", 1, 3), ("lib", 0, 1)];

/// The refs that move. The last one is forced back now and then.
pub(crate) const REFS: [(&str, &str); 3] = [("app", "main"), ("lib", "main"), ("app", "topic")];

pub(crate) struct Yard {
    pub(crate) folder: tempfile::TempDir,
    /// Per ref of [`REFS`], its revisions, oldest first; the first one is there from the beginning.
    pub(crate) histories: Vec<Vec<String>>,
    /// The address of the database, if that is on a server.
    server: Option<String>,
}

impl Yard {
    /// Makes repositories whose refs can move `moves` times.
    pub(crate) fn make(mail_port: u16, moves: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for repository in ["app", "lib"] {
            git(path, &["init", "-q", "--bare", &format!("{repository}.git")]);
            git(path, &["init", "-q", "--bare", &format!("{repository}-all.git")]);
        }
        let histories: Vec<Vec<String>> =
            REFS.iter().map(|(repository, branch)| import(path, repository, branch, moves)).collect();
        let yard = Self { folder, histories, server: None };
        let here = |text: &str| text.replace("FOLDER", yard.path().to_str().unwrap());
        let config = here(CONFIG).replace("PORT", &mail_port.to_string());
        std::fs::write(yard.file(), config).unwrap();
        std::fs::write(yard.path().join("step.sh"), here(STEP).replace("LINES", &LINES.to_string())).unwrap();
        std::fs::write(yard.path().join("secret"), SECRET).unwrap();
        std::fs::write(yard.path().join("effects"), "").unwrap();
        for index in 0..REFS.len() {
            yard.push(index, 0);
        }
        yard
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path().join("gristmill.yaml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Lets the service keep its state in a database of a server.
    pub(crate) fn on_server(self, url: String) -> Self {
        Self { server: Some(url), ..self }
    }

    /// Gives the database of a service with this data folder.
    pub(crate) fn database(&self, data: &Path) -> Database {
        match &self.server {
            None => Database::in_folder(data),
            Some(url) => Database::Postgres { url: url.clone(), logs: self.path().join("logs") },
        }
    }

    /// Moves a ref to one of its revisions, as its developers do.
    pub(crate) fn push(&self, index: usize, position: usize) {
        let (repository, branch) = REFS[index];
        let all = self.path().join(format!("{repository}-all.git"));
        let bare = self.path().join(format!("{repository}.git"));
        let revision = &self.histories[index][position];
        git(&all, &["push", "-q", bare.to_str().unwrap(), &format!("+{revision}:refs/heads/{branch}")]);
    }

    /// Gives where git's refs are.
    pub(crate) fn tips(&self) -> BTreeMap<(String, String), String> {
        let mut tips = BTreeMap::new();
        for repository in ["app", "lib"] {
            let bare = self.path().join(format!("{repository}.git"));
            for line in git(&bare, &["for-each-ref", "--format=%(refname) %(objectname)"]).lines() {
                let (reference, revision) = line.split_once(' ').unwrap();
                tips.insert((repository.to_owned(), reference.to_owned()), revision.to_owned());
            }
        }
        tips
    }

    /// Gives the histories of the refs that only go forward, without what was there before the first look.
    pub(crate) fn forward(&self) -> BTreeMap<(String, String), Vec<String>> {
        let refs = REFS.iter().zip(&self.histories).take(REFS.len() - 1);
        refs.map(|((repository, branch), history)| {
            (((*repository).to_owned(), format!("refs/heads/{branch}")), history[1..].to_vec())
        })
        .collect()
    }

    /// Says what the step that writes effects prints, and which one it is.
    pub(crate) fn printed(&self, builder: &str, build: i64, attempt: i64) -> (u32, String) {
        let (_, step, ticks) = BUILDERS.iter().find(|(name, ..)| *name == builder).expect("a builder of this yard");
        let mut text = format!("$ sh {}/step.sh {ticks}\n", self.path().display());
        for line in 1..=LINES {
            writeln!(text, "line {line} of {build} {attempt}").unwrap();
        }
        (*step, text)
    }

    pub(crate) fn terms() -> Terms {
        Terms {
            meets: vec![("push", "app"), ("calm", "lib")],
            forced: "hand",
            told: vec!["one@example.org", "two@example.org"],
            attempts_max: 4,
            ticks: BUILDERS.iter().map(|(name, _, ticks)| (*name, *ticks)).collect(),
        }
    }
}

/// Makes a line of commits in one go, and gives their revisions, oldest first.
fn import(folder: &Path, repository: &str, branch: &str, moves: usize) -> Vec<String> {
    let all = folder.join(format!("{repository}-all.git"));
    let mut commands = String::new();
    for number in 0..=moves {
        let (text, message) = (format!("{branch} {number}\n"), format!("{branch} {number}"));
        write!(
            commands,
            "commit refs/heads/{branch}\ncommitter Ada <ada@example.org> {} +0000\n",
            1_700_000_000 + number
        )
        .unwrap();
        write!(commands, "data {}\n{message}\n", message.len()).unwrap();
        write!(commands, "M 100644 inline file\ndata {}\n{text}\n", text.len()).unwrap();
    }
    let mut process = Command::new("git")
        .args(["fast-import", "--quiet"])
        .current_dir(&all)
        .stdin(Stdio::piped())
        .spawn()
        .expect("git is installed");
    process.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    assert!(process.wait().unwrap().success(), "git fast-import");
    let list = git(&all, &["rev-list", "--reverse", &format!("refs/heads/{branch}")]);
    list.lines().map(str::to_owned).collect()
}
