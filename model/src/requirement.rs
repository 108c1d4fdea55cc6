//! What a builder asks of one label of a worker: `linux`, `linux|freebsd`, `>=12`, `>=12 <14`, `clang-*`, `!windows`.
//!
//! Alternatives are separated by `|`; one that holds is enough. `!` in front of an alternative takes away what it says;
//! where all alternatives are negated, everything else will do. An alternative is a comparison (`=`, `<`, `<=`, `>`,
//! `>=`, several of them one after the other must all hold) or a glob in which `*` stands for any text and `?` for one
//! character. Comparisons read the numbers between the dots: `9.10` is more than `9.9`, and `12` is the same as `12.0`;
//! what follows the numbers (`-4ubuntu1`) does not count, and a value that does not begin with a number meets none.

use std::cmp::Ordering;
use std::fmt;

/// Bytes of a requirement.
pub const REQUIREMENT_BYTES_MAX: usize = 500;

/// What is asked of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement(Vec<Alternative>);

/// A requirement that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BadRequirement {
    /// What is wrong.
    pub problem: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Alternative {
    is_negated: bool,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Glob(String),
    Compare(Vec<(Operator, Vec<u64>)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// The longest first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::More),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

impl Requirement {
    /// Reads a requirement.
    ///
    /// # Errors
    /// If an alternative is empty, or a comparison has no number.
    pub fn parse(text: &str) -> Result<Self, BadRequirement> {
        if text.len() > REQUIREMENT_BYTES_MAX {
            let problem = format!("it is longer than {REQUIREMENT_BYTES_MAX} bytes");
            return Err(BadRequirement { problem });
        }
        text.split('|').map(Alternative::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Says whether a label's value will do. A label that is not there has no value, and meets nothing but a negation.
    pub fn meets(&self, value: Option<&str>) -> bool {
        let hits = |one: &Alternative| value.is_some_and(|value| one.test.holds(value));
        let (taken_away, wanted): (Vec<_>, Vec<_>) = self.0.iter().partition(|one| one.is_negated);
        !taken_away.iter().any(|one| hits(one)) && (wanted.is_empty() || wanted.iter().any(|one| hits(one)))
    }
}

impl Alternative {
    fn parse(text: &str) -> Result<Self, BadRequirement> {
        let text = text.trim();
        let (is_negated, body) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim_start()));
        if body.is_empty() {
            let problem = "it has an alternative that says nothing".to_owned();
            return Err(BadRequirement { problem });
        }
        let test = match body.starts_with(['<', '>', '=']) {
            true => Test::Compare(comparisons(body)?),
            false => Test::Glob(body.to_owned()),
        };
        Ok(Self { is_negated, test })
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Glob(glob) => matches_glob(glob, value),
            Self::Compare(comparisons) => {
                let Some(has) = version(value) else { return false };
                comparisons.iter().all(|(operator, wanted)| operator.holds(compare(&has, wanted)))
            }
        }
    }
}

impl Operator {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::More => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
        }
    }
}

fn comparisons(text: &str) -> Result<Vec<(Operator, Vec<u64>)>, BadRequirement> {
    let mut rest = text;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let operator = OPERATORS.iter().find_map(|(sign, it)| Some((*it, rest.strip_prefix(sign)?)));
        let Some((operator, after)) = operator else {
            let word = rest.split_whitespace().next().unwrap_or(rest);
            let problem = format!("`{word}` does not begin with one of = < <= > >=");
            return Err(BadRequirement { problem });
        };
        let after = after.trim_start();
        let end = after.find([' ', ',', '<', '>', '=']).unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let Some(version) = version(number).filter(|_| is_number && !number.ends_with('.')) else {
            let problem = format!("`{number}` is not a number such as 12 or 12.2.0");
            return Err(BadRequirement { problem });
        };
        found.push((operator, version));
        rest = after.trim_start_matches([' ', ',']);
    }
    Ok(found)
}

/// Reads the numbers between dots at the beginning of a text; numbers that are too big count as the biggest.
fn version(text: &str) -> Option<Vec<u64>> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let numbers = text[..end].split('.').take_while(|part| !part.is_empty());
    let numbers: Vec<u64> = numbers.map(|part| part.parse().unwrap_or(u64::MAX)).collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// Compares place by place; a place that is missing is 0.
