//! The line that says why: what compilers, test runners and shells print when something is wrong.
//!
//! Nothing here decides an outcome. It only saves people from scrolling.

use std::sync::LazyLock;

use gristmill_model::protocol::LogAddress;
use regex::bytes::Regex;

use super::read::{Blocks, EXCERPT_BYTES_MAX, Line, matching_lines};
use super::store::{LogStore, ReadError, lock};

/// Lines that are marked in one log; the first ones are what people need.
pub const MARKS_MAX: usize = 200;
/// Lines of an excerpt before the error.
pub const EXCERPT_LINES_BEFORE: u64 = 2;
/// Lines of an excerpt from the error on, itself included.
pub const EXCERPT_LINES_FROM: u64 = 6;
/// Bytes looked through for marks in one call; the next call goes on from there.
const SCAN_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A line that looks like an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its number, from 1.
    pub line: u64,
    /// Its beginning, as printed: any bytes.
    pub text: Vec<u8>,
}

/// The lines of a log that look like errors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// They, in order, at most [`MARKS_MAX`].
    pub marks: Vec<Mark>,
    /// Whether the whole log was looked through.
    pub complete: bool,
}

/// A few lines round the first error, or the last ones if nothing looks like one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// The line that looks like an error.
    pub error: Option<u64>,
    /// It and its neighbours.
    pub lines: Vec<Line>,
}

/// How far a log has been looked through, kept with its open files so that a growing log is read once.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    blocks: Blocks,
    marks: Vec<Mark>,
}

/// Colours in the middle of what is looked for.
const SGR: &str = r"(?:\x1b\[[0-9;]*[mK])*";

static ERROR: LazyLock<Regex> = LazyLock::new(|| {
    let starts = [
        r"error(?:\[[A-Z]+[0-9]+\])?~:~ ", // rustc, cargo, clang without a place
        r"error ?~:~ ",
        r"ERROR\b",
        r"\[ERROR\]",
        r"E   \S", // pytest
        r"FAIL(?:ED|URE)?[: \t]",
        r"--- FAIL: ",   // go test
        r"not ok [0-9]", // TAP
        r"Traceback \(most recent call last\)",
        r"fatal: ", // git
        r"::error", // GitHub's commands
        r"##\[error\]",
        r"##teamcity\[buildProblem",
        r"npm ERR! ",
        r"make(?:\[[0-9]+\])?: \*\*\* ",
        r"Exception in thread ",
    ];
    let anywhere = [
        r":~ ~(?:fatal )?error~:~ ",            // gcc, clang, javac
        r"\b(?:fatal )?error [A-Z]+[0-9]+ ?: ", // MSVC, tsc
        r"\bpanicked at\b",
        r"\.\.\. ~FAILED\b",
        r"\bFAILED \(",
        r"\bundefined reference to\b",
        r"\bunresolved external symbol\b",
        r"\bAssertionError\b",
        r"\b[Aa]ssertion [^\n]{0,200}\bfailed\b",
        r"\bSegmentation fault\b",
        r"\(core dumped\)",
        r": (?:command )?not found$",
        r"\bNo rule to make target\b",
    ];
    let pattern = format!("(?m-u)(?:^~(?:{})|{})", starts.join("|"), anywhere.join("|")).replace('~', SGR);
    Regex::new(&pattern).expect("the patterns are right")
});

impl LogStore {
    /// Gives the lines that look like errors. Of a log that has grown only the new part is looked through.
    pub fn errors(&self, address: LogAddress) -> Result<Marks, ReadError> {
        self.reading(address, |log| {
            let ends = log.ends();
            let mut scan = lock(&log.scan);
            let mut looked_through = 0;
            while scan.marks.len() < MARKS_MAX && looked_through < SCAN_BYTES_MAX {
                let Some(block) = scan.blocks.next(log, &ends)? else { break };
                looked_through += block.text.len() as u64;
                for (line, text) in matching_lines(&block, &ERROR) {
                    // An unfinished line is met again when it has grown.
                    let met_before = scan.marks.last().is_some_and(|mark| mark.line >= line);
                    if scan.marks.len() < MARKS_MAX && !met_before {
                        scan.marks.push(Mark { line, text: text[..text.len().min(EXCERPT_BYTES_MAX)].to_vec() });
                    }
                }
            }
            Ok(Marks { marks: scan.marks.clone(), complete: scan.blocks.frame >= ends.frames })
        })
    }

    /// Gives the lines round the first error, or the log's last lines.
    pub fn excerpt(&self, address: LogAddress) -> Result<Excerpt, ReadError> {
        let error = self.errors(address)?.marks.first().map(|mark| mark.line);
        let lines = match error {
            Some(line) => {
                let from = line.saturating_sub(EXCERPT_LINES_BEFORE).max(1);
                self.lines(address, from, line - from + EXCERPT_LINES_FROM)?
            }
            None => self.tail(address, EXCERPT_LINES_BEFORE + EXCERPT_LINES_FROM)?,
        };
        Ok(Excerpt { error, lines: lines.lines })
    }
}
