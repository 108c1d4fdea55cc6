//! Matrices: rows of values, names of rows, and the one thing that is ever substituted, `${matrix.NAME}`.

use std::collections::BTreeMap;
use std::ops::Range;

use gristmill_model::BuilderName;

use super::code;
use super::diagnostic::Report;
use super::nearest::nearest;
use super::raw::{RawAxis, RawAxisValue};
use super::scalar::{Scalar, Text};
use super::shape::{Entries, Named, list};
use super::span::{Located, Span};

/// Rows of one matrix.
pub(super) const ROWS_MAX: usize = 256;
/// Axes of one matrix.
const AXES_MAX: usize = 8;
/// Characters of one value.
const VALUE_LENGTH_MAX: usize = 50;

/// One combination of values, in the order of the axes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row(pub(super) Vec<(String, String)>);

impl Row {
    /// Names the row of something: `test[stable]`, `test[stable,linux]`; the name alone without a matrix.
    pub(super) fn name_of(&self, family: &str) -> String {
        if self.0.is_empty() {
            return family.to_owned();
        }
        let values: Vec<_> = self.0.iter().map(|(_, value)| value.as_str()).collect();
        format!("{family}[{}]", values.join(","))
    }

    /// Gives the value of an axis.
    pub(super) fn value(&self, axis: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str())
    }

    pub(super) fn to_map(&self) -> BTreeMap<String, String> {
        self.0.iter().cloned().collect()
    }
}

/// A builder's rows: one without values if it has no matrix.
#[derive(Debug, Clone)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) rows: Vec<Row>,
    /// Whether the matrix could be read, so that the rows are all there are.
    pub(super) is_known: bool,
}

impl Family {
    /// Says whether there is a matrix.
    pub(super) fn has_rows(&self) -> bool {
        self.rows.iter().any(|row| !row.0.is_empty())
    }

    /// Gives the names of the concrete builders.
    pub(super) fn names(&self) -> impl Iterator<Item = BuilderName> {
        self.rows.iter().map(|row| BuilderName(row.name_of(&self.name)))
    }

    /// Gives the axes in order.
    pub(super) fn axes(&self) -> Vec<&str> {
        self.rows.first().map(|row| row.0.iter().map(|(axis, _)| axis.as_str()).collect()).unwrap_or_default()
    }
}

type RawRow = Entries<Located<Scalar>>;

/// Expands a matrix: all combinations, without those that a row of `exclude` matches, then the rows of `include`.
pub(super) fn expand(name: &Text, raw: Option<&Named<RawAxis>>, report: &mut Report) -> Family {
    let Some(raw) = raw else {
        return Family { name: name.value.clone(), rows: vec![Row::default()], is_known: true };
    };
    let mut is_known = true;
    let mut axes: Vec<(&Text, Vec<String>)> = Vec::new();
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    for (key, axis) in raw.iter() {
        let Some(RawAxis::Values(items)) = axis else {
            is_known = false;
            continue;
        };
        match key.as_str() {
            "include" => include.extend(rows_of(items, key, report)),
            "exclude" => exclude.extend(rows_of(items, key, report)),
            _ => axes.push((key, values_of(key, items, report))),
        }
    }
    if axes.len() > AXES_MAX {
        let message = format!("the matrix has {} axes, and {AXES_MAX} are possible", axes.len());
        report.say(
            code::TOO_BIG,
            name.span,
            message,
            "the builder with this matrix",
            "put values together into one axis",
        );
        return Family { name: name.value.clone(), rows: vec![Row::default()], is_known: false };
    }
    let known: Vec<_> = axes.iter().map(|(axis, _)| axis.as_str()).collect();
    for row in include.iter().chain(&exclude) {
        check_axes(row, &known, report);
    }
    let count = axes.iter().fold(1_usize, |count, (_, values)| count.saturating_mul(values.len()));
    if count.saturating_add(include.len()) > ROWS_MAX {
        let message = format!("the matrix has {count} rows, and {ROWS_MAX} are possible");
        report.say(
            code::TOO_BIG,
            name.span,
            message,
            "the builder with this matrix",
            "leave out values, or split the builder",
        );
        return Family { name: name.value.clone(), rows: vec![Row::default()], is_known: false };
    }
    let mut rows = product(&axes);
    rows.retain(|row| !exclude.iter().any(|pattern| is_part_of(pattern, row)));
    for raw_row in include {
        match complete(raw_row, &known) {
            Ok(row) if !rows.contains(&row) => rows.push(row),
            Ok(_) => {}
            Err(axis) => {
                let span = raw_row.iter().next().map_or(name.span, |(key, _)| key.span);
                let message = format!("a row under `include` has no value for `{axis}`");
                report.say(code::UNKNOWN_ROW, span, message, "in this row", format!("add `{axis}: …`"));
            }
        }
    }
    if rows.is_empty() && is_known {
        let help = "give every axis at least one value, or remove `matrix`";
        report.say(code::EMPTY, name.span, "the matrix has no rows", "the builder with this matrix", help);
    }
    is_known &= !rows.is_empty();
    Family { name: name.value.clone(), rows: if is_known { rows } else { vec![Row::default()] }, is_known }
}

