//! What the service has not yet acknowledged of one log, and how its answers are read.
//!
//! A window over the build's queue: it holds what is being sent, and knows how the service's log is shifted against it.

use std::collections::VecDeque;

use gristmill_model::protocol::limit::FRAME_BYTES_MAX;
use gristmill_model::protocol::{LogAddress, LogAppend, Refusal};

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on with [`Spool::front`].
    Go,
    /// Say it again later.
    Later {
        /// What the service said.
        why: String,
    },
    /// The lease is gone.
    Fenced,
}

/// The unacknowledged pieces of one log.
#[derive(Debug)]
pub(crate) struct Spool {
    log: LogAddress,
    pending: VecDeque<LogAppend>,
    /// How much further the service's log is than the step's own bytes: what was remarked, less what was lost.
    shift: i64,
}

impl Spool {
    pub(crate) fn new(log: LogAddress) -> Self {
        Self { log, pending: VecDeque::new(), shift: 0 }
    }

    /// Makes one for a log of which something was sent already.
    pub(crate) fn resume(log: LogAddress, shift: i64) -> Self {
        Self { shift, ..Self::new(log) }
    }

    /// Gives how much further the service's log is than what the step printed.
    pub(crate) fn shift(&self) -> i64 {
        self.shift
    }

    /// Gives the byte of what the step printed that a byte of the service's log is.
    pub(crate) fn own_offset(&self, offset: u64) -> u64 {
        offset.saturating_add_signed(-self.shift)
    }

    /// Passes over the first piece: the service has more than that.
    pub(crate) fn drop_front(&mut self) {
        self.pending.pop_front();
    }

    /// Takes a piece, which begins at `offset` of what the step printed.
    pub(crate) fn push(&mut self, offset: u64, length: u32, frame: Vec<u8>) {
        let offset = offset.saturating_add_signed(self.shift);
        self.pending.push_back(LogAppend { log: self.log, offset, length, frame });
    }

    /// Gives what is to be sent next.
    pub(crate) fn front(&self) -> Option<&LogAppend> {
        self.pending.front()
    }

    /// Reads the service's answer to [`Spool::front`].
    pub(crate) fn answered(&mut self, answer: Result<u64, Refusal>) -> Next {
        let length = match answer {
            Ok(length) | Err(Refusal::Offset { length }) => length,
            Err(Refusal::Unavailable { why } | Refusal::Rejected { why }) => return Next::Later { why },
            Err(Refusal::Fenced { .. }) => return Next::Fenced,
        };
        let Some(front) = self.pending.front() else { return Next::Go };
        let end = front.offset + u64::from(front.length);
        if length == end {
            self.pending.pop_front();
        } else if length > end {
            // The service has bytes that were never sent. Guessing which would only make it worse.
            tracing::error!(log = ?self.log, length, end, "the service's log is longer than what was sent; giving it up");
            return Next::Fenced;
        } else if length > front.offset {
            self.skip(length - front.offset);
        } else if length < front.offset {
            self.close_gap(length);
        } else {
            return Next::Later { why: "nothing was taken".to_owned() };
        }
        Next::Go
    }

    /// Drops the first `count` bytes of the first piece, which the service has already.
    fn skip(&mut self, count: u64) {
        let Some(front) = self.pending.front_mut() else { return };
        let bytes = decompress(&front.frame);
        let count_here = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
        front.offset += count;
        front.length -= u32::try_from(count).unwrap_or(front.length);
        front.frame = compress(&bytes[count_here..]);
    }

    /// Goes on where the service's log ends, after a remark on what it has lost.
    fn close_gap(&mut self, length: u64) {
        let Some(front) = self.pending.front() else { return };
        let lost = front.offset - length;
        let remark = format!("\ngristmill: {lost} bytes are missing here: the service lost them\n");
        let remark_length = remark.len() as u64;
        let shift = i64::try_from(remark_length).unwrap_or(0) - i64::try_from(lost).unwrap_or(0);
        self.shift += shift;
        for piece in &mut self.pending {
            piece.offset = piece.offset.saturating_add_signed(shift);
        }
        self.pending.push_front(LogAppend {
            log: self.log,
            offset: length,
            length: u32::try_from(remark_length).expect("a remark is short"),
            frame: compress(remark.as_bytes()),
        });
    }
}

/// Compresses a few bytes of our own.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("the target grows as needed")
}

fn decompress(frame: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(frame, FRAME_BYTES_MAX).expect("we made the frame")
}

#[cfg(test)]
mod tests {
    use gristmill_model::BuildId;

    use super::*;

    fn spool(pieces: &[&str]) -> Spool {
        let mut spool = Spool::new(LogAddress::output(BuildId(1), 1, 0));
        let mut offset = 0;
        for piece in pieces {
            spool.push(offset, u32::try_from(piece.len()).unwrap(), compress(piece.as_bytes()));
            offset += piece.len() as u64;
        }
        spool
    }

    /// Shows what is left to send.
    fn left(spool: &Spool) -> Vec<(u64, String)> {
        let text = |piece: &LogAppend| String::from_utf8(decompress(&piece.frame)).unwrap();
        spool.pending.iter().map(|piece| (piece.offset, text(piece))).collect()
    }

    #[test]
    fn a_piece_is_kept_until_it_is_acknowledged() {
        let mut spool = spool(&["abc", "def"]);
        let why = "busy".to_owned();
        assert_eq!(spool.answered(Err(Refusal::Unavailable { why: why.clone() })), Next::Later { why });
        assert_eq!(left(&spool).len(), 2);
        assert_eq!(spool.answered(Ok(3)), Next::Go);
        assert_eq!(left(&spool), [(3, "def".to_owned())]);
    }

    #[test]
    fn what_the_service_has_already_is_not_sent_again() {
        let mut spool = spool(&["abc", "def"]);
        assert_eq!(spool.answered(Err(Refusal::Offset { length: 2 })), Next::Go);
        assert_eq!(left(&spool), [(2, "c".to_owned()), (3, "def".to_owned())]);
        assert_eq!(spool.answered(Err(Refusal::Offset { length: 3 })), Next::Go);
        assert_eq!(left(&spool), [(3, "def".to_owned())]);
    }

    #[test]
    fn bytes_that_the_service_lost_are_named_and_the_log_goes_on() {
        let mut spool = spool(&["abc", "def"]);
        spool.answered(Ok(3));
        assert_eq!(spool.answered(Err(Refusal::Offset { length: 1 })), Next::Go);
        let remark = "\ngristmill: 2 bytes are missing here: the service lost them\n";
        let after = 1 + remark.len() as u64;
        assert_eq!(left(&spool), [(1, remark.to_owned()), (after, "def".to_owned())]);
        spool.answered(Ok(after));
        spool.answered(Ok(after + 3));
        spool.push(6, 3, compress(b"ghi"));
        assert_eq!(left(&spool), [(after + 3, "ghi".to_owned())]);
    }

    #[test]
    fn a_log_that_is_longer_than_what_was_sent_is_given_up() {
        assert_eq!(spool(&["abc"]).answered(Ok(4)), Next::Fenced);
    }
}
