//! One lease's order of speaking: reports and pieces of log, appended by the build, taken from the front by the uplink.
//!
//! On disk, or in memory where the service is in the same process. When the disk fails the rest is kept in memory, so
//! that the build's end can still be told; the disk's part is not touched any more.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_model::protocol::ReportBody;
use gristmill_model::protocol::limit::REPORTS_MAX;
use tokio::sync::{Notify, watch};

use super::disk::Disk;
use super::{Begin, Mark, Piece, Place, Record, Spooling, Spoolyard};

/// Bytes that wait in memory before the step waits.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of reports that are said together; one that is larger is said alone.
const REPORTS_BYTES_AIM: usize = 512 * 1024;

/// How long what was spooled may stay unsynced.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// How much of it may stay unsynced.
const SYNC_BYTES: u64 = 1024 * 1024;

/// Acknowledged bytes between two marks.
const MARK_BYTES: u64 = 1024 * 1024;

/// What is wrong with a worker's spool.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the worker cannot keep what the build says, its disk refuses: {why}")]
pub(crate) struct SpoolError {
    why: String,
}

impl SpoolError {
    fn of(error: &io::Error) -> Self {
        Self { why: error.to_string() }
    }
}

/// What is at the front.
#[derive(Debug)]
pub(crate) struct Next {
    /// The record itself.
    pub(crate) record: Record,
    /// What comes after it.
    after: After,
}

#[derive(Debug, Clone, Copy)]
enum After {
    Disk(Place),
    Memory,
}

/// One lease's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    yard: Option<Arc<Spoolyard>>,
    /// Something was appended, or the build has nothing more to say.
    arrived: Notify,
    /// Something must be synced.
    unsynced: Notify,
    /// There may be room.
    freed: Notify,
    acknowledged: watch::Sender<u64>,
    trouble: watch::Sender<Option<SpoolError>>,
}

#[derive(Debug)]
struct Inner {
    disk: Option<Disk>,
    /// The front, as far as it is on disk.
    place: Place,
    /// Bytes on disk that were taken from the front since the last mark.
    unmarked: u64,
    unsynced_bytes: u64,
    memory: VecDeque<Record>,
    memory_bytes: usize,
    /// The number of the last report.
    seq: u64,
    is_complete: bool,
    is_over: bool,
}

impl Queue {
    /// Makes a queue. A disk that refuses is remarked as the queue's trouble: what is said is kept in memory then.
    pub(crate) fn begin(spooling: &Spooling, begin: Begin) -> Arc<Self> {
        let Spooling::Disk(yard) = spooling else { return Arc::new(Self::new(None, None)) };
        let disk = Disk::create(yard.folder_of(&begin), yard.limits.segment_bytes_max);
        match disk {
            Ok(disk) => {
                let queue = Arc::new(Self::new(Some(disk), Some(Arc::clone(yard))));
                queue.append(Record::Begin(begin));
                queue
            }
            Err(error) => {
                let queue = Self::new(None, Some(Arc::clone(yard)));
                queue.trouble.send_replace(Some(SpoolError::of(&error)));
                Arc::new(queue)
            }
        }
    }

    /// Takes over what an earlier process left; the last report had the number `seq`.
    pub(super) fn resume(yard: &Arc<Spoolyard>, disk: Disk, place: Place, seq: u64) -> Arc<Self> {
        yard.take(disk.bytes());
        let queue = Self::new(Some(disk), Some(Arc::clone(yard)));
        {
            let mut inner = queue.inner();
            (inner.place, inner.seq) = (place, seq);
        }
        Arc::new(queue)
    }

