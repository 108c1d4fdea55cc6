//! Webhooks: both dialects and the signature.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use gristmill::sources::webhook::{HookError, HookReading, Meaning, generic, github, read, signature};
use gristmill_model::catalog::Forge;
use gristmill_model::source::limit;
use gristmill_model::{Movement, RefUpdate};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::repository;
use crate::Target;
use crate::source::Source;

const SECRET: &str = "a shared secret";
const WORDS: [&str; 44] = [
    "\"event\":\"push\"",
    "\"event\":\"ping\"",
    "\"ref\":",
    "\"before\":",
    "\"after\":",
    "\"commits\":",
    "\"complete\":true",
    "\"forced\":true",
    "\"id\":",
    "\"message\":",
    "\"timestamp\":",
    "\"author\":",
    "\"name\":",
    "\"email\":",
    "\"files\":",
    "\"added\":",
    "\"removed\":",
    "\"modified\":",
    "\"deleted\":true",
    "\"created\":true",
    "refs/heads/main",
    "refs/tags/v1",
    "refs/heads/../x",
    "refs/heads/a..b",
    "refs/heads/.lock",
    "refs/pull/1/head",
    "0000000000000000000000000000000000000000",
    "1111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222",
    "2026-11-24T14:02:11Z",
    "2026-11-24T25:02:11Z",
    "-9999-01-01T00:00:00+99:99",
    "payload=",
    "%7B%22",
    "+",
    "&",
    "null",
    "[]",
    "{}",
    "\\ud800",
    "\\u0000",
    "1e400",
    "[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
];

pub(super) const GENERIC: Target = Target {
    seeds: || bodies(&GENERIC_BODIES),
    words: &WORDS,
    short: 1_000,
    ..Target::new(
        "hook-generic",
        "what is accepted carries a MAC that an independent computation finds right, one changed byte is refused, and a movement \
         is complete, within the limits, and of a ref that git allows",
        |bytes| run(Forge::Generic, bytes),
    )
};

pub(super) const GITHUB: Target = Target {
    seeds: || bodies(&GITHUB_BODIES),
    words: &WORDS,
    short: 1_000,
    ..Target::new("hook-github", GENERIC.claim, |bytes| run(Forge::Github, bytes))
};

pub(super) const SIGNATURE: Target = Target {
    seeds: || super::texts(&["\0\0sha256=", "\u{1}\u{3}body and more", "\u{2}\u{1}sha256=00"]),
    words: &["sha256=", "sha1=", "SHA256=", " ", "0", "f", "00000000000000000000000000000000"],
    size_max: 512,
    short: 10_000,
    ..Target::new(
        "hook-signature",
        "a header is accepted just if it is there once and is `sha256=` with the right MAC of just this body under a secret that is \
         not empty",
        run_signature,
    )
};

const GENERIC_BODIES: [&str; 3] = [
    "\0\0\0{\"event\":\"push\",\"ref\":\"refs/heads/main\",\"before\":\"1111111111111111111111111111111111111111\",\"after\":\"2222222222222222222222222222222222222222\",\"forced\":false,\"commits\":[{\"id\":\"2222222222222222222222222222222222222222\",\"message\":\"fix the gear\",\"author\":{\"name\":\"Ann\",\"email\":\"ann@example.org\"},\"timestamp\":\"2026-11-24T14:02:11Z\",\"files\":[\"src/gear.c\"]}],\"complete\":true}",
    "\0\0\0{\"event\":\"ping\"}",
    "\0\0\0{\"event\":\"push\",\"ref\":\"refs/tags/v1\",\"before\":\"0000000000000000000000000000000000000000\",\"after\":\"2222222222222222222222222222222222222222\",\"complete\":true}",
];
const GITHUB_BODIES: [&str; 2] = [
    "\0\0\0{\"ref\":\"refs/heads/main\",\"before\":\"1111111111111111111111111111111111111111\",\"after\":\"2222222222222222222222222222222222222222\",\"forced\":false,\"commits\":[{\"id\":\"2222222222222222222222222222222222222222\",\"message\":\"fix\",\"author\":{\"name\":\"Ann\",\"email\":\"ann@example.org\"},\"timestamp\":\"2026-11-24T14:02:11Z\",\"added\":[\"a\"],\"removed\":[],\"modified\":[\"b\"]}]}",
    "\0\u{1}\0payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%2C%22before%22%3A%221111111111111111111111111111111111111111%22%2C%22after%22%3A%220000000000000000000000000000000000000000%22%7D",
];

fn bodies(texts: &[&str]) -> Vec<Vec<u8>> {
    super::texts(texts)
}

