//! One build's way up: reports and log pieces in one order, each repeated until the service has taken it.
//!
//! One queue for both makes the order plain: every byte of a step's log is acknowledged before the step's end is
//! reported, and everything before the build's end. Reports are safe on disk before they are sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::limit::REPORTS_MAX;
use gristmill_model::protocol::{Held, LogAddress, LogAppend, Refusal, Report, ReportBody};
use gristmill_model::{Cause, Outcome, StepRecipe, WorkerName};
use tokio_util::sync::CancellationToken;

use crate::backoff::Waits;
use crate::conclude::cut;
use crate::log::{self, Spool};
use crate::spool::{Mark, Next, Piece, Queue, Record, SpoolError};
use crate::{Backoff, Master};

/// How long something is said again before the build is given up.
const REPEAT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How an uplink ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Everything was taken.
    Delivered,
    /// The lease is gone, or nobody took anything for [`REPEAT_MAX`].
    Fenced,
    /// The worker stops.
    Stopped,
}

/// The lease is gone.
struct Gone;

/// The service's end of a build's queue.
pub(crate) struct Uplink {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) worker: WorkerName,
    pub(crate) held: Held,
    pub(crate) backoff: Backoff,
    /// Ends this build's speaking at once.
    pub(crate) silent: CancellationToken,
    /// The worker stops, and all its builds with it.
    pub(crate) stop: CancellationToken,
    pub(crate) queue: Arc<Queue>,
    /// How far an earlier process came, if this is what it left. The service may then have more of a log than was kept:
    /// what is sent need not be synced.
    pub(crate) left: Option<Mark>,
}

impl Uplink {
    /// Carries everything up, until the build has nothing more to say. What is kept is deleted, unless the worker stops.
    pub(crate) async fn carry(self) -> Carried {
        let (silent, stop) = (self.silent.clone(), self.stop.clone());
        let queue = Arc::clone(&self.queue);
        let (step, logs) = self.left.as_ref().map_or_else(Default::default, |mark| {
            let resumed = |(&log, &shift)| (log, Sent::of(Spool::resume(self.address(mark.step, log), shift)));
            (mark.step, mark.shifts.iter().map(resumed).collect())
        });
        let mut sender = Sender { step, logs, seq: 0, uplink: self };
        // What is under way may be dropped: the worker will not say anything any more.
        let carried = tokio::select! {
            biased;
            () = silent.cancelled() => if stop.is_cancelled() { Carried::Stopped } else { Carried::Fenced },
            result = sender.carry_all() => if result.is_ok() { Carried::Delivered } else { Carried::Fenced },
        };
        queue.end(carried != Carried::Stopped);
        carried
    }

    fn address(&self, step: u32, log: u32) -> LogAddress {
        LogAddress { log, ..LogAddress::output(self.held.build, self.held.epoch, step) }
    }

    async fn again_later(&self, waits: &mut Waits, why: &str) -> Result<(), Gone> {
        if waits.waited() >= REPEAT_MAX {
            tracing::error!(build.id = %self.held.build, why, "the service took nothing for a day: the build is given up");
            return Err(Gone);
        }
        tracing::debug!(build.id = %self.held.build, why, "it is said again later");
        tokio::time::sleep(waits.next()).await;
        Ok(())
    }
}

struct Sender {
    uplink: Uplink,
    /// The step whose logs are being sent.
    step: u32,
    /// Those of its logs that something was sent of, by their numbers.
    logs: BTreeMap<u32, Sent>,
    /// The number of the last report that was taken.
    seq: u64,
}

/// What was sent of one log.
struct Sent {
    spool: Spool,
    /// Where the service's log ends, as far as it said.
    furthest: u64,
}

impl Sent {
    fn of(spool: Spool) -> Self {
        Self { spool, furthest: 0 }
    }

    /// Says whether the service has said that it has a piece.
    fn has(&self, piece: &Piece) -> bool {
        let end = piece.offset.saturating_add(u64::from(piece.length));
        end.saturating_add_signed(self.spool.shift()) <= self.furthest
    }
}

