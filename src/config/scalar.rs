//! Scalars: texts, booleans, whole numbers, durations.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::code;
use super::diagnostic::Report;
use super::shape::{Shape, wrong_type};
use super::span::Located;
use super::tree::{Content, Node};

/// A text with its place.
pub(super) type Text = Located<String>;

impl Shape for String {
    fn what() -> &'static str {
        "a text"
    }

    /// Takes any scalar as it is written, so that `1.10`, `no` and `010` stay what they are.
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &*node.content {
            Content::Text { text, .. } => Some(text.clone()),
            _ => wrong_type(node, report),
        }
    }
}

impl Shape for bool {
    fn what() -> &'static str {
        "`true` or `false`"
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &*node.content {
            Content::Text { text, is_plain: true } if text == "true" => Some(true),
            Content::Text { text, is_plain: true } if text == "false" => Some(false),
            Content::Text { text, .. } => {
                let help = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "1" | "true" => "write `true`",
                    "no" | "off" | "n" | "0" | "false" => "write `false`",
                    _ => "write one of the two, without quotes",
                };
                let message = format!("expected {}, found a text", Self::what());
                report.say(code::WRONG_TYPE, node.span, message, "neither of the two", help);
                None
            }
            _ => wrong_type(node, report),
        }
    }
}

impl Shape for i64 {
    fn what() -> &'static str {
        "a whole number"
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Content::Text { text, is_plain } = &*node.content else { return wrong_type(node, report) };
        let number = text.parse().ok();
        if number.is_none() || !is_plain {
            let message = format!("expected {}, found a text", Self::what());
            let help = if number.is_some() { "write it without quotes" } else { "write digits only, such as `4`" };
            report.say(code::BAD_NUMBER, node.span, message, "not a whole number", help);
        }
        number
    }
}

/// A span of time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// The longest span that can be meant.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

impl Shape for Time {
    fn what() -> &'static str {
        "a duration such as `10m`"
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Content::Text { text, .. } = &*node.content else { return wrong_type(node, report) };
        match parse_time(text) {
            Ok(span) => Some(Self(span)),
            Err(problem) => {
                let message = format!("`{}` is not a duration", text.chars().take(60).collect::<String>());
                report.say(code::BAD_DURATION, node.span, message, problem.label(), problem.help(text));
                None
            }
        }
    }
}

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeProblem {
    NoUnit,
    UnknownUnit,
    NoNumber,
    TooLong,
}

impl TimeProblem {
    fn label(self) -> &'static str {
        match self {
            Self::NoUnit => "a number without a unit",
            Self::UnknownUnit => "this unit is not known",
            Self::NoNumber => "a number is needed first",
            Self::TooLong => "longer than a year",
        }
    }

    fn help(self, text: &str) -> String {
        match self {
            Self::NoUnit => format!("add a unit: `{text}s` for seconds, `{text}m` for minutes"),
            Self::TooLong => "give at most `366d`".to_owned(),
            _ => "use ms, s, m, h or d, such as `30s`, `10m`, `1h30m`, `2d`".to_owned(),
        }
    }
}

/// Reads a span as it is written everywhere, such as `90d`, for those who are not a configuration.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    parse_time(text).map_err(|problem| format!("{}: {}", problem.label(), problem.help(text)))
}

/// Reads `30s`, `1h30m`, `2 d`.
fn parse_time(text: &str) -> Result<Duration, TimeProblem> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(TimeProblem::NoNumber);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return Err(TimeProblem::NoNumber);
        }
        let number: u64 = rest[..digits].parse().map_err(|_| TimeProblem::TooLong)?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
        let span = match &rest[..letters] {
            "ms" => Some(Duration::from_millis(number)),
            "s" | "sec" | "second" | "seconds" => number.checked_mul(1).map(Duration::from_secs),
            "m" | "min" | "minute" | "minutes" => number.checked_mul(60).map(Duration::from_secs),
            "h" | "hour" | "hours" => number.checked_mul(3600).map(Duration::from_secs),
            "d" | "day" | "days" => number.checked_mul(86_400).map(Duration::from_secs),
            "" => return Err(TimeProblem::NoUnit),
            _ => return Err(TimeProblem::UnknownUnit),
        };
        total = span.and_then(|span| total.checked_add(span)).ok_or(TimeProblem::TooLong)?;
        rest = rest[letters..].trim_start();
    }
    if total > TIME_MAX { Err(TimeProblem::TooLong) } else { Ok(total) }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number with a unit (ms, s, m, h, d), or several: `30s`, `10m`, `1h30m`.",
            "pattern": r"^\s*([0-9]+\s*(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\s*)+$",
        })
    }
}

