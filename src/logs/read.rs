//! Reading logs: lines, bytes and search at any place, in time and memory that do not depend on the log's length.
//!
//! Lines are numbered from 1, as people say them, and are what lies between two line feeds.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_model::protocol::LogAddress;
use regex::bytes::{Regex, RegexBuilder};

use super::index::{Ends, Record, count_newlines};
use super::store::{LogStore, OpenLog, ReadError};

/// Bytes of a line that are given; of the rest only the number is.
pub const LINE_BYTES_MAX: usize = 4 * 1024;
/// Lines that are given at once.
pub const LINES_MAX: u64 = 1000;
/// Bytes that are given at once.
pub const BYTES_MAX: u64 = 1024 * 1024;
/// Bytes that one search looks through before it answers; it says where to go on.
pub const SEARCH_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes that one search looks through however long it takes, so that each call comes forward.
const SEARCH_BYTES_MIN: u64 = 1024 * 1024;
/// How long one search looks before it answers; it says where to go on.
pub const SEARCH_TIME_MAX: Duration = Duration::from_millis(250);
/// Hits that one search gives.
pub const HITS_MAX: usize = 500;
/// Bytes of an unfinished line that a search keeps while it waits for the line's end.
const CARRY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the text beside a hit or a mark.
pub(super) const EXCERPT_BYTES_MAX: usize = 300;

/// How long a log is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogInfo {
    /// Bytes, uncompressed.
    pub bytes: u64,
    /// Lines, an unfinished last one included.
    pub lines: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Its text without the line feed, as printed: any bytes, at most [`LINE_BYTES_MAX`].
    pub text: Vec<u8>,
    /// How many bytes of it are left out.
    pub cut: u64,
}

/// Some lines in a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lines {
    /// They; empty when the log ends before.
    pub lines: Vec<Line>,
    /// How long the log was when they were read.
    pub info: LogInfo,
}

/// A line that has what was searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Its number, from 1.
    pub line: u64,
    /// Its beginning.
    pub text: Vec<u8>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchResult {
    /// Lines, in order.
    pub hits: Vec<Hit>,
    /// The line to go on from, if the log was not looked through to its end.
    pub next: Option<u64>,
}

impl LogStore {
    /// Says how long a log is; `None` if nothing was ever written to it.
    pub fn length(&self, address: LogAddress) -> Result<Option<LogInfo>, ReadError> {
        Ok(self.find(address)?.map(|log| info(&log.ends())))
    }

    /// Gives `count` lines (at most [`LINES_MAX`]) from line `from` on; fewer where the log ends.
    pub fn lines(&self, address: LogAddress, from: u64, count: u64) -> Result<Lines, ReadError> {
        self.reading(address, |log| read_lines(log, from.max(1), count.min(LINES_MAX)))
    }

    /// Gives the last `count` lines (at most [`LINES_MAX`]).
    pub fn tail(&self, address: LogAddress, count: u64) -> Result<Lines, ReadError> {
        self.reading(address, |log| {
            let lines = log.ends().lines_shown();
            read_lines(log, lines.saturating_sub(count.min(LINES_MAX)) + 1, count.min(LINES_MAX))
        })
    }

    /// Gives the bytes from `offset` on, at most `count` and at most [`BYTES_MAX`]; empty at the log's end.
    pub fn bytes(&self, address: LogAddress, offset: u64, count: u64) -> Result<Vec<u8>, ReadError> {
        self.reading(address, |log| read_bytes(log, offset, count.min(BYTES_MAX)))
    }

    /// Looks for `needle` as it is (ASCII letters in either case) from line `from` on.
    ///
    /// Looks through [`SEARCH_BYTES_MAX`] and for [`SEARCH_TIME_MAX`] at the most, and into the first 64 KiB of each line.
    pub fn search(
        &self,
        address: LogAddress,
        needle: &str,
        from: u64,
        limit: usize,
    ) -> Result<SearchResult, ReadError> {
        let pattern = RegexBuilder::new(&regex::escape(needle)).case_insensitive(true).unicode(false).build();
        // A needle that is too long to compile is too long to be found.
        let Ok(pattern) = pattern else { return Ok(SearchResult::default()) };
        self.reading(address, |log| search(log, &pattern, from.max(1), limit.min(HITS_MAX)))
    }

