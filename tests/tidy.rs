//! What no file may do, and what nobody may forget.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{files_below, root};

/// Lines that a file of code may have.
const FILE_LINES_MAX: usize = 800;

/// Lines that a function may have; so many only where each kind of event has its line.
const FUNCTION_LINES_MAX: usize = 140;

fn sources() -> Vec<(PathBuf, String)> {
    let files =
        files_below(root()).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.map(|path| (path.strip_prefix(root()).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())).collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

fn check(what: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{what}:\n{}", problems.join("\n"));
}

#[test]
fn nothing_is_left_to_be_done() {
    // Put together, so that this file does not find itself.
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("(being", " written)"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut problems = Vec::new();
    for (path, text) in sources() {
        for (line, number) in text.lines().zip(1..) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    check("left to be done", &problems);
}

#[test]
fn commands_outlive_standard_error() {
    // These panic when nobody takes what they print; `complain` does not.
    let words = [concat!("epri", "ntln!("), concat!("epri", "nt!("), concat!("pri", "ntln!("), concat!("pri", "nt!(")];
    let mut problems = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("src") && !is_test(path)) {
        for (line, number) in text.lines().zip(1..) {
            if words.iter().any(|word| line.contains(word)) {
                problems.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    check("panics when nobody listens", &problems);
}

#[test]
fn lints_are_silenced_with_a_reason() {
    let allow = concat!("#[", "allow(");
    let ignore = concat!("#[", "ignore");
    let panic = concat!("#[", "should_panic");
    let mut problems = Vec::new();
    for (path, text) in sources() {
        for (line, number) in text.lines().zip(1..) {
            if [allow, ignore, panic].iter().any(|word| line.trim_start().starts_with(word)) {
                problems.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    check("silenced without a reason", &problems);
}

#[test]
fn every_file_of_code_is_reached() {
    // A module file that no `mod` names is not compiled, and nobody would notice.
    let sources = sources();
    let mut problems = Vec::new();
    for (path, _) in &sources {
        let is_target = path.components().any(|part| matches!(part.as_os_str().to_str(), Some("examples" | "benches")));
        if is_target || is_crate_root(path) {
            continue;
        }
        let stem = path.file_stem().unwrap().to_string_lossy();
        let (name, folder) = match stem.as_ref() {
            "mod" => (folder_of(path).file_name().unwrap().to_string_lossy(), folder_of(folder_of(path))),
            _ => (stem, folder_of(path)),
        };
        // Whoever names it is beside it, in the folder above, or the file of its folder.
        let near = |other: &Path| {
            folder_of(other) == folder
                || Some(folder_of(other)) == folder.parent()
                || other == folder.with_extension("rs")
        };
        let named = sources
            .iter()
            .filter(|(other, _)| near(other))
            .any(|(_, text)| text.lines().any(|line| line.trim().ends_with(&format!("mod {name};"))));
        if !named {
            problems.push(format!("{}: no `mod {name};` beside or above it", path.display()));
        }
    }
    check("not compiled", &problems);
}

/// Says whether cargo finds a file by itself.
fn is_crate_root(path: &Path) -> bool {
    // And so is each in `src/bin`.
    let is_program = folder_of(path).ends_with("src/bin");
    let is_named_so = matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("main" | "lib" | "build"));
    // Each file in a crate's `tests` is a program, but for the system's own, which are one: `main.rs` names them.
    let folder = folder_of(path);
    let is_test = folder.ends_with("tests")
        && folder != Path::new("tests")
        && root().join(folder_of(folder)).join("Cargo.toml").exists();
    is_named_so || is_test || is_program
}

#[test]
fn files_and_functions_stay_readable() {
    let mut problems = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX && !is_test(&path) {
            problems
                .push(format!("{}: {lines} lines; look for the second name that wants to come out", path.display()));
        }
        if !is_test(&path) {
            problems.extend(long_functions(&path, &text));
        }
    }
    check("too long", &problems);
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Finds functions by their indentation, which `cargo fmt` keeps.
fn long_functions(path: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut open: Option<(usize, usize, String)> = None;
    for (line, number) in text.lines().zip(1_usize..) {
        let indent = line.len() - line.trim_start().len();
        let trimmed = line.trim_start();
        let starts = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(crate) fn ", "pub(super) fn "];
        if open.is_none() && starts.iter().any(|start| trimmed.starts_with(start)) && !trimmed.ends_with('}') {
            open = Some((indent, number, trimmed.to_owned()));
        }
        if let Some((at, first, name)) = &open {
            if trimmed == "}" && indent == *at {
                let lines = number - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    problems.push(format!("{}:{first}: {lines} lines: {name}", path.display()));
                }
                open = None;
            } else if trimmed.ends_with(';') && indent == *at {
                open = None;
            }
        }
    }
    problems
}

#[test]
fn the_readme_knows_every_folder_and_every_crate() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let map: BTreeSet<&str> = readme
        .lines()
        .skip_while(|line| !line.contains("map of the tree"))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.ends_with('/'))
        .map(|word| word.trim_end_matches('/'))
        .collect();
    let made = ["target", ".git", "gristmill-data"];
    let mut problems = Vec::new();
    for folder in [root().to_owned(), root().join("src"), root().join("tests")] {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !made.contains(&name.as_str()) && !map.contains(name.as_str()) {
                problems.push(format!("{name}/ is not in the README's map of the tree"));
            }
        }
    }
    let there = |name: &&str| ["", "src", "tests"].iter().any(|folder| root().join(folder).join(name).is_dir());
    problems.extend(map.iter().filter(|name| !there(name)).map(|name| format!("{name}/ is in the map, but not there")));
    check("the map", &problems);
}

#[test]
fn the_readme_links_to_what_is_there() {
    let mut problems = Vec::new();
    for path in
        files_below(root()).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or("");
            let is_elsewhere = link.contains("://") || link.starts_with("mailto:") || file.is_empty();
            if !is_elsewhere && !path.parent().unwrap().join(file).exists() {
                problems.push(format!("{}: there is no {file}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    check("links that lead nowhere", &problems);
}