/// A number of bytes as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// Units of sizes, and how many bytes they are.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl Shape for Size {
    fn what() -> &'static str {
        "a size such as `512MiB`"
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Content::Text { text, .. } = &*node.content else { return wrong_type(node, report) };
        let size = parse_size(text);
        if size.is_none() {
            let message = format!("`{}` is not a size", text.chars().take(60).collect::<String>());
            let help = "write a whole number with a unit: `512MiB`, `2GiB`, `500MB`";
            report.say(code::BAD_NUMBER, node.span, message, "not a size", help);
        }
        size.map(Self)
    }
}

/// Reads `512MiB`, `2 GB`.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = text[digits..].trim_start();
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*bytes)
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A whole number with a unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB): `512MiB`.",
            "pattern": r"^\s*[0-9]+\s*([kMGT]?B|[KMGT]iB)\s*$",
        })
    }
}

/// A scalar of any kind, taken as the text that is written: for labels, variables, properties, defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) String);

impl Shape for Scalar {
    fn what() -> &'static str {
        "a text"
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        String::read(node, report).map(Self)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// What a shell is given. A number or a boolean without quotes is refused: other programs that read the file would
/// make something else of `1.10`, and hardly anybody means to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script(pub(super) String);

impl std::ops::Deref for Script {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Shape for Script {
    fn what() -> &'static str {
        "a command as a text or a list"
    }

    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let Content::Text { text, is_plain } = &*node.content else { return wrong_type(node, report) };
        let Some(found) = plain_kind(text).filter(|_| *is_plain) else { return Some(Self(text.clone())) };
        let message = format!("expected {}, found {found}", Self::what());
        let help = format!("if it is what to run, put it in quotes: `\"{text}\"`");
        report.say(code::WRONG_TYPE, node.span, message, format!("this is {found}"), help);
        None
    }
}

impl JsonSchema for Script {
    fn schema_name() -> Cow<'static, str> {
        "Script".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1})
    }
}

/// Says what YAML (1.2, core schema) makes of a scalar without quotes, if it is no text.
fn plain_kind(text: &str) -> Option<&'static str> {
    if matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") {
        return Some("a boolean");
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let is_special = matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok();
    (is_special || is_number || digits("0x", 16) || digits("0o", 8)).then_some("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_are_told_from_texts() {
        for number in ["5", "1.10", "-3", "+0.5", ".5", "5.", "1e3", "0x1F", "0o17", "010", ".inf", "-.INF", ".nan"] {
            assert_eq!(plain_kind(number), Some("a number"), "{number}");
        }
        for text in ["make", "no", "yes", "1_000", "0xg", "inf", "nan", "-", ".", "1.2.3", "5 6", "-x", ""] {
            assert_eq!(plain_kind(text), None, "{text}");
        }
        assert_eq!((plain_kind("true"), plain_kind("False")), (Some("a boolean"), Some("a boolean")));
    }

    #[test]
    fn sizes_need_a_unit() {
        for (text, wanted) in [
            ("512MiB", Some(512 << 20)),
            ("2 GB", Some(2_000_000_000)),
            ("0B", Some(0)),
            ("5", None),
            ("5mb", None),
            ("-1MB", None),
            ("1.5GB", None),
            ("99999999999TiB", None),
            ("", None),
        ] {
            assert_eq!(parse_size(text), wanted, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_have_a_limit() {
        for (text, wanted) in [
            ("30s", Ok(30_000)),
            ("1h30m", Ok(5_400_000)),
            ("2 d", Ok(172_800_000)),
            ("250ms", Ok(250)),
            ("0s", Ok(0)),
            ("10", Err(TimeProblem::NoUnit)),
            ("10x", Err(TimeProblem::UnknownUnit)),
            ("m10", Err(TimeProblem::NoNumber)),
            ("-5m", Err(TimeProblem::NoNumber)),
            ("", Err(TimeProblem::NoNumber)),
            ("400d", Err(TimeProblem::TooLong)),
            ("99999999999999999999d", Err(TimeProblem::TooLong)),
        ] {
            assert_eq!(parse_time(text).map(|span| span.as_millis()), wanted, "{text}");
        }
    }
}
