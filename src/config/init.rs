//! A first configuration for the repository that a folder stands in.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::shape::{NAME_LENGTH_MAX, is_name};

/// The name of the file that is written.
const FILE_NAME: &str = "gristmill.yaml";
/// Commits counted, so that this stays quick in old repositories.
const COMMITS_COUNTED_MAX: usize = 100_000;
/// Bytes read of a build file.
const BUILD_FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why no configuration could be made or written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The folder is not in a repository.
    #[error("`{folder}` is not in a git repository; go to one, or make one with `git init`")]
    NoRepository {
        /// Which folder.
        folder: String,
        /// What git said.
        #[source]
        source: git2::Error,
    },
    /// The repository has no files of its own.
    #[error("`{0}` is a bare repository; run this in a clone, and then set `git:` to the bare one")]
    Bare(String),
    /// There is a configuration already.
    #[error("`{0}` is there already, and is left as it is; `gristmill check` says what it defines")]
    Exists(String),
    /// The file cannot be written.
    #[error("`{file}` cannot be written")]
    Write {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A way to build that was recognised by its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// What it is, such as `Cargo workspace`.
    pub what: &'static str,
    /// The name of the builder that is written for it.
    pub builder: &'static str,
    /// The commands of its steps.
    pub commands: Vec<String>,
}

/// What was found, and the text that is proposed for it.
#[derive(Debug, Clone)]
pub struct InitReport {
    /// Where the file belongs.
    pub path: PathBuf,
    /// The text; [`super::read`] finds no mistake in it.
    pub text: String,
    /// The name given to the repository.
    pub repository: String,
    /// Its current branch.
    pub branch: String,
    /// Its commits, as far as they were counted.
    pub commits: usize,
    /// What builds it; empty if nothing was recognised, and then the text has a step to be replaced.
    pub detected: Vec<Detected>,
}

impl InitReport {
    /// Says what was found: `core (git, main, 1204 commits) · Cargo workspace`.
    pub fn found(&self) -> String {
        let what: Vec<_> = self.detected.iter().map(|detected| detected.what).collect();
        let what = if what.is_empty() { "no build files that are known here".to_owned() } else { what.join(", ") };
        let more = if self.commits == COMMITS_COUNTED_MAX { "at least " } else { "" };
        let word = if self.commits == 1 { "commit" } else { "commits" };
        format!("{} (git, {}, {more}{} {word}) · {what}", self.repository, self.branch, self.commits)
    }

    /// Writes the file; one that is there stays as it is.
    ///
    /// # Errors
    /// If there is one already, or it cannot be written.
    pub fn write(&self) -> Result<(), InitError> {
        let file = || self.path.display().to_string();
        let opened = OpenOptions::new().write(true).create_new(true).open(&self.path);
        opened.and_then(|mut opened| opened.write_all(self.text.as_bytes())).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => InitError::Exists(file()),
            _ => InitError::Write { file: file(), source },
        })
    }
}

/// Makes a configuration for the repository that `folder` stands in. Nothing is written.
///
/// # Errors
/// If it stands in none, or in a bare one.
pub fn init_text(folder: &Path) -> Result<InitReport, InitError> {
    let repository = git2::Repository::discover(folder)
        .map_err(|source| InitError::NoRepository { folder: folder.display().to_string(), source })?;
    let top = repository.workdir().ok_or_else(|| InitError::Bare(repository.path().display().to_string()))?;
    let name = name_of(top);
    let branch = branch_of(&repository);
    let detected = detect(top);
    let text = write_text(&name, &branch, &detected);
    let commits = count_commits(&repository);
    Ok(InitReport { path: top.join(FILE_NAME), text, repository: name, branch, commits, detected })
}

/// Makes a name of the folder's.
fn name_of(top: &Path) -> String {
    let folder = top.canonicalize().unwrap_or_else(|_| top.to_owned());
    let folder = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = folder.chars().map(allowed).take(NAME_LENGTH_MAX).collect();
    let name = name.trim_start_matches(['.', '_', '-']).trim_end_matches('-').to_owned();
    if is_name(&name) { name } else { "app".to_owned() }
}

/// Finds the branch that is checked out, also before its first commit.
fn branch_of(repository: &git2::Repository) -> String {
    let target = repository
        .find_reference("HEAD")
        .ok()
        .and_then(|head| head.symbolic_target().ok().flatten().map(str::to_owned));
    target.and_then(|target| target.strip_prefix("refs/heads/").map(str::to_owned)).unwrap_or_else(|| "main".to_owned())
}

fn count_commits(repository: &git2::Repository) -> usize {
    let walk = repository.revwalk().and_then(|mut walk| walk.push_head().map(|()| walk));
    walk.map_or(0, |walk| walk.take(COMMITS_COUNTED_MAX).filter(Result::is_ok).count())
}

/// Recognises what builds the files of a folder.
fn detect(top: &Path) -> Vec<Detected> {
    [cargo(top), node(top), python(top), go(top), make(top)].into_iter().flatten().collect()
}

