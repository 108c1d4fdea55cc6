//! Matches: patterns are read one by one, so that each bad one is named, and compared with what there is.

use gristmill_model::matching::{Field, Matcher, Patterns};
use gristmill_model::{Cause, Outcome, Transition};

use super::Resolver;
use super::names::{Noun, short};
use crate::config::code;
use crate::config::nearest::nearest;
use crate::config::raw::RawMatch;
use crate::config::scalar::Text;
use crate::config::shape::{OneOrMany, Placed as _, list};
use crate::config::span::Span;

/// What a route can be told of: what the announcer makes of the journal.
const EVENTS: [&str; 15] = [
    "broke",
    "still-failing",
    "fixed",
    "passing",
    "source.failing",
    "source.recovered",
    "catalog.refused",
    "instance.restored",
    "doctor.found",
    "doctor.cleared",
    "message.dead",
    "worker.held",
    "worker.freed",
    "worker.ailing",
    "worker.left",
];
/// The ways a ref can move.
const MOVEMENTS: [&str; 4] = ["created", "moved", "forced", "deleted"];
/// What only happens after a scheduler has decided.
const ONLY_IN_ROUTES: [Field; 6] =
    [Field::Event, Field::Builder, Field::Scheduler, Field::Outcome, Field::Cause, Field::Transition];

/// What only a change has.
const ONLY_IN_SCHEDULERS: [Field; 3] = [Field::Tag, Field::Files, Field::Movement];

/// What is not asked of a build when it is old.
const NOT_OF_BUILDS: [Field; 7] =
    [Field::Author, Field::Files, Field::Message, Field::Event, Field::Movement, Field::Cause, Field::Transition];

/// Patterns of a whole file: each takes a moment to read.
const PATTERNS_MAX: usize = 2_000;

/// What a field's values can be.
enum Known {
    /// Anything.
    Open,
    /// What the file names.
    Names(Noun),
    /// These words.
    Words(Vec<&'static str>),
}

impl RawMatch {
    /// Gives the fields that are written, with their patterns.
    pub(in crate::config) fn fields(&self) -> impl Iterator<Item = (Field, &[Text])> {
        [
            (Field::Repository, &self.repository),
            (Field::Project, &self.project),
            (Field::Branch, &self.branch),
            (Field::Tag, &self.tag),
            (Field::Author, &self.author),
            (Field::Files, &self.files),
            (Field::Message, &self.message),
            (Field::Event, &self.event),
            (Field::Movement, &self.movement),
            (Field::Builder, &self.builder),
            (Field::Scheduler, &self.scheduler),
            (Field::Outcome, &self.outcome),
            (Field::Cause, &self.cause),
            (Field::Transition, &self.transition),
        ]
        .into_iter()
        .filter_map(|(field, texts)| texts.as_ref().map(|OneOrMany(texts)| (field, texts.as_slice())))
    }
}

impl Resolver<'_> {
    /// Makes the match of a scheduler, which judges changes.
    pub(super) fn change_match(&mut self, raw: &RawMatch) -> Matcher {
        let help = "schedulers judge repository, project, branch, tag, author, files, message and movement";
        self.refuse_fields(raw, &ONLY_IN_ROUTES, "a change has no `FIELD`, so this scheduler could never start", help);
        self.matcher(raw)
    }

    /// Makes the match of a route, which judges what came of changes.
    pub(super) fn happening_match(&mut self, raw: &RawMatch) -> Matcher {
        let help = "routes judge repository, project, branch, author, message, event, builder, scheduler, outcome, cause and transition";
        self.refuse_fields(
            raw,
            &ONLY_IN_SCHEDULERS,
            "what is told has no `FIELD`, so this route could never tell it",
            help,
        );
        self.matcher(raw)
    }

    /// Makes the match of a rule that keeps builds.
    pub(super) fn build_match(&mut self, raw: &RawMatch) -> Matcher {
        let help = "builds are kept by repository, project, branch, tag, builder, scheduler and outcome";
        self.refuse_fields(raw, &NOT_OF_BUILDS, "a build has no `FIELD`, so this rule could never keep one", help);
        self.matcher(raw)
    }

