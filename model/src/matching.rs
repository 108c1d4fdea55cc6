//! The match language: one total yes/no question, used by schedulers, routes, permissions, retention and page filters.
//!
//! A match is a map from [`Field`] to patterns. The map is *and*, the list is *or*, `!` negates, a pattern is a glob
//! unless it starts with `re:`, which makes it a regular expression that must match the whole text. A list of only
//! negated patterns means "anything but these". Every no names the field that said it.
//!
//! Globs: `*` stops at `/` (in `message` and `author` it does not), `**` does not, `?`, `[a-z]`, `{a,b}` as usual.
//! Regular expressions are of the linear-time kind, so no pattern can hang the service.

use std::collections::BTreeMap;
use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// What a pattern looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The repository's name.
    Repository,
    /// The project's name.
    Project,
    /// The branch's name.
    Branch,
    /// The tag's name.
    Tag,
    /// Any author, as `Name <address>`.
    Author,
    /// Any touched file's path.
    Files,
    /// Any commit's message.
    Message,
    /// The kind of event, such as `change.seen` or `source.failing`.
    Event,
    /// How a ref moved: created, moved, forced, deleted.
    Movement,
    /// The builder's name.
    Builder,
    /// The scheduler's name.
    Scheduler,
    /// An outcome.
    Outcome,
    /// A cause.
    Cause,
    /// A transition.
    Transition,
}

impl Field {
    /// All fields, in the order in which they are asked: cheap and telling ones first.
    pub const ALL: [Self; 14] = [
        Self::Repository,
        Self::Project,
        Self::Event,
        Self::Movement,
        Self::Branch,
        Self::Tag,
        Self::Builder,
        Self::Scheduler,
        Self::Outcome,
        Self::Cause,
        Self::Transition,
        Self::Author,
        Self::Files,
        Self::Message,
    ];