    /// Runs `read` on a log, with its path put to any error; gives nothing for a log that does not exist.
    pub(super) fn reading<T: Default>(
        &self,
        address: LogAddress,
        read: impl FnOnce(&Arc<OpenLog>) -> io::Result<T>,
    ) -> Result<T, ReadError> {
        let Some(log) = self.find(address)? else { return Ok(T::default()) };
        read(&log).map_err(|source| ReadError { path: self.path(address, "log"), source })
    }
}

fn info(ends: &Ends) -> LogInfo {
    LogInfo { bytes: ends.raw, lines: ends.lines_shown() }
}

/// Finds the frame in which line `number` begins, and how many lines end in that frame before it does.
fn start_of_line(log: &OpenLog, ends: &Ends, number: u64) -> io::Result<Option<(u64, Record, u64)>> {
    if number > ends.lines_shown() {
        return Ok(None);
    }
    let ended_before = number - 1;
    // The line feed that ends the line before is in the last frame that begins with fewer lines ended.
    let found = if ended_before == 0 {
        Some((0, log.files.record(0)?))
    } else {
        log.files.last_frame_where(ends.frames, |record| record.lines < ended_before)?
    };
    Ok(found.map(|(frame, record)| (frame, record, ended_before - record.lines)))
}

fn read_lines(log: &OpenLog, from: u64, count: u64) -> io::Result<Lines> {
    let ends = log.ends();
    let mut result = Lines { lines: Vec::new(), info: info(&ends) };
    let Some((mut frame, mut record, skip)) = start_of_line(log, &ends, from)? else { return Ok(result) };
    let mut text = log.files.text(&record)?;
    let mut at = nth_newline(&text, skip);
    let mut line = Line { number: from, text: Vec::new(), cut: 0 };
    while (result.lines.len() as u64) < count {
        let rest = &text[at..];
        if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
            line.take(&rest[..length]);
            at += length + 1;
            let next = Line { number: line.number + 1, text: Vec::new(), cut: 0 };
            result.lines.push(std::mem::replace(&mut line, next));
            continue;
        }
        line.take(rest);
        frame += 1;
        if frame >= ends.frames {
            if line.number <= ends.lines_shown() {
                result.lines.push(line);
            }
            break;
        }
        let here = record.raw + u64::from(record.raw_bytes);
        if line.cut > 0 {
            // The middle of an endless line is stepped over, not read.
            frame = frame.max(frame_of_line_end(log, &ends, line.number)?);
        }
        record = log.files.record(frame)?;
        line.cut += record.raw - here;
        text = log.files.text(&record)?;
        at = 0;
    }
    Ok(result)
}

/// Finds the frame in which line `number` ends; the last one if it does not.
fn frame_of_line_end(log: &OpenLog, ends: &Ends, number: u64) -> io::Result<u64> {
    let found = log.files.last_frame_where(ends.frames, |record| record.lines < number)?;
    Ok(found.map_or(0, |(frame, _)| frame))
}

/// Gives the place behind the `count`-th line feed.
fn nth_newline(text: &[u8], count: u64) -> usize {
    let mut at = 0;
    for _ in 0..count {
        at += text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len() - at, |place| place + 1);
    }
    at
}

impl Line {
    fn take(&mut self, more: &[u8]) {
        let room = LINE_BYTES_MAX - self.text.len();
        self.text.extend_from_slice(&more[..more.len().min(room)]);
        self.cut += more.len().saturating_sub(room) as u64;
    }
}

