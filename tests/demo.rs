//! The first run, as a stranger sees it: the real program, its output, and what it leaves behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the demo to its end.
fn demo(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gristmill"))
        .args(["serve", "--demo", "--exit-when-done", "--listen", "127.0.0.1:0"])
        .args(arguments)
        // Somewhere else than this repository, with a place of its own for temporary files.
        .current_dir(folder)
        .env("TMPDIR", folder)
        .env_remove("GRISTMILL_SERVER")
        .output()
        .unwrap()
}

fn kept_folder(place: &Path) -> PathBuf {
    let mut folders = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    folders.next().expect("the folder was kept")
}

/// Gives the headers of a mail that are asked for, one a line.
fn headers(mail: &str, names: &[&str]) -> String {
    let head = mail.split("\n\n").next().unwrap_or("");
    head.lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_demo_tells_a_whole_story_and_all_of_it_is_real() {
    let place = tempfile::tempdir().unwrap();
    let output = demo(&["--keep"], place.path());
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    let expected = [
        "── Ada pushes to the library",
        "lib main",
        "lib-main  success",
        "app-after-lib (2 builds)  after buildset",
        "held until",
        "no worker can ever run this: needs gpu=yes",
        "── Ada breaks the shop",
        "app-test[small]  failure",
        "broke on main",
        "→ irc to #demo: ",
        "→ mail to ada@example.org: ",
        "│ Subject: ",
        "── Lin fixes it",
        "fixed on main",
        "docs-main  success",
        "── That was it",
    ];
    for line in expected {
        assert!(said.contains(line), "`{line}` is not said:\n{said}\n{errors}");
    }
    let chapters: Vec<&str> = said.lines().filter(|line| line.contains("── ")).collect();
    assert_eq!(chapters.len(), 6, "{chapters:#?}");
    let folder = kept_folder(place.path());
    let chat = std::fs::read_to_string(folder.join("irc.log")).unwrap();
    assert_eq!(chat.lines().filter(|line| line.starts_with("#demo <gristmill> ")).count(), 2, "{chat}");
    let mails: Vec<String> = (1..=2)
        .map(|number| std::fs::read_to_string(folder.join(format!("mail/{number}.eml"))).unwrap_or_default())
        .map(|mail| headers(&mail, &["From:", "To:", "Subject:"]))
        .collect();
    assert!(mails[0].contains("ada@example.org") && mails[0].contains("Gristmill"), "{mails:#?}");
    assert!(!mails[1].is_empty(), "nobody was told that it is fixed: {mails:#?}");
    assert!(!errors.contains("ERROR"), "{errors}");
}

#[test]
fn the_demo_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let output = demo(&["--json"], place.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("each line is an event");
        assert!(event["seq"].is_i64() && event["body"]["kind"].is_string(), "{event}");
    }
}
