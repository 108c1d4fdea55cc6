//! What a git server, a repository or an address says.

use std::path::Path;
use std::sync::OnceLock;

use git2::{ObjectType, Oid};
use gristmill::seams::ref_list;
use gristmill::sources::git::commits::{self, cut};
use gristmill::sources::git::listing::{Listing, WARNINGS_MAX, is_wanted, read_name};
use gristmill::sources::git::{Location, SweepError};
use gristmill_model::Repository;
use gristmill_model::source::limit;

use super::{repository, texts};
use crate::Target;
use crate::source::Source;

pub(super) const LOCATION: Target = Target {
    seeds: || {
        texts(&[
            "/srv/git/app.git",
            "file:///srv/a%20b.git",
            "https://git.example.org/lib.git/",
            "git@git.example.org:team/app.git",
            "ssh://git@git.example.org:2222/app",
            "ssh://git.example.org/~ann/app",
            "ssh://[::1]:22/app",
            "git://git.example.org:1234/app",
            "ext::sh -c id",
            "https://ann:hunter2@host/a",
        ])
    },
    words: &[
        "ssh://",
        "git://",
        "https://",
        "http://",
        "file://",
        "git+ssh://",
        "ext::",
        "@",
        ":",
        "/",
        "%00",
        "%0a",
        "%2d",
        "-o",
        "--",
        "~",
        "[",
        "]",
        "127.0.0.1",
        "localhost",
        "?",
        "#",
        "\\",
        "$(id)",
        "`id`",
        " ",
    ],
    size_max: 256,
    short: 20_000,
    ..Target::new(
        "git-location",
        "no part of an address begins an option, carries a control character or a password, or names another scheme, and what is taken is \
         taken the same again",
        run_location,
    )
};

fn run_location(bytes: &[u8]) {
    let url = String::from_utf8_lossy(bytes);
    let location = match Location::parse(&url) {
        Ok(location) => location,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && said.len() < 1_000, "{said:?}");
            return;
        }
    };
    let is_plain = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.chars().any(char::is_control);
    let is_host = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
    match &location {
        Location::Ssh { user, host, path, .. } => {
            assert!(is_plain(host) && is_host(host) && is_plain(path), "{location:?}");
            assert!(
                user.as_deref().is_none_or(|user| is_plain(user) && !user.contains([':', '@', ' '])),
                "{location:?}"
            );
        }
        Location::Daemon { host, path, .. } => {
            assert!(is_plain(host) && is_host(host) && is_plain(path), "{location:?}");
        }
        Location::Http { base } => {
            assert!(base.starts_with("http://") || base.starts_with("https://"), "{location:?}");
            assert!(is_plain(base) && base.is_ascii() && !base.contains(['?', '#', ' ']), "{location:?}");
            let host = base.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or("");
            assert!(!host.contains('@') && !host.is_empty(), "{location:?}");
            assert_eq!(Location::parse(base).as_ref(), Ok(&location), "it is another one the second time");
        }
        Location::Local(path) => {
            let path = path.to_string_lossy();
            assert!(!path.chars().any(char::is_control), "{location:?}");
            assert!(
                !url.contains("://")
                    || url.to_ascii_lowercase().starts_with("file://")
                    || url.starts_with(['/', '.'])
                    || !url.contains(':'),
                "{url:?} is {location:?}"
            );
        }
    }
}

pub(super) const REF_LIST: Target = Target {
    seeds: ref_lists,
    words: &[
        "0000",
        "0001",
        "0004",
        "0005",
        "001e# service=git-upload-pack\n",
        "000eversion 1\n",
        "003f",
        "ffff",
        "FFFF",
        "1111111111111111111111111111111111111111",
        " refs/heads/main",
        " refs/tags/v1",
        "^{}",
        "\0",
        "shallow ",
        "ERR ",
        "object-format=sha256",
        "capabilities^{}",
        " HEAD",
        "symref=HEAD:refs/heads/main",
    ],
    short: 10_000,
    ..Target::new(
        "git-ref-list",
        "only wanted refs whose names git allows are taken, never more than allowed, every tip has an object to fetch, and a server's own \
         words come out as one printable line",
        run_ref_list,
    )
};

