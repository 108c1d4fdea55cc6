//! The log store against plain bytes in memory.

use std::fs::OpenOptions;
use std::io::Write as _;

use gristmill_model::BuildId;
use gristmill_model::protocol::{LogAddress, LogAppend, limit};
use proptest::prelude::*;
use tempfile::TempDir;

use super::read::LINE_BYTES_MAX;
use super::{AppendError, LogStore};

const LOG: LogAddress = LogAddress { build: BuildId(10_427), epoch: 1, step: 0, log: 0 };

fn piece(offset: usize, text: &[u8]) -> LogAppend {
    let frame = zstd::bulk::compress(text, 3).expect("memory compresses");
    LogAppend { log: LOG, offset: offset as u64, length: u32::try_from(text.len()).expect("short"), frame }
}

/// A store in a folder of its own, and what it should hold.
struct Fixture {
    folder: TempDir,
    store: LogStore,
    text: Vec<u8>,
    /// Per frame, where it ends in the log and in the file.
    frames: Vec<(usize, u64)>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = LogStore::new(folder.path());
        Self { folder, store, text: Vec::new(), frames: Vec::new() }
    }

    fn with(text: &[u8], piece_bytes: usize) -> Self {
        let mut fixture = Self::new();
        text.chunks(piece_bytes).for_each(|chunk| fixture.append(chunk));
        fixture
    }

    fn append(&mut self, text: &[u8]) {
        let piece = piece(self.text.len(), text);
        self.text.extend_from_slice(text);
        let stored = self.frames.last().map_or(0, |(_, stored)| *stored) + piece.frame.len() as u64;
        assert_eq!(self.store.append(&piece).expect("it follows"), self.text.len() as u64);
        self.frames.push((self.text.len(), stored));
    }

    fn reopen(&mut self) {
        self.store = LogStore::new(self.folder.path());
    }

    fn cut(&self, kind: &str, bytes: u64) {
        let file = OpenOptions::new().write(true).open(self.store.path(LOG, kind)).expect("it exists");
        let length = file.metadata().expect("readable").len();
        file.set_len(length.saturating_sub(bytes)).expect("it shrinks");
    }

    fn spoil(&self, kind: &str, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(self.store.path(LOG, kind)).expect("it exists");
        file.write_all(bytes).expect("it grows");
    }

    /// Searches the whole log, in as many calls as it takes.
    fn search(&self, needle: &str) -> Vec<u64> {
        let (mut lines, mut from) = (Vec::new(), Some(1));
        while let Some(start) = from {
            let found = self.store.search(LOG, needle, start, 500).expect("readable");
            lines.extend(found.hits.iter().map(|hit| hit.line));
            from = found.next;
        }
        lines
    }

    fn check(&self) {
        let lines: Vec<&[u8]> = self.text.split_inclusive(|byte| *byte == b'\n').collect();
        let info = self.store.length(LOG).expect("readable").unwrap_or_default();
        assert_eq!((info.bytes, info.lines), (self.text.len() as u64, lines.len() as u64));
        for from in [1, lines.len() / 2, lines.len().saturating_sub(1), lines.len(), lines.len() + 1] {
            let got = self.store.lines(LOG, from as u64, 7).expect("readable").lines;
            let want = lines.iter().skip(from.max(1) - 1).take(7);
            assert_eq!(got.len(), want.clone().count(), "from {from} of {}", lines.len());
            for ((line, want), number) in got.iter().zip(want).zip(from.max(1)..) {
                let want = want.strip_suffix(b"\n").unwrap_or(want);
                assert_eq!(line.number, number as u64);
                assert_eq!(line.text, &want[..want.len().min(LINE_BYTES_MAX)]);
                assert_eq!(line.cut, want.len().saturating_sub(LINE_BYTES_MAX) as u64);
            }
        }
        for (offset, count) in [(0, 100), (self.text.len() / 3, 1000), (self.text.len(), 5), (self.text.len() + 9, 5)] {
            let want = self.text.iter().skip(offset).take(count).copied().collect::<Vec<u8>>();
            assert_eq!(self.store.bytes(LOG, offset as u64, count as u64).expect("readable"), want);
        }
        let hits = self.search("ab");
        let want =
            lines.iter().zip(1u64..).filter(|(line, _)| line.to_ascii_lowercase().windows(2).any(|two| two == b"ab"));
        assert_eq!(hits, want.map(|(_, line)| line).collect::<Vec<_>>());
    }
}

#[derive(Debug, Clone)]
enum Act {
    Append(Vec<u8>),
    Repeat(usize),
    Gap(u8),
    Reopen,
    TearLog(u64),
    TearIndex(u64),
    SpoilLog(Vec<u8>),
    ZeroIndex(u8),
}

