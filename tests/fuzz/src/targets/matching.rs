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
    short: 120,
    ..Target::new(
        "matching",
        "`!` turns every answer around, plain words match just themselves, a list means what its patterns mean one by one, \
         and a no names the field that was asked and what it saw",
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

/// A pattern by itself.
struct Single<'a> {
    text: &'a str,
    read: Patterns,
}

impl Single<'_> {
    fn is_negated(&self) -> bool {
        self.text.starts_with('!')
    }
}

fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let field = *source.pick(&Field::ALL);
    let values_count = 1 + source.below(3);
    let text = String::from_utf8_lossy(source.rest()).into_owned();
    let mut lines: Vec<&str> = text.split('\n').collect();
    let values = lines.split_off(lines.len().saturating_sub(values_count));
    let read = |text| Patterns::parse(field, [text]).ok().map(|read| Single { text, read });
    let singles: Vec<Single<'_>> = lines.iter().filter_map(|text| read(text)).collect();
    for single in &singles {
        check_one(field, single, &values);
    }
    let all = Patterns::parse(field, lines.iter().copied());
    assert_eq!(all.is_ok(), singles.len() == lines.len(), "{lines:?}");
    let Ok(all) = all else { return };
    assert_eq!(all.texts(), lines);
    let mut matcher = Matcher::any();
    for value in &values {
        let accepts = all.accepts(value);
        assert_eq!(accepts, by_hand(&singles, value), "{lines:?} on {value:?}");
        matcher.insert(field, all.clone());
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
fn by_hand(singles: &[Single<'_>], value: &str) -> bool {
    let (negated, positive): (Vec<_>, Vec<_>) = singles.iter().partition(|single| single.is_negated());
    let accepts = |single: &&Single<'_>| single.read.accepts(value);
    (positive.is_empty() || positive.iter().any(accepts)) && negated.iter().all(accepts)
}

fn check_one(field: Field, single: &Single<'_>, values: &[&str]) {
    let is_plain = single.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let opposite = match single.text.strip_prefix('!') {
        Some(rest) => rest.to_owned(),
        None => format!("!{}", single.text),
    };
    let opposite = Patterns::parse(field, [opposite.as_str()]).ok().filter(|_| !single.text.starts_with("!!"));
    for value in values {
        let accepts = single.read.accepts(value);
        assert!(!is_plain || accepts == (single.text == *value), "{:?} on {value:?}", single.text);
        if let Some(opposite) = &opposite {
            assert_ne!(accepts, opposite.accepts(value), "{:?} and its opposite on {value:?}", single.text);
        }
    }
}
