use expect_test::{Expect, expect};
use gristmill_model::source::limit;
use gristmill_model::{Movement, RefName, Revision};

use crate::sources::fixture::{Git, Watcher, branches, configured, file_url, table};

/// A repository with one commit on `main`, looked at once.
fn seen(git: &Git) -> Watcher {
    git.commit("README", "begin");
    git.push(&["main"]);
    let mut watcher = Watcher::of(git, configured(&git.path("app.git").display().to_string()));
    watcher.accept();
    watcher
}

fn check(watcher: &mut Watcher, wanted: Expect) {
    wanted.assert_eq(&table(&watcher.accept()));
}

#[test]
fn the_first_look_records_tips_with_their_own_commit_alone() {
    let git = Git::new();
    git.commit("a", "one");
    git.commit("b", "two");
    git.push(&["main", "main:topic"]);
    for url in [git.path("app.git").display().to_string(), file_url(&git.path("app.git"))] {
        let mut watcher = Watcher::of(&git, configured(&url));
        let swept = watcher.accept();
        assert!(swept.sighting.first_sight);
        expect![[r#"
            main Created
              two: b
            topic Created
              two: b
        "#]]
        .assert_eq(&table(&swept));
        assert!(!git.path("mirrors").exists(), "a repository on this machine is not mirrored");
        check(&mut watcher, expect![""]);
    }
}

#[test]
fn an_empty_repository_is_seen_and_its_first_branch_is_new() {
    let git = Git::new();
    let mut watcher = Watcher::of(&git, configured(&git.path("app.git").display().to_string()));
    assert_eq!(table(&watcher.accept()), "");
    git.commit("a", "one");
    git.push(&["main"]);
    check(
        &mut watcher,
        expect![[r#"
            main Created
              one: a
        "#]],
    );
}

#[test]
fn a_push_brings_its_commits_oldest_first_with_their_files_and_author() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.commit("src/a", "first");
    git.commit("src/b", "second");
    git.push(&["main"]);
    let swept = watcher.accept();
    expect![[r#"
        main Moved
          first: src/a
          second: src/b
    "#]]
    .assert_eq(&table(&swept));
    let update = &swept.sighting.updates[0];
    assert_eq!(update.commits.last().map(|commit| &commit.revision), update.new.as_ref());
    assert_eq!(update.commits[0].author.name, "Ann");
    assert_eq!(update.commits[0].author.email, "ann@example.org");
    assert_eq!(update.commits[0].at.seconds(), 1_700_000_000);
}

#[test]
fn a_merge_brings_what_was_merged_and_its_files_are_those_it_brought_into_its_branch() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.at("work", &["checkout", "-q", "-b", "topic"]);
    git.commit("topic.c", "on the topic");
    git.at("work", &["checkout", "-q", "main"]);
    git.commit("main.c", "meanwhile");
    git.at("work", &["merge", "-q", "--no-ff", "-m", "merge topic", "topic"]);
    git.push(&["main"]);
    let swept = watcher.accept();
    let lines: Vec<String> = table(&swept).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "main Moved");
    assert_eq!(lines[3], "  merge topic: topic.c");
    let mut middle = lines[1..3].to_vec();
    middle.sort();
    assert_eq!(middle, ["  meanwhile: main.c", "  on the topic: topic.c"]);
}

#[test]
fn a_forced_push_brings_what_is_new_since_both_were_one() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.commit("a", "abandoned");
    git.push(&["main"]);
    watcher.accept();
    git.at("work", &["reset", "-q", "--hard", "HEAD^"]);
    git.commit("b", "instead");
    git.push(&["main"]);
    check(
        &mut watcher,
        expect![[r#"
            main Forced
              instead: b
        "#]],
    );
    git.at("work", &["reset", "-q", "--hard", "HEAD^"]);
    git.push(&["main"]);
    check(&mut watcher, expect!["main Forced\n"]);
}

#[test]
fn history_without_anything_in_common_is_a_forced_move_to_one_commit() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.at("work", &["checkout", "-q", "--orphan", "other"]);
    git.commit("z", "another world");
    git.push(&["other:main"]);
    check(
        &mut watcher,
        expect![[r#"
            main Forced, incomplete
              another world: README z
        "#]],
    );
}

#[test]
fn a_tip_that_was_cleaned_away_is_a_forced_move() {
    let git = Git::new();
    let mut watcher = seen(&git);
    let nowhere = Revision("1234567890123456789012345678901234567890".to_owned());
    watcher.known.as_mut().expect("it was seen").insert(RefName::from("refs/heads/main"), Some(nowhere));
    check(
        &mut watcher,
        expect![[r#"
            main Forced, incomplete
              begin: README
        "#]],
    );
}

#[test]
fn branches_come_go_and_come_again() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.commit("x", "on x");
    git.push(&["main:x"]);
    check(
        &mut watcher,
        expect![[r#"
            x Created
              on x: x
        "#]],
    );
    git.push(&[":x"]);
    check(&mut watcher, expect!["x Deleted\n"]);
    check(&mut watcher, expect![""]);
    git.push(&["main:x/y"]);
    check(
        &mut watcher,
        expect![[r#"
            x/y Created
              on x: x
        "#]],
    );
    git.push(&["main", "main~1:refs/heads/x/z"]);
    git.at("app.git", &["pack-refs", "--all"]);
    let swept = watcher.accept();
    assert_eq!(swept.refs, 3);
    expect![[r#"
        main Moved
          on x: x
        x/z Created
    "#]]
    .assert_eq(&table(&swept));
}

#[test]
fn tags_are_looked_at_only_if_wanted_and_lead_to_their_commit() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.at("work", &["tag", "-a", "-m", "first release", "v1"]);
    git.at("work", &["tag", "light"]);
    let blob = git.feed("work", &["hash-object", "-w", "--stdin"], b"x");
    git.at("work", &["tag", "blob", &blob]);
    git.push(&["v1", "light", "blob"]);
    check(&mut watcher, expect![""]);
    watcher.config.tags = true;
    let swept = watcher.accept();
    expect![[r#"
        light Created
          begin: README
        v1 Created
          begin: README
        warning: ref `refs/tags/blob` is left out: it leads to no commit
    "#]]
    .assert_eq(&table(&swept));
    let main = watcher.known.as_ref().and_then(|known| known[&RefName::from("refs/heads/main")].clone());
    assert_eq!(swept.sighting.updates[1].new, main, "an annotated tag leads to its commit");
    git.commit("n", "next");
    git.at("work", &["tag", "-f", "light"]);
    git.push(&["light"]);
    check(
        &mut watcher,
        expect![[r#"
            light Forced
              next: n
            warning: ref `refs/tags/blob` is left out: it leads to no commit
        "#]],
    );
}

#[test]
fn branches_that_the_configuration_stops_wanting_are_not_gone() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.push(&["main:release/1", "main:wip"]);
    watcher.accept();
    watcher.config.branches = branches(&["main", "release/*"]);
    git.push(&[":release/1", ":wip"]);
    check(&mut watcher, expect!["release/1 Deleted\n"]);
}

#[test]
fn hostile_branch_names_are_only_names() {
    let git = Git::new();
    let mut watcher = seen(&git);
    let names = ["--upload-pack=x", "$(id)", "<script>alert(1)</script>", "a'b\"c", "`id`", "-x", "ä/ö", "a;b|c&d"];
    let tip = git.at("work", &["rev-parse", "main"]);
    let mut commands = String::new();
    for name in names {
        commands.push_str(&format!("create refs/heads/{name} {tip}\n"));
    }
    git.feed("app.git", &["update-ref", "--stdin"], commands.as_bytes());
    let swept = watcher.accept();
    let mut seen: Vec<&str> = swept.sighting.updates.iter().map(|update| update.reference.short()).collect();
    let mut wanted = names.to_vec();
    seen.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
}

#[test]
fn names_that_cannot_be_kept_are_left_out_and_told() {
    let git = Git::new();
    let mut watcher = seen(&git);
    let tip = git.at("work", &["rev-parse", "main"]);
    let long = vec!["d".repeat(200); 6].join("/");
    let mut commands = format!("create refs/heads/{long} {tip}\n").into_bytes();
    commands.extend_from_slice(b"create refs/heads/latin-\xe4 ");
    commands.extend_from_slice(format!("{tip}\n").as_bytes());
    git.feed("app.git", &["update-ref", "--stdin"], &commands);
    let swept = watcher.accept();
    assert!(swept.sighting.updates.is_empty());
    assert!(swept.warnings[0].contains("its name has 1216 bytes"), "{:?}", swept.warnings);
    assert!(swept.warnings[1].contains("its name is not UTF-8; rename it"), "{:?}", swept.warnings);
}

#[test]
fn messages_are_kept_as_they_are_and_cut_where_they_are_too_long() {
    let git = Git::new();
    let mut watcher = seen(&git);
    let tree = git.at("work", &["rev-parse", "main^{tree}"]);
    let tip = git.at("work", &["rev-parse", "main"]);
    let mut raw = format!("tree {tree}\nparent {tip}\nauthor A\x1b[31mnn <a@b> 1 +0000\ncommitter B <b@c> 1 +0000\n\n");
    raw.push_str("subject\r\n\r\nX-Header: evil\x1b[2J\u{202e}\n");
    let mut raw = raw.into_bytes();
    raw.extend_from_slice(b"\xff\xfe");
    raw.extend(std::iter::repeat_n("ä".as_bytes(), 500_000).flatten());
    let oid = git.feed("app.git", &["hash-object", "-t", "commit", "-w", "--stdin", "--literally"], &raw);
    git.at("app.git", &["update-ref", "refs/heads/main", &oid]);
    let swept = watcher.accept();
    let commit = &swept.sighting.updates[0].commits[0];
    assert_eq!(commit.subject(), "subject");
    assert!(commit.message.contains("\r\n\r\nX-Header: evil\x1b[2J") && commit.message.contains("\u{fffd}\u{fffd}ä"));
    assert!(commit.message.len() <= limit::MESSAGE_BYTES_MAX && commit.message.ends_with('ä'));
    assert_eq!(commit.author.name, "A\x1b[31mnn");
}

#[test]
fn a_push_of_three_thousand_commits_keeps_the_newest_and_says_so() {
    let git = Git::new();
    let mut watcher = seen(&git);
    let old = Revision(git.at("work", &["rev-parse", "main"]));
    git.many_commits("main", &old, 3_000);
    let swept = watcher.accept();
    let update = &swept.sighting.updates[0];
    assert_eq!((update.movement, update.commits.len(), update.incomplete), (Movement::Moved, limit::COMMITS_MAX, true));
    assert_eq!(update.commits[0].subject(), "number 2500");
    assert_eq!(update.commits.last().map(|commit| commit.subject()), Some("number 2999"));
}

#[test]
fn a_commit_of_many_files_keeps_some_and_says_so() {
    let git = Git::new();
    let mut watcher = seen(&git);
    for number in 0..limit::FILES_MAX + 10 {
        std::fs::write(git.path("work").join(format!("f{number}")), "").expect("files can be written");
    }
    git.commit("f0", "many");
    git.push(&["main"]);
    let update = watcher.accept().sighting.updates.remove(0);
    assert_eq!((update.commits[0].files.len(), update.incomplete), (limit::FILES_MAX, true));
}

#[test]
fn twenty_thousand_refs_are_the_limit_and_the_mend_is_named() {
    let git = Git::new();
    let mut watcher = seen(&git);
    let tip = git.at("work", &["rev-parse", "main"]);
    let mut packed = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    for number in 0..20_000 {
        packed.push_str(&format!("{tip} refs/heads/b{number:05}\n"));
    }
    std::fs::write(git.path("app.git").join("packed-refs"), &packed).expect("files can be written");
    assert_eq!(
        watcher.failure(),
        "more than 20000 refs are to be looked at; name the branches that matter under `branches`, or leave `tags` off"
    );
    watcher.config.branches = branches(&["b*"]);
    let swept = watcher.accept();
    assert_eq!((swept.refs, swept.sighting.updates.len()), (20_000, 20_000));
    let began = std::time::Instant::now();
    assert_eq!(table(&watcher.accept()), "");
    println!("20,000 refs, nothing moved: {:?}", began.elapsed());
    watcher.config.branches = branches(&["main"]);
    watcher.limits.refs = 1;
    assert_eq!(table(&watcher.accept()), "");
}

#[test]
fn a_broken_ref_is_told_and_is_not_taken_for_a_deletion() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.push(&["main:other", "main:also"]);
    watcher.accept();
    std::fs::write(git.path("app.git/refs/heads/other"), "").expect("files can be written");
    let swept = watcher.accept();
    assert!(swept.sighting.updates.is_empty(), "{:?}", swept.sighting.updates);
    assert!(swept.warnings[0].starts_with("ref `refs/heads/other` cannot be read:"), "{:?}", swept.warnings);
}

#[test]
fn a_working_copy_a_linked_one_and_a_shallow_one_are_read_like_any_other() {
    let git = Git::new();
    git.commit("a", "one");
    git.commit("b", "two");
    git.push(&["main"]);
    git.at("work", &["worktree", "add", "-q", "../linked", "-b", "side"]);
    git.run(&["clone", "-q", "--depth", "1", &file_url(&git.path("app.git")), "shallow"]);
    for (name, wanted) in [("work", 2), ("linked", 2), ("shallow", 1)] {
        let mut watcher = Watcher::of(&git, configured(&git.path(name).display().to_string()));
        assert_eq!(watcher.accept().refs, wanted, "{name}");
        git.at(name, &["commit", "-q", "--allow-empty", "-m", "more"]);
        let swept = watcher.accept();
        assert_eq!(swept.sighting.updates[0].commits.len(), 1, "{name}: {}", table(&swept));
    }
}

#[test]
fn what_is_not_there_or_not_whole_is_said_with_what_to_do() {
    let git = Git::new();
    let mut watcher = seen(&git);
    git.commit("a", "one");
    git.push(&["main"]);
    let oid = git.at("app.git", &["rev-parse", "main"]);
    let object = git.path("app.git/objects").join(&oid[..2]).join(&oid[2..]);
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&object, permissions).expect("it is ours");
    std::fs::write(&object, "garbage").expect("files can be written");
    let swept = watcher.look().expect("one broken ref does not end the look");
    assert!(swept.sighting.updates.is_empty());
    assert!(swept.warnings[0].starts_with("ref `refs/heads/main` is left out: its commit cannot be read ("));
    watcher.config.url = git.path("nowhere.git").display().to_string();
    assert!(watcher.failure().starts_with("there is no git repository at `"), "{}", watcher.failure());
    std::fs::create_dir(git.path("odd")).expect("folders can be made");
    watcher.config.url = git.path("odd").display().to_string();
    assert!(watcher.failure().starts_with("there is no git repository at `"), "{}", watcher.failure());
    git.run(&["init", "-q", "--bare", "--object-format=sha256", "new.git"]);
    watcher.config.url = git.path("new.git").display().to_string();
    assert!(watcher.failure().contains("cannot be opened ("), "{}", watcher.failure());
}
