//! Every installation in `examples/` loads, is set up by its own script, and is what its README says.

use std::path::{Path, PathBuf};
use std::process::Command;

use std::time::Duration;

use clap::Parser;
use gristmill::cli::args::Cli;
use gristmill::config;
use gristmill::service::{Options, Service};
use gristmill_model::{EventBody, Outcome, Seq};

use super::root;

/// The folders in `examples/` that are installations.
fn installations() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("gristmill.yaml").exists())
        .collect();
    folders.sort();
    assert!(folders.len() >= 2, "{folders:?}");
    folders
}

/// Copies what belongs to an installation, as a person would who tries it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_owned();
        let is_made = name == "clone" || name == "gristmill-data" || name.to_string_lossy().ends_with(".git");
        if path.is_dir() && !is_made {
            copy(&path, &to.join(name));
        } else if path.is_file() {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// The commands in a README's `sh` blocks, without comments.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for block in readme.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or("");
        let lines = block.lines().map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned());
        commands.extend(lines.filter(|line| !line.is_empty()));
    }
    commands
}

/// Splits a command as a shell does, as far as READMEs go: words, single quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in command.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_example_loads_without_a_doubt() {
    for folder in installations() {
        let file = folder.join("gristmill.yaml");
        let loaded = config::load(&file).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings.render(false));
        for repository in loaded.catalog.repositories.values() {
            assert!(Path::new(&repository.url).starts_with(&folder), "{} is not beside the file", repository.url);
        }
    }
}

#[test]
fn every_example_is_set_up_by_its_script() {
    for folder in installations() {
        let place = tempfile::tempdir().unwrap();
        copy(&folder, place.path());
        let setup = Command::new("sh")
            .arg("setup.sh")
            .current_dir(place.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(setup.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&setup.stderr));
        let loaded = config::load(&place.path().join("gristmill.yaml")).unwrap();
        for repository in loaded.catalog.repositories.values() {
            assert!(Path::new(&repository.url).join("HEAD").exists(), "setup.sh makes no {}", repository.url);
        }
        let again = Command::new("sh").arg("setup.sh").current_dir(place.path()).output().unwrap();
        assert!(!again.status.success(), "a second setup would overwrite somebody's work");
    }
}

/// How long an example may take to build what was pushed, on a machine that has much else to do.
const BUILT_MAX: Duration = Duration::from_secs(120);

/// Sets an example up, serves it, pushes to one of its clones, and gives how the buildsets of the schedulers ended.
async fn outcomes(example: &str, clone: &str, file: &str, schedulers: &[&str]) -> Vec<(String, Outcome)> {
    let place = tempfile::tempdir().unwrap();
    copy(&root().join("examples").join(example), place.path());
    let configuration = place.path().join("gristmill.yaml");
    // Nobody outside is to be asked by a test.
    let text = std::fs::read_to_string(&configuration).unwrap().replace("irc.example.org:6697", "127.0.0.1:1");
    std::fs::write(&configuration, text).unwrap();
    run(Command::new("sh").arg("setup.sh").current_dir(place.path()));

    gristmill::sources::register_transports();
    let options = Options {
        file: configuration,
        data: place.path().join("gristmill-data"),
        database: gristmill::store::Database::Embedded,
        listen: "127.0.0.1:0".parse().unwrap(),
        worker: true,
        demo: false,
    };
    let service = Service::start(options).await.unwrap();
    service.settle().await;
    let folder = place.path().join("clone").join(clone);
    let path = folder.join(file);
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "# hello again\n").unwrap();
    run(Command::new("git").args(["commit", "--quiet", "--all", "--message", "Say more"]).current_dir(&folder));
    run(Command::new("git").args(["push", "--quiet"]).current_dir(&folder));

    let mut head = service.head();
    let mut ended = Vec::new();
    let ends = async {
        let (mut seen, mut made) = (Seq(0), std::collections::BTreeMap::new());
        while !schedulers.iter().all(|wanted| ended.iter().any(|(name, _): &(String, Outcome)| name == wanted)) {
            head.wait_for(|head| *head > seen).await.unwrap();
            for event in service.reader().events_after(seen, 500).await.unwrap() {
                seen = event.seq;
                match event.body {
                    EventBody::BuildsetCreated { buildset, .. } => {
                        made.insert(buildset.id, buildset.scheduler.to_string());
                    }
                    EventBody::BuildsetCompleted { buildset, outcome } => {
                        ended.push((made[&buildset].clone(), outcome));
                    }
                    _ => {}
                }
            }
        }
    };
    let in_time = tokio::time::timeout(BUILT_MAX, ends).await.is_ok();
    service.stop().await;
    assert!(in_time, "of {schedulers:?} only {ended:?} have ended");
    ended
}

fn run(command: &mut Command) {
    let output = command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_builds_what_is_pushed() {
    let outcomes = outcomes("hello", "", "greeting.txt", &["push"]).await;
    assert_eq!(outcomes, [("push".to_owned(), Outcome::Success)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projects_test_the_shop_when_the_library_is_good() {
    let outcomes = outcomes("two-projects", "lib", "greet.sh", &["lib-main", "app-after-lib"]).await;
    let expected = [("lib-main".to_owned(), Outcome::Success), ("app-after-lib".to_owned(), Outcome::Success)];
    assert_eq!(outcomes, expected);
}

#[test]
fn what_readmes_tell_people_to_type_is_understood() {
    let readmes = installations().into_iter().map(|folder| folder.join("README.md")).chain([root().join("README.md")]);
    let mut checked = 0;
    for readme in readmes {
        for command in commands(&std::fs::read_to_string(&readme).unwrap()) {
            let typed =
                command.strip_prefix("cargo run -- ").map(|rest| format!("gristmill {rest}")).unwrap_or(command);
            if typed.starts_with("gristmill") {
                let parsed = Cli::try_parse_from(words(&typed));
                assert!(parsed.is_ok(), "{}: {typed}: {}", readme.display(), parsed.unwrap_err());
                checked += 1;
            } else if let Some(folder) = typed.strip_prefix("cd examples/") {
                let folder = folder.split('/').next().unwrap_or("");
                assert!(root().join("examples").join(folder).is_dir(), "{}: {typed}", readme.display());
            }
        }
    }
    assert!(checked >= 8, "only {checked} commands were found: are they still in `sh` blocks?");
}
