//! Dependencies point one way: `gristmill` → {`schedulers`, `notifiers`, `worker`} → `model`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use super::{files_below, root};

const MIDDLE: [&str; 3] = ["gristmill-schedulers", "gristmill-notifiers", "gristmill-worker"];

/// What a pure crate must not reach, however indirectly: I/O, clocks, randomness, async.
const IMPURE: [&str; 13] = [
    "async-trait",
    "axum",
    "getrandom",
    "git2",
    "hyper",
    "lettre",
    "mio",
    "notify",
    "rand",
    "reqwest",
    "rusqlite",
    "sqlx",
    "tokio",
];

/// For each crate of the workspace, what it is built with, tests aside.
static TREES: LazyLock<BTreeMap<&'static str, BTreeSet<String>>> = LazyLock::new(|| {
    ["gristmill", "gristmill-model"].into_iter().chain(MIDDLE).map(|name| (name, tree_of(name))).collect()
});

fn tree_of(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .current_dir(root())
        .output()
        .expect("cargo is there, since it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let names = names.lines().filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned);
    names.filter(|name| name != package).collect()
}

#[test]
fn the_three_in_the_middle_do_not_know_each_other() {
    for one in MIDDLE {
        let known: Vec<&str> = MIDDLE
            .into_iter()
            .chain(["gristmill"])
            .filter(|other| *other != one && TREES[one].contains(*other))
            .collect();
        assert!(known.is_empty(), "{one} depends on {known:?}");
        assert!(TREES[one].contains("gristmill-model"), "{one} does not use the nouns");
    }
}

#[test]
fn the_nouns_know_nobody() {
    let own: Vec<&String> = TREES["gristmill-model"].iter().filter(|name| name.starts_with("gristmill")).collect();
    assert!(own.is_empty(), "gristmill-model depends on {own:?}");
}

#[test]
fn deciding_and_the_nouns_are_pure() {
    for package in ["gristmill-model", "gristmill-schedulers"] {
        let impure: Vec<&str> = IMPURE.into_iter().filter(|name| TREES[package].contains(*name)).collect();
        assert!(impure.is_empty(), "{package} reaches {impure:?}");
    }
}

#[test]
fn deciding_asks_nobody_what_time_it_is() {
    // chrono and cron are there for the arithmetic of calendars, and bring a clock that must not be asked.
    let asking = ["Utc::now", "Local::now", "Local::", "Instant::now", "SystemTime", "thread_rng", "RandomState"];
    let mut problems = Vec::new();
    for path in ["model/src", "schedulers/src"].into_iter().flat_map(|folder| files_below(&root().join(folder))) {
        let text = std::fs::read_to_string(&path).unwrap();
        problems.extend(
            asking.iter().filter(|word| text.contains(**word)).map(|word| format!("{}: {word}", path.display())),
        );
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn one_cryptography_and_no_second_database() {
    for banned in ["openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "libssh2-sys"] {
        assert!(!TREES["gristmill"].contains(banned), "{banned} is in the tree: `cargo tree -i {banned}` says why");
    }
}