impl Sender {
    async fn carry_all(&mut self) -> Result<(), Gone> {
        loop {
            match self.uplink.queue.next().await {
                Ok(Some(next)) => {
                    if self.say(&next).await? == Said::Taken {
                        let shifts = self.logs.iter().map(|(&log, sent)| (log, sent.spool.shift())).collect();
                        self.uplink.queue.taken(&next, (self.step, shifts));
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return self.give_up(&error).await,
            }
        }
    }

    async fn say(&mut self, next: &Next) -> Result<Said, Gone> {
        match &next.record {
            Record::Begin(_) => Ok(Said::Taken),
            Record::Reports { first, bodies } => {
                if let Err(error) = self.uplink.queue.sync().await {
                    // It is said all the same: the build is told of the trouble, and says its end yet.
                    tracing::error!(build.id = %self.uplink.held.build, %error, "a report is not safe");
                }
                self.report(*first, bodies).await.map(|()| Said::Taken)
            }
            Record::Piece(piece) => self.append(piece).await,
            Record::Remark { step, text } => self.remark(*step, text).await.map(|()| Said::Taken),
        }
    }

    /// Ends a build whose spool cannot be read.
    async fn give_up(&mut self, error: &SpoolError) -> Result<(), Gone> {
        tracing::error!(build.id = %self.uplink.held.build, %error, "what the build said is lost");
        let (outcome, cause) = (Outcome::Retry, Some(Cause::Infrastructure));
        let end = ReportBody::Finished { outcome, cause, summary: cut(error.to_string()) };
        self.report(self.seq + 1, &[end]).await
    }

    /// Reports until the service takes it.
    async fn report(&mut self, first: u64, bodies: &[ReportBody]) -> Result<(), Gone> {
        let Held { build, epoch } = self.uplink.held;
        let reports: Vec<Report> =
            (first..).zip(bodies).map(|(seq, body)| Report { build, epoch, seq, body: body.clone() }).collect();
        for batch in reports.chunks(REPORTS_MAX) {
            let mut waits = self.uplink.backoff.begin();
            loop {
                match self.uplink.master.report(&self.uplink.worker, batch.to_vec()).await {
                    Ok(()) => break,
                    Err(Refusal::Fenced { .. }) => return Err(Gone),
                    Err(refusal) => self.uplink.again_later(&mut waits, &refusal.to_string()).await?,
                }
            }
        }
        self.seq = first + bodies.len() as u64 - 1;
        Ok(())
    }

    /// Appends until the service takes it, or wants to hear what came before again.
    async fn append(&mut self, piece: &Piece) -> Result<Said, Gone> {
        let address = self.uplink.address(piece.step, piece.log);
        // The pieces of a step are all acknowledged before those of the next one come.
        if self.step != piece.step {
            (self.step, self.logs) = (piece.step, BTreeMap::new());
        }
        let log = self.logs.entry(piece.log).or_insert_with(|| Sent::of(Spool::resume(address, 0)));
        if log.has(piece) {
            // It is said again for the sake of another log of the step.
            return Ok(Said::Taken);
        }
        log.spool.push(piece.offset, piece.length, piece.frame.clone());
        let mut waits = self.uplink.backoff.begin();
        while let Some(front) = log.spool.front().cloned() {
            let answer = self.uplink.master.append_log(&self.uplink.worker, front.clone()).await;
            let told = match &answer {
                Ok(length) | Err(Refusal::Offset { length }) => Some(*length),
                Err(_) => None,
            };
            if let Some(length) = told {
                log.furthest = length;
                let own = log.spool.own_offset(length);
                if length < front.offset && self.uplink.queue.go_back((piece.step, piece.log), own) {
                    // Without haste: a service that loses again and again is not to be pressed.
                    log.spool = Spool::resume(address, log.spool.shift());
                    self.uplink.again_later(&mut waits, "the service has less of the log than before").await?;
                    return Ok(Said::GoneBack);
                }
                if self.uplink.left.is_some() && length > front.offset + u64::from(front.length) {
                    log.spool.drop_front();
                    continue;
                }
            }
            match log.spool.answered(answer) {
                log::Next::Go => waits = self.uplink.backoff.begin(),
                log::Next::Later { why } => self.uplink.again_later(&mut waits, &why).await?,
                log::Next::Fenced => return Err(Gone),
            }
        }
        Ok(Said::Taken)
    }

    /// Appends a line of our own where the service's log ends.
    async fn remark(&mut self, step: u32, text: &str) -> Result<(), Gone> {
        let text = format!("\ngristmill: {text}\n");
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let output = self.logs.get(&StepRecipe::OUTPUT_LOG).filter(|_| self.step == step);
        let mut offset = output.map_or(0, |sent| sent.furthest);
        let frame = log::compress(text.as_bytes());
        let mut waits = self.uplink.backoff.begin();
        loop {
            let piece = LogAppend {
                log: self.uplink.address(step, StepRecipe::OUTPUT_LOG),
                offset,
                length,
                frame: frame.clone(),
            };
            match self.uplink.master.append_log(&self.uplink.worker, piece).await {
                Ok(_) => return Ok(()),
                // It was stored, and the answer was lost.
                Err(Refusal::Offset { length: end }) if end == offset + u64::from(length) => return Ok(()),
                Err(Refusal::Offset { length: end }) if end != offset => offset = end,
                Err(Refusal::Fenced { .. }) => return Err(Gone),
                Err(refusal) => self.uplink.again_later(&mut waits, &refusal.to_string()).await?,
            }
        }
    }
}

/// What became of one thing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The service has it.
    Taken,
    /// What came before it is to be said again.
    GoneBack,
}
