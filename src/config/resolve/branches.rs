//! What git would take as the name of a branch.

use super::Resolver;
use super::names::short;
use crate::config::code;
use crate::config::scalar::Text;

impl Resolver<'_> {
    /// Takes the exact name of a branch; patterns and impossible names are reported.
    pub(super) fn branch_name(&mut self, text: &Text) -> Option<String> {
        if is_branch_name(text) {
            return Some(text.value.clone());
        }
        let message = format!("`{}` cannot be a branch", short(text));
        let help = match text.strip_prefix("refs/heads/") {
            Some(rest) if is_branch_name(rest) => format!("write `{rest}`"),
            _ if text.contains(['*', '?', '[']) => "name one branch exactly; patterns belong into `when`".to_owned(),
            _ => "name it as `git branch` shows it, such as `main`".to_owned(),
        };
        self.report.say(code::BAD_BRANCH, text.span, message, "this name", help);
        None
    }
}

/// Says whether git would take it (the rules of `git check-ref-format --branch`, and no `refs/` in front).
fn is_branch_name(text: &str) -> bool {
    let is_bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let is_component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !text.is_empty()
        && text.len() <= 255
        && text != "@"
        && !text.starts_with('-')
        && !text.starts_with("refs/")
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && !text.chars().any(is_bad)
        && text.split('/').all(is_component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_git_takes_is_a_branch() {
        for good in ["main", "release/2.1", "a@b", "ünïcode", "x{y}", "$(id)"] {
            assert!(is_branch_name(good), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a b",
            "release/*",
            "a/.b",
            "a.lock",
            "/a",
            "a//b",
            "@",
            "refs/heads/x",
        ] {
            assert!(!is_branch_name(bad), "{bad}");
        }
    }
}
