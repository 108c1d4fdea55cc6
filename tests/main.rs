//! The whole system, in one test program: one link, one set of helpers.
//!
//! `architecture` is which part may know which; `tidy` what no file may do; `crash` what survives; `demo` the first run; `examples` that every
//! installation in `examples/` is what its README says; `stories` are told by the whole service on real input.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod architecture;
mod crash;
mod demo;
mod examples;
mod stories;
mod support;
mod tidy;

use std::path::{Path, PathBuf};

/// The folder of this repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` that are part of the project: neither made by a build nor kept by git itself.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_made = matches!(name.as_str(), ".git" | "target" | "gristmill-data" | "clone" | "node_modules");
            match path.is_dir() {
                true if !is_made && !name.ends_with(".git") => folders.push(path),
                false if !is_made => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}
