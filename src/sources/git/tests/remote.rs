use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use expect_test::expect;
use gristmill_model::RefName;

use super::servers::{Bridge, fake_ssh, git_daemon, http, serve_raw, silent};
use crate::sources::fixture::{Git, Watcher, configured, table};
use crate::sources::git::Login;

/// Runs ssh's remote command here.
const SSH_HERE: &str = r#"for command in "$@"; do :; done; exec sh -c "$command""#;

/// One way to a repository.
struct Way {
    url: String,
    ssh: PathBuf,
}

/// Every way to `app.git`.
fn ways(git: &Git) -> Vec<Way> {
    let ssh = fake_ssh(git.folder.path(), SSH_HERE);
    let (http, _) = http(Bridge { root: git.folder.path().to_owned(), ..Bridge::default() });
    let daemon = git_daemon(git.folder.path());
    let path = git.path("app.git").display().to_string();
    [
        format!("http://{http}/app.git"),
        format!("git://{daemon}/app.git"),
        format!("ssh://git@example.org{path}"),
        format!("git@example.org:{path}"),
    ]
    .into_iter()
    .map(|url| Way { url, ssh: ssh.clone() })
    .collect()
}

fn watcher(git: &Git, way: &Way) -> Watcher {
    let mut watcher = Watcher::of(git, configured(&way.url));
    watcher.ssh = way.ssh.clone();
    watcher
}

