//! Whatever the chunks, and however often the service refuses, loses answers or takes half a piece: the same bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::protocol::limit::FRAME_BYTES_MAX;
use gristmill_model::protocol::{Held, Hello, LogAppend, Refusal, Report, Welcome, WorkerCommand};
use gristmill_model::{BuildId, WorkerName};
use proptest::prelude::*;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LogWriter;
use crate::spool::{Begin, Outbox, Queue, SpoolLimits, Spooling, Spoolyard};
use crate::uplink::{Carried, Uplink};
use crate::{Backoff, Master};

/// How an append goes.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Good,
    /// Nothing is taken.
    Refuses,
    /// All is taken, the answer is lost.
    LosesAnswer,
    /// This part is taken (in 256ths), the answer is lost.
    TakesPart(u8),
}

/// A service with moods, which it has in turn.
#[derive(Debug, Default)]
struct Moody {
    log: Mutex<Vec<u8>>,
    moods: Mutex<Vec<Mood>>,
}

#[async_trait]
impl Master for Moody {
    async fn hello(&self, _hello: Hello) -> Result<Welcome, Refusal> {
        Ok(Welcome { stop: Vec::new() })
    }

    async fn poll(&self, _worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        Ok(Vec::new())
    }

    async fn report(&self, _worker: &WorkerName, _reports: Vec<Report>) -> Result<(), Refusal> {
        Ok(())
    }

    async fn append_log(&self, _worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        let mut log = self.log.lock().unwrap();
        let bytes = zstd::bulk::decompress(&piece.frame, FRAME_BYTES_MAX).unwrap();
        assert_eq!(bytes.len(), piece.length as usize);
        let unavailable = Err(Refusal::Unavailable { why: "moody".to_owned() });
        let mood = self.moods.lock().unwrap().pop().unwrap_or(Mood::Good);
        if matches!(mood, Mood::Refuses) {
            return unavailable;
        }
        if piece.offset != log.len() as u64 {
            return Err(Refusal::Offset { length: log.len() as u64 });
        }
        let taken = if let Mood::TakesPart(part) = mood { bytes.len() * usize::from(part) / 256 } else { bytes.len() };
        log.extend(&bytes[..taken]);
        if matches!(mood, Mood::Good) { Ok(log.len() as u64) } else { unavailable }
    }
}

/// Writes chunks as the executor does, and gives the service's log.
async fn written(chunks: &[Vec<u8>], heading: &str, bytes_max: u64, moods: Vec<Mood>) -> Vec<u8> {
    let master = Arc::new(Moody { moods: Mutex::new(moods), ..Moody::default() });
    let held = Held { build: BuildId(1), epoch: 1 };
    let backoff = Backoff { first: Duration::from_micros(10), longest: Duration::from_micros(10) };
    let stop = CancellationToken::new();
    let begin = Begin { build: held.build, epoch: held.epoch, steps: vec!["make".to_owned()] };
    let queue = Queue::begin(&Spooling::Memory, begin);
    let outbox = Outbox::new(&queue);
    let uplink = Uplink {
        master: Arc::<Moody>::clone(&master),
        worker: "linux".into(),
        held,
        backoff,
        silent: stop.clone(),
        stop,
        queue,
        left: None,
    };
    let carrying = tokio::spawn(uplink.carry());
    let mut writer = LogWriter::begin(outbox, 0, bytes_max, heading, Instant::now());
    for chunk in chunks {
        while writer.is_full() {
            writer.advance().await;
        }
        writer.push(chunk, Instant::now());
        // As if it were due.
        if !chunk.is_empty() && chunk.len() % 3 == 0 {
            writer.advance().await;
        }
    }
    writer.finish(true).await;
    drop(writer);
    assert_eq!(carrying.await.unwrap(), Carried::Delivered);
    let log = master.log.lock().unwrap();
    log.clone()
}

fn any_mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        2 => Just(Mood::Good),
        1 => Just(Mood::Refuses),
        1 => Just(Mood::LosesAnswer),
        1 => any::<u8>().prop_map(Mood::TakesPart),
    ]
}

/// Chunks of all sizes that a read of a pipe may have.
fn any_chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let size = prop_oneof![3 => 0..200_usize, 1 => 0..FRAME_BYTES_MAX];
    let chunk = (size, any::<u32>())
        .prop_map(|(size, seed)| (0..size as u32).map(|index| (index.wrapping_mul(seed) >> 13) as u8).collect());
    proptest::collection::vec(chunk, 0..30)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_byte_arrives_once_and_in_order(
        chunks in any_chunks(),
        moods in proptest::collection::vec(any_mood(), 0..40),
    ) {
        let printed = chunks.concat();
        let heading = if printed.is_empty() { "" } else { "$ make\n" };
        let log = runtime().block_on(written(&chunks, "$ make\n", u64::MAX, moods));
        prop_assert!(log == [heading.as_bytes(), &printed].concat());
    }

    #[test]
    fn a_log_that_is_too_long_keeps_its_head_and_its_end(chunks in any_chunks()) {
        const BYTES_MAX: u64 = 100_000;
        let printed = chunks.concat();
        let log = runtime().block_on(written(&chunks, "", BYTES_MAX, Vec::new()));
        prop_assert!(log.len() as u64 <= BYTES_MAX);
        if printed.len() < 70_000 {
            prop_assert!(log == printed);
        } else if log != printed {
            let mark = b" bytes are left out here: the log is longer than it may be\n";
            let at = log.windows(mark.len()).position(|window| window == mark);
            let at = at.expect("what is missing is said");
            let count: String = log[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
            let missing: usize = count.chars().rev().collect::<String>().parse().unwrap();
            let tail = &log[at + mark.len()..];
            prop_assert!(printed.ends_with(tail));
            let head = &log[..at - count.len()];
            let head_length = printed.len() - missing - tail.len();
            prop_assert!(head.starts_with(&printed[..head_length]));
            prop_assert!(head.ends_with(b"gristmill: "));
        }
    }
}