    /// Reports fields that what is matched never has.
    fn refuse_fields(&mut self, raw: &RawMatch, refused: &[Field], message: &str, help: &str) {
        for (field, texts) in raw.fields().filter(|(field, _)| refused.contains(field)) {
            let span = texts.first().map_or_else(|| raw.span(), |text| text.span);
            self.report.say(code::WRONG_FIELD, span, message.replace("FIELD", field.as_str()), "asked for here", help);
        }
    }

    fn matcher(&mut self, raw: &RawMatch) -> Matcher {
        let mut matcher = Matcher::any();
        for (field, texts) in raw.fields() {
            if let Some(patterns) = self.patterns(field, texts) {
                matcher.insert(field, patterns);
            }
        }
        matcher
    }

    /// Reads the patterns of one field; reports each that cannot be read, or can match nothing.
    pub(super) fn patterns(&mut self, field: Field, texts: &[Text]) -> Option<Patterns> {
        self.patterns += texts.len();
        if self.patterns > PATTERNS_MAX {
            let span = texts.first().map_or_else(Span::default, |text| text.span);
            let message = format!("the file has more than {PATTERNS_MAX} patterns");
            self.report.say(
                code::TOO_BIG,
                span,
                message,
                "from here on",
                "match more with fewer: `{a,b}`, `release/*`",
            );
            return None;
        }
        let read: Vec<_> = texts.iter().filter_map(|text| self.pattern(field, text)).collect();
        Patterns::parse(field, read.iter().map(String::as_str)).ok().filter(|_| read.len() == texts.len())
    }

    /// Reads one pattern; gives it with the names of builders with a matrix written out.
    fn pattern(&mut self, field: Field, text: &Text) -> Option<String> {
        let (sign, body) = text.strip_prefix('!').map_or(("", text.as_str()), |body| ("!", body));
        if field == Field::Builder
            && let Some(pattern) = self.builder_pattern(body)
        {
            return Some(format!("{sign}{pattern}"));
        }
        let alone = match Patterns::parse(field, [text.as_str()]) {
            Ok(patterns) => patterns,
            Err(error) => {
                self.bad_pattern(text, &error.problem);
                return None;
            }
        };
        let is_exact = !body.starts_with("re:") && !body.contains(['*', '?', '[', '{', '\\']);
        let known = self.known_values(field);
        match (known, is_exact) {
            (Known::Names(noun), true) => {
                return self
                    .look_up::<String>(noun, &Text { value: body.to_owned(), ..text.clone() })
                    .map(|_| text.value.clone());
            }
            (Known::Words(words), true) if field != Field::Event && !words.contains(&body) => {
                let what = format!("{} {field}", if "aeiou".contains(&field.as_str()[..1]) { "an" } else { "a" });
                crate::config::shape::unknown_word(body, text.span, &what, &words, self.report);
                return None;
            }
            (known, _) if sign.is_empty() => self.doubt_pattern(field, text, &alone, &known),
            _ => {}
        }
        Some(text.value.clone())
    }

    /// Names of builders contain brackets, which globs read otherwise: writes a name out as a glob.
    fn builder_pattern(&mut self, body: &str) -> Option<String> {
        if let Some(family) = self.families.get(body) {
            self.used.insert((Noun::Builder, body.to_owned()));
            return Some(if family.has_rows() { format!("{body}\\[*\\]") } else { body.to_owned() });
        }
        let is_row = self.families.values().any(|family| family.names().any(|name| name.as_str() == body));
        is_row.then(|| escape_glob(body))
    }