#[test]
fn every_transport_sees_what_a_look_in_place_sees() {
    let first = Git::new();
    for number in 0..ways(&first).len() {
        let git = Git::new();
        let way = &ways(&git)[number];
        let mut watcher = watcher(&git, way);
        assert_eq!(table(&watcher.accept()), "", "an empty repository by {}", way.url);
        git.commit("a", "one");
        git.push(&["main"]);
        expect![[r#"
            main Created
              one: a
        "#]]
        .assert_eq(&table(&watcher.accept()));
        assert_eq!(table(&watcher.accept()), "");
        git.commit("b", "two");
        git.push(&["main", "main:topic"]);
        expect![[r#"
            main Moved
              two: b
            topic Created
        "#]]
        .assert_eq(&table(&watcher.accept()));
        git.at("work", &["reset", "-q", "--hard", "HEAD^"]);
        git.commit("c", "instead");
        git.at("work", &["tag", "-a", "-m", "release", "v1"]);
        git.push(&["main", ":topic", "main:refs/heads/topic/deeper", "v1"]);
        watcher.config.tags = true;
        let swept = watcher.accept();
        expect![[r#"
            main Forced
              instead: c
            topic/deeper Created
            v1 Created
              instead: c
            topic Deleted
        "#]]
        .assert_eq(&table(&swept));
        assert_eq!(swept.sighting.updates[0].new, swept.sighting.updates[2].new, "a tag leads to its commit");
        assert_eq!(table(&watcher.accept()), "", "{}", way.url);
    }
}

#[test]
fn hostile_ref_names_come_through_every_transport_as_names() {
    let git = Git::new();
    git.commit("a", "one");
    git.push(&["main"]);
    let tip = git.at("work", &["rev-parse", "main"]);
    let names = ["--upload-pack=x", "$(id)", "<script>alert(1)</script>"];
    let mut commands = Vec::new();
    for name in names {
        commands.extend_from_slice(format!("create refs/heads/{name} {tip}\n").as_bytes());
    }
    commands.extend_from_slice(b"create refs/heads/latin-\xe4 ");
    commands.extend_from_slice(format!("{tip}\n").as_bytes());
    git.feed("app.git", &["update-ref", "--stdin"], &commands);
    for way in ways(&git) {
        let mut watcher = watcher(&git, &way);
        watcher.mirror = git.path("mirrors").join(way.url.replace('/', "_"));
        let swept = watcher.accept();
        let known = watcher.known.as_ref().expect("it was seen");
        assert_eq!(known.len(), 4);
        assert!(names.iter().all(|name| known.contains_key(&RefName::of_branch(name))), "{}", way.url);
        let warnings =
            ["ref `refs/heads/latin-\u{fffd}` is left out: its name is not UTF-8; rename it to have it seen"];
        assert_eq!(swept.warnings, warnings, "{}", way.url);
    }
}

#[test]
fn a_server_that_says_nothing_is_left_after_the_limit() {
    let git = Git::new();
    let address = silent();
    let ssh = fake_ssh(git.folder.path(), "exec sleep 1000");
    for url in [format!("http://{address}/app"), format!("git://{address}/app"), "ssh://example.org/app".to_owned()] {
        let mut watcher = watcher(&git, &Way { url: url.clone(), ssh: ssh.clone() });
        watcher.limits.silence = Duration::from_millis(200);
        let began = Instant::now();
        assert_eq!(
            watcher.failure(),
            "the server said nothing for 200 ms; check that it is well and reachable",
            "{url}"
        );
        watcher.limits.silence = Duration::from_secs(20);
        watcher.limits.time = Duration::from_millis(200);
        if url.starts_with("http") {
            // Over http a single wait is limited by silence alone, so this one is seen at the next read.
            watcher.limits.silence = Duration::from_millis(300);
        }
        assert!(watcher.failure().starts_with("it was not done after 200 ms, and was ended;"), "{url}");
        assert!(began.elapsed() < Duration::from_secs(10), "{url}: {:?}", began.elapsed());
    }
}

#[test]
fn a_server_that_stops_in_the_middle_of_a_fetch_is_left_too() {
    let git = Git::new();
    git.commit("a", "one");
    git.push(&["main"]);
    let tip = git.at("work", &["rev-parse", "main"]);
    let address = serve_raw(move |mut stream| {
        let line = format!("{tip} refs/heads/main\0ofs-delta side-band-64k\n");
        stream.write_all(format!("{:04x}{line}0000", line.len() + 4).as_bytes()).expect("it reads");
        let mut rest = Vec::new();
        // Until the other side gives up.
        stream.read_to_end(&mut rest).ok();
    });
    let mut watcher = Watcher::of(&git, configured(&format!("git://{address}/app")));
    watcher.limits.silence = Duration::from_millis(200);
    assert_eq!(watcher.failure(), "the server said nothing for 200 ms; check that it is well and reachable");
    watcher.cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(watcher.failure(), "the look was called off");
}

#[test]
fn a_server_that_talks_without_end_is_left() {
    let git = Git::new();
    for (prefix, says) in [("refs/heads/b", "more than 20000 refs"), ("refs/pull/", "more than 33554432 bytes")] {
        let address = serve_raw(move |mut stream| {
            let oid = "1".repeat(40);
            for number in 0.. {
                let line = format!("{oid} {prefix}{number:060}\n");
                if stream.write_all(format!("{:04x}{line}", line.len() + 4).as_bytes()).is_err() {
                    return;
                }
            }
        });
        let watcher = Watcher::of(&git, configured(&format!("git://{address}/app")));
        assert!(watcher.failure().starts_with(says), "{}", watcher.failure());
    }
}

#[test]
fn what_is_no_git_server_is_said_to_be_none() {
    let git = Git::new();
    for (words, says) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "does not answer in git's smart protocol"),
        ("0000", "it worked"),
        ("0003", "does not answer in git's smart protocol"),
        ("zzzz", "does not answer in git's smart protocol"),
        ("+00a", "does not answer in git's smart protocol"),
        ("0019ERR no such thing\x1b[2J\n", "the server says: no such thing [2J"),
        ("", "does not answer in git's smart protocol"),
    ] {
        let address = serve_raw(move |mut stream| {
            let asked = stream.read(&mut [0; 4096]).expect("it asks");
            assert!(asked > 0);
            stream.write_all(words.as_bytes()).expect("it reads");
            stream.shutdown(std::net::Shutdown::Write).expect("it is open");
            stream.read_to_end(&mut Vec::new()).ok();
        });
        let watcher = Watcher::of(&git, configured(&format!("git://{address}/app")));
        let said = watcher.failure();
        assert!(said.contains(says), "{words:?}: {said}");
        if words.starts_with("HTTP") {
            let watcher = Watcher::of(&git, configured(&format!("http://{address}/app")));
            assert!(watcher.failure().contains(says), "{}", watcher.failure());
        }
    }
}

#[test]
fn repositories_that_cannot_be_read_from_afar_are_named_for_what_they_are() {
    let git = Git::new();
    git.commit("a", "one");
    git.commit("b", "two");
    git.push(&["main"]);
    let url = crate::sources::fixture::file_url(&git.path("app.git"));
    git.run(&["clone", "-q", "--bare", "--depth", "1", &url, "shallow.git"]);
    git.run(&["init", "-q", "--bare", "--object-format=sha256", "new.git"]);
    let address = git_daemon(git.folder.path());
    for (name, says) in [
        ("shallow.git", "the repository on the server is shallow; run `git fetch --unshallow` in it"),
        ("new.git", "the repository names its objects by sha256; only sha1 can be read"),
        ("none.git", "the server says: "),
    ] {
        let watcher = Watcher::of(&git, configured(&format!("git://{address}/{name}")));
        assert!(watcher.failure().starts_with(says), "{name}: {}", watcher.failure());
    }
    let nobody = serve_raw(drop).port();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for url in [format!("git://{gone}/app"), format!("http://{gone}/app"), format!("http://127.0.0.1:{nobody}/app")] {
        let watcher = Watcher::of(&git, configured(&url));
        assert!(watcher.failure().starts_with("no connection to "), "{}", watcher.failure());
    }
}

#[test]
fn a_password_is_sent_where_it_is_asked_for_and_nowhere_else() {
    let git = Git::new();
    git.commit("a", "one");
    git.push(&["main"]);
    let root = git.folder.path().to_owned();
    let right = base64::engine::general_purpose::STANDARD.encode("ci:hunter2");
    let (elsewhere, other) = http(Bridge { root: root.clone(), ..Bridge::default() });
    let (address, bridge) = http(Bridge {
        root,
        authorization: Some(format!("Basic {right}")),
        redirects: [
            ("old".to_owned(), "/app.git".to_owned()),
            ("away".to_owned(), format!("http://{elsewhere}/app.git")),
            ("round".to_owned(), "/round".to_owned()),
        ]
        .into(),
        ..Bridge::default()
    });
    let login = |password: &str| Login::Password { username: "ci".to_owned(), password: password.to_owned() };
    let mut watcher = Watcher::of(&git, configured(&format!("http://{address}/app.git")));
    assert_eq!(
        watcher.failure(),
        format!("http://{address} wants a login; name a user and a secret under `credentials`")
    );
    watcher.login = login("wrong");
    assert_eq!(
        watcher.failure(),
        format!("http://{address} refuses the login; check the user name and the secret under `credentials`")
    );
    watcher.login = login("hunter2");
    assert_eq!(watcher.accept().refs, 1);
    watcher.known = None;
    watcher.mirror = git.path("mirrors/again.git");
    watcher.config.url = format!("http://{address}/old");
    assert_eq!(watcher.accept().refs, 1, "a redirect on the same host is followed, for the fetch too");
    let posted = bridge.seen.lock().expect("no test panics here").last().cloned().expect("there were requests");
    assert_eq!((posted.0.as_str(), posted.1.as_str()), ("POST", "/app.git/git-upload-pack"));
    watcher.config.url = format!("http://{address}/away");
    assert_eq!(
        watcher.failure(),
        format!(
            "http://{address} sends us to http://{elsewhere}, and redirects are followed only on the same host; configure the address it names"
        )
    );
    assert!(other.seen.lock().expect("no test panics here").is_empty());
    watcher.config.url = format!("http://{address}/round");
    assert!(watcher.failure().contains("redirects are followed only on the same host"), "{}", watcher.failure());
    watcher.config.url = format!("http://{address}/none.git");
    assert!(watcher.failure().contains("knows no such repository"), "{}", watcher.failure());
    watcher.config.url = "http://git.example.org/app.git".to_owned();
    assert_eq!(watcher.failure(), "a password is sent only over https; configure an https address");
    watcher.config.url = "git://git.example.org/app.git".to_owned();
    assert!(watcher.failure().starts_with("a password is sent only over https"), "{}", watcher.failure());
}

#[test]
fn ssh_gets_no_option_from_an_address_and_a_key_that_only_we_can_read() {
    let git = Git::new();
    git.commit("a", "one");
    git.push(&["main"]);
    let ssh = fake_ssh(git.folder.path(), SSH_HERE);
    let path = git.path("app.git").display().to_string();
    let mut watcher = watcher(&git, &Way { url: format!("ssh://git@example.org:2222{path}"), ssh });
    watcher.login = Login::SshKey("-----BEGIN KEY-----\nabc\n-----END KEY-----".to_owned());
    watcher.accept();
    let log = std::fs::read_to_string(git.path("ssh.log")).expect("ssh was run");
    let words: Vec<&str> = log.lines().collect();
    let command = format!("git-upload-pack '{path}'");
    assert_eq!(words[words.len() - 5..], ["-p", "2222", "--", "git@example.org", &command]);
    assert!(words.contains(&"-oBatchMode=yes") && words.contains(&"-oIdentitiesOnly=yes"));
    let key_at = words.iter().position(|word| *word == "-i").expect("a key was given") + 1;
    assert!(!PathBuf::from(words[key_at]).exists(), "the key is gone when the look is over");
    assert_eq!(std::fs::read_to_string(git.path("key.mode")).expect("it was seen"), "600\n");
    let key = std::fs::read_to_string(git.path("key")).expect("it was copied");
    assert_eq!(key, "-----BEGIN KEY-----\nabc\n-----END KEY-----\n");
}

#[test]
fn what_ssh_says_is_repeated_in_one_line() {
    let git = Git::new();
    let ssh = fake_ssh(git.folder.path(), "printf 'Host key\\nverification \\033[31mfailed.\\r\\n' >&2; exit 255");
    let watcher = watcher(&git, &Way { url: "git@example.org:app".to_owned(), ssh });
    assert_eq!(
        watcher.failure(),
        "ssh to example.org failed (Host key verification [31mfailed.); `ssh example.org` as the service's user must work without a question"
    );
    let mut watcher = Watcher::of(&git, configured("git@example.org:app"));
    watcher.ssh = PathBuf::from("/nowhere/ssh");
    assert!(watcher.failure().starts_with("ssh to example.org failed (No such file"), "{}", watcher.failure());
}

#[test]
fn a_fetch_of_too_many_bytes_is_ended_and_leaves_nothing() {
    let git = Git::new();
    let noise: String =
        (0..200_000_u64).map(|number| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    std::fs::write(git.path("work/noise"), noise).expect("files can be written");
    git.commit("a", "much");
    git.push(&["main"]);
    let address = git_daemon(git.folder.path());
    let mut watcher = Watcher::of(&git, configured(&format!("git://{address}/app.git")));
    watcher.limits.bytes = 100_000;
    assert!(watcher.failure().starts_with("more than 100000 bytes came in one look"), "{}", watcher.failure());
    watcher.limits.bytes = 100_000_000;
    assert_eq!(watcher.accept().refs, 1);
}

#[test]
fn a_broken_mirror_is_made_again() {
    let git = Git::new();
    git.commit("a", "one");
    git.push(&["main"]);
    let address = git_daemon(git.folder.path());
    let mut watcher = Watcher::of(&git, configured(&format!("git://{address}/app.git")));
    watcher.accept();
    std::fs::write(watcher.mirror.join("HEAD"), "").expect("files can be written");
    git.commit("b", "two");
    git.push(&["main"]);
    assert_eq!(table(&watcher.accept()), "main Moved\n  two: b\n");
    let packs = std::fs::read_dir(watcher.mirror.join("objects/pack")).expect("there is a folder");
    for pack in packs.flatten().filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack")) {
        std::fs::remove_file(pack.path()).expect("it is ours");
    }
    git.commit("c", "three");
    git.push(&["main"]);
    assert!(watcher.failure().starts_with("the repository cannot be read ("));
    assert_eq!(table(&watcher.accept()), "main Moved\n  three: c\n");
}

#[test]
fn the_packs_of_a_mirror_are_put_together_and_lose_nothing() {
    let git = Git::new();
    let address = git_daemon(git.folder.path());
    let mut watcher = Watcher::of(&git, configured(&format!("git://{address}/app.git")));
    let packs = |watcher: &Watcher| {
        let entries = std::fs::read_dir(watcher.mirror.join("objects/pack")).expect("there is a folder");
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack")).count()
    };
    for number in 0..6 {
        git.commit("a", &format!("number {number}"));
        git.push(&["main"]);
        watcher.accept();
    }
    assert_eq!(packs(&watcher), 6);
    crate::sources::git::mirror::tidy(&watcher.mirror, 6);
    assert_eq!(packs(&watcher), 6);
    crate::sources::git::mirror::tidy(&watcher.mirror, 5);
    assert!(packs(&watcher) < 3, "{}", packs(&watcher));
    git.commit("a", "after");
    git.push(&["main"]);
    assert_eq!(table(&watcher.accept()), "main Moved\n  after: a\n");
    let listed = git.run(&["-C", "mirrors/app.git", "log", "--format=%s", "--glob=refs/tips/*"]);
    assert_eq!(listed.lines().count(), 7);
}