fn has(top: &Path, name: &str) -> bool {
    top.join(name).exists()
}

fn text_of(top: &Path, name: &str) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(top.join(name)).ok()?.take(BUILD_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn commands(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

fn cargo(top: &Path) -> Option<Detected> {
    let manifest = text_of(top, "Cargo.toml")?;
    let is_workspace = manifest.lines().any(|line| line.trim_start().starts_with("[workspace"));
    let (what, all) = if is_workspace { ("Cargo workspace", " --workspace") } else { ("Cargo package", "") };
    let locked = if has(top, "Cargo.lock") { " --locked" } else { "" };
    let commands = vec![format!("cargo build{all} --all-targets{locked}"), format!("cargo test{all}{locked}")];
    Some(Detected { what, builder: "rust", commands })
}

fn node(top: &Path) -> Option<Detected> {
    let package: serde_json::Value = serde_json::from_str(&text_of(top, "package.json")?).unwrap_or_default();
    let install = if has(top, "package-lock.json") { "npm ci" } else { "npm install" };
    let mut lines = commands(&[install]);
    for (script, command) in [("build", "npm run build"), ("test", "npm test")] {
        if package["scripts"][script].is_string() {
            lines.push(command.to_owned());
        }
    }
    Some(Detected { what: "npm package", builder: "node", commands: lines })
}

fn python(top: &Path) -> Option<Detected> {
    let is_package = has(top, "pyproject.toml") || has(top, "setup.py");
    if !is_package && !has(top, "requirements.txt") {
        return None;
    }
    let mut lines = commands(&["python3 -m venv .venv"]);
    if has(top, "requirements.txt") {
        lines.push(".venv/bin/pip install -r requirements.txt".to_owned());
    }
    if is_package {
        lines.push(".venv/bin/pip install -e .".to_owned());
    }
    let files = ["pyproject.toml", "requirements.txt", "setup.cfg", "tox.ini"];
    let uses_pytest = has(top, "pytest.ini")
        || files.iter().any(|file| text_of(top, file).is_some_and(|text| text.contains("pytest")));
    let test = if uses_pytest {
        ".venv/bin/pip install pytest && .venv/bin/python -m pytest"
    } else {
        ".venv/bin/python -m unittest discover"
    };
    lines.push(test.to_owned());
    Some(Detected { what: "Python project", builder: "python", commands: lines })
}

fn go(top: &Path) -> Option<Detected> {
    has(top, "go.mod").then(|| Detected {
        what: "Go module",
        builder: "go",
        commands: commands(&["go build ./...", "go vet ./...", "go test ./..."]),
    })
}

fn make(top: &Path) -> Option<Detected> {
    let makefile = ["GNUmakefile", "makefile", "Makefile"].iter().find_map(|name| text_of(top, name))?;
    let has_target = |target: &str| {
        makefile.lines().any(|line| {
            line.strip_prefix(target).is_some_and(|rest| rest.trim_start().starts_with(':') && !rest.contains(":="))
        })
    };
    let mut lines = commands(&["make"]);
    lines.extend(["check", "test"].iter().find(|target| has_target(target)).map(|target| format!("make {target}")));
    Some(Detected { what: "Makefile", builder: "make", commands: lines })
}

/// Writes a text for YAML: as it is if nothing in it means anything there.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " ._/-".contains(c))
        && !text.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "."].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

fn write_text(name: &str, branch: &str, detected: &[Detected]) -> String {
    let mut text = String::new();
    let mut line = |said: std::fmt::Arguments<'_>| writeln!(text, "{said}").expect("writing to a String cannot fail");
    line(format_args!("# Gristmill's configuration. `gristmill check` reads it and says what it defines;"));
    line(format_args!("# `gristmill serve` runs it, and reads it again whenever it changes."));
    line(format_args!(""));
    line(format_args!(
        "# What is watched. A path is watched for pushes; an address (https, ssh, git) is asked every `poll`."
    ));
    line(format_args!("repositories:"));
    line(format_args!("  {name}:"));
    line(format_args!("    git: .                        # this repository, from the folder of this file"));
    line(format_args!("    default-branch: {}", quoted(branch)));
    line(format_args!(""));
    line(format_args!(
        "# What is done. Each `run` is a script for the shell; the first step that fails ends the build."
    ));
    line(format_args!("# A build knows GRISTMILL_BRANCH, GRISTMILL_REVISION and others as environment variables."));
    line(format_args!("builders:"));
    let placeholder = Detected {
        what: "",
        builder: "check",
        commands: vec!["echo 'replace this line by what checks your project'".to_owned()],
    };
    let written: Vec<_> = if detected.is_empty() { vec![&placeholder] } else { detected.iter().collect() };
    for found in &written {
        line(format_args!("  {}:", found.builder));
        line(format_args!("    source: {name}"));
        line(format_args!("    steps:"));
        line(format_args!("      - checkout"));
        for command in &found.commands {
            line(format_args!("      - run: {}", quoted(command)));
        }
    }
    let names: Vec<_> = written.iter().map(|found| found.builder).collect();
    line(format_args!(""));
    line(format_args!("# When. This one builds every branch that moves, once it has been quiet for five seconds."));
    line(format_args!("schedulers:"));
    line(format_args!("  push:"));
    line(format_args!("    kind: any-branch"));
    line(format_args!(
        "    when: {{repository: {name}}}          # also: branch, files, author, message; `!` takes away"
    ));
    line(format_args!("    quiet: 5s"));
    line(format_args!("    build: [{}]", names.join(", ")));
    line(format_args!("  by-hand:                        # gristmill force by-hand"));
    line(format_args!("    kind: force"));
    line(format_args!("    build: [{}]", names.join(", ")));
    text.push_str(TELLING);
    text
}

/// How people are told, as a comment: nobody has an address yet.
const TELLING: &str = "
# Who is told. Passwords never stand here: `secrets` says where they are kept.
# secrets:
#   smtp-password: {env: SMTP_PASSWORD}
# notifiers:
#   mail: {kind: mail, smtp: \"smtp://mail.example.org:587\", username: ci, password: smtp-password, from: \"CI <ci@example.org>\"}
# routes:
#   - {when: {transition: [broke, fixed]}, to: {mail: [culprits]}}
";

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    /// Makes a repository with some files, and gives what is proposed for it.
    fn propose(files: &[(&str, &str)]) -> (tempfile::TempDir, InitReport) {
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().join("my shop");
        let mut options = git2::RepositoryInitOptions::new();
        options.initial_head("feature/ünïcode");
        git2::Repository::init_opts(&top, &options).expect("a repository");
        std::fs::create_dir(top.join("sub")).expect("a folder");
        for (name, text) in files {
            std::fs::write(top.join(name), text).expect("it is written");
        }
        let report = init_text(&top.join("sub")).expect("it stands in a repository");
        (folder, report)
    }

    #[test]
    fn what_is_proposed_has_no_mistakes_for_any_kind_of_project() {
        for (files, builders, command) in [
            (&[][..], "check", "echo 'replace"),
            (
                &[("Cargo.toml", "[workspace]\nmembers = []"), ("Cargo.lock", "")],
                "rust",
                "cargo test --workspace --locked",
            ),
            (&[("Cargo.toml", "[package]")], "rust", "cargo test"),
            (&[("Makefile", "all:\n\ncheck: all\n")], "make", "make check"),
            (&[("Makefile", "check := 1\nall:\n")], "make", "make"),
            (&[("package.json", r#"{"scripts": {"test": "jest"}}"#), ("package-lock.json", "{}")], "node", "npm test"),
            (&[("package.json", "not json")], "node", "npm install"),
            (&[("pyproject.toml", "[tool.pytest]")], "python", ".venv/bin/python -m pytest"),
            (&[("requirements.txt", "")], "python", ".venv/bin/python -m unittest discover"),
            (&[("go.mod", "module x")], "go", "go test ./..."),
            (&[("go.mod", ""), ("Cargo.toml", ""), ("Makefile", "test:\n")], "go make rust", "make test"),
        ] {
            let (_folder, report) = propose(files);
            report.write().expect("there is none yet");
            let loaded = super::super::load(&report.path).unwrap_or_else(|said| panic!("{files:?}\n{said}"));
            assert!(loaded.warnings.is_empty(), "{files:?}\n{}", loaded.warnings);
            let names: Vec<_> = loaded.catalog.builders.keys().map(|name| name.as_str()).collect();
            assert_eq!(names.join(" "), builders);
            assert!(report.text.contains(command), "{command} in\n{}", report.text);
            assert_eq!((report.repository.as_str(), report.branch.as_str()), ("my-shop", "feature/ünïcode"));
            assert!(matches!(report.write(), Err(InitError::Exists(_))), "it is not overwritten");
        }
    }

    #[test]
    fn outside_of_a_repository_nothing_is_proposed() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = init_text(folder.path()).expect_err("no repository");
        assert!(said.to_string().contains("git init"), "{said}");
        git2::Repository::init_bare(folder.path()).expect("a repository");
        assert!(matches!(init_text(folder.path()), Err(InitError::Bare(_))));
    }

    #[test]
    fn what_is_told_in_the_comments_can_be_uncommented() {
        let (_folder, report) = propose(&[]);
        let uncommented = report.text.replace("\n# secrets", "\nsecrets").replace("\n# notifiers", "\nnotifiers");
        let uncommented = uncommented.replace("\n# routes", "\nroutes").replace("\n#  ", "\n  ");
        let loaded = read(&uncommented, "gristmill.yaml").unwrap_or_else(|said| panic!("{said}"));
        assert_eq!((loaded.catalog.routes.len(), loaded.warnings.is_empty()), (1, true));
    }
}
