//! The dialects, as pure functions; `route` tries the whole over a real connection.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use expect_test::{Expect, expect};
use gristmill_model::catalog::{Forge, Repository};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{HookError, Meaning, meaning, read, signature};
use crate::sources::fixture::{branches, configured};

mod route;

pub(super) const SECRET: &str = "hunter2";
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccc";
const ZERO: &str = "0000000000000000000000000000000000000000";

pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("it is a name");
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("it is a value"))
        })
        .collect()
}

fn github_headers(event: &str, kind: &str, body: &[u8]) -> HeaderMap {
    let signature = signature::sign(SECRET, body);
    headers(&[
        ("content-type", kind),
        ("x-github-event", event),
        ("x-github-delivery", "d-1"),
        ("x-hub-signature-256", &signature),
    ])
}

fn generic_headers(body: &[u8]) -> HeaderMap {
    let signature = signature::sign(SECRET, body);
    headers(&[
        ("content-type", "application/json; charset=utf-8"),
        ("x-gristmill-delivery", "d-1"),
        ("x-gristmill-signature", &signature),
    ])
}

fn github_commit(id: &str) -> Value {
    json!({
        "id": id, "message": "fix\r\n\nmore", "timestamp": "2026-11-24T15:02:11+01:00", "distinct": true,
        "author": {"name": "Ann", "email": "ann@example.org", "username": "ann"},
        "added": ["new"], "removed": ["gone"], "modified": ["src/a", "new"],
    })
}

pub(super) fn github_push(before: &str, after: &str, commits: &[&str]) -> Value {
    json!({
        "ref": "refs/heads/main", "before": before, "after": after, "created": false, "deleted": false,
        "forced": false, "base_ref": null, "compare": "https://x", "repository": {"url": "https://evil.example.org"},
        "commits": commits.iter().map(|id| github_commit(id)).collect::<Vec<_>>(),
    })
}

fn push_with(change: impl FnOnce(&mut Value)) -> Value {
    let mut push = github_push(A, C, &[B, C]);
    change(&mut push);
    push
}

fn config() -> Repository {
    Repository { branches: branches(&["main", "release/*"]), ..configured("/srv/app") }
}

/// Says what a meaning is in a few lines.
fn say(meaning: &Meaning) -> String {
    match meaning {
        Meaning::Look(why) => format!("look: {why}\n"),
        Meaning::Nothing(why) => format!("nothing: {why}\n"),
        Meaning::Moved(update) => {
            let end = |revision: &Option<gristmill_model::Revision>| {
                revision.as_ref().map_or("-".to_owned(), |revision| revision.short().to_owned())
            };
            let mut text =
                format!("{:?} {} {} {}\n", update.movement, update.reference, end(&update.old), end(&update.new));
            for commit in &update.commits {
                let (author, files) = (&commit.author, commit.files.join(" "));
                text.push_str(&format!(
                    "  {} {:?} {} <{}> {} {}: {files}\n",
                    commit.revision.short(),
                    commit.message,
                    author.name,
                    author.email,
                    commit.at.to_clock(),
                    commit.files.len()
                ));
            }
            text
        }
    }
}

fn check_github(push: &Value, wanted: Expect) {
    let body = push.to_string().into_bytes();
    let reading = read(Forge::Github, &config(), SECRET, &github_headers("push", "application/json", &body), &body);
    let reading = reading.expect("it is signed");
    assert_eq!((reading.key.as_str(), reading.event.as_str()), ("d-1", "push"));
    wanted.assert_eq(&say(&reading.meaning));
}

