//! The configuration's text.

use gristmill::config::{Diagnostics, Loaded, read};

use super::files_of_repository;
use crate::Target;

const FILE: &str = "/etc/gristmill/gristmill.yaml";

pub(super) const CONFIG: Target = Target {
    seeds,
    words: &WORDS,
    size_max: 16 * 1024,
    short: 250,
    millis_max: 250,
    ..Target::new(
        "config",
        "every mistake has a place in the text and is drawn without control characters; a line in front moves every place by \
         that line and changes nothing else; what loads once loads again and means the same",
        run,
    )
};

const WORDS: [&str; 76] = [
    "repositories:",
    "projects:",
    "builders:",
    "schedulers:",
    "notifiers:",
    "routes:",
    "secrets:",
    "settings:",
    "git:",
    "webhook:",
    "credentials:",
    "branches:",
    "poll:",
    "tags:",
    "steps:",
    "checkout",
    "run:",
    "trigger:",
    "requires:",
    "matrix:",
    "exclude:",
    "include:",
    "${matrix.os}",
    "${matrix.",
    "${",
    "$${",
    "environment:",
    "timeout:",
    "retries:",
    "kind:",
    "any-branch",
    "branch:",
    "dependent",
    "triggerable",
    "periodic",
    "nightly",
    "force",
    "cron:",
    "timezone:",
    "every:",
    "parameters:",
    "when:",
    "build:",
    "needs:",
    "on:",
    "mode: any",
    "after:",
    "upstreams:",
    "quiet:",
    "files:",
    "re:",
    "!",
    "**",
    "x-shared:",
    "&a",
    "*a",
    "<<: *a",
    "!!str",
    "|\n",
    ">\n",
    "- ",
    "? ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "\"",
    "'",
    "#",
    "---\n",
    "...\n",
    "~",
    "null",
    "1e999",
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = files_of_repository("tests/config", ".yaml");
    seeds.extend(files_of_repository("examples", ".yaml"));
    seeds.retain(|text| text.len() <= 16 * 1024);
    seeds
}

fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let first = read(&text, FILE);
    match &first {
        Ok(loaded) => {
            check_places(&loaded.text, &loaded.warnings);
            check_again(loaded);
        }
        Err(mistakes) => {
            assert!(mistakes.mistakes() > 0, "refused without a mistake");
            check_places(text.strip_prefix('\u{feff}').unwrap_or(&text), mistakes);
        }
    }
    check_moved(&text, &first);
}

fn check_again(loaded: &Loaded) {
    let again = read(&loaded.text, FILE).expect("what was loaded can be loaded again");
    assert_eq!(format!("{:?}", again.catalog), format!("{:?}", loaded.catalog), "another meaning");
    assert!(!loaded.summary().chars().any(|glyph| glyph.is_control() && glyph != '\n'), "{:?}", loaded.summary());
}

fn check_places(text: &str, diagnostics: &Diagnostics) {
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    for item in diagnostics.iter() {
        let (start, end) = (item.span.start, item.span.end);
        assert!(start <= end && end <= text.len(), "{start}..{end} of {}: {}", text.len(), item.message);
        assert!(
            text.is_char_boundary(start) && text.is_char_boundary(end),
            "{start}..{end} cuts a character: {item:?}"
        );
        assert!((1..=lines).contains(&diagnostics.line_of(item)), "line {} of {lines}", diagnostics.line_of(item));
        assert!(!item.message.is_empty() && !item.help.is_empty(), "{item:?}");
    }
    let drawn = diagnostics.render(false);
    assert!(!drawn.chars().any(|glyph| glyph.is_control() && glyph != '\n'), "{drawn:?}");
    assert!(drawn.len() < 64 * 1024, "{} bytes are drawn", drawn.len());
    let github = diagnostics.to_github();
    assert_eq!(github.lines().count(), diagnostics.iter().count(), "{github}");
    assert!(github.lines().all(|line| line.starts_with("::error ") || line.starts_with("::warning ")), "{github}");
    assert_eq!(diagnostics.to_json()["diagnostics"].as_array().map_or(0, Vec::len), diagnostics.iter().count());
}

/// A comment in front changes nothing but the places.
fn check_moved(text: &str, first: &Result<Loaded, Diagnostics>) {
    const FRONT: &str = "# one more line\n";
    // These mean something at the very beginning only, or are about the text as a whole.
    let is_special = text.starts_with(['\u{feff}', '%']) || text.starts_with("---") || text.len() > 15 * 1024;
    if is_special || text.contains('\r') {
        return;
    }
    let moved = read(&format!("{FRONT}{text}"), FILE);
    let (before, after) = match (first, &moved) {
        (Ok(before), Ok(after)) => (&before.warnings, &after.warnings),
        (Err(before), Err(after)) => (before, after),
        (before, _) => panic!("a comment made the text {}", if before.is_ok() { "bad" } else { "good" }),
    };
    let told = |diagnostics: &Diagnostics, by: usize| -> Vec<(String, usize, usize)> {
        let is_placed = |start: usize, end: usize| by == 0 || start > 0 || end > 0;
        diagnostics
            .iter()
            .map(|item| {
                let by = if is_placed(item.span.start, item.span.end) { by } else { 0 };
                (item.code.to_string(), item.span.start + by, item.span.end + by)
            })
            .collect()
    };
    let (before, after) = (told(before, FRONT.len()), told(after, 0));
    let at_start = |list: &[(String, usize, usize)]| list.iter().any(|(_, start, _)| *start <= FRONT.len());
    // A place that stands for the whole text begins where the text begins.
    if !at_start(&before) && !at_start(&after) {
        assert_eq!(before, after, "other places");
    }
}
