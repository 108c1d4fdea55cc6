//! The worker's side: its spool, a step's environment, files with secrets.

use std::collections::BTreeMap;

use gristmill::config::{SecretError, resolve_secret};
use gristmill_model::protocol::{BuildOrder, LogAddress, Refusal};
use gristmill_model::{BuildId, BuilderName, Recipe, SecretSource, SourceStamp, StepRecipe, Timestamp};
use gristmill_worker::seams::{LogSpool, environment};

use super::{blind_seeds, texts};
use crate::Target;
use crate::source::Source;

pub(super) const SPOOL: Target = Target {
    seeds: blind_seeds,
    size_max: 1024,
    short: 800,
    ..Target::new(
        "worker-spool",
        "whatever a service answers, the worker sends pieces that follow each other and unpack to their length, gives up or comes to its end, \
         and against a service that keeps what it takes every byte arrives once",
        run_spool,
    )
};

const LOG: LogAddress = LogAddress { build: BuildId(1), epoch: 1, step: 0, log: 0 };

fn filled(source: &mut Source<'_>) -> (LogSpool, Vec<u8>) {
    let mut spool = LogSpool::new(LOG);
    let mut whole = Vec::new();
    for _ in 0..=source.below(6) {
        let text = [b"x".as_slice(), source.piece()].concat();
        let length = u32::try_from(text.len()).unwrap();
        spool.push(whole.len() as u64, length, zstd::bulk::compress(&text, 1).unwrap());
        whole.extend_from_slice(&text);
    }
    (spool, whole)
}

fn run_spool(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (mut honest, whole) = filled(&mut source.clone());
    let (mut spool, _) = filled(&mut source);
    for _ in 0..32 {
        let Some(front) = spool.front() else { break };
        assert_eq!(unpacked(front).len(), front.length as usize, "a piece lies about its length");
        let end = front.offset + u64::from(front.length);
        let answer = match source.below(8) {
            0 => Ok(source.number().unsigned_abs()),
            1 => Err(Refusal::Offset { length: source.number().unsigned_abs() }),
            2 => Err(Refusal::Offset {
                length: front.offset + u64::from(source.byte()) % u64::from(front.length.max(1)),
            }),
            3 => Err(Refusal::Unavailable { why: source.text() }),
            4 => Err(Refusal::Fenced { build: BuildId(1), epoch: 2 }),
            5 => Err(Refusal::Offset { length: front.offset.saturating_sub(u64::from(source.byte())) }),
            _ => Ok(end),
        };
        let is_end = matches!(answer, Ok(length) if length == end);
        let before = front.clone();
        if !spool.answered(answer) {
            break;
        }
        assert!(!is_end || spool.front() != Some(&before), "what is acknowledged is sent again");
    }
    let mut kept: Vec<u8> = Vec::new();
    for _ in 0..64 {
        let Some(front) = honest.front() else { break };
        let text = unpacked(front);
        let answer = if front.offset == kept.len() as u64 {
            // It may be stored without the worker hearing of it, or only asked for again.
            if !source.once_in(5) {
                kept.extend_from_slice(&text);
            }
            Err(Refusal::Offset { length: kept.len() as u64 })
        } else {
            Err(Refusal::Offset { length: kept.len() as u64 })
        };
        assert!(honest.answered(answer), "given up though nothing is wrong");
    }
    if honest.front().is_none() {
        assert_eq!(kept, whole);
    }
}

fn unpacked(piece: &gristmill_model::protocol::LogAppend) -> Vec<u8> {
    zstd::bulk::decompress(&piece.frame, 1 << 17).expect("the worker packs what it sends")
}

pub(super) const ENVIRONMENT: Target = Target {
    seeds: blind_seeds,
    words: &["PATH", "LD_PRELOAD", "GRISTMILL_LEASE", "GRISTMILL_BUILD", "AWS_SECRET", "=", "\0"],
    size_max: 2048,
    short: 2_000,
    ..Target::new(
        "environment",
        "every variable of a step can be one, no value has a NUL, what Gristmill says of the build cannot be said otherwise, and the worker's own \
         variables that are not named stay with it",
        run_environment,
    )
};

