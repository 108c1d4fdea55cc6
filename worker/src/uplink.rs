//! One build's way up: reports and log pieces in one order, each repeated until the service has taken it.
//!
//! One queue for both makes the order plain: every byte of a step's log is acknowledged before the step's end is
//! reported, and everything before the build's end. The queue is bounded, so a service that is slow or away slows down
//! the step that prints, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::WorkerName;
use gristmill_model::protocol::limit::REPORTS_MAX;
use gristmill_model::protocol::{Held, LogAddress, Refusal, Report, ReportBody};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::log::{Next, Spool};
use crate::{Backoff, Master};

/// Things to say that wait at most: 1 MiB of log, or a few steps.
const OUTBOX_MAX: usize = 16;

/// How long something is said again before the build is given up.
const REPEAT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Something to say.
#[derive(Debug)]
enum Item {
    Reports(Vec<ReportBody>),
    Piece(Piece),
}

/// A compressed piece of a step's log.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) step: u32,
    pub(crate) log: u32,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) frame: Vec<u8>,
}

/// Where a build puts what it has to say.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Item>);

/// The right to put one thing there.
pub(crate) struct Room<'a>(mpsc::Permit<'a, Item>);

impl Outbox {
    /// Puts reports after everything else. Nobody wants them if the lease is gone or the worker stops.
    pub(crate) async fn report(&self, bodies: Vec<ReportBody>) {
        if let Ok(permit) = self.0.reserve().await {
            permit.send(Item::Reports(bodies));
        }
    }

    /// Waits for room; `None` if nobody wants anything any more. May be dropped without loss.
    pub(crate) async fn room(&self) -> Option<Room<'_>> {
        self.0.reserve().await.ok().map(Room)
    }
}

impl Room<'_> {
    /// Puts a piece of log.
    pub(crate) fn send_piece(self, piece: Piece) {
        self.0.send(Item::Piece(piece));
    }
}

/// How an uplink ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Everything was taken.
    Delivered,
    /// The lease is gone.
    Fenced,
    /// The worker stops.
    Stopped,
}

/// The service's end of a build's queue.
pub(crate) struct Uplink {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) worker: WorkerName,
    pub(crate) held: Held,
    pub(crate) backoff: Backoff,
    /// Ends everything at once.
    pub(crate) stop: CancellationToken,
    items: mpsc::Receiver<Item>,
    seq: u64,
    /// The logs of the step that runs.
    spools: BTreeMap<u32, Spool>,
}

/// Makes a build's queue.
pub(crate) fn uplink(
    master: Arc<dyn Master>,
    worker: WorkerName,
    held: Held,
    backoff: Backoff,
    stop: CancellationToken,
) -> (Outbox, Uplink) {
    let (sender, items) = mpsc::channel(OUTBOX_MAX);
    (Outbox(sender), Uplink { master, worker, held, backoff, stop, items, seq: 0, spools: BTreeMap::new() })
}

impl Uplink {
    /// Carries everything up, until the build has nothing more to say.
    pub(crate) async fn carry(mut self) -> Carried {
        let stop = self.stop.clone();
        // What is under way may be dropped: the worker will not say anything any more.
        tokio::select! {
            biased;
            () = stop.cancelled() => Carried::Stopped,
            carried = self.carry_all() => carried,
        }
    }

    async fn carry_all(&mut self) -> Carried {
        let mut items = Vec::with_capacity(OUTBOX_MAX);
        while self.items.recv_many(&mut items, OUTBOX_MAX).await > 0 {
            let mut bodies = Vec::new();
            for item in items.drain(..) {
                match item {
                    Item::Reports(more) => bodies.extend(more),
                    Item::Piece(piece) => {
                        if !(self.report(std::mem::take(&mut bodies)).await && self.append(piece).await) {
                            return Carried::Fenced;
                        }
                    }
                }
            }
            if !self.report(bodies).await {
                return Carried::Fenced;
            }
        }
        Carried::Delivered
    }

    /// Reports until the service takes it; false if the lease is gone.
    async fn report(&mut self, bodies: Vec<ReportBody>) -> bool {
        let reports: Vec<Report> = bodies
            .into_iter()
            .map(|body| {
                self.seq += 1;
                Report { build: self.held.build, epoch: self.held.epoch, seq: self.seq, body }
            })
            .collect();
        for batch in reports.chunks(REPORTS_MAX) {
            let mut waits = self.backoff.begin();
            loop {
                match self.master.report(&self.worker, batch.to_vec()).await {
                    Ok(()) => break,
                    Err(Refusal::Fenced { .. }) => return false,
                    Err(refusal) => {
                        if waits.waited() >= REPEAT_MAX {
                            return false;
                        }
                        tracing::debug!(build.id = %self.held.build, %refusal, "a report is said again later");
                        tokio::time::sleep(waits.next()).await;
                    }
                }
            }
        }
        true
    }

    /// Appends until the service takes it; false if the lease is gone.
    async fn append(&mut self, piece: Piece) -> bool {
        let log = LogAddress { log: piece.log, ..LogAddress::output(self.held.build, self.held.epoch, piece.step) };
        // The pieces of a step are all acknowledged before those of the next one come.
        self.spools.retain(|_, spool| spool.step() == piece.step);
        let spool = self.spools.entry(piece.log).or_insert_with(|| Spool::new(log));
        spool.push(piece.offset, piece.length, piece.frame);
        let mut waits = self.backoff.begin();
        while let Some(front) = spool.front() {
            let answer = self.master.append_log(&self.worker, front.clone()).await;
            match spool.answered(answer) {
                Next::Go => waits = self.backoff.begin(),
                Next::Later { why } if waits.waited() < REPEAT_MAX => {
                    tracing::debug!(build.id = %self.held.build, why, "a piece of log is sent again later");
                    tokio::time::sleep(waits.next()).await;
                }
                Next::Later { .. } | Next::Fenced => return false,
            }
        }
        true
    }
}
