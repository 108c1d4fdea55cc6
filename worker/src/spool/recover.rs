//! What an earlier process of this worker left: builds whose end nobody has heard of.
//!
//! A build that was running is over, because its processes are killed when a worker starts. Its spool is completed with
//! that, and delivered like any other.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use gristmill_model::protocol::{Held, ReportBody};
use gristmill_model::{Cause, Outcome};

use super::disk::{Disk, Mark};
use super::{Begin, Outbox, Queue, Record, Spoolyard};
use crate::conclude::StepResult;

/// A build that an earlier process had.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) held: Held,
    pub(crate) queue: Arc<Queue>,
    /// How far the service was.
    pub(crate) mark: Mark,
}

/// What a spool tells of its build.
#[derive(Debug, Default)]
struct Told {
    begin: Option<Begin>,
    seq: u64,
    running: Option<u32>,
    is_finished: bool,
    /// Whether there are pieces of logs.
    has_logs: bool,
}

impl Told {
    fn see(&mut self, record: &Record) {
        match record {
            Record::Begin(begin) => self.begin = Some(begin.clone()),
            Record::Reports { first, bodies } => {
                self.seq = first + bodies.len() as u64 - 1;
                for body in bodies {
                    match body {
                        ReportBody::StepStarted { step } => self.running = Some(*step),
                        ReportBody::StepFinished { .. } => self.running = None,
                        ReportBody::Finished { .. } => self.is_finished = true,
                        ReportBody::Started
                        | ReportBody::TriggerReached { .. }
                        | ReportBody::StepOutputs { .. }
                        | ReportBody::StepTests { .. }
                        | ReportBody::ArtifactStored { .. } => {}
                    }
                }
            }
            Record::Piece(_) => self.has_logs = true,
            Record::Remark { .. } => {}
        }
    }
}

/// Takes over everything below the yard's root. What cannot be read is put aside with a word in the worker's log.
/// Blocks.
pub(crate) fn recover(yard: &Arc<Spoolyard>) -> io::Result<Vec<Recovered>> {
    fs::create_dir_all(&yard.root)?;
    let mut all = Vec::new();
    for entry in fs::read_dir(&yard.root)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        match recover_one(yard, &path) {
            Ok(Some(recovered)) => all.push(recovered),
            // It never came to its first record: nothing of it was ever said.
            Ok(None) => fs::remove_dir_all(&path)?,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "what an earlier run left to say cannot be read");
            }
        }
    }
    all.sort_by_key(|recovered| (recovered.held.build, recovered.held.epoch));
    Ok(all)
}

fn recover_one(yard: &Arc<Spoolyard>, path: &Path) -> io::Result<Option<Recovered>> {
    let mut told = Told::default();
    let disk = Disk::open(path.to_owned(), yard.limits.segment_bytes_max, |record| told.see(record))?;
    let held = match &told.begin {
        Some(begin) => Held { build: begin.build, epoch: begin.epoch },
        None => match held_of(path) {
            // The first segment was sent and deleted.
            Some(held) if told.seq > 0 || told.has_logs => held,
            _ => return Ok(None),
        },
    };
    let mark = disk.read_mark().unwrap_or_default();
    let place = mark.place.max(disk.first());
    let queue = Queue::resume(yard, disk, place, told.seq);
    let outbox = Outbox::new(&queue);
    if !told.is_finished {
        for body in complete(&told, &outbox) {
            outbox.report(vec![body]);
        }
    }
    drop(outbox);
    Ok(Some(Recovered { held, queue, mark: Mark { place, ..mark } }))
}

/// Reads a lease from its folder's name.
fn held_of(path: &Path) -> Option<Held> {
    let (build, epoch) = path.file_name()?.to_str()?.split_once('-')?;
    Some(Held { build: gristmill_model::BuildId(build.parse().ok()?), epoch: epoch.parse().ok()? })
}

/// Says how a build ended that was running when the worker did; what its step's log lacks is remarked there.
fn complete(told: &Told, outbox: &Outbox) -> Vec<ReportBody> {
    let mut bodies = Vec::new();
    if told.seq == 0 {
        bodies.push(ReportBody::Started);
    }
    let mut summary = "the worker was restarted while the build ran".to_owned();
    if let Some(step) = told.running {
        let names = told.begin.as_ref().map(|begin| &begin.steps);
        let name = names.and_then(|names| names.get(usize::try_from(step).ok()?)).cloned();
        summary = format!("the worker was restarted while step {} ran", name.unwrap_or_else(|| step.to_string()));
        outbox.remark(step, summary.clone());
        let StepResult { outcome, cause, summary, warnings, .. } = StepResult::broken(&*summary);
        bodies.push(ReportBody::StepFinished { step, outcome, cause, summary, warnings });
    }
    bodies.push(ReportBody::Finished { outcome: Outcome::Retry, cause: Some(Cause::Infrastructure), summary });
    bodies
}
