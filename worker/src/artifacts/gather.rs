//! Finding the files that patterns mean, below a step's folder. Blocks.

use std::fs;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use gristmill_model::step::is_artifact_path;

/// Things that are looked at in all folders together.
const ENTRIES_MAX: usize = 200_000;

/// Folders in one another.
const DEPTH_MAX: usize = 64;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// Paths from the folder, sorted.
    pub(crate) files: Vec<String>,
    /// What was left out, and why; one line each.
    pub(crate) remarks: Vec<String>,
}

/// Lists the regular files below `root` that one of `patterns` means, at most `files_max`. Links are not followed, and
/// what they point to is not listed; nor is what git keeps.
pub(crate) fn gather(root: &Path, patterns: &[String], files_max: usize) -> Gathered {
    let mut search = Search { set: set_of(patterns), files_max, entries: 0, found: Gathered::default(), links: 0 };
    search.look(root, "", 0);
    let Search { mut found, links, entries, .. } = search;
    found.files.sort_unstable();
    if links > 0 {
        found.remarks.push(format!("{links} symbolic links are left out"));
    }
    if entries >= ENTRIES_MAX {
        found.remarks.push(format!("only the first {ENTRIES_MAX} files and folders were looked at"));
    }
    if found.files.len() > files_max {
        found.remarks.push(format!("more than {files_max} files; the rest is left out"));
        found.files.truncate(files_max);
    }
    found
}

/// Compiles patterns; the configuration has let only good ones through.
fn set_of(patterns: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        match GlobBuilder::new(pattern).literal_separator(true).build() {
            Ok(glob) => drop(set.add(glob)),
            Err(error) => tracing::warn!(pattern, %error, "a pattern for files cannot be read"),
        }
    }
    set.build().unwrap_or_default()
}

struct Search {
    set: GlobSet,
    files_max: usize,
    entries: usize,
    found: Gathered,
    links: usize,
}

impl Search {
    fn look(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            if self.entries >= ENTRIES_MAX || self.found.files.len() > self.files_max {
                return;
            }
            self.entries += 1;
            let (Ok(kind), Some(name)) = (entry.file_type(), entry.file_name().to_str().map(str::to_owned)) else {
                continue;
            };
            let path = format!("{prefix}{name}");
            if kind.is_dir() && name != ".git" && depth < DEPTH_MAX {
                self.look(&entry.path(), &format!("{path}/"), depth + 1);
            } else if kind.is_symlink() && self.set.is_match(&path) {
                self.links += 1;
            } else if kind.is_file() && self.set.is_match(&path) && is_artifact_path(&path) {
                self.found.files.push(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn patterns_mean_files_of_the_folder_and_nothing_behind_links() {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().join("root");
        for path in ["dist/a.tar", "dist/deep/b.tar", "dist/c.txt", ".git/d.tar", "e.tar"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        symlink("/etc/passwd", root.join("dist/f.tar")).unwrap();
        symlink(data.path(), root.join("dist/up")).unwrap();
        let found = |patterns: &[&str], max| {
            let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
            gather(&root, &patterns, max)
        };
        let all = found(&["dist/**/*.tar"], 10);
        assert_eq!(all.files, ["dist/a.tar", "dist/deep/b.tar"]);
        assert_eq!(all.remarks, ["1 symbolic links are left out"]);
        assert_eq!(found(&["*.tar", "dist/*.txt"], 10).files, ["dist/c.txt", "e.tar"]);
        assert_eq!(found(&["nothing/*"], 10), Gathered::default());
        let few = found(&["**"], 2);
        assert_eq!(
            (few.files.len(), few.remarks.last().map(String::as_str)),
            (2, Some("more than 2 files; the rest is left out"))
        );
    }
}