fn any_act() -> impl Strategy<Value = Act> {
    let text = prop::collection::vec(prop::sample::select(b"abA\n\n\x1b \xff".to_vec()), 1..200);
    let long = (1usize..20_000).prop_map(|length| vec![b'a'; length]);
    prop_oneof![
        8 => text.prop_map(Act::Append),
        1 => long.prop_map(Act::Append),
        2 => any::<usize>().prop_map(Act::Repeat),
        1 => (1u8..).prop_map(Act::Gap),
        2 => Just(Act::Reopen),
        1 => (0u64..80).prop_map(Act::TearLog),
        1 => (0u64..100).prop_map(Act::TearIndex),
        1 => prop::collection::vec(any::<u8>(), 1..50).prop_map(Act::SpoilLog),
        1 => (1u8..100).prop_map(Act::ZeroIndex),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_log_reads_as_the_bytes_that_were_appended_whatever_is_repeated_or_torn(
        acts in prop::collection::vec(any_act(), 1..25),
    ) {
        let mut fixture = Fixture::new();
        for act in acts {
            let is_empty = fixture.frames.is_empty();
            match act {
                Act::Append(text) => fixture.append(&text),
                Act::Repeat(which) if !is_empty => {
                    let which = which % fixture.frames.len();
                    let start = if which == 0 { 0 } else { fixture.frames[which - 1].0 };
                    let again = piece(start, &fixture.text[start..fixture.frames[which].0]);
                    prop_assert_eq!(fixture.store.append(&again).expect("known bytes"), fixture.text.len() as u64);
                }
                Act::Gap(by) => {
                    let refused = fixture.store.append(&piece(fixture.text.len() + usize::from(by), b"x"));
                    let length = fixture.text.len() as u64;
                    let at_end = matches!(refused, Err(AppendError::Offset { length: at }) if at == length);
                    prop_assert!(at_end);
                }
                Act::TearLog(bytes) if !is_empty => {
                    fixture.cut("log", bytes);
                    let left = fixture.frames.last().map_or(0, |(_, stored)| *stored).saturating_sub(bytes);
                    fixture.frames.retain(|(_, stored)| *stored <= left);
                    fixture.text.truncate(fixture.frames.last().map_or(0, |(end, _)| *end));
                    fixture.reopen();
                }
                Act::TearIndex(bytes) if !is_empty => {
                    fixture.cut("idx", bytes);
                    fixture.reopen();
                }
                Act::SpoilLog(bytes) if !is_empty => {
                    fixture.spoil("log", &bytes);
                    fixture.reopen();
                }
                Act::ZeroIndex(count) if !is_empty => {
                    fixture.spoil("idx", &vec![0; usize::from(count)]);
                    fixture.reopen();
                }
                _ => fixture.reopen(),
            }
            fixture.check();
        }
    }

    #[test]
    fn no_frame_that_lies_is_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 1u32..) {
        let fixture = Fixture::new();
        let piece = LogAppend { log: LOG, offset: 0, length, frame: bytes };
        prop_assert!(fixture.store.append(&piece).is_err());
        prop_assert_eq!(fixture.store.length(LOG).expect("readable"), None);
    }
}

#[test]
fn a_frame_must_have_exactly_the_bytes_that_it_says() {
    let fixture = Fixture::new();
    for lie in [9, 11] {
        let piece = LogAppend { length: lie, ..piece(0, b"ten bytes\n") };
        assert!(matches!(fixture.store.append(&piece), Err(AppendError::Frame { length }) if length == lie));
    }
    let bomb = vec![0; limit::FRAME_BYTES_MAX + 1];
    assert!(matches!(fixture.store.append(&piece(0, &bomb)), Err(AppendError::Frame { .. })));
    let mut two = piece(0, b"one\n");
    two.frame.extend(piece(0, b"two\n").frame);
    two.length = 8;
    assert!(matches!(fixture.store.append(&two), Err(AppendError::Frame { .. })));
}

#[test]
fn an_endless_line_is_stepped_over() {
    let mut text = b"first\n".to_vec();
    text.extend(vec![b'x'; 5_000_000]);
    text.extend(b"\nlast\n");
    let fixture = Fixture::with(&text, limit::FRAME_BYTES_MAX);
    let lines = fixture.store.lines(LOG, 1, 9).expect("readable").lines;
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[1].text.len() as u64 + lines[1].cut, lines[1].text.len()), (5_000_000, LINE_BYTES_MAX));
    assert_eq!(lines[2].text, b"last");
}

#[test]
fn the_first_error_is_found_also_in_colour_and_as_the_log_grows() {
    let mut fixture = Fixture::with(b"   Compiling core v0.1.0\nwarning: unused\n", 10);
    assert_eq!(fixture.store.errors(LOG).expect("readable").marks, []);
    assert_eq!(fixture.store.excerpt(LOG).expect("readable").lines.len(), 2);
    fixture.append(b"\x1b[1m\x1b[31merror[E0308]\x1b[0m: mismatched");
    fixture.append(b" types\nsrc/q.c:3:1: error: expected ';'\nrunning 0 errors\n");
    let marks = fixture.store.errors(LOG).expect("readable");
    assert_eq!(marks.marks.iter().map(|mark| mark.line).collect::<Vec<_>>(), [3, 4]);
    let excerpt = fixture.store.excerpt(LOG).expect("readable");
    assert_eq!((excerpt.error, excerpt.lines.len(), excerpt.lines[0].number), (Some(3), 5, 1));
}