/// A service that keeps several logs, and loses some of one while pieces of the others come.
#[derive(Debug, Default)]
struct Forgetful {
    logs: Mutex<BTreeMap<u32, Vec<u8>>>,
    /// After so many pieces so many bytes (in 256ths) of a log are left.
    losses: Mutex<Vec<(usize, u32, u8)>>,
    pieces: Mutex<usize>,
}

#[async_trait]
impl Master for Forgetful {
    async fn hello(&self, _hello: Hello) -> Result<Welcome, Refusal> {
        Ok(Welcome { stop: Vec::new() })
    }

    async fn poll(&self, _worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        Ok(Vec::new())
    }

    async fn report(&self, _worker: &WorkerName, _reports: Vec<Report>) -> Result<(), Refusal> {
        Ok(())
    }

    async fn append_log(&self, _worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        let mut logs = self.logs.lock().unwrap();
        let mut pieces = self.pieces.lock().unwrap();
        *pieces += 1;
        self.losses.lock().unwrap().retain(|(after, log, left)| {
            let is_due = *after == *pieces;
            if is_due {
                let log = logs.entry(*log).or_default();
                log.truncate(log.len() * usize::from(*left) / 256);
            }
            !is_due
        });
        let log = logs.entry(piece.log.log).or_default();
        if piece.offset != log.len() as u64 {
            return Err(Refusal::Offset { length: log.len() as u64 });
        }
        log.extend(zstd::bulk::decompress(&piece.frame, FRAME_BYTES_MAX).unwrap());
        Ok(log.len() as u64)
    }
}

/// Writes pieces to several logs of a step, spooled on disk, and gives what the service has of each.
async fn written_to_many(pieces: &[(u32, Vec<u8>)], losses: Vec<(usize, u32, u8)>) -> BTreeMap<u32, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let spooling = Spooling::Disk(Spoolyard::new(folder.path().to_owned(), SpoolLimits::default()));
    let master = Arc::new(Forgetful { losses: Mutex::new(losses), ..Forgetful::default() });
    let held = Held { build: BuildId(1), epoch: 1 };
    let backoff = Backoff { first: Duration::from_micros(10), longest: Duration::from_micros(10) };
    let stop = CancellationToken::new();
    let queue = Queue::begin(&spooling, Begin { build: held.build, epoch: held.epoch, steps: vec!["make".to_owned()] });
    let outbox = Outbox::new(&queue);
    let uplink = Uplink {
        master: Arc::<Forgetful>::clone(&master),
        worker: "linux".into(),
        held,
        backoff,
        silent: stop.clone(),
        stop,
        queue,
        left: None,
    };
    let carrying = tokio::spawn(uplink.carry());
    let begin = |log| LogWriter::begin(outbox.clone(), 0, u64::MAX, "", Instant::now()).of(log);
    let mut writers: Vec<LogWriter> = (0..3).map(begin).collect();
    drop(outbox);
    for (log, bytes) in pieces {
        let writer = &mut writers[*log as usize];
        writer.push(bytes, Instant::now());
        writer.advance().await;
        // As if they came one after the other.
        tokio::task::yield_now().await;
    }
    // What is lost after the last piece of a log is lost: something more is said of each.
    for writer in &mut writers {
        writer.push(b"end", Instant::now());
        writer.finish(true).await;
    }
    drop(writers);
    assert_eq!(carrying.await.unwrap(), Carried::Delivered);
    let logs = master.logs.lock().unwrap();
    logs.clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_lost_of_one_log_of_a_step_is_said_again_and_nothing_twice_of_the_others(
        pieces in proptest::collection::vec((0..3_u32, proptest::collection::vec(any::<u8>(), 1..50)), 1..30),
        losses in proptest::collection::vec((1..30_usize, 0..3_u32, any::<u8>()), 0..3),
    ) {
        // A loss after the last piece of a log would be nobody's to notice.
        let last = pieces.len();
        let losses: Vec<_> = losses.into_iter().filter(|(after, ..)| *after <= last).collect();
        let logs = runtime().block_on(written_to_many(&pieces, losses));
        for log in 0..3 {
            let printed: Vec<u8> =
                pieces.iter().filter(|(of, _)| *of == log).flat_map(|(_, bytes)| bytes.clone()).chain(*b"end").collect();
            prop_assert_eq!(&logs[&log], &printed, "log {}", log);
        }
    }
}
