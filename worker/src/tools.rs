//! Which tools a machine has, and in which versions: labels such as `tool.gcc` = `12.2.0`.
//!
//! Each tool is asked once, when the worker starts, and not for long: one that does not answer is left out.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinSet;

/// How long a tool may take to say its version. All are asked at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 4096;

/// Tools with the words that make them say their versions.
const TOOLS: [(&str, &[&str]); 17] = [
    ("git", &["--version"]),
    ("gcc", &["--version"]),
    ("clang", &["--version"]),
    ("make", &["--version"]),
    ("cmake", &["--version"]),
    ("ninja", &["--version"]),
    ("python3", &["--version"]),
    ("perl", &["--version"]),
    ("node", &["--version"]),
    ("go", &["version"]),
    ("rustc", &["--version"]),
    ("cargo", &["--version"]),
    ("java", &["-version"]),
    ("docker", &["--version"]),
    ("podman", &["--version"]),
    ("qemu-system-x86_64", &["--version"]),
    ("bwrap", &["--version"]),
];

/// Asks all tools that can be found in the steps' environment.
pub(crate) async fn detect(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut asked = JoinSet::new();
    for (tool, words) in TOOLS {
        let mut command = Command::new(tool);
        command.args(words).env_clear().envs(environment).stdin(Stdio::null()).kill_on_drop(true);
        asked.spawn(async move {
            let output = tokio::time::timeout(ANSWER_TIMEOUT, command.output()).await.ok()?.ok()?;
            let mut answer = [output.stdout, output.stderr].concat();
            answer.truncate(ANSWER_BYTES_MAX);
            let version = version_in(&String::from_utf8_lossy(&answer))?;
            output.status.success().then(|| (format!("tool.{tool}"), version))
        });
    }
    asked.join_all().await.into_iter().flatten().collect()
}

/// Finds the first thing that looks like a version: numbers with points between, such as `2.39.5`.
fn version_in(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_matches('.'));
    words.filter(|word| word.contains('.') && !word.contains("..")).map(ToOwned::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_tools_say() {
        for (text, version) in [
            ("git version 2.39.5\n", Some("2.39.5")),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0\n", Some("12.2.0")),
            ("go version go1.22.1 linux/amd64", Some("1.22.1")),
            ("v18.19.0", Some("18.19.0")),
            ("openjdk version \"17.0.12\" 2024-07-16", Some("17.0.12")),
            ("Docker version 24.0.5, build ced0996", Some("24.0.5")),
            ("command not found...", None),
        ] {
            assert_eq!(version_in(text).as_deref(), version, "{text}");
        }
    }

    #[tokio::test]
    async fn git_is_there_since_checkouts_need_it() {
        let path = std::env::var("PATH").unwrap();
        let labels = detect(&BTreeMap::from([("PATH".to_owned(), path)])).await;
        assert!(labels["tool.git"].starts_with(|c: char| c.is_ascii_digit()), "{labels:?}");
        let nowhere = BTreeMap::from([("PATH".to_owned(), "/nonexistent".to_owned())]);
        assert!(detect(&nowhere).await.is_empty(), "only what the steps find counts");
    }
}
