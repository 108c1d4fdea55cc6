//! Places in a text: byte spans, and the lines and columns that people count.

/// A range of bytes in the configuration's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl Span {
    /// Makes the span from `start` up to `end`.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

impl<T> std::ops::Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Finds lines and columns in one text.
#[derive(Debug, Clone)]
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Gives the line of a byte, from 1. Bytes past the end stand in the last line.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at.min(self.text.len())).max(1)
    }

    /// Gives the column of a byte, from 1, counted in characters.
    pub(super) fn column_of(&self, at: usize) -> usize {
        let (start, at) = (self.start_of(self.line_of(at)), floor(self.text, at));
        self.text[start.min(at)..at].chars().count() + 1
    }

    /// Gives the text of a line (from 1) without its end; empty past the end.
    pub(super) fn text_of(&self, line: usize) -> &'a str {
        let start = self.start_of(line);
        let end = self.starts.get(line).map_or(self.text.len(), |&next| next - 1);
        self.text.get(start..end.max(start)).unwrap_or("").trim_end_matches('\r')
    }

    /// Gives the first byte of a line (from 1).
    pub(super) fn start_of(&self, line: usize) -> usize {
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }
}

/// Gives the nearest character boundary at or before `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&index| text.is_char_boundary(index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let lines = Lines::of("a: ü\r\nbé: 2\n");
        for (at, wanted) in [(0, (1, 1)), (3, (1, 4)), (7, (2, 1)), (10, (2, 3)), (14, (3, 1)), (99, (3, 1))] {
            assert_eq!((lines.line_of(at), lines.column_of(at)), wanted, "at {at}");
        }
        assert_eq!((lines.text_of(1), lines.text_of(2), lines.text_of(9)), ("a: ü", "bé: 2", ""));
    }
}
