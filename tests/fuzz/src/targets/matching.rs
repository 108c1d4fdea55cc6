//! The match language.

use gristmill_model::matching::{Field, Matcher, Patterns, Subject, Values};

use super::texts;
use crate::Target;
use crate::source::Source;

pub(super) const MATCHING: Target = Target {
    seeds: || {
        texts(&[
            "\0\0main\nrelease/*\n!old-*\n",
            "\u{3}\u{1}re:v[0-9]+(-rc[0-9]{1,3})?\nv12\n",
            "\u{c}\0**/*.{rs,md}\nsrc/a.rs\n",
        ])
    },
    words: &[
        "*",
        "**",
        "?",
        "[a-z]",
        "[!a]",
        "{a,b}",
        "{{a,b},{c,d}}",
        "re:",
        "!",
        "!re:",
        "(?i)",
        "{1,1000}",
        "\\d",
        "\\p{L}",
        "(a|b)*",
        "\\",
        "/",
        "^",
        "$",
    ],
    size_max: 1024,
    short: 1_000,
    ..Target::new(
        "matching",
        "`!` turns every answer around, plain words match just themselves, a list is the or of its patterns and the order of a \
         list does not matter, and a no names a field that was asked",
        run,
    )
};

struct Only<'a>(Field, &'a str);

impl Subject for Only<'_> {
    fn values(&self, field: Field) -> Values {
        let all = if field == self.0 { vec![self.1.to_owned()] } else { Vec::new() };
        Values { all, incomplete: false }
    }
}

fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let field = *source.pick(&Field::ALL);
    let values_count = 1 + source.below(3);
    let text = String::from_utf8_lossy(source.rest()).into_owned();
    let mut lines: Vec<&str> = text.split('\n').collect();
    let values = lines.split_off(lines.len().saturating_sub(values_count));
    for pattern in &lines {
        check_one(field, pattern, &values);
    }
    let Ok(patterns) = Patterns::parse(field, lines.iter().copied()) else { return };
    assert_eq!(patterns.texts(), lines);
    let turned = Patterns::parse(field, lines.iter().rev().copied()).expect("the order does not matter");
    for value in &values {
        let accepts = patterns.accepts(value);
        assert_eq!(accepts, turned.accepts(value), "the order matters for {value:?}");
        assert_eq!(accepts, by_hand(field, &lines, value), "{lines:?} on {value:?}");
        let matcher = Matcher::any().with(field, lines.iter().copied()).expect("they were read before");
        match matcher.check(&Only(field, value)) {
            Ok(()) => assert!(accepts),
            Err(no) => {
                assert!(!accepts && no.field == field.as_str() && no.seen == [*value] && no.seen_count == 1, "{no:?}");
                assert!(!no.to_string().is_empty());
            }
        }
    }
}

/// What a list means, put together from its single patterns.
fn by_hand(field: Field, patterns: &[&str], value: &str) -> bool {
    let alone = |pattern: &str| Patterns::parse(field, [pattern]).unwrap().accepts(value);
    let (negated, positive): (Vec<&str>, Vec<&str>) = patterns.iter().partition(|pattern| pattern.starts_with('!'));
    (positive.is_empty() || positive.iter().any(|pattern| alone(pattern)))
        && negated.iter().all(|pattern| alone(pattern))
}

fn check_one(field: Field, pattern: &str, values: &[&str]) {
    let Ok(read) = Patterns::parse(field, [pattern]) else { return };
    let is_plain = pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let opposite = match pattern.strip_prefix('!') {
        Some(rest) => rest.to_owned(),
        None => format!("!{pattern}"),
    };
    let opposite = Patterns::parse(field, [opposite.as_str()]);
    for value in values {
        assert!(!is_plain || read.accepts(value) == (pattern == *value), "{pattern:?} on {value:?}");
        if let Ok(opposite) = &opposite
            && !pattern.starts_with("!!")
        {
            assert_ne!(read.accepts(value), opposite.accepts(value), "{pattern:?} and its opposite on {value:?}");
        }
    }
}