#[test]
fn what_people_see_when_something_is_wrong_is_recognised() {
    for line in [
        "thread 'queue::bounded' panicked at src/queue.rs:88:9:",
        "test queue::bounded ... FAILED",
        "main.obj : error LNK2019: unresolved external symbol q_push",
        "make: *** [Makefile:3: check] Error 2",
        "Traceback (most recent call last):",
        "E   assert 3 == 4",
        "--- FAIL: TestQueue (0.00s)",
        "src/q.ts(3,1): error TS2322: Type 'a' is not assignable",
        "sh: 1: cargoo: not found",
        "a.out: q.c:3: main: Assertion `left == right' failed.",
        "not ok 3 - queue is bounded",
        "error: could not compile `core`",
        "\x1b[01m\x1b[Kq.c:3:1:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kexpected ';'",
        "q.c:88:9: \x1b[1;31merror:\x1b[0m expected ';'",
    ] {
        let fixture = Fixture::with(format!("fine\n{line}\n").as_bytes(), 4000);
        assert_eq!(fixture.store.errors(LOG).expect("readable").marks.len(), 1, "{line}");
    }
    for line in ["0 errors, 0 failures", "compiling error.rs", "checking for errno... yes", "test result: ok. 0 failed"]
    {
        let fixture = Fixture::with(format!("{line}\n").as_bytes(), 4000);
        assert_eq!(fixture.store.errors(LOG).expect("readable").marks, [], "{line}");
    }
}

#[test]
fn a_search_that_has_enough_says_where_to_go_on() {
    let text: String = (1..=300).map(|line| format!("line {line} Needle\n")).collect();
    let fixture = Fixture::with(text.as_bytes(), 1000);
    let first = fixture.store.search(LOG, "needle", 1, 100).expect("readable");
    assert_eq!((first.hits.len(), first.next), (100, Some(101)));
    let rest = fixture.store.search(LOG, "needle", 101, 500).expect("readable");
    assert_eq!((rest.hits.len(), rest.hits[0].line, rest.next), (200, 101, None));
}

#[tokio::test]
async fn a_log_is_followed_from_before_its_first_byte() {
    let mut fixture = Fixture::new();
    let mut length = fixture.store.watch(LOG);
    assert_eq!(*length.borrow_and_update(), 0);
    fixture.append(b"hello\n");
    length.changed().await.expect("the store lives");
    assert_eq!(*length.borrow_and_update(), 6);
    fixture.store.seal(LOG).expect("it syncs");
    fixture.append(b"more\n");
    length.changed().await.expect("the store lives");
    assert_eq!(*length.borrow(), 11);
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    for full in ["log", "idx"] {
        let fixture = Fixture::new();
        let path = fixture.store.path(LOG, full);
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("writable");
        std::os::unix::fs::symlink("/dev/full", &path).expect("writable");
        assert!(matches!(fixture.store.append(&piece(0, b"one\n")), Err(AppendError::Io { .. })), "{full}");
        assert_eq!(fixture.store.length(LOG).expect("readable").unwrap_or_default().bytes, 0);
        std::fs::remove_file(&path).expect("writable");
        let store = LogStore::new(fixture.folder.path());
        assert_eq!(store.append(&piece(0, b"two\n")).expect("there is room again"), 4);
        assert_eq!(store.bytes(LOG, 0, 9).expect("readable"), b"two\n");
    }
}

#[test]
fn a_log_that_the_disk_does_not_keep_is_named_from_then_on() {
    let fixture = Fixture::with(b"one\n", 4);
    fixture.store.seal(LOG).expect("it syncs");
    assert_eq!(fixture.store.unsafe_logs().count, 0);
    // What is no file cannot be synced.
    let other = LogAddress { step: 1, ..LOG };
    std::os::unix::fs::symlink("/dev/null", fixture.store.path(other, "log")).expect("writable");
    fixture.store.seal(other).expect_err("it cannot be synced");
    let told = fixture.store.unsafe_logs();
    assert_eq!(told.count, 1);
    assert!(told.named[0].starts_with("the log of step 1 of build 10427: cannot write"), "{told:?}");
}

#[test]
fn more_logs_than_may_be_open_are_written_in_turn() {
    let fixture = Fixture::new();
    for round in 0..3u64 {
        for step in 0..150 {
            let piece = LogAppend {
                log: LogAddress { step, ..LOG },
                ..piece(usize::try_from(round).expect("small") * 2, b"x\n")
            };
            assert_eq!(fixture.store.append(&piece).expect("it follows"), 2 * (round + 1));
        }
    }
}
