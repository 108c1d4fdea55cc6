//! Mistakes and doubts, with their places.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::code::Code;
use super::render;
use super::span::{Lines, Span, floor};

/// Whether the configuration can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot.
    Mistake,
    /// It can, but something in it will not do what was probably meant.
    Warning,
}

impl Severity {
    /// Gives the word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mistake => "mistake",
            Self::Warning => "warning",
        }
    }
}

/// One mistake or doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its kind.
    pub code: Code,
    /// Where it is.
    pub span: Span,
    /// What is wrong, in one line.
    pub message: String,
    /// What was understood there, in a few words.
    pub label: String,
    /// What to do about it.
    pub help: String,
}

impl Diagnostic {
    /// Says whether the configuration can be used in spite of it.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// Everything that was found about one text, sorted by place, mistakes first at the same place.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    file: String,
    text: Arc<str>,
    items: Vec<Diagnostic>,
    left_out: usize,
}

impl Diagnostics {
    /// How many are kept; the rest is only counted.
    pub const KEPT_MAX: usize = 500;
    /// How many [`Diagnostics::render`] shows.
    pub const SHOWN_MAX: usize = 20;

    /// Sorts what was found in `text`, which was read from `file`.
    pub(super) fn new(file: &str, text: &str, mut items: Vec<Diagnostic>, left_out: usize) -> Self {
        items.sort_by_key(|item| (item.span, item.severity(), item.code));
        items.dedup();
        Self { file: file.to_owned(), text: text.into(), items, left_out }
    }

    /// Gives the file's name as it was said.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Gives what was found, by place.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.items.iter()
    }

    /// Counts mistakes, those beyond [`Diagnostics::KEPT_MAX`] too.
    pub fn mistakes(&self) -> usize {
        self.items.iter().filter(|item| item.severity() == Severity::Mistake).count() + self.left_out
    }

    /// Counts warnings.
    pub fn warnings(&self) -> usize {
        self.items.iter().filter(|item| item.severity() == Severity::Warning).count()
    }

    /// Says whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Gives the line of a diagnostic, from 1.
    pub fn line_of(&self, diagnostic: &Diagnostic) -> usize {
        Lines::of(&self.text).line_of(diagnostic.span.start)
    }

    /// Draws them for a terminal: at most [`Diagnostics::SHOWN_MAX`], then a count.
    pub fn render(&self, color: bool) -> String {
        render::terminal(self, color)
    }

    /// Gives them as JSON: `{file, mistakes, warnings, diagnostics: [{code, severity, message, label, help, file, line,
    /// column, span: {start, end}}]}`. Lines and columns count from 1, columns in characters; spans are byte offsets.
    pub fn to_json(&self) -> Value {
        let lines = Lines::of(&self.text);
        let items = self.items.iter().map(|item| {
            json!({
                "code": item.code.as_str(),
                "severity": item.severity().as_str(),
                "message": item.message,
                "label": item.label,
                "help": item.help,
                "file": self.file,
                "line": lines.line_of(item.span.start),
                "column": lines.column_of(item.span.start),
                "span": item.span,
            })
        });
        json!({
            "file": self.file,
            "mistakes": self.mistakes(),
            "warnings": self.warnings(),
            "diagnostics": items.collect::<Vec<_>>(),
        })
    }

    /// Gives them as workflow commands, one a line, which GitHub shows beside the file's lines.
    pub fn to_github(&self) -> String {
        render::github(self)
    }

    /// Gives the text that the spans point into.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// Where the reader and the resolvers put what they find.
#[derive(Debug, Default)]
pub(super) struct Report {
    items: Vec<Diagnostic>,
    left_out: usize,
}

impl Report {
    /// Adds one; past [`Diagnostics::KEPT_MAX`] mistakes are only counted.
    pub(super) fn add(&mut self, diagnostic: Diagnostic) {
        if self.items.len() < Diagnostics::KEPT_MAX {
            self.items.push(diagnostic);
        } else if diagnostic.severity() == Severity::Mistake {
            self.left_out += 1;
        }
    }

    /// Adds one by its parts.
    pub(super) fn say(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let [message, label, help] = [message.into(), label.into(), help.into()].map(bounded);
        self.add(Diagnostic { code, span, message, label, help });
    }

    /// Says whether nothing more is kept, so that nothing costly needs to be found out for it.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= Diagnostics::KEPT_MAX
    }

    /// Says whether a mistake was found within a place, so that nothing that follows of it needs to be said.
    pub(super) fn has_within(&self, whole: Span) -> bool {
        self.items.iter().any(|item| {
            item.severity() == Severity::Mistake && item.span.start >= whole.start && item.span.end <= whole.end
        })
    }

    /// Says whether a mistake was found.
    pub(super) fn has_mistakes(&self) -> bool {
        self.left_out > 0 || self.items.iter().any(|item| item.severity() == Severity::Mistake)
    }

    pub(super) fn finish(self, file: &str, text: &str) -> Diagnostics {
        Diagnostics::new(file, text, self.items, self.left_out)
    }
}

/// Cuts a text that quotes too much of the file.
fn bounded(mut text: String) -> String {
    const BYTES_MAX: usize = 600;
    if text.len() > BYTES_MAX {
        text.truncate(floor(&text, BYTES_MAX));
        text.push('…');
    }
    text
}