fn compare(left: &[u64], right: &[u64]) -> Ordering {
    let place = |numbers: &[u64], index: usize| numbers.get(index).copied().unwrap_or(0);
    let places = 0..left.len().max(right.len());
    places.map(|index| place(left, index).cmp(&place(right, index))).find(|it| it.is_ne()).unwrap_or(Ordering::Equal)
}

/// Matches a whole text against `*` and `?`. At most the product of the lengths.
pub fn matches_glob(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[from] => (at, from) = (at + 1, from + 1),
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, from) = (place + 1, taken + 1);
            }
        }
    }
    glob[at..].iter().all(|c| *c == '*')
}

/// Says whether a label's value will do. A text that cannot be read (of a recipe from before requirements were more than
/// a word) is compared as it stands.
pub fn meets(wanted: &str, value: Option<&str>) -> bool {
    let is_word = !wanted.contains(['|', '!', '*', '?', '<', '>', '=']);
    if is_word {
        return value == Some(wanted.trim()) || value == Some(wanted);
    }
    Requirement::parse(wanted).map_or_else(|_| value == Some(wanted), |requirement| requirement.meets(value))
}

/// A label and what is asked of it, as it is said: `os=linux`, `tool.gcc>=12`, `os=linux|freebsd`.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a>(pub &'a str, pub &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(label, wanted) = self;
        let sign = if wanted.trim_start().starts_with(['<', '>', '=']) { "" } else { "=" };
        write!(f, "{label}{sign}{wanted}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_meets_a_requirement_or_does_not() {
        let table = [
            ("linux", "linux", true),
            ("linux", "linux2", false),
            ("linux|freebsd", "freebsd", true),
            ("linux | freebsd", "windows", false),
            (">=12", "12.2.0-4ubuntu1", true),
            (">=12", "9.4", false),
            (">9.9", "9.10", true),
            ("=12", "12.0", true),
            ("<=12", "12.0.1", false),
            (">=12 <14", "13.9", true),
            (">=12,<14", "14", false),
            (">=12<14", "12", true),
            (">=8", "many", false),
            (">=8", "", false),
            ("<8|>16", "24", true),
            ("<8|>16", "8", false),
            ("clang-*", "clang-17", true),
            ("clang-??", "clang-7", false),
            ("*bsd", "freebsd", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("!windows", "linux", true),
            ("!windows", "windows", false),
            ("!windows|!mac*", "macos", false),
            ("*bsd|!openbsd", "netbsd", true),
            ("*bsd|!openbsd", "openbsd", false),
            ("!<4", "3", false),
            (">=1", "99999999999999999999999", true),
        ];
        for (wanted, value, is_met) in table {
            assert_eq!(meets(wanted, Some(value)), is_met, "{wanted} against {value}");
            let read = Requirement::parse(wanted).expect("it can be read");
            assert_eq!(read.meets(Some(value)), is_met, "{wanted} against {value}, read");
        }
        assert!(meets("!windows", None) && !meets(">=1", None) && !meets("*", None));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let problem = |text: &str| Requirement::parse(text).expect_err("it cannot be read").problem;
        assert_eq!(problem(">=twelve"), "`twelve` is not a number such as 12 or 12.2.0");
        assert_eq!(problem(">="), "`` is not a number such as 12 or 12.2.0");
        assert_eq!(problem(">=12 14"), "`14` does not begin with one of = < <= > >=");
        assert_eq!(problem("linux||mac"), "it has an alternative that says nothing");
        assert_eq!(problem("!"), "it has an alternative that says nothing");
        assert!(problem(&"x".repeat(501)).contains("500 bytes"));
        assert!(meets("a||b", Some("a||b")), "an old recipe's text is compared as it stands");
    }

    #[test]
    fn what_is_wanted_is_said() {
        assert_eq!(Said("tool.gcc", ">=12").to_string(), "tool.gcc>=12");
        assert_eq!(Said("os", "linux|freebsd").to_string(), "os=linux|freebsd");
    }
}