fn packet(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

fn ref_lists() -> Vec<Vec<u8>> {
    let (one, two) = ("1".repeat(40), "2".repeat(40));
    let list = [
        packet(&format!("{one} HEAD\0multi_ack side-band-64k object-format=sha1 agent=git/2\n")),
        packet(&format!("{one} refs/heads/main\n")),
        packet(&format!("{two} refs/heads/release/1\n")),
        packet(&format!("{one} refs/tags/v1\n")),
        packet(&format!("{two} refs/tags/v1^{{}}\n")),
        "0000".to_owned(),
    ]
    .concat();
    let http = format!("{}0000{list}", packet("# service=git-upload-pack\n"));
    let refused = packet("ERR access denied or repository not exported\n");
    texts(&[
        &format!("\0\u{1}{list}"),
        &format!("\u{1}\u{1}{http}"),
        &format!("\0\0{refused}"),
        &format!("\0\u{2}{}0000", packet("version 1\n")),
    ])
}

fn run_ref_list(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (is_http, which) = (source.flag(), source.below(3));
    let (config, refs_max) = (&configs()[which], [2, 20_000, 0][which]);
    match ref_list(source.rest(), is_http, config, refs_max) {
        Ok((listing, capabilities)) => {
            assert!(listing.tips.len() <= refs_max);
            assert!(listing.tips.keys().eq(listing.objects.keys()), "{listing:?}");
            for name in listing.tips.keys() {
                assert!(git2::Reference::is_valid_name(name.as_str()) && is_wanted(config, name), "{name}");
                assert!(
                    name.as_str().len() <= limit::NAME_BYTES_MAX && (name.branch().is_some() || name.tag().is_some())
                );
            }
            assert!(!capabilities.contains('\0'));
            check_warnings(listing);
        }
        Err(SweepError::ServerSays(words)) => assert!(!words.chars().any(char::is_control), "{words:?}"),
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
    }
}

fn configs() -> &'static [Repository; 3] {
    static CONFIGS: OnceLock<[Repository; 3]> = OnceLock::new();
    CONFIGS
        .get_or_init(|| [repository(""), repository(", tags: true"), repository(", branches: [main, \"release/**\"]")])
}

fn check_warnings(listing: Listing) {
    let warnings = listing.into_warnings();
    assert!(warnings.len() <= WARNINGS_MAX + 1);
    assert!(warnings.iter().all(|warning| !warning.chars().any(char::is_control)), "{warnings:?}");
}

pub(super) const REF_NAME: Target = Target {
    seeds: || {
        texts(&["refs/heads/main", "refs/tags/v1.0", "refs/heads/a..b", "refs/heads/\u{202e}x", "refs/pull/1/head"])
    },
    words: &[
        "refs/heads/",
        "refs/tags/",
        "refs/",
        "..",
        "@{",
        ".lock",
        "//",
        "/.",
        "~",
        "^",
        ":",
        "?",
        "*",
        "[",
        "\\",
        " ",
        "\x7f",
        "-",
    ],
    size_max: 1_500,
    short: 20_000,
    ..Target::new(
        "git-ref-name",
        "a name is taken just if git allows it and it is short enough, otherwise a printable warning says why; cut text keeps within its \
         limit",
        run_ref_name,
    )
};

fn run_ref_name(bytes: &[u8]) {
    let mut listing = Listing::default();
    let is_ours = bytes.starts_with(b"refs/heads/") || bytes.starts_with(b"refs/tags/");
    match read_name(bytes, &mut listing) {
        Some(name) => {
            assert_eq!(name.as_str().as_bytes(), bytes);
            assert!(is_ours && git2::Reference::is_valid_name(name.as_str()) && bytes.len() <= limit::NAME_BYTES_MAX);
            assert_eq!(name.branch().is_some(), name.tag().is_none());
            assert!(!name.short().is_empty() && listing.warning_count == 0);
        }
        None => assert_eq!(listing.warning_count, usize::from(is_ours), "nothing is left out silently"),
    }
    check_warnings(listing);
    for most in [0, 1, 7, 255, 4096] {
        let text = cut(bytes, most);
        assert!(text.len() <= most && String::from_utf8_lossy(bytes).starts_with(&text));
    }
}

