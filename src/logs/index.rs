//! One record per stored frame, and how a log is put right after a crash.
//!
//! A record is 32 bytes, little-endian: where the frame begins in the uncompressed log, where it begins in the `.log`
//! file, how many lines have ended before it (8 bytes each), and its two lengths (4 bytes each). A frame is part of the
//! log once its record is whole. Nothing is synced to disk before the log is sealed, so after a power cut any tail of
//! either file may be missing or wrong: [`recover`] keeps the longest prefix that holds together and cuts off the rest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use gristmill_model::protocol::limit::FRAME_BYTES_MAX;

/// Bytes of one record.
pub(super) const RECORD_BYTES: u64 = 32;
/// Bytes that one stored frame may have: a frame that does not compress is hardly longer than what it holds.
pub(super) const STORED_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Records read at once when an index is checked.
const RECORDS_AT_ONCE: u64 = 2048;

/// Where one frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it begins in the uncompressed log.
    pub(super) raw: u64,
    /// Where it begins in the `.log` file.
    pub(super) stored: u64,
    /// Lines that have ended before it.
    pub(super) lines: u64,
    /// Its bytes uncompressed.
    pub(super) raw_bytes: u32,
    /// Its bytes in the file.
    pub(super) stored_bytes: u32,
}

/// Where a log ends: everything that is visible lies before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ends {
    /// Whole frames.
    pub(super) frames: u64,
    /// Bytes uncompressed.
    pub(super) raw: u64,
    /// Bytes in the `.log` file.
    pub(super) stored: u64,
    /// Lines that have ended.
    pub(super) lines: u64,
    /// Whether the last byte ends a line.
    pub(super) at_line_start: bool,
}

impl Ends {
    /// The end of an empty log.
    pub(super) const EMPTY: Self = Self { frames: 0, raw: 0, stored: 0, lines: 0, at_line_start: true };

    /// Gives the record of a frame that begins here.
    pub(super) fn record(&self, raw_bytes: u32, stored_bytes: u32) -> Record {
        Record { raw: self.raw, stored: self.stored, lines: self.lines, raw_bytes, stored_bytes }
    }

    /// Gives the end after a frame with this text.
    pub(super) fn after(&self, text: &[u8], stored_bytes: usize) -> Self {
        Self {
            frames: self.frames + 1,
            raw: self.raw + text.len() as u64,
            stored: self.stored + stored_bytes as u64,
            lines: self.lines + count_newlines(text),
            at_line_start: text.last().map_or(self.at_line_start, |byte| *byte == b'\n'),
        }
    }

    /// Counts lines, the unfinished last one included.
    pub(super) fn lines_shown(&self) -> u64 {
        self.lines + u64::from(!self.at_line_start)
    }
}

/// The two files of a log.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) log: File,
    pub(super) index: File,
}

impl Record {
    /// Writes it.
    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES as usize] {
        let mut bytes = [0; RECORD_BYTES as usize];
        bytes[0..8].copy_from_slice(&self.raw.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.stored.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lines.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes
    }

    /// Reads it; `bytes` has [`RECORD_BYTES`].
    fn from_bytes(bytes: &[u8]) -> Self {
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"));
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"));
        Self { raw: long(0), stored: long(8), lines: long(16), raw_bytes: short(24), stored_bytes: short(28) }
    }

    /// Says whether it can be the one after `before`.
    fn follows(&self, before: Option<&Self>) -> bool {
        let sound = self.raw_bytes > 0
            && self.raw_bytes as usize <= FRAME_BYTES_MAX
            && self.stored_bytes > 0
            && self.stored_bytes as usize <= STORED_BYTES_MAX;
        let in_place = match before {
            None => self.raw == 0 && self.stored == 0 && self.lines == 0,
            Some(before) => {
                self.raw == before.raw + u64::from(before.raw_bytes)
                    && self.stored == before.stored + u64::from(before.stored_bytes)
                    && self.lines >= before.lines
                    && self.lines - before.lines <= u64::from(before.raw_bytes)
            }
        };
        sound && in_place
    }
}

impl Files {
    /// Reads the record of frame `number`, from 0.
    pub(super) fn record(&self, number: u64) -> io::Result<Record> {
        let mut bytes = [0; RECORD_BYTES as usize];
        self.index.read_exact_at(&mut bytes, number * RECORD_BYTES)?;
        Ok(Record::from_bytes(&bytes))
    }

    /// Reads and unpacks a frame.
    pub(super) fn text(&self, record: &Record) -> io::Result<Vec<u8>> {
        let mut stored = vec![0; (record.stored_bytes as usize).min(STORED_BYTES_MAX)];
        self.log.read_exact_at(&mut stored, record.stored)?;
        unpack(&stored, record.raw_bytes as usize)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a stored frame does not unpack to its length"))
    }

