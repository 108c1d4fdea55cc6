//! Cuts what a step prints into compressed pieces.
//!
//! Bounded memory: a buffer of little more than one piece, the kept tail of a log that is too long, and what the build's
//! uplink holds. When the uplink is full the writer is full, the pipe is not read, and the step waits in its `write`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use gristmill_model::protocol::limit::FRAME_BYTES_MAX;
use tokio::time::Instant;

use crate::spool::{Outbox, Piece};
use crate::steps::lens::Lens;

/// How long a piece that is not full waits for more.
pub(crate) const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// Bytes of its end that are kept of a log that is too long.
const TAIL_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a log that are kept free for our own remarks.
const REMARKS_BYTES: u64 = 4096;

/// The zstd level: the fastest that still takes three quarters off a compiler's output.
const ZSTD_LEVEL: i32 = 1;

/// Writes one step's log.
#[derive(Debug)]
pub struct LogWriter {
    outbox: Outbox,
    step: u32,
    /// Which of the step's logs it is.
    log: u32,
    /// What the bytes go through before they are kept.
    lens: Option<Box<Lens>>,
    /// What comes before the first byte, if ever there is one.
    heading: Option<Vec<u8>>,
    /// What is not yet cut into pieces.
    buffer: Vec<u8>,
    /// Where the buffer begins in the log.
    offset: u64,
    /// When the buffer (or the heading) is sent even though it is not full.
    due_at: Option<Instant>,
    is_at_line_start: bool,
    /// Bytes of output that the log takes before only the tail is kept.
    head_bytes_max: u64,
    tail_bytes_max: usize,
    taken: u64,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl LogWriter {
    /// Begins a log. `heading` is written in front of the first byte, after [`FLUSH_AFTER`], or at a bad end; a step that
    /// is quick and silent has no log at all.
    pub(crate) fn begin(outbox: Outbox, step: u32, bytes_max: u64, heading: &str, now: Instant) -> Self {
        let tail_bytes_max = TAIL_BYTES_MAX.min(bytes_max / 4);
        Self {
            outbox,
            step,
            log: 0,
            lens: None,
            heading: Some(heading.as_bytes().to_vec()),
            buffer: Vec::new(),
            offset: 0,
            due_at: Some(now + FLUSH_AFTER),
            is_at_line_start: true,
            head_bytes_max: bytes_max.saturating_sub(tail_bytes_max + REMARKS_BYTES),
            tail_bytes_max: usize::try_from(tail_bytes_max).unwrap_or(usize::MAX),
            taken: 0,
            tail: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Makes it the log of a file that the step follows.
    pub(crate) fn of(mut self, log: u32) -> Self {
        self.log = log;
        self
    }

    /// Masks and counts what comes from now on.
    pub(crate) fn look_through(&mut self, lens: Lens) {
        self.lens = Some(Box::new(lens)).filter(|lens| !lens.is_idle());
    }

    /// Counts the lines so far that are warnings.
    pub(crate) fn warnings(&mut self) -> u64 {
        self.lens.as_mut().map_or(0, |lens| lens.warnings())
    }

    /// Takes bytes that the step printed. At most one read of the pipe may be pushed while the writer is not full.
    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.lens {
            Some(lens) => {
                let shown = lens.pass(bytes);
                self.push_shown(&shown, now);
            }
            None => self.push_shown(bytes, now),
        }
    }

    fn push_shown(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        self.write_heading();
        let room = usize::try_from(self.head_bytes_max - self.taken).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.taken += head.len() as u64;
        self.append(head);
        self.keep_tail(rest);
        if !self.buffer.is_empty() {
            self.due_at.get_or_insert(now + FLUSH_AFTER);
        }
    }

    /// Writes what might have been the beginning of a secret: nothing follows that would make it one.
    fn write_held(&mut self) {
        if let Some(lens) = &mut self.lens {
            let rest = lens.rest();
            self.push_shown(&rest, Instant::now());
        }
    }

    /// Writes a line of our own, marked as such.
    pub fn remark(&mut self, text: &str) {
        self.write_held();
        self.write_heading();
        let break_before = if self.is_at_line_start { "" } else { "\n" };
        self.append(format!("{break_before}gristmill: {text}\n").as_bytes());
        self.due_at.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
    }

    /// Says whether a whole piece waits: nothing may be pushed until it is sent.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= FRAME_BYTES_MAX
    }

    /// Gives the moment at which what is here is to be sent even though it is little.
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Says whether that moment has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due_at.is_some_and(|due| now >= due)
    }

    /// Sends one piece, as soon as there is room for it. Nothing is lost if this is dropped half-way.
    pub async fn advance(&mut self) {
        self.write_heading();
        let room = self.outbox.room().await;
        let length = self.buffer.len().min(FRAME_BYTES_MAX);
        if length > 0 {
            let bytes: Vec<u8> = self.buffer.drain(..length).collect();
            // Where there is no room the build is fenced or the worker stops: nobody wants the log any more.
            if let Some(room) = room {
                let length = u32::try_from(length).expect("a piece is small");
                room.send_piece(Piece {
                    step: self.step,
                    log: self.log,
                    offset: self.offset,
                    length,
                    frame: compress(&bytes),
                });
            }
            self.offset += length as u64;
        }
        self.due_at = if self.buffer.is_empty() { None } else { Some(Instant::now() + FLUSH_AFTER) };
    }

    /// Ends the log, and hands everything over. `is_silent_success` leaves a log without a byte away.
    pub(crate) async fn finish(&mut self, is_silent_success: bool) {
        self.write_held();
        if !is_silent_success {
            self.write_heading();
        }
        self.write_tail();
        while !self.buffer.is_empty() {
            self.advance().await;
        }
        self.due_at = None;
    }

    fn write_heading(&mut self) {
        if let Some(heading) = self.heading.take() {
            self.append(&heading);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if let Some(last) = bytes.last() {
            self.is_at_line_start = *last == b'\n';
        }
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.tail_bytes_max)..];
        self.dropped += (bytes.len() - kept.len()) as u64;
        let excess = (self.tail.len() + kept.len()).saturating_sub(self.tail_bytes_max);
        self.dropped += excess as u64;
        self.tail.drain(..excess);
        self.tail.extend(kept);
    }

    fn write_tail(&mut self) {
        let mut tail = Vec::from(std::mem::take(&mut self.tail));
        if self.dropped > 0 {
            // The tail begins with a whole line, if it has one.
            if let Some(end_of_line) = tail.iter().position(|byte| *byte == b'\n').filter(|end| end + 1 < tail.len()) {
                self.dropped += end_of_line as u64 + 1;
                tail.drain(..=end_of_line);
            }
            let dropped = self.dropped;
            self.remark(&format!("{dropped} bytes are left out here: the log is longer than it may be"));
            self.dropped = 0;
        }
        self.append(&tail);
    }
}

/// Compresses one piece. The compressor's tables are kept, because most pieces are small.
fn compress(bytes: &[u8]) -> Vec<u8> {
    thread_local! {
        static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> =
            RefCell::new(zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("level 1 exists"));
    }
    COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(bytes).expect("the target grows as needed"))
}