pub(super) const COMMIT: Target = Target {
    seeds: commit_seeds,
    words: &[
        "tree ",
        "parent ",
        "author ",
        "committer ",
        "encoding latin1\n",
        "gpgsig -----BEGIN PGP SIGNATURE-----\n",
        " <",
        "> ",
        " +0000\n",
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "9999999999999999999",
        "-1",
        "\n\n",
        "100644 ",
        "40000 ",
        "160000 ",
        "120000 ",
        "../x",
        ".git",
        "\0",
        "/",
    ],
    short: 400,
    ..Target::new(
        "git-commit",
        "whatever bytes a repository stores as commit and tree, the change made of them is within its limits, or an error says that they \
         cannot be read",
        run_commit,
    )
};

const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

fn commit_seeds() -> Vec<Vec<u8>> {
    let commit = |tree: &str| {
        format!(
            "tree {tree}\nauthor Ann <ann@example.org> 1795518131 +0100\ncommitter Bo <bo@example.org> 1795518131 +0000\n\nFix the gear\n\nIt was broken.\n"
        )
    };
    let tree =
        b"100644 a.txt\0\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11".to_vec();
    let mut with_tree = vec![1, u8::try_from(tree.len()).unwrap()];
    with_tree.extend_from_slice(&tree);
    with_tree.extend_from_slice(commit("").as_bytes());
    vec![[b"\0\0".as_slice(), commit(EMPTY_TREE).as_bytes()].concat(), with_tree]
}

fn run_commit(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (uses_tree, length) = (source.flag(), usize::from(source.byte()));
    let tree = source.bytes(length);
    let text = source.rest();
    let repository = in_memory();
    let odb = repository.odb().unwrap();
    let empty = odb.write(ObjectType::Tree, b"").unwrap();
    let mut commit = text.to_vec();
    if uses_tree {
        // The commit names the tree that was made, wherever its own text would have named one.
        let Ok(made) = odb.write(ObjectType::Tree, tree) else { return };
        let rest = text.split(|byte| *byte == b'\n').skip(1).collect::<Vec<_>>().join(&b'\n');
        commit = [format!("tree {made}\nparent {}\n", parent(&odb, empty)).as_bytes(), &rest].concat();
    }
    let Ok(oid) = odb.write(ObjectType::Commit, &commit) else { return };
    for brought in [commits::only(&repository, oid), commits::between(&repository, oid, &[])] {
        match brought {
            Ok(brought) => {
                for commit in &brought.commits {
                    assert_eq!(commit.revision.as_str().len(), 40);
                    assert!(commit.message.len() <= limit::MESSAGE_BYTES_MAX);
                    assert!(
                        commit.author.name.len() <= limit::PERSON_BYTES_MAX
                            && commit.author.email.len() <= limit::PERSON_BYTES_MAX
                    );
                    assert!(commit.files.iter().all(|file| file.len() <= 3 * limit::NAME_BYTES_MAX));
                    assert!(!commit.at.to_rfc3339().is_empty());
                }
                assert!(!brought.commits.is_empty());
            }
            Err(SweepError::Reading(problem)) => assert!(!problem.is_empty()),
            Err(other) => panic!("{other}"),
        }
    }
}

fn parent(odb: &git2::Odb<'_>, tree: Oid) -> Oid {
    let text = format!("tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nfirst\n");
    odb.write(ObjectType::Commit, text.as_bytes()).unwrap()
}

/// A repository whose objects are nowhere but in memory.
fn in_memory() -> git2::Repository {
    gristmill::sources::register_transports();
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder: &Path = FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            git2::Repository::init_bare(folder.path()).unwrap();
            folder
        })
        .path();
    let repository = git2::Repository::open_bare(folder).unwrap();
    repository.odb().unwrap().add_new_mempack_backend(1000).unwrap();
    repository
}