fn read_bytes(log: &OpenLog, offset: u64, count: u64) -> io::Result<Vec<u8>> {
    let ends = log.ends();
    let end = offset.saturating_add(count).min(ends.raw);
    let mut bytes = Vec::new();
    let Some((mut frame, mut record)) = log.files.last_frame_where(ends.frames, |record| record.raw <= offset)? else {
        return Ok(bytes);
    };
    let mut at = offset;
    while at < end {
        let text = log.files.text(&record)?;
        let within = usize::try_from(at - record.raw).expect("the place lies in this frame");
        let until = usize::try_from(end - record.raw).unwrap_or(usize::MAX).min(text.len());
        bytes.extend_from_slice(&text[within..until]);
        at += (until - within) as u64;
        frame += 1;
        if at < end {
            record = log.files.record(frame)?;
        }
    }
    Ok(bytes)
}

fn search(log: &OpenLog, pattern: &Regex, from: u64, limit: usize) -> io::Result<SearchResult> {
    let ends = log.ends();
    let mut result = SearchResult::default();
    let Some((frame, record, _)) = start_of_line(log, &ends, from)? else { return Ok(result) };
    // The line in which the frame begins may have begun before it; its number is known all the same.
    let mut blocks = Blocks { frame, line: record.lines + 1, carry: Vec::new() };
    let (mut looked_through, begun) = (0, Instant::now());
    while let Some(block) = blocks.next(log, &ends)? {
        looked_through += block.text.len() as u64;
        for (line, text) in matching_lines(&block, pattern) {
            if line < from {
                continue;
            }
            if result.hits.len() == limit {
                result.next = Some(line);
                return Ok(result);
            }
            result.hits.push(Hit { line, text: text[..text.len().min(EXCERPT_BYTES_MAX)].to_vec() });
        }
        let late = looked_through > SEARCH_BYTES_MIN && begun.elapsed() > SEARCH_TIME_MAX;
        if late || looked_through > SEARCH_BYTES_MAX {
            result.next = Some(blocks.line).filter(|line| *line <= ends.lines_shown());
            return Ok(result);
        }
    }
    Ok(result)
}

/// Whole lines that belong together, and the number of the first.
pub(super) struct Block {
    pub(super) line: u64,
    pub(super) text: Vec<u8>,
}

/// Cuts a log into blocks of whole lines, from a frame on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocks {
    /// The next frame.
    pub(super) frame: u64,
    /// The number of the line that the carry belongs to.
    pub(super) line: u64,
    /// The beginning of a line whose end has not been read.
    pub(super) carry: Vec<u8>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { frame: 0, line: 1, carry: Vec::new() }
    }
}

impl Blocks {
    /// Gives the next block; at the log's end the unfinished line, which stays in the carry.
    pub(super) fn next(&mut self, log: &OpenLog, ends: &Ends) -> io::Result<Option<Block>> {
        while self.frame < ends.frames {
            let record = log.files.record(self.frame)?;
            let text = log.files.text(&record)?;
            self.frame += 1;
            let line = self.line;
            let mut block = Vec::new();
            let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
            if end > 0 {
                block = std::mem::take(&mut self.carry);
                block.extend_from_slice(&text[..end]);
                self.line += count_newlines(&text);
            }
            self.keep(&text[end..]);
            if self.frame == ends.frames {
                block.extend_from_slice(&self.carry);
            }
            if !block.is_empty() {
                return Ok(Some(Block { line, text: block }));
            }
        }
        Ok(None)
    }

    fn keep(&mut self, text: &[u8]) {
        let room = CARRY_BYTES_MAX.saturating_sub(self.carry.len());
        self.carry.extend_from_slice(&text[..text.len().min(room)]);
    }
}

/// Gives the lines of a block in which `pattern` is found, each once.
pub(super) fn matching_lines<'a>(block: &'a Block, pattern: &Regex) -> Vec<(u64, &'a [u8])> {
    let text = &block.text;
    let (mut lines, mut at, mut number) = (Vec::new(), 0, block.line);
    while let Some(found) = pattern.find_at(text, at) {
        let start = text[..found.start()].iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        let length = text[start..].iter().position(|byte| *byte == b'\n').unwrap_or(text.len() - start);
        number += count_newlines(&text[at..start]);
        lines.push((number, &text[start..start + length]));
        at = start + length + 1;
        number += 1;
        if at > text.len() {
            break;
        }
    }
    lines
}