    /// Gives the key used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Project => "project",
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Author => "author",
            Self::Files => "files",
            Self::Message => "message",
            Self::Event => "event",
            Self::Movement => "movement",
            Self::Builder => "builder",
            Self::Scheduler => "scheduler",
            Self::Outcome => "outcome",
            Self::Cause => "cause",
            Self::Transition => "transition",
        }
    }

    /// Reads the key back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == word)
    }

    /// Says whether `*` stops at a slash in this field.
    fn has_path_segments(self) -> bool {
        !matches!(self, Self::Author | Self::Message)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{pattern}`: {problem}")]
pub struct BadPattern {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: String,
}

/// One pattern, ready to use.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    negated: bool,
    kind: PatternKind,
}

#[derive(Debug, Clone)]
enum PatternKind {
    Glob(GlobMatcher),
    Whole(Regex),
}

impl Pattern {
    fn parse(field: Field, text: &str) -> Result<Self, BadPattern> {
        let bad = |problem: String| BadPattern { pattern: text.to_owned(), problem };
        let (negated, body) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if body.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        let kind = match body.strip_prefix("re:") {
            Some(expression) => Regex::new(&format!(r"\A(?:{expression})\z"))
                .map(PatternKind::Whole)
                .map_err(|error| bad(last_line(&error.to_string())))?,
            None => GlobBuilder::new(body)
                .literal_separator(field.has_path_segments())
                .build()
                .map(|glob| PatternKind::Glob(glob.compile_matcher()))
                .map_err(|error| bad(error.kind().to_string()))?,
        };
        Ok(Self { text: text.to_owned(), negated, kind })
    }

    fn hits(&self, value: &str) -> bool {
        match &self.kind {
            PatternKind::Glob(glob) => glob.is_match(value),
            PatternKind::Whole(regex) => regex.is_match(value),
        }
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned()
}

/// A list of patterns over one field.
#[derive(Debug, Clone)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads patterns for `field`.
    ///
    /// # Errors
    /// The first pattern that cannot be read.
    pub fn parse<'a>(field: Field, texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        texts.into_iter().map(|text| Pattern::parse(field, text)).collect::<Result<_, _>>().map(Self)
    }

    /// Says whether `value` hits one of the positive patterns (if there are any) and none of the negated ones.
    pub fn accepts(&self, value: &str) -> bool {
        let mut wanted = self.0.iter().filter(|pattern| !pattern.negated).peekable();
        let is_wanted = wanted.peek().is_none() || wanted.any(|pattern| pattern.hits(value));
        is_wanted && !self.0.iter().any(|pattern| pattern.negated && pattern.hits(value))
    }

    /// Gives the patterns as written.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|pattern| pattern.text.clone()).collect()
    }
}

/// What a subject says about one field.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// All values; one that is accepted is enough.
    pub all: Vec<String>,
    /// Whether there are more values than could be listed: then a no becomes a "maybe", which counts as yes.
    pub incomplete: bool,
}

/// Something that can be asked about. A field that it does not have has no values, and then no pattern accepts it.
pub trait Subject {
    /// Gives the values of `field`.
    fn values(&self, field: Field) -> Values;
}

/// Which field said no, what it saw, and what it wanted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mismatch {
    /// The field's key.
    pub field: String,
    /// The first values it saw, at most [`Mismatch::SEEN_MAX`].
    pub seen: Vec<String>,
    /// How many values there were.
    pub seen_count: usize,
    /// The patterns.
    pub wanted: Vec<String>,
}

impl Mismatch {
    /// How many values a mismatch keeps to show.
    pub const SEEN_MAX: usize = 5;
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.wanted.join(", ");
        match (self.seen.as_slice(), self.seen_count) {
            ([], _) => write!(f, "{}: there is none, and the rule wants {wanted}", self.field),
            ([one], 1) => write!(f, "{}: `{one}` does not match {wanted}", self.field),
            (some, count) => {
                write!(f, "{}: none of {count} matches {wanted} ({}", self.field, some.join(", "))?;
                f.write_str(if count > some.len() { ", …)" } else { ")" })
            }
        }
    }
}

/// A compiled match over all its fields.
#[derive(Debug, Clone, Default)]
pub struct Matcher(BTreeMap<Field, Patterns>);

impl Matcher {
    /// Makes a match that accepts everything.
    pub fn any() -> Self {
        Self::default()
    }

    /// Adds a field's patterns.
    ///
    /// # Errors
    /// The first pattern that cannot be read.
    pub fn with<'a>(mut self, field: Field, texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        self.0.insert(field, Patterns::parse(field, texts)?);
        Ok(self)
    }

    /// Adds a field's patterns that were read before.
    pub fn insert(&mut self, field: Field, patterns: Patterns) {
        self.0.insert(field, patterns);
    }

    /// Gives the patterns of one field.
    pub fn patterns(&self, field: Field) -> Option<&Patterns> {
        self.0.get(&field)
    }

    /// Gives the fields that are asked.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.0.keys().copied()
    }

    /// Asks; a no names the first field that said it. Linear in patterns × values.
    ///
    /// # Errors
    /// The mismatch, if the answer is no.
    pub fn check(&self, subject: &dyn Subject) -> Result<(), Mismatch> {
        for field in Field::ALL {
            let Some(patterns) = self.0.get(&field) else { continue };
            let values = subject.values(field);
            if values.incomplete || values.all.iter().any(|value| patterns.accepts(value)) {
                continue;
            }
            return Err(Mismatch {
                field: field.as_str().to_owned(),
                seen: values.all.iter().take(Mismatch::SEEN_MAX).cloned().collect(),
                seen_count: values.all.len(),
                wanted: patterns.texts(),
            });
        }
        Ok(())
    }
}

/// A change, as something that can be asked about.
#[derive(Debug, Clone, Copy)]
pub struct ChangeSubject<'a> {
    /// The change.
    pub change: &'a crate::Change,
    /// The projects that its repository belongs to.
    pub projects: &'a [crate::ProjectName],
}

impl Subject for ChangeSubject<'_> {
    fn values(&self, field: Field) -> Values {
        let change = self.change;
        let one = |text: &str| vec![text.to_owned()];
        let all = match field {
            Field::Repository => one(change.repository.as_str()),
            Field::Project => self.projects.iter().map(|project| project.0.clone()).collect(),
            Field::Branch => change.reference.branch().map(one).unwrap_or_default(),
            Field::Tag => change.reference.tag().map(one).unwrap_or_default(),
            Field::Author => {
                change.authors().iter().map(|author| format!("{} <{}>", author.name, author.email)).collect()
            }
            Field::Files => change.commits.iter().flat_map(|commit| commit.files.iter().cloned()).collect(),
            Field::Message => change.commits.iter().map(|commit| commit.message.clone()).collect(),
            Field::Event => one("change.seen"),
            Field::Movement => one(match change.movement {
                crate::Movement::Created => "created",
                crate::Movement::Moved => "moved",
                crate::Movement::Forced => "forced",
                crate::Movement::Deleted => "deleted",
            }),
            Field::Builder | Field::Scheduler | Field::Outcome | Field::Cause | Field::Transition => Vec::new(),
        };
        let cut_short = matches!(field, Field::Files | Field::Message | Field::Author) && change.incomplete;
        Values { all, incomplete: cut_short }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A subject with one field.
    struct Only(Field, Vec<&'static str>);

    impl Subject for Only {
        fn values(&self, field: Field) -> Values {
            let all = if field == self.0 { self.1.iter().map(|&text| text.to_owned()).collect() } else { Vec::new() };
            Values { all, incomplete: false }
        }
    }

    fn check(field: Field, patterns: &[&str], values: &[&'static str], wanted: &str) {
        let matcher = Matcher::any().with(field, patterns.iter().copied()).expect("patterns are good");
        let said = matcher.check(&Only(field, values.to_vec()));
        assert_eq!(said.map_or_else(|no| no.to_string(), |()| "yes".to_owned()), wanted, "{patterns:?} on {values:?}");
    }

    #[test]
    fn lists_are_or_and_negation_takes_away() {
        check(Field::Branch, &["main", "release/*"], &["release/2.1"], "yes");
        check(Field::Branch, &["release/*"], &["release/2/1"], "branch: `release/2/1` does not match release/*");
        check(Field::Branch, &["release/**"], &["release/2/1"], "yes");
        check(Field::Branch, &["!old-*"], &["main"], "yes");
        check(Field::Branch, &["*", "!old-*"], &["old-1"], "branch: `old-1` does not match *, !old-*");
        check(Field::Tag, &["v*"], &[], "tag: there is none, and the rule wants v*");
    }

    #[test]
    fn one_file_that_is_wanted_is_enough() {
        check(Field::Files, &["**", "!docs/**"], &["docs/a.md", "src/b.rs"], "yes");
        check(
            Field::Files,
            &["**", "!docs/**"],
            &["docs/a.md", "docs/b/c.md"],
            "files: none of 2 matches **, !docs/** (docs/a.md, docs/b/c.md)",
        );
    }

    #[test]
    fn expressions_match_the_whole_text() {
        check(Field::Branch, &["re:v[0-9]+"], &["v12"], "yes");
        check(Field::Branch, &["re:v[0-9]+"], &["xv12"], "branch: `xv12` does not match re:v[0-9]+");
        check(Field::Message, &["*urgent*"], &["fix a/b: urgent\n\nreally"], "yes");
    }

    #[test]
    fn bad_patterns_are_named() {
        let said = Patterns::parse(Field::Branch, ["re:("]).expect_err("unclosed group");
        assert_eq!(said.to_string(), "pattern `re:(`: unclosed group");
        assert!(Patterns::parse(Field::Branch, ["a{b"]).is_err());
        assert!(Patterns::parse(Field::Branch, ["!"]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_as_pattern_or_value_is_survived(pattern in ".{0,40}", value in ".{0,40}") {
            if let Ok(patterns) = Patterns::parse(Field::Files, [pattern.as_str()]) {
                let positive = patterns.accepts(&value);
                if let Ok(negated) = Patterns::parse(Field::Files, [format!("!{pattern}").as_str()])
                    && !pattern.starts_with('!') {
                        prop_assert_eq!(negated.accepts(&value), !positive);
                    }
            }
        }
    }
}