fn run_environment(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let names = ["PATH", "HOME", "GRISTMILL_LEASE", "GRISTMILL_BUILD", "CI", "A", "LD_PRELOAD"];
    let mut own = source.pairs(&names);
    own.retain(|name, value| !name.contains(['\0', '=']) && !name.is_empty() && !value.contains('\0'));
    own.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned());
    let stamp = |source: &mut Source<'_>| SourceStamp {
        repository: "core".into(),
        branch: source.text(),
        revision: source.text().as_str().into(),
        change: None,
    };
    let order = BuildOrder {
        build: BuildId(source.number()),
        epoch: source.number(),
        attempt: 1,
        builder: source.text().as_str().into(),
        project: source.flag().then(|| source.text().as_str().into()),
        scheduler: source.text().as_str().into(),
        branch: source.text(),
        stamps: (0..source.below(3))
            .map(|_| (gristmill_model::CodebaseName(source.text()), stamp(&mut source)))
            .collect(),
        origins: BTreeMap::new(),
        recipe: Recipe { environment: source.pairs(&names), ..empty_recipe() },
        properties: source.pairs(&["version", "PATH", "a b"]),
        at: Timestamp(0),
    };
    let step: StepRecipe = StepRecipe { environment: source.pairs(&names), ..step() };
    let made = environment(&own, &order, &step, "token-1-1");
    for (name, value) in &made {
        assert!(!name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'), "{name:?}={value:?}");
    }
    assert_eq!(made["GRISTMILL_LEASE"], "token-1-1");
    assert_eq!(made["GRISTMILL_BUILD"], order.build.to_string());
    assert_eq!(made["CI"], "true");
    assert!(made.contains_key("PATH") && !made.values().any(|value| value == "hunter2"), "{made:?}");
}

fn empty_recipe() -> Recipe {
    serde_json::from_str(r#"{"sources":{},"requires":{},"environment":{},"matrix":{},"steps":[],"retries_max":0}"#)
        .unwrap()
}

fn step() -> StepRecipe {
    let text = "repositories: {core: {git: /srv/core.git}}\nprojects: {core: {repositories: [core]}}\n\
        builders: {a: {project: core, source: core, steps: [{run: \"true\"}]}}\n\
        schedulers: {all: {kind: any-branch, when: {repository: core}, build: [a]}}\n";
    static STEP: std::sync::OnceLock<StepRecipe> = std::sync::OnceLock::new();
    STEP.get_or_init(|| super::catalog(text).builders[&BuilderName::from("a")].recipe.steps[0].clone()).clone()
}

pub(super) const SECRET: Target = Target {
    seeds: || texts(&["hunter2\n", "two\n\n", "\r\n", "", "\u{feff}key\r\n"]),
    words: &["\r\n", "\n", "-----BEGIN OPENSSH PRIVATE KEY-----\n"],
    size_max: 70_000,
    short: 5_000,
    ..Target::new(
        "secret-file",
        "a secret is the file's text without one line end, and an error never repeats it",
        run_secret,
    )
};

fn run_secret(bytes: &[u8]) {
    let folder = std::path::Path::new(if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" });
    let file = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    match resolve_secret(&SecretSource::File(file.path().display().to_string())) {
        Ok(secret) => {
            let rest = bytes.strip_prefix(secret.as_bytes()).expect("it is the file's text");
            assert!(matches!(rest, b"" | b"\n" | b"\r\n") && !secret.is_empty(), "{rest:?} is left");
            assert!(bytes.len() <= 64 * 1024);
        }
        Err(error) => {
            let is_right = match &error {
                SecretError::Empty(_) => matches!(bytes, b"" | b"\n" | b"\r\n"),
                SecretError::NotText(_) => std::str::from_utf8(bytes).is_err(),
                SecretError::TooLong(_) => bytes.len() > 64 * 1024,
                SecretError::NotSet(_) | SecretError::Unreadable { .. } => false,
            };
            assert!(is_right, "{error}");
            let text = String::from_utf8_lossy(bytes);
            assert!(text.trim().len() < 6 || !error.to_string().contains(text.trim()), "{error}");
        }
    }
}