    fn new(disk: Option<Disk>, yard: Option<Arc<Spoolyard>>) -> Self {
        let inner = Inner {
            place: disk.as_ref().map(Disk::first).unwrap_or_default(),
            disk,
            unmarked: 0,
            unsynced_bytes: 0,
            memory: VecDeque::new(),
            memory_bytes: 0,
            seq: 0,
            is_complete: false,
            is_over: false,
        };
        Self {
            inner: Mutex::new(inner),
            yard,
            arrived: Notify::new(),
            unsynced: Notify::new(),
            freed: Notify::new(),
            acknowledged: watch::Sender::new(0),
            trouble: watch::Sender::new(None),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to the end: on disk, or in memory once the disk has failed.
    fn append(&self, record: Record) {
        let mut inner = self.inner();
        if inner.is_over {
            return;
        }
        if self.trouble.borrow().is_none()
            && let Some(disk) = &mut inner.disk
        {
            match disk.append(&record) {
                Ok(bytes) => {
                    inner.unsynced_bytes += bytes;
                    if let Some(yard) = &self.yard {
                        yard.take(bytes);
                    }
                    drop(inner);
                    self.unsynced.notify_one();
                    self.arrived.notify_one();
                    return;
                }
                Err(error) => {
                    self.trouble.send_replace(Some(SpoolError::of(&error)));
                }
            }
        }
        inner.memory_bytes += size_of(&record);
        inner.memory.push_back(record);
        drop(inner);
        self.arrived.notify_one();
    }

    fn report(&self, bodies: Vec<ReportBody>) {
        for bodies in split(bodies) {
            let first = {
                let mut inner = self.inner();
                let first = inner.seq + 1;
                inner.seq += bodies.len() as u64;
                first
            };
            self.append(Record::Reports { first, bodies });
        }
    }

    /// Says whether more log may be appended; makes room where that can be done.
    fn has_room(&self) -> bool {
        let mut inner = self.inner();
        let place = inner.place;
        if inner.is_over {
            return true;
        }
        let (Some(yard), Some(disk), None) = (&self.yard, &mut inner.disk, &*self.trouble.borrow()) else {
            return inner.memory_bytes < MEMORY_BYTES_MAX;
        };
        let limits = yard.limits;
        let is_full = |bytes: u64| bytes >= limits.build_bytes_max || yard.used() >= limits.worker_bytes_max;
        if is_full(disk.bytes()) {
            yard.give_back(disk.reclaim(place, 0));
        }
        !is_full(disk.bytes())
    }

    /// Waits for something at the front; `None` once everything was taken and the build has nothing more to say.
    ///
    /// # Errors
    /// If the disk does not give back what it took.
    pub(crate) async fn next(&self) -> Result<Option<Next>, SpoolError> {
        loop {
            let arrived = self.arrived.notified();
            {
                let inner = self.inner();
                if let Some(next) = inner.front().map_err(|error| SpoolError::of(&error))? {
                    return Ok(Some(next));
                }
                if inner.is_complete {
                    return Ok(None);
                }
            }
            arrived.await;
        }
    }

    /// Takes the front away: the service has it. `sent` is the step whose logs were sent last, with their shifts.
    pub(crate) fn taken(&self, next: &Next, sent: (u32, BTreeMap<u32, i64>)) {
        if let Record::Reports { first, bodies } = &next.record {
            let last = first + bodies.len() as u64 - 1;
            self.acknowledged.send_modify(|so_far| *so_far = last.max(*so_far));
        }
        let mut inner = self.inner();
        match next.after {
            After::Memory => {
                if let Some(record) = inner.memory.pop_front() {
                    inner.memory_bytes = inner.memory_bytes.saturating_sub(size_of(&record));
                }
            }
            After::Disk(place) => {
                inner.place = place;
                inner.unmarked += size_of(&next.record) as u64;
                let is_report = matches!(next.record, Record::Reports { .. });
                if is_report || inner.unmarked >= MARK_BYTES {
                    inner.mark(sent);
                }
                if let (Some(yard), Some(disk)) = (&self.yard, &mut inner.disk) {
                    yard.give_back(disk.reclaim(place, yard.limits.kept_bytes_max));
                }
            }
        }
        drop(inner);
        self.freed.notify_waiters();
    }

    /// Goes back to the piece of a log, given by step and number, with the byte at `offset`; false if it is not kept any
    /// more.
    pub(crate) fn go_back(&self, log: (u32, u32), offset: u64) -> bool {
        let mut inner = self.inner();
        let found = inner.disk.as_ref().map(|disk| disk.find(log, offset));
        match found {
            Some(Ok(Some(place))) if place <= inner.place => {
                inner.place = place;
                true
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a spool cannot be searched");
                false
            }
            _ => false,
        }
    }

    /// Makes everything that was appended safe.
    ///
    /// # Errors
    /// If the disk refuses; then nothing that was appended may be taken for safe any more.
    pub(crate) async fn sync(&self) -> Result<(), SpoolError> {
        let unsynced = {
            let mut inner = self.inner();
            inner.unsynced_bytes = 0;
            let Some(disk) = &mut inner.disk else { return Ok(()) };
            disk.take_dirty()
        };
        let synced = tokio::task::spawn_blocking(move || unsynced.sync()).await;
        synced.map_err(io::Error::other).and_then(|result| result).map_err(|error| {
            let trouble = SpoolError::of(&error);
            self.trouble.send_replace(Some(trouble.clone()));
            trouble
        })
    }

    /// Syncs what is appended, at the latest after [`SYNC_AFTER`] or [`SYNC_BYTES`], until the disk fails. Never ends
    /// otherwise: to be dropped with the build.
    pub(crate) async fn keep_safe(&self) -> SpoolError {
        let mut troubles = self.trouble.subscribe();
        let syncing = async {
            loop {
                self.unsynced.notified().await;
                let enough = async {
                    while self.inner().unsynced_bytes < SYNC_BYTES {
                        self.unsynced.notified().await;
                    }
                };
                // Too little within the time is as good a reason as enough.
                tokio::time::timeout(SYNC_AFTER, enough).await.ok();
                if let Err(error) = self.sync().await {
                    return error;
                }
            }
        };
        let failed = async {
            match troubles.wait_for(Option::is_some).await.map(|trouble| trouble.clone()) {
                Ok(Some(trouble)) => trouble,
                // The sender is our own.
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            error = syncing => error,
            error = failed => error,
        }
    }

    /// Notes that nobody takes anything any more; `is_delivered` deletes what is kept.
    pub(crate) fn end(&self, is_delivered: bool) {
        let mut inner = self.inner();
        inner.is_over = true;
        if let (true, Some(mut disk)) = (is_delivered, inner.disk.take()) {
            let bytes = disk.bytes();
            if let Err(error) = disk.delete() {
                tracing::warn!(%error, "a spool that was delivered cannot be deleted");
            }
            if let Some(yard) = &self.yard {
                yard.give_back(bytes);
            }
        }
        drop(inner);
        self.freed.notify_waiters();
    }
}

impl Inner {
    fn front(&self) -> io::Result<Option<Next>> {
        if let Some(disk) = &self.disk
            && let Some((record, place)) = disk.read(self.place)?
        {
            return Ok(Some(Next { record, after: After::Disk(place) }));
        }
        Ok(self.memory.front().map(|record| Next { record: record.clone(), after: After::Memory }))
    }

    fn mark(&mut self, (step, shifts): (u32, BTreeMap<u32, i64>)) {
        self.unmarked = 0;
        let Some(disk) = &self.disk else { return };
        if let Err(error) = disk.write_mark(&Mark { place: self.place, step, shifts }) {
            tracing::debug!(%error, "how far the service is was not noted");
        }
    }
}

/// Parts reports so that each part can be said in one request, and is one record.
fn split(bodies: Vec<ReportBody>) -> Vec<Vec<ReportBody>> {
    let mut parts: Vec<Vec<ReportBody>> = Vec::new();
    let mut bytes = 0;
    for body in bodies {
        let body_bytes = bytes_of(&body);
        match parts.last_mut() {
            Some(part) if part.len() < REPORTS_MAX && bytes + body_bytes <= REPORTS_BYTES_AIM => {
                bytes += body_bytes;
                part.push(body);
            }
            _ => {
                bytes = body_bytes;
                parts.push(vec![body]);
            }
        }
    }
    parts
}

fn bytes_of(body: &ReportBody) -> usize {
    serde_json::to_vec(body).map_or(0, |bytes| bytes.len())
}

fn size_of(record: &Record) -> usize {
    const HEAD: usize = 64;
    match record {
        Record::Piece(piece) => HEAD + piece.frame.len(),
        Record::Reports { bodies, .. } => HEAD + bodies.iter().map(bytes_of).sum::<usize>(),
        Record::Remark { text, .. } => HEAD + text.len(),
        Record::Begin(begin) => HEAD * (begin.steps.len() + 1),
    }
}

/// Where a build puts what it has to say. When the last one is dropped the build has nothing more to say.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Speaking>);

#[derive(Debug)]
struct Speaking(Arc<Queue>);

impl Drop for Speaking {
    fn drop(&mut self) {
        self.0.inner().is_complete = true;
        self.0.arrived.notify_one();
    }
}

/// The right to put one piece of log there.
pub(crate) struct Room<'a>(&'a Queue);

impl Outbox {
    /// Makes the way into a queue.
    pub(crate) fn new(queue: &Arc<Queue>) -> Self {
        Self(Arc::new(Speaking(Arc::clone(queue))))
    }

    fn queue(&self) -> &Queue {
        &self.0.0
    }

    /// Puts reports after everything else. Nobody wants them if the lease is gone or the worker stops.
    pub(crate) fn report(&self, bodies: Vec<ReportBody>) {
        self.queue().report(bodies);
    }

    /// Puts a remark at the end of a step's log, wherever that is.
    pub(crate) fn remark(&self, step: u32, text: String) {
        self.queue().append(Record::Remark { step, text });
    }

    /// Waits for room; `None` if nobody wants anything any more. May be dropped without loss.
    pub(crate) async fn room(&self) -> Option<Room<'_>> {
        let queue = self.queue();
        loop {
            let freed = queue.freed.notified();
            let elsewhere = queue.yard.as_ref().map_or(&queue.freed, |yard| &yard.freed).notified();
            tokio::pin!(freed, elsewhere);
            // Before the look, so that what happens after it wakes this.
            freed.as_mut().enable();
            elsewhere.as_mut().enable();
            if queue.inner().is_over {
                return None;
            }
            if queue.has_room() {
                return Some(Room(queue));
            }
            tokio::select! {
                () = freed => {}
                () = elsewhere => {}
            }
        }
    }

    /// Waits until the service has acknowledged the report with this number.
    pub(crate) async fn acknowledged(&self, seq: u64) {
        let mut acknowledged = self.queue().acknowledged.subscribe();
        // The sender lives as long as the queue.
        acknowledged.wait_for(|last| *last >= seq).await.ok();
    }
}

impl Room<'_> {
    /// Puts a piece of log.
    pub(crate) fn send_piece(self, piece: Piece) {
        self.0.append(Record::Piece(piece));
    }
}
