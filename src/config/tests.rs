//! Golden files: each `tests/config/NAME.yaml` with what is said of it in `NAME.txt`.

use std::path::PathBuf;

use expect_test::expect_file;

use super::*;

fn golden_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Gives all golden texts by name.
fn golden_texts() -> Vec<(String, String)> {
    let mut texts: Vec<_> = std::fs::read_dir(golden_folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("it can be read"))
        })
        .collect();
    texts.sort();
    texts
}

fn read_golden(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    // The folder must not depend on where the tests run.
    read(text, &format!("/ci/{name}.yaml"))
}

#[test]
fn what_is_said_of_each_file_stays_the_same() {
    for (name, text) in golden_texts() {
        let said = match read_golden(&name, &text) {
            Ok(loaded) if loaded.warnings.is_empty() => loaded.summary(),
            Ok(loaded) => format!("{}\n{}", loaded.summary(), loaded.warnings.render(false)),
            Err(diagnostics) => diagnostics.render(false),
        };
        expect_file![golden_folder().join(format!("{name}.txt"))].assert_eq(&said);
    }
}