    /// Finds the last frame for which `before` holds; it must hold for a prefix of the frames. `None` if for none.
    pub(super) fn last_frame_where(
        &self,
        frames: u64,
        before: impl Fn(&Record) -> bool,
    ) -> io::Result<Option<(u64, Record)>> {
        let (mut low, mut high, mut found) = (0, frames, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let record = self.record(middle)?;
            if before(&record) {
                found = Some((middle, record));
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }
}

/// Unpacks one zstd frame that must have exactly `length` bytes inside and nothing behind; `None` if it lies.
pub(super) fn unpack(frame: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > FRAME_BYTES_MAX || frame.len() > STORED_BYTES_MAX {
        return None;
    }
    if zstd::zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
        return None;
    }
    let text = zstd::bulk::decompress(frame, length).ok()?;
    (text.len() == length).then_some(text)
}

/// Counts the lines that end in `text`.
pub(super) fn count_newlines(text: &[u8]) -> u64 {
    text.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Puts the two files right and says where the log ends.
///
/// Keeps the records that hold together, drops those whose frame cannot be read, takes up whole frames that have no
/// record yet, and cuts both files there.
pub(super) fn recover(files: &Files) -> io::Result<Ends> {
    let log_bytes = files.log.metadata()?.len();
    let mut ends = trusted_end(files, log_bytes)?;
    while let Some((stored_bytes, text)) = frame_at(files, ends.stored, log_bytes)? {
        let record = ends.record(u32::try_from(text.len()).unwrap_or(u32::MAX), stored_bytes);
        files.index.write_all_at(&record.to_bytes(), ends.frames * RECORD_BYTES)?;
        ends = ends.after(&text, stored_bytes as usize);
    }
    if log_bytes != ends.stored {
        files.log.set_len(ends.stored)?;
    }
    if files.index.metadata()?.len() != ends.frames * RECORD_BYTES {
        files.index.set_len(ends.frames * RECORD_BYTES)?;
    }
    Ok(ends)
}

/// Finds the end of the records that hold together and whose last frame is there.
fn trusted_end(files: &Files, log_bytes: u64) -> io::Result<Ends> {
    let mut frames = sound_records(files, log_bytes)?;
    while frames > 0 {
        let record = files.record(frames - 1)?;
        match files.text(&record) {
            Ok(text) => {
                let start = Ends {
                    frames: frames - 1,
                    raw: record.raw,
                    stored: record.stored,
                    lines: record.lines,
                    ..Ends::EMPTY
                };
                return Ok(start.after(&text, record.stored_bytes as usize));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => frames -= 1,
            Err(error) => return Err(error),
        }
    }
    Ok(Ends::EMPTY)
}

/// Counts the records, from the first on, that follow each other and lie within the log.
pub(super) fn sound_records(files: &Files, log_bytes: u64) -> io::Result<u64> {
    let total = files.index.metadata()?.len() / RECORD_BYTES;
    let (mut sound, mut before) = (0, None);
    while sound < total {
        let count = (total - sound).min(RECORDS_AT_ONCE);
        let mut bytes = vec![0; usize::try_from(count * RECORD_BYTES).expect("a block of records fits")];
        files.index.read_exact_at(&mut bytes, sound * RECORD_BYTES)?;
        for chunk in bytes.chunks_exact(RECORD_BYTES as usize) {
            let record = Record::from_bytes(chunk);
            // A torn record may say anything.
            let within = record.stored.saturating_add(u64::from(record.stored_bytes)) <= log_bytes;
            if !within || !record.follows(before.as_ref()) {
                return Ok(sound);
            }
            before = Some(record);
            sound += 1;
        }
    }
    Ok(sound)
}

/// Reads the whole frame that begins at `stored`, if one does.
fn frame_at(files: &Files, stored: u64, log_bytes: u64) -> io::Result<Option<(u32, Vec<u8>)>> {
    let there = usize::try_from(log_bytes.saturating_sub(stored)).unwrap_or(usize::MAX).min(STORED_BYTES_MAX);
    let mut bytes = vec![0; there];
    files.log.read_exact_at(&mut bytes, stored)?;
    let Ok(frame_bytes) = zstd::zstd_safe::find_frame_compressed_size(&bytes) else { return Ok(None) };
    if frame_bytes == 0 || frame_bytes > there {
        return Ok(None);
    }
    // The frame's own header says how long it is; the bound holds whatever it says.
    let Ok(text) = zstd::bulk::decompress(&bytes[..frame_bytes], FRAME_BYTES_MAX) else { return Ok(None) };
    let sound = !text.is_empty();
    Ok(sound.then_some((u32::try_from(frame_bytes).unwrap_or(u32::MAX), text)))
}
