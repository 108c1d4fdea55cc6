//! What stands in a spool, and how it is written: `length (4) checksum (4) kind (1) content`, little-endian.
//!
//! The checksum is a CRC32 over kind and content. What a power cut left half-written is recognised by it, and everything
//! behind it is cut off: nothing of that was reported, because what is reported is synced first.

use gristmill_model::BuildId;
use gristmill_model::protocol::ReportBody;
use gristmill_model::protocol::limit::REPORTS_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Bytes of a record's kind and content: the largest are reports of tests.
const CONTENT_BYTES_MAX: usize = REPORTS_BYTES_MAX;

/// Bytes in front of the content, with its kind.
pub(super) const HEAD_BYTES: usize = 9;

/// Bytes in front of a piece's frame.
const PIECE_BYTES: usize = 20;

/// Bytes from which a piece's place in its log is known: see [`peek_piece`].
pub(super) const PEEK_BYTES: usize = HEAD_BYTES + PIECE_BYTES;

/// One thing in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// What the spool is about; always the first.
    Begin(Begin),
    /// Reports, numbered from `first`.
    Reports {
        /// The number of the first one.
        first: u64,
        /// What is reported.
        bodies: Vec<ReportBody>,
    },
    /// A piece of a step's log.
    Piece(Piece),
    /// A remark at the end of a step's log, wherever that is.
    Remark {
        /// Which step.
        step: u32,
        /// What is remarked.
        text: String,
    },
}

/// What a spool is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// The build.
    pub(crate) build: BuildId,
    /// The lease's epoch.
    pub(crate) epoch: i64,
    /// The names of its steps.
    pub(crate) steps: Vec<String>,
}

/// A compressed piece of a step's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The step.
    pub(crate) step: u32,
    /// Which of the step's logs.
    pub(crate) log: u32,
    /// Where it begins in what the step printed.
    pub(crate) offset: u64,
    /// How many bytes it has uncompressed.
    pub(crate) length: u32,
    /// One zstd frame.
    pub(crate) frame: Vec<u8>,
}

/// A record that was not written to its end, or not by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Torn;

const BEGIN: u8 = 1;
const REPORTS: u8 = 2;
const PIECE: u8 = 3;
const REMARK: u8 = 4;

/// Puts a record into bytes.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    match record {
        Record::Begin(begin) => {
            bytes.push(BEGIN);
            bytes.extend(serde_json::to_vec(begin).expect("it has only string keys"));
        }
        Record::Reports { first, bodies } => {
            bytes.push(REPORTS);
            bytes.extend(first.to_le_bytes());
            bytes.extend(serde_json::to_vec(bodies).expect("they have only string keys"));
        }
        Record::Piece(piece) => {
            bytes.push(PIECE);
            bytes.extend(piece.step.to_le_bytes());
            bytes.extend(piece.log.to_le_bytes());
            bytes.extend(piece.offset.to_le_bytes());
            bytes.extend(piece.length.to_le_bytes());
            bytes.extend(&piece.frame);
        }
        Record::Remark { step, text } => {
            bytes.push(REMARK);
            bytes.extend(step.to_le_bytes());
            bytes.extend(text.as_bytes());
        }
    }
    let length = u32::try_from(bytes.len() - 8).expect("records are small");
    let checksum = crc32fast::hash(&bytes[8..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Gives how many bytes a record has altogether, from its first four.
pub(super) fn whole_length(head: [u8; 4]) -> Result<usize, Torn> {
    let length = usize::try_from(u32::from_le_bytes(head)).map_err(|_| Torn)?;
    if (1..=CONTENT_BYTES_MAX).contains(&length) { Ok(length + 8) } else { Err(Torn) }
}

/// Gives the log, offset and length of a piece from its first [`PEEK_BYTES`]; `None` if it is something else.
pub(super) fn peek_piece(bytes: &[u8]) -> Option<PieceHead> {
    let content = bytes.get(8..)?;
    let (kind, content) = content.split_first()?;
    (*kind == PIECE).then(|| piece_head(content).map(|(head, _)| head))?
}

/// Step and number of a log.
pub(super) type LogOf = (u32, u32);

type PieceHead = (LogOf, u64, u32);

fn piece_head(content: &[u8]) -> Option<(PieceHead, &[u8])> {
    let (step, rest) = content.split_first_chunk()?;
    let (log, rest) = rest.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let log = (u32::from_le_bytes(*step), u32::from_le_bytes(*log));
    Some(((log, u64::from_le_bytes(*offset), u32::from_le_bytes(*length)), rest))
}

/// Reads one whole record.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, Torn> {
    let (length, rest) = bytes.split_first_chunk().ok_or(Torn)?;
    let (checksum, content) = rest.split_first_chunk().ok_or(Torn)?;
    if whole_length(*length)? != bytes.len() || crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(Torn);
    }
    let (kind, content) = content.split_first().ok_or(Torn)?;
    match *kind {
        BEGIN => serde_json::from_slice(content).map(Record::Begin).map_err(|_| Torn),
        REPORTS => {
            let (first, bodies) = content.split_first_chunk().ok_or(Torn)?;
            let bodies = serde_json::from_slice(bodies).map_err(|_| Torn)?;
            Ok(Record::Reports { first: u64::from_le_bytes(*first), bodies })
        }
        PIECE => {
            let (((step, log), offset, length), frame) = piece_head(content).ok_or(Torn)?;
            Ok(Record::Piece(Piece { step, log, offset, length, frame: frame.to_vec() }))
        }
        REMARK => {
            let (step, text) = content.split_first_chunk().ok_or(Torn)?;
            let text = String::from_utf8(text.to_vec()).map_err(|_| Torn)?;
            Ok(Record::Remark { step: u32::from_le_bytes(*step), text })
        }
        _ => Err(Torn),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> Vec<Record> {
        vec![
            Record::Begin(Begin { build: BuildId(7), epoch: 3, steps: vec!["compile".to_owned()] }),
            Record::Reports { first: 1, bodies: vec![ReportBody::Started, ReportBody::StepStarted { step: 0 }] },
            Record::Piece(Piece { step: 0, log: 3, offset: 1 << 40, length: 5, frame: vec![1, 2, 3] }),
            Record::Remark { step: 0, text: "the worker was restarted".to_owned() },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for record in records() {
            let bytes = encode(&record);
            assert_eq!(whole_length(bytes[..4].try_into().unwrap()), Ok(bytes.len()));
            assert_eq!(decode(&bytes), Ok(record));
        }
        assert_eq!(peek_piece(&encode(&records()[2])[..PEEK_BYTES]), Some(((0, 3), 1 << 40, 5)));
        assert_eq!(peek_piece(&encode(&records()[1])[..PEEK_BYTES]), None);
    }

    proptest! {
        #[test]
        fn a_bit_that_changed_is_noticed(which in 0..4_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = encode(&records()[which]);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(decode(&bytes), Err(Torn));
        }

        #[test]
        fn a_torn_record_is_noticed(which in 0..4_usize, at in any::<prop::sample::Index>()) {
            let bytes = encode(&records()[which]);
            prop_assert_eq!(decode(&bytes[..at.index(bytes.len())]), Err(Torn));
        }
    }
}
