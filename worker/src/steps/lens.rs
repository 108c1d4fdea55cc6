//! What is done to the bytes of a log on their way: secrets are masked, warnings are counted.

use gristmill_model::step::limit;
use regex::bytes::{RegexSet, RegexSetBuilder};

use crate::secrets::Masker;

/// Bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 4096;

/// Looks at one log. Both parts may be idle.
#[derive(Debug)]
pub(crate) struct Lens {
    masker: Masker,
    warnings: Option<Warnings>,
}

impl Lens {
    /// Makes a lens that masks, and counts what `patterns` mean.
    pub(crate) fn new(masker: Masker, patterns: &[String]) -> Self {
        Self { masker, warnings: Warnings::new(patterns) }
    }

    /// Says whether it would change and count nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.masker.is_idle() && self.warnings.is_none()
    }

    /// Takes what was printed, and gives what may be shown of it now.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        if let Some(warnings) = &mut self.warnings {
            warnings.push(bytes);
        }
        self.masker.pass(bytes)
    }

    /// Gives what was held back.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.masker.rest()
    }

    /// Counts the lines that were warnings, the last one included.
    pub(crate) fn warnings(&mut self) -> u64 {
        self.warnings.as_mut().map_or(0, Warnings::finish)
    }
}

/// Counts lines.
#[derive(Debug)]
struct Warnings {
    patterns: RegexSet,
    /// The line so far, as far as it is looked at.
    line: Vec<u8>,
    count: u64,
}

impl Warnings {
    fn new(patterns: &[String]) -> Option<Self> {
        if patterns.is_empty() {
            return None;
        }
        // The configuration has let only such through.
        let built =
            RegexSetBuilder::new(patterns).size_limit(limit::WARNINGS_MAX * limit::PATTERN_PROGRAM_BYTES_MAX).build();
        built.ok().map(|patterns| Self { patterns, line: Vec::new(), count: 0 })
    }

    fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                // The usual case: a whole line that need not be copied.
                let line = &rest[..end.min(LINE_BYTES_MAX)];
                self.count += u64::from(self.patterns.is_match(line));
            } else {
                self.keep(&rest[..end]);
                self.end_line();
            }
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn end_line(&mut self) {
        self.count += u64::from(self.patterns.is_match(&self.line));
        self.line.clear();
    }

    fn finish(&mut self) -> u64 {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(patterns: &[&str], pieces: &[&str]) -> u64 {
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        let mut lens = Lens::new(Masker::new([]), &patterns);
        let shown: Vec<u8> = pieces.iter().flat_map(|piece| lens.pass(piece.as_bytes())).collect();
        assert_eq!(shown, pieces.concat().as_bytes(), "nothing is masked");
        lens.warnings()
    }

    #[test]
    fn a_line_is_counted_once_wherever_it_is_cut() {
        let text = "a.c:1: warning: x\nfine\nb.c:2: warning: warning: y\nlast warning: z";
        for cut in 0..text.len() {
            assert_eq!(count(&["warning: ", "^b"], &[&text[..cut], &text[cut..]]), 3, "{cut}");
        }
        assert_eq!(count(&[], &[text]), 0);
        assert_eq!(
            count(&["end$"], &[&"x".repeat(LINE_BYTES_MAX), "end\n"]),
            0,
            "the end of a long line is not looked at"
        );
    }
}