#[test]
fn a_complete_push_is_a_movement_with_its_commits() {
    check_github(
        &github_push(A, C, &[B, C]),
        expect![[r#"
            Moved refs/heads/main aaaaaaaa cccccccc
              bbbbbbbb "fix\r\n\nmore" Ann <ann@example.org> 14:02:11 3: gone new src/a
              cccccccc "fix\r\n\nmore" Ann <ann@example.org> 14:02:11 3: gone new src/a
        "#]],
    );
    check_github(&github_push(A, ZERO, &[]), expect!["Deleted refs/heads/main aaaaaaaa -\n"]);
}

#[test]
fn a_push_that_does_not_tell_all_asks_for_a_look() {
    check_github(&push_with(|push| push["forced"] = json!(true)), expect!["look: branch `main` was rewritten\n"]);
    check_github(&push_with(|push| push["before"] = json!(ZERO)), expect!["look: branch `main` is new\n"]);
    check_github(
        &github_push(A, C, &[B]),
        expect!["look: a push to `main`, and its commits do not end where the ref is\n"],
    );
    check_github(
        &github_push(A, C, &[]),
        expect!["look: a push to `main`, and its commits do not end where the ref is\n"],
    );
    check_github(&github_push(A, C, &[C; 20]), expect!["look: a push to `main` of 20 commits or more\n"]);
    check_github(
        &push_with(|push| push["commits"][0]["timestamp"] = json!("yesterday")),
        expect!["look: a push to `main` with a commit that is not written as expected\n"],
    );
    check_github(
        &push_with(|push| push["commits"][0]["added"] = json!(vec!["x/".repeat(1000)])),
        expect!["look: a push to `main`, and it is longer than a change may be\n"],
    );
    for hostile in ["refs/heads/a..b", "main", "refs/heads/", "refs/heads/x\u{7f}", "-x", "refs/heads/a b"] {
        check_github(
            &push_with(|push| push["ref"] = json!(hostile)),
            expect!["look: its ref or its revisions are not written as git does\n"],
        );
    }
    for hostile in ["", "main", "--upload-pack=x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "aaaa"] {
        check_github(
            &push_with(|push| push["after"] = json!(hostile)),
            expect!["look: its ref or its revisions are not written as git does\n"],
        );
    }
}

#[test]
fn what_is_not_looked_at_is_nothing_and_a_tag_is_looked_at_ourselves() {
    check_github(
        &push_with(|push| push["ref"] = json!("refs/heads/wip")),
        expect!["nothing: `wip` is not looked at\n"],
    );
    check_github(&push_with(|push| push["ref"] = json!("refs/tags/v1")), expect!["nothing: `v1` is not looked at\n"]);
    let body = push_with(|push| push["ref"] = json!("refs/tags/v1")).to_string();
    let with_tags = Repository { tags: true, ..config() };
    let said = meaning(Forge::Github, &with_tags, &github_headers("push", "application/json", &[]), body.as_bytes());
    assert_eq!(said, Meaning::Look("tag `v1` moved".to_owned()));
}

#[test]
fn hostile_branch_names_are_only_names() {
    let config = configured("/srv/app");
    for name in ["--upload-pack=x", "$(id)", "<script>alert(1)</script>"] {
        let body = push_with(|push| push["ref"] = json!(format!("refs/heads/{name}"))).to_string();
        let said = meaning(Forge::Github, &config, &github_headers("push", "application/json", &[]), body.as_bytes());
        let Meaning::Moved(update) = said else { panic!("{name}: {said:?}") };
        assert_eq!(update.reference.short(), name);
    }
}

#[test]
fn broken_json_asks_for_a_look_and_says_where_it_breaks() {
    let whole = github_push(A, C, &[B, C]).to_string();
    let check = |body: &[u8], wanted: &str| {
        let headers = github_headers("push", "application/json", body);
        let reading = read(Forge::Github, &config(), SECRET, &headers, body).expect("it is signed");
        assert_eq!(say(&reading.meaning).trim_end(), wanted);
    };
    check(&whole.as_bytes()[..100], "look: the JSON ends early (line 1, column 100)");
    check(b"{\n  nonsense", "look: the body is not JSON (line 2, column 3)");
    check(b"[]", "look: the JSON is not what a push looks like (line 1, column 2)");
    check("[".repeat(400_000).as_bytes(), "look: the JSON is not what a push looks like (line 1, column 1)");
    let deep = format!("{{\"ref\":{}", "[".repeat(400_000));
    check(deep.as_bytes(), "look: the JSON is not what a push looks like (line 1, column 7)");
    let deep = format!("{{\"x\":{}", "[".repeat(400_000));
    let headers = github_headers("push", "application/json", deep.as_bytes());
    let reading = read(Forge::Github, &config(), SECRET, &headers, deep.as_bytes()).expect("it is signed");
    assert!(say(&reading.meaning).starts_with("look: "), "{}", say(&reading.meaning));
}

#[test]
fn a_form_is_read_like_json() {
    let json = github_push(A, C, &[B, C]).to_string();
    let mut form = b"other=1&payload=".to_vec();
    for byte in json.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => form.push(byte),
            b' ' => form.push(b'+'),
            _ => form.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    let headers = github_headers("push", "application/x-www-form-urlencoded", &form);
    let of_form = read(Forge::Github, &config(), SECRET, &headers, &form).expect("it is signed").meaning;
    let of_json = meaning(Forge::Github, &config(), &github_headers("push", "application/json", &[]), json.as_bytes());
    assert!(matches!(of_form, Meaning::Moved(_)));
    assert_eq!(of_form, of_json);
    let headers = github_headers("push", "application/x-www-form-urlencoded", b"x=1");
    let nothing = read(Forge::Github, &config(), SECRET, &headers, b"x=1").expect("it is signed").meaning;
    assert_eq!(nothing, Meaning::Look("the form has no field `payload`".to_owned()));
}

#[test]
fn other_events_are_nothing() {
    for (event, says) in [("ping", "a ping: the webhook works"), ("issues", "`issues` is not read; only push is")] {
        let reading = read(Forge::Github, &config(), SECRET, &github_headers(event, "application/json", b"{}"), b"{}");
        assert_eq!(reading.expect("it is signed").meaning, Meaning::Nothing(says.to_owned()));
    }
}

#[test]
fn the_generic_dialect_is_as_documented() {
    let commit = json!({"id": C, "message": "fix", "author": {"name": "Ann", "email": "ann@example.org"},
        "timestamp": "2026-11-24T14:02:11Z", "files": ["b", "a"]});
    let push = json!({"event": "push", "ref": "refs/heads/main", "before": A, "after": C, "commits": [commit], "complete": true});
    let check = |change: &dyn Fn(&mut Value), wanted: Expect| {
        let mut push = push.clone();
        change(&mut push);
        let body = push.to_string().into_bytes();
        let reading = read(Forge::Generic, &config(), SECRET, &generic_headers(&body), &body).expect("it is signed");
        wanted.assert_eq(&format!("{}: {}", reading.event, say(&reading.meaning)));
    };
    check(
        &|_| {},
        expect![[r#"
            push: Moved refs/heads/main aaaaaaaa cccccccc
              cccccccc "fix" Ann <ann@example.org> 14:02:11 2: a b
        "#]],
    );
    check(
        &|push| push["forced"] = json!(true),
        expect![[r#"
            push: Forced refs/heads/main aaaaaaaa cccccccc
              cccccccc "fix" Ann <ann@example.org> 14:02:11 2: a b
        "#]],
    );
    check(
        &|push| push["before"] = json!(ZERO),
        expect![[r#"
            push: Created refs/heads/main - cccccccc
              cccccccc "fix" Ann <ann@example.org> 14:02:11 2: a b
        "#]],
    );
    check(&|push| push["after"] = json!(ZERO), expect!["push: Deleted refs/heads/main aaaaaaaa -\n"]);
    check(&|push| push["complete"] = json!(false), expect!["push: look: a push\n"]);
    check(&|push| *push = json!({"event": "push"}), expect!["push: look: a push\n"]);
    check(&|push| *push = json!({"event": "ping"}), expect!["ping: nothing: a ping: the webhook works\n"]);
    check(&|push| *push = json!({"event": "fork"}), expect!["fork: nothing: `fork` is not read; only push is\n"]);
    check(
        &|push| push["commits"][0]["id"] = json!("x"),
        expect!["push: look: a push with a commit that is not written as documented\n"],
    );
}

#[test]
fn what_is_not_signed_or_not_named_is_refused() {
    let body = github_push(A, C, &[B, C]).to_string().into_bytes();
    let good = github_headers("push", "application/json", &body);
    let check = |headers: &HeaderMap, secret: &str, wanted: HookError| {
        assert_eq!(read(Forge::Github, &config(), secret, headers, &body), Err(wanted));
    };
    check(&good, "other", HookError::SignatureWrong);
    let mut empty = good.clone();
    empty.insert("x-hub-signature-256", signature::sign("", &body).parse().expect("it is a value"));
    check(&empty, "", HookError::SignatureWrong);
    let mut twice = good.clone();
    twice.append("x-hub-signature-256", good["x-hub-signature-256"].clone());
    check(&twice, SECRET, HookError::SignatureMissing { header: "x-hub-signature-256" });
    let mut old = good.clone();
    old.remove("x-hub-signature-256");
    old.insert("x-hub-signature", HeaderValue::from_static("sha1=0123456789012345678901234567890123456789"));
    check(&old, SECRET, HookError::SignatureMissing { header: "x-hub-signature-256" });
    for kind in ["text/plain", "", "application/xml", "application/jsonx"] {
        let headers = github_headers("push", kind, &body);
        let said = read(Forge::Github, &config(), SECRET, &headers, &body);
        assert!(matches!(said, Err(HookError::ContentType { .. })), "{kind}");
    }
    let mut packed = good.clone();
    packed.insert("content-encoding", HeaderValue::from_static("gzip"));
    assert!(matches!(read(Forge::Github, &config(), SECRET, &packed, &body), Err(HookError::ContentType { .. })));
    for name in ["", "ä", &"x".repeat(129)] {
        let mut unnamed = good.clone();
        unnamed.insert("x-github-delivery", HeaderValue::from_bytes(name.as_bytes()).expect("it is a value"));
        check(&unnamed, SECRET, HookError::NameMissing { header: "x-github-delivery" });
    }
}

proptest! {
    #[test]
    fn no_body_makes_a_reader_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        event in prop_oneof![Just("push"), Just("ping"), Just("x")],
        kind in prop_oneof![Just("application/json"), Just("application/x-www-form-urlencoded")],
    ) {
        let reading = read(Forge::Github, &config(), SECRET, &github_headers(event, kind, &body), &body);
        prop_assert!(!matches!(reading.expect("it is signed").meaning, Meaning::Moved(_)));
        let reading = read(Forge::Generic, &config(), SECRET, &generic_headers(&body), &body);
        prop_assert!(!matches!(reading.expect("it is signed").meaning, Meaning::Moved(_)));
    }

    #[test]
    fn no_cut_or_changed_push_makes_a_reader_panic(cut in 0usize..900, at in 0usize..900, byte: u8) {
        let whole = github_push(A, C, &[B, C]).to_string().into_bytes();
        for (forge, headers) in [(Forge::Github, github_headers("push", "application/json", &[])), (Forge::Generic, HeaderMap::new())] {
            meaning(forge, &config(), &headers, &whole[..cut.min(whole.len())]);
            let mut changed = whole.clone();
            let at = at % changed.len();
            changed[at] = byte;
            meaning(forge, &config(), &headers, &changed);
        }
    }

    #[test]
    fn a_signature_refuses_any_flip(at in 0usize..2000, bit in 0u8..8, in_body: bool) {
        let mut body = github_push(A, C, &[B, C]).to_string().into_bytes();
        let mut told = signature::sign(SECRET, &body).into_bytes();
        let target = if in_body { &mut body } else { &mut told };
        let at = at % target.len();
        let before = target[at];
        target[at] ^= 1 << bit;
        // Upper and lower case are the same digit.
        prop_assume!(in_body || !before.eq_ignore_ascii_case(&target[at]) || at < 7);
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&told) {
            headers.insert("x-hub-signature-256", value);
        }
        prop_assert!(signature::check(&headers, "x-hub-signature-256", SECRET, &body).is_err());
    }

    #[test]
    fn no_header_makes_the_check_panic(value in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let headers = [("x-hub-signature-256".parse().expect("a name"), value)].into_iter().collect();
            prop_assert!(signature::check(&headers, "x-hub-signature-256", SECRET, b"x").is_err());
        }
    }
}