fn product(axes: &[(&Text, Vec<String>)]) -> Vec<Row> {
    if axes.is_empty() {
        return Vec::new();
    }
    axes.iter().fold(vec![Row::default()], |rows, (axis, values)| {
        rows.iter()
            .flat_map(|row| {
                values.iter().map(move |value| {
                    let mut longer = row.0.clone();
                    longer.push((axis.value.clone(), value.clone()));
                    Row(longer)
                })
            })
            .collect()
    })
}

fn rows_of<'a>(items: &'a [RawAxisValue], key: &Text, report: &mut Report) -> Vec<&'a RawRow> {
    let mut rows = Vec::new();
    for item in items {
        match item {
            RawAxisValue::Row(row) => rows.push(row),
            RawAxisValue::Value(value) => {
                let message = format!("expected a row under `{}`, found a text", key.value);
                report.say(code::WRONG_TYPE, value.span, message, "this is a text", "write `{axis: value}`");
            }
        }
    }
    rows
}

fn values_of(axis: &Text, items: &[RawAxisValue], report: &mut Report) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for item in items {
        match item {
            RawAxisValue::Value(value) => {
                if values.contains(&value.0) {
                    let message = format!("the value `{}` is there twice", value.0);
                    report.say(code::NAME_TAKEN, value.span, message, "this one again", "remove one of the two");
                } else if check_value(&value.0, value.span, report) {
                    values.push(value.0.clone());
                }
            }
            RawAxisValue::Row(row) => {
                let span = row.iter().next().map_or(axis.span, |(key, _)| key.span);
                let help = "write texts; rows belong under `include` and `exclude`";
                report.say(code::WRONG_TYPE, span, "expected a value of the axis, found a map", "this is a map", help);
            }
        }
    }
    if items.is_empty() {
        let message = format!("the axis `{}` has no values", axis.value);
        report.say(code::EMPTY, axis.span, message, "this axis", "give it values, or remove it");
    }
    values
}

/// Values stand in names, between brackets and commas.
fn check_value(value: &str, span: Span, report: &mut Report) -> bool {
    let is_good = !value.is_empty()
        && value.chars().count() <= VALUE_LENGTH_MAX
        && value.trim() == value
        && !value.chars().any(|c| c.is_control() || "[],".contains(c));
    if !is_good {
        let help = format!("use 1 to {VALUE_LENGTH_MAX} characters without `[`, `]`, `,` and line breaks");
        report.say(code::BAD_NAME, span, "this cannot be a value of a matrix", "it becomes a part of names", help);
    }
    is_good
}

fn check_axes(row: &RawRow, known: &[&str], report: &mut Report) {
    for (axis, value) in row.iter() {
        if let Some(value) = value {
            check_value(&value.0, value.span, report);
        }
        if !known.contains(&axis.as_str()) {
            let message = format!("the matrix has no axis `{}`", axis.value);
            report.say(code::UNKNOWN_ROW, axis.span, message, "named here", axes_help(axis, known));
        }
    }
}

