//! Logs as workers send them and as a crash leaves them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill::logs::{AppendError, LogStore};
use gristmill_model::BuildId;
use gristmill_model::protocol::limit::FRAME_BYTES_MAX;
use gristmill_model::protocol::{LogAddress, LogAppend};

use super::blind_seeds;
use crate::Target;
use crate::source::Source;

const LOG: LogAddress = LogAddress { build: BuildId(1), epoch: 1, step: 0, log: 0 };

pub(super) const APPEND: Target = Target {
    seeds: blind_seeds,
    words: &["\n", "error: ", "\r", "\x28\u{b5}/\u{fd}"],
    short: 300,
    millis_max: 300,
    ..Target::new(
        "log-append",
        "after any sequence of right, repeated, misplaced and lying pieces the log is just what was accepted, byte by byte, line by line and \
         in a search; a piece that is refused leaves nothing; opening again changes nothing",
        run_append,
    )
};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // Memory is faster than a disk, where there is such a folder.
        let base = ["/dev/shm", "/tmp"].into_iter().map(PathBuf::from).find(|folder| folder.is_dir()).unwrap();
        let name = format!("gristmill-fuzz-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = base.join(name);
        std::fs::create_dir_all(path.join("0/1")).unwrap();
        Self(path)
    }

    fn file(&self, end: &str) -> PathBuf {
        self.0.join("0/1").join(format!("1-0.{end}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn run_append(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let folder = Folder::new();
    let mut store = LogStore::new(&folder.0);
    let mut whole: Vec<u8> = Vec::new();
    for _ in 0..24 {
        if source.is_empty() {
            break;
        }
        if source.once_in(10) {
            store = LogStore::new(&folder.0);
        }
        if source.once_in(20) {
            store.seal(LOG).unwrap();
        }
        append(&mut source, &store, &mut whole);
        assert_eq!(length(&store), whole.len() as u64);
    }
    check_log(&store, &whole, &mut source);
    check_log(&LogStore::new(&folder.0), &whole, &mut source);
}

fn length(store: &LogStore) -> u64 {
    store.length(LOG).unwrap().map_or(0, |info| info.bytes)
}

fn append(source: &mut Source<'_>, store: &LogStore, whole: &mut Vec<u8>) {
    let end = whole.len() as u64;
    let text = match source.below(8) {
        0 => source.piece().repeat(200),
        1 => source.text().into_bytes(),
        _ => source.piece().to_vec(),
    };
    let text = &text[..text.len().min(FRAME_BYTES_MAX)];
    let length = u32::try_from(text.len()).unwrap();
    let mut piece = LogAppend { log: LOG, offset: end, length, frame: zstd::bulk::compress(text, 1).unwrap() };
    match source.below(12) {
        0 => piece.offset = source.number().unsigned_abs(),
        1 => piece.length = u32::try_from(source.number() & 0xffff_ffff).unwrap(),
        2 => piece.frame = source.piece().to_vec(),
        3 => piece.frame.extend_from_slice(source.piece()),
        4 => piece.frame.truncate(source.below(256)),
        5 => piece.frame = [piece.frame.clone(), piece.frame].concat(),
        6 => {
            let at = source.below(piece.frame.len().max(1));
            if let Some(byte) = piece.frame.get_mut(at) {
                *byte ^= source.byte();
            }
        }
        7 => {
            // What is there already is said again.
            piece.offset = 0;
            piece.length = u32::try_from(end.min(1 << 16)).unwrap();
        }
        _ => {}
    }
    match store.append(&piece) {
        Ok(now) if now == end => {
            let is_there = piece.offset.saturating_add(u64::from(piece.length)) <= end;
            assert!(is_there, "a piece was passed over that is not there: {piece:?}");
        }
        Ok(now) => {
            assert_eq!((piece.offset, now), (end, end + u64::from(piece.length)));
            let unpacked = zstd::bulk::decompress(&piece.frame, FRAME_BYTES_MAX).unwrap();
            assert_eq!(unpacked.len(), piece.length as usize);
            whole.extend_from_slice(&unpacked);
        }
        Err(AppendError::Offset { length }) => assert!(length == end && piece.offset != end, "{piece:?} at {end}"),
        Err(AppendError::Differs) => {
            let (from, to) = (usize::try_from(piece.offset).unwrap(), piece.offset + u64::from(piece.length));
            let there = whole.get(from..usize::try_from(to).unwrap());
            let said = zstd::bulk::decompress(&piece.frame, FRAME_BYTES_MAX).unwrap();
            assert!(there.is_some_and(|there| there != said), "{piece:?} at {end}");
        }
        Err(AppendError::Frame { .. } | AppendError::TooLong) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Compares every way of reading with the bytes that were accepted.
fn check_log(store: &LogStore, whole: &[u8], source: &mut Source<'_>) {
    let info = store.length(LOG).unwrap().unwrap_or_default();
    let mut lines: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
    if whole.is_empty() || whole.ends_with(b"\n") {
        lines.pop();
    }
    assert_eq!((info.bytes, info.lines), (whole.len() as u64, lines.len() as u64));
    let offset = source.below(256) * 64;
    let read = store.bytes(LOG, offset as u64, 1 << 20).unwrap();
    assert_eq!(read, whole.get(offset..).unwrap_or_default(), "bytes from {offset}");
    let from = 1 + source.below(64);
    let shown = store.lines(LOG, from as u64, 50).unwrap();
    let wanted: Vec<(u64, &[u8])> = (1..).zip(lines.iter().copied()).skip(from - 1).take(50).collect();
    assert_eq!(shown.lines.len(), wanted.len());
    for (line, (number, text)) in shown.lines.iter().zip(wanted) {
        assert_eq!(line.number, number);
        assert!(
            text.starts_with(&line.text) && line.text.len() as u64 + line.cut == text.len() as u64,
            "line {number}"
        );
    }
    let tail = store.tail(LOG, 3).unwrap();
    assert_eq!(tail.lines.last().map_or(0, |line| line.number), lines.len() as u64);
    let needle = source.text();
    if !needle.is_empty() && !needle.contains('\n') {
        let found = store.search(LOG, &needle, 1, 500).unwrap();
        let has = |line: &[u8]| {
            let line = &line[..line.len().min(64 * 1024)];
            line.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
        };
        let wanted: Vec<u64> = (1..).zip(&lines).filter(|(_, line)| has(line)).map(|(number, _)| number).collect();
        if found.next.is_none() && lines.iter().all(|line| line.len() < 60 * 1024) {
            let found: Vec<u64> = found.hits.iter().map(|hit| hit.line).collect();
            assert_eq!(found, wanted, "{needle:?}");
        }
    }
    store.errors(LOG).unwrap();
    store.excerpt(LOG).unwrap();
}

pub(super) const TORN: Target = Target {
    seeds: torn_seeds,
    words: &["(\u{b5}/\u{fd}", "\0\0\0\0\0\0\0\0", "\u{1}\0\0\0", "\x20\0\0\0\0\0\0\0"],
    short: 500,
    millis_max: 300,
    ..Target::new(
        "log-torn",
        "whatever a crash leaves of the two files, the log opens, what it shows is a prefix of what was accepted where only the tail was \
         torn, and it goes on from there",
        run_torn,
    )
};

/// The two files of a small log, apart.
fn sound_files() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let folder = Folder::new();
    let store = LogStore::new(&folder.0);
    let mut whole = Vec::new();
    for text in ["one\ntwo\n", "thr", "ee\nerror: four\n", "five"] {
        let offset = whole.len() as u64;
        let frame = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
        store.append(&LogAppend { log: LOG, offset, length: u32::try_from(text.len()).unwrap(), frame }).unwrap();
        whole.extend_from_slice(text.as_bytes());
    }
    (std::fs::read(folder.file("log")).unwrap(), std::fs::read(folder.file("idx")).unwrap(), whole)
}

fn torn_seeds() -> Vec<Vec<u8>> {
    let (log, index, _) = sound_files();
    let mut all = vec![2, u8::try_from(log.len()).unwrap()];
    all.extend_from_slice(&log);
    all.extend_from_slice(&index);
    vec![vec![0, 200, 200], vec![0, 3, 200], vec![1, 9, 1, 255], all, vec![2, 0]]
}

fn run_torn(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (mut log, mut index, whole) = sound_files();
    let kind = source.below(3);
    match kind {
        // The tails are torn off.
        0 => {
            log.truncate(source.below(256));
            index.truncate(source.below(256));
        }
        // Bytes are wrong.
        1 => {
            for _ in 0..4 {
                let file = if source.flag() { &mut log } else { &mut index };
                let at = source.below(256) % file.len();
                file[at] ^= source.byte();
            }
        }
        // Anything.
        _ => {
            let length = usize::from(source.byte());
            log = source.bytes(length).to_vec();
            index = source.rest().to_vec();
        }
    }
    let folder = Folder::new();
    std::fs::write(folder.file("log"), &log).unwrap();
    std::fs::write(folder.file("idx"), &index).unwrap();
    let store = LogStore::new(&folder.0);
    let end = length(&store);
    let shown = store.bytes(LOG, 0, 1 << 20);
    store.tail(LOG, 10).unwrap_or_default();
    store.errors(LOG).unwrap_or_default();
    if kind == 0 {
        let shown = shown.unwrap();
        assert_eq!(shown.len() as u64, end);
        assert!(whole.starts_with(&shown), "no prefix: {shown:?}");
    }
    let more = LogAppend { log: LOG, offset: end, length: 5, frame: zstd::bulk::compress(b"more\n", 1).unwrap() };
    assert_eq!(store.append(&more).unwrap(), end + 5, "it does not go on");
    let again = LogStore::new(&folder.0);
    assert_eq!(length(&again), end + 5, "opening again changes it");
    assert_eq!(again.bytes(LOG, end, 10).unwrap(), b"more\n");
}
