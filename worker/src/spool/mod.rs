//! What builds have to say, kept until the service has taken it.
//!
//! Reading order: `record` (what is kept, in bytes), `disk` (one lease's files), [`queue`] (one lease's order of speaking,
//! with back-pressure), `recover` (what an earlier process of this worker left).

mod disk;
mod queue;
mod record;
mod recover;

pub(crate) use disk::{Mark, Place};
pub(crate) use queue::{Next, Outbox, Queue, SpoolError};
pub(crate) use record::{Begin, Piece, Record};
pub(crate) use recover::{Recovered, recover};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// How much may be spooled.
#[derive(Debug, Clone, Copy)]
pub struct SpoolLimits {
    /// Bytes on disk of one build that are not acknowledged; then its step waits in its `write`.
    pub build_bytes_max: u64,
    /// Bytes on disk of all builds together.
    pub worker_bytes_max: u64,
    /// Acknowledged bytes of a build that are kept for a service that comes back with less.
    pub kept_bytes_max: u64,
    /// Bytes of one segment.
    pub segment_bytes_max: u64,
}

impl Default for SpoolLimits {
    /// 256 MiB a build, 2 GiB a worker, 32 MiB kept, segments of 4 MiB.
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            build_bytes_max: 256 * MIB,
            worker_bytes_max: 2048 * MIB,
            kept_bytes_max: 32 * MIB,
            segment_bytes_max: 4 * MIB,
        }
    }
}

/// Where builds are spooled.
#[derive(Debug, Clone)]
pub(crate) enum Spooling {
    /// In memory, a mebibyte a build: the service is in the same process.
    Memory,
    /// In files, which outlive the process.
    Disk(Arc<Spoolyard>),
}

/// The folder of all spools.
#[derive(Debug)]
pub(crate) struct Spoolyard {
    pub(crate) root: PathBuf,
    pub(crate) limits: SpoolLimits,
    used: AtomicU64,
    freed: Notify,
}

impl Spoolyard {
    pub(crate) fn new(root: PathBuf, limits: SpoolLimits) -> Arc<Self> {
        Arc::new(Self { root, limits, used: AtomicU64::new(0), freed: Notify::new() })
    }

    fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.freed.notify_waiters();
        }
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn folder_of(&self, begin: &Begin) -> PathBuf {
        self.root.join(format!("{}-{}", begin.build, begin.epoch))
    }
}