/// Says which axes there are.
pub(super) fn axes_help(wanted: &str, known: &[&str]) -> String {
    match nearest(wanted, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "the builder has no `matrix`".to_owned(),
        None if known.len() == 1 => format!("its only axis is {}", list(known)),
        None => format!("its axes are {}", list(known)),
    }
}

fn is_part_of(pattern: &RawRow, row: &Row) -> bool {
    pattern.iter().all(|(axis, value)| value.is_some_and(|value| row.value(axis) == Some(&value.0)))
}

/// Makes a row of what `include` says; the missing axis otherwise.
fn complete<'a>(raw: &RawRow, axes: &[&'a str]) -> Result<Row, &'a str> {
    let value_of = |&axis: &&'a str| {
        let found = raw.iter().find(|(name, _)| name.as_str() == axis).and_then(|(_, value)| value);
        found.map(|value| (axis.to_owned(), value.0.clone())).ok_or(axis)
    };
    axes.iter().map(value_of).collect::<Result<_, _>>().map(Row)
}

/// Something of the form `${word.word}` in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// Where it is, in bytes of the text.
    pub(super) range: Range<usize>,
    /// The word before the dot.
    pub(super) scope: String,
    /// What is after it.
    pub(super) name: String,
}

/// Finds what looks like a placeholder of ours. What a shell understands (`${HOME}`, `${x%.c}`) does not: there, no dot
/// follows the first word.
pub(super) fn placeholders(text: &str) -> Vec<Placeholder> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("${").map(|at| from + at) {
        from = start + 2;
        let rest = &text[from..];
        let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        let (scope, after) = rest.split_at(word);
        let is_word = scope.starts_with(|c: char| c.is_ascii_alphabetic());
        let Some(after) = after.strip_prefix('.').filter(|_| is_word) else { continue };
        let end =
            after.find(['}', '\n']).filter(|&at| after[at..].starts_with('}') && !after[..at].contains(['$', ' ']));
        if let Some(end) = end {
            let range = start..from + word + 1 + end + 1;
            from = range.end;
            found.push(Placeholder { range, scope: scope.to_owned(), name: after[..end].to_owned() });
        }
    }
    found
}

/// Replaces `${matrix.NAME}`; everything else stays as it is.
pub(super) fn substitute(text: &str, row: &Row) -> String {
    let mut result = String::with_capacity(text.len());
    let mut from = 0;
    for Placeholder { range, scope, name } in placeholders(text) {
        if let Some(value) = row.value(&name).filter(|_| scope == "matrix") {
            result.push_str(&text[from..range.start]);
            result.push_str(value);
            from = range.end;
        }
    }
    result.push_str(&text[from..]);
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_matrix_is_substituted() {
        let row = Row(vec![("toolchain".to_owned(), "nightly-$(x)".to_owned())]);
        for (text, wanted) in [
            ("cargo +${matrix.toolchain} test", "cargo +nightly-$(x) test"),
            (
                "${HOME} ${x%.c} ${x:-a.b} $x ${matrix.other} ${branch.name}",
                "${HOME} ${x%.c} ${x:-a.b} $x ${matrix.other} ${branch.name}",
            ),
            ("${matrix.toolchain", "${matrix.toolchain"),
            ("$${matrix.toolchain}", "$nightly-$(x)"),
        ] {
            assert_eq!(substitute(text, &row), wanted);
        }
        let found: Vec<_> =
            placeholders("${a.b} ${HOME} ${c.d.e} ${1.2} ${x.%y z}").into_iter().map(|found| found.name).collect();
        assert_eq!(found, ["b", "d.e"]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_texts_without_placeholders_stay(text in r"[${}.a-z \n-ü]{0,60}") {
            let row = Row(vec![("a".to_owned(), "value".to_owned())]);
            let result = substitute(&text, &row);
            if !text.contains("${matrix.a}") {
                prop_assert_eq!(result, text);
            }
        }
    }
}