fn run(forge: Forge, bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (how, kind, key) = (source.below(8), source.below(4), source.below(5));
    let body = source.rest();
    let (header, delivery) = match forge {
        Forge::Generic => (generic::SIGNATURE, generic::DELIVERY),
        Forge::Github => (github::SIGNATURE, github::DELIVERY),
    };
    let mut headers = HeaderMap::new();
    let signed = signature_by_hand(SECRET, body);
    let told = match how {
        6 => signature_by_hand("another secret", body),
        7 => signed.to_uppercase(),
        _ => signed.clone(),
    };
    headers.insert(HeaderName::from_static(header), HeaderValue::from_str(&told).unwrap());
    let kinds =
        ["application/json", "application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"];
    headers.insert("content-type", HeaderValue::from_static(kinds[kind]));
    let keys: [&[u8]; 5] = [b"guid-1", b"x", b"\xff\xfe", b"", &[b'k'; 300]];
    headers.insert(HeaderName::from_static(delivery), HeaderValue::from_bytes(keys[key]).unwrap());
    headers.insert("x-github-event", HeaderValue::from_static(if key == 1 { "ping" } else { "push" }));

    for more in ["", ", tags: true", ", branches: [main, \"release/**\"]"] {
        let config = repository_once(more);
        match read(forge, config, SECRET, &headers, body) {
            Ok(reading) => {
                assert_eq!(told, signed, "accepted under a signature that is not right");
                check_reading(&reading);
                check_tampered(forge, &headers, body);
            }
            Err(HookError::SignatureWrong) => assert_ne!(told, signed, "refused under the right signature"),
            Err(_) => {}
        }
    }
}

fn repository_once(more: &'static str) -> &'static gristmill_model::Repository {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, OnceLock};
    static KNOWN: OnceLock<Mutex<BTreeMap<&'static str, &'static gristmill_model::Repository>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap();
    known.entry(more).or_insert_with(|| Box::leak(Box::new(repository(more))))
}

fn check_tampered(forge: Forge, headers: &HeaderMap, body: &[u8]) {
    let mut tampered = body.to_vec();
    match tampered.last_mut() {
        Some(byte) => *byte ^= 1,
        None => tampered.push(b' '),
    }
    let refused = read(forge, repository_once(""), SECRET, headers, &tampered);
    assert_eq!(refused, Err(HookError::SignatureWrong), "a changed body is accepted");
    let refused = read(forge, repository_once(""), "", headers, body);
    assert_eq!(refused, Err(HookError::SignatureWrong), "an empty secret is accepted");
}

fn check_reading(reading: &HookReading) {
    assert!(!reading.key.is_empty() && reading.key.len() <= 128 && !reading.key.chars().any(char::is_control));
    assert!(reading.event.len() <= 128);
    match &reading.meaning {
        Meaning::Moved(update) => check_update(update),
        Meaning::Look(why) | Meaning::Nothing(why) => assert!(!why.is_empty() && why.len() < 1000, "{why}"),
    }
}

/// What may become a change without a look at the repository.
fn check_update(update: &RefUpdate) {
    let reference = update.reference.as_str();
    assert!(git2::Reference::is_valid_name(reference) && reference.len() <= limit::NAME_BYTES_MAX, "{reference:?}");
    assert!(update.reference.branch().is_some(), "{reference:?} is no branch");
    assert!(!update.incomplete);
    let is_revision = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(update.old.iter().chain(&update.new).all(|revision| is_revision(revision.as_str())));
    match update.movement {
        Movement::Deleted => assert!(update.new.is_none() && update.commits.is_empty()),
        Movement::Created => assert!(update.old.is_none() && update.new.is_some()),
        Movement::Moved | Movement::Forced => assert!(update.old.is_some() && update.new.is_some()),
    }
    if update.new.is_some() {
        assert_eq!(update.commits.last().map(|commit| &commit.revision), update.new.as_ref(), "the end is missing");
    }
    assert!(update.commits.len() <= limit::COMMITS_MAX);
    for commit in &update.commits {
        assert!(is_revision(commit.revision.as_str()));
        assert!(
            commit.message.len() <= limit::MESSAGE_BYTES_MAX && commit.author.name.len() <= limit::PERSON_BYTES_MAX
        );
        assert!(commit.author.email.len() <= limit::PERSON_BYTES_MAX);
        assert!(commit.files.iter().all(|file| file.len() <= limit::NAME_BYTES_MAX));
        assert!(commit.files.is_sorted());
    }
}

/// HMAC SHA-256 as a sender computes it.
fn signature_by_hand(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let digits: Vec<String> = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={}", digits.concat())
}

fn run_signature(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (shape, times) = (source.below(4), source.below(3));
    let secret = if shape == 3 { "" } else { SECRET };
    let (told, body) = match shape {
        // The header is whatever comes.
        0 => (source.piece(), source.rest()),
        // A right one with something behind it, or in front.
        1 | 3 => (&[][..], source.rest()),
        _ => (source.bytes(71), source.rest()),
    };
    let right = signature_by_hand(secret, body);
    let told = if told.is_empty() { right.as_bytes().to_vec() } else { told.to_vec() };
    let Ok(value) = HeaderValue::from_bytes(&told) else { return };
    let mut headers = HeaderMap::new();
    for _ in 0..=times % 2 {
        headers.append(HeaderName::from_static(generic::SIGNATURE), value.clone());
    }
    let result = signature::check(&headers, generic::SIGNATURE, secret, body);
    // Hexadecimal digits count in either case.
    let is_right = value.to_str().is_ok_and(|text| text.starts_with("sha256=") && text.to_lowercase() == right);
    assert_eq!(result.is_ok(), is_right && times % 2 == 0 && !secret.is_empty(), "{value:?}");
    assert_eq!(signature::sign(secret, body), right);
}