    fn known_values(&self, field: Field) -> Known {
        match field {
            Field::Repository => Known::Names(Noun::Repository),
            Field::Project => Known::Names(Noun::Project),
            Field::Builder => Known::Names(Noun::Builder),
            Field::Scheduler => Known::Names(Noun::Scheduler),
            Field::Outcome => Known::Words(Outcome::ALL.map(Outcome::as_str).to_vec()),
            Field::Cause => Known::Words(Cause::ALL.map(Cause::as_str).to_vec()),
            Field::Transition => Known::Words(Transition::ALL.map(Transition::as_str).to_vec()),
            Field::Movement => Known::Words(MOVEMENTS.to_vec()),
            Field::Event => Known::Words(EVENTS.to_vec()),
            Field::Branch | Field::Tag | Field::Author | Field::Files | Field::Message => Known::Open,
        }
    }

    /// Warns of a pattern that nothing that there is can match.
    fn doubt_pattern(&mut self, field: Field, text: &Text, patterns: &Patterns, known: &Known) {
        let rows: Vec<String>;
        let values: Vec<&str> = match known {
            Known::Open => return,
            Known::Words(words) => words.clone(),
            Known::Names(Noun::Builder) => {
                rows = self.families.values().flat_map(|family| family.names()).map(|name| name.0).collect();
                rows.iter().map(String::as_str).collect()
            }
            Known::Names(noun) => self.names(*noun).into_iter().map(|(name, _)| name).collect(),
        };
        let matched: Vec<_> =
            values.iter().filter(|value| patterns.accepts(value)).map(|&value| value.to_owned()).collect();
        if matched.is_empty() {
            let help = match nearest(text, values.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if values.len() <= 22 && !values.is_empty() => format!("there is {}", list(&values)),
                None => format!("there are {} to choose from", values.len()),
            };
            let message = format!("no {field} can match `{}`", short(text));
            self.report.say(code::NEVER_MATCHES, text.span, message, "matches nothing", help);
        }
        if let Known::Names(noun) = known {
            self.used.extend(matched.into_iter().map(|name| (*noun, name)));
        }
    }

    fn bad_pattern(&mut self, text: &Text, problem: &str) {
        let (message, help) = match text.strip_prefix('!').unwrap_or(text).strip_prefix("re:") {
            Some(expression) => (
                format!("this is not a regular expression: {problem}"),
                if expression.is_empty() {
                    "write one after `re:`"
                } else {
                    "put `\\` before a sign that is meant as it is"
                },
            ),
            None => (
                format!("this is not a pattern: {}", problem.split(';').next().unwrap_or(problem)),
                "close what is open, or put `\\` before a sign that is meant as it is; `re:` starts a regular expression",
            ),
        };
        let span = self.place_in_expression(text);
        self.report.say(code::BAD_PATTERN, span, message, "in this pattern", help);
    }

    /// Points into a regular expression at the place of its mistake, if it stands in the source as it is.
    fn place_in_expression(&self, text: &Text) -> Span {
        let Some((before, expression)) = text.split_once("re:") else { return text.span };
        let Err(regex::Error::Syntax(said)) = regex::Regex::new(expression) else { return text.span };
        // The message draws the expression, and a caret under the place: four characters of margin.
        let Some(caret) =
            said.lines().find(|line| line.trim_start().starts_with('^') && line.trim().chars().all(|c| c == '^'))
        else {
            return text.span;
        };
        let column = caret.len() - caret.trim_start().len();
        let at = before.len() + "re:".len() + column.saturating_sub(4);
        let whole = self.piece(text, text);
        if whole.end - whole.start == text.len() && text.is_char_boundary(at) && at < text.len() {
            Span::new(whole.start + at, whole.start + at + caret.trim().len())
        } else {
            text.span
        }
    }
}

/// Writes a text so that a glob matches it and nothing else.
pub(in crate::config) fn escape_glob(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 2);
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    if escaped.starts_with("re:") { format!("\\{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_name_matches_itself_alone() {
        for name in ["a[b]", "a{b,c}", "x*y", "!x", "re:x", "plain", "back\\slash"] {
            let patterns = Patterns::parse(Field::Branch, [escape_glob(name).as_str()]).expect("it is a pattern");
            assert!(patterns.accepts(name), "{name} as {}", escape_glob(name));
            assert!(!patterns.accepts("ab") && !patterns.accepts("xzy"), "{name}");
        }
    }
}
