//! A service in memory: gives commands until they are acknowledged, and insists on the protocol's rules.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::protocol::{
    ArtifactPiece, BuildOrder, Hello, LogAddress, LogAppend, Refusal, Report, ReportBody, Secrets, Welcome,
    WorkerCommand, limit,
};
use gristmill_model::{BuildId, Outcome, WorkerName};
use gristmill_worker::Master;
use tokio::sync::watch;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a poll without an answer takes.
const LONG_POLL: Duration = Duration::from_secs(30);

/// One build as the service sees it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) reports: Vec<ReportBody>,
    /// Report calls that were needed.
    pub(crate) calls: usize,
    pub(crate) is_fenced: bool,
}

impl Seen {
    pub(crate) fn finished(&self) -> Option<&ReportBody> {
        self.reports.last().filter(|body| matches!(body, ReportBody::Finished { .. }))
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) polls: u64,
    pub(crate) commands: Vec<WorkerCommand>,
    pub(crate) builds: BTreeMap<(BuildId, i64), Seen>,
    pub(crate) logs: BTreeMap<LogAddress, Vec<u8>>,
    /// What steps may have.
    pub(crate) secrets: BTreeMap<String, String>,
    /// Files that were kept, by their digests.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// While it is set nothing is taken, and nothing given.
    pub(crate) is_away: bool,
    /// The next polls are refused.
    pub(crate) polls_refused: u32,
    /// The next answers to appends and reports get lost on their way.
    pub(crate) answers_lost: u32,
}

#[derive(Debug)]
pub(crate) struct Service {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Default for Service {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Service {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes the state, and wakes whoever waits for it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
        value
    }

    /// Waits until something holds.
    pub(crate) async fn until<T>(&self, what: &str, look: impl FnMut(&State) -> Option<T>) -> T {
        let found = self.wait(PATIENCE, look).await;
        found.unwrap_or_else(|| panic!("waited in vain for {what}: {:#?}", self.state().builds))
    }

    async fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                changed.borrow_and_update();
                if let Some(value) = look(&self.state()) {
                    return value;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(limit, wait).await.ok()
    }

    pub(crate) fn command(&self, command: WorkerCommand) {
        self.change(|state| state.commands.push(command));
    }
}

/// Says whether the service still waits for the effect of a command.
fn is_open(state: &State, command: &WorkerCommand) -> bool {
    let seen = |build: BuildId, epoch: i64| state.builds.get(&(build, epoch));
    match command {
        WorkerCommand::Start { order } => seen(order.build, order.epoch).is_none(),
        WorkerCommand::Resume { build, epoch, .. } => seen(*build, *epoch)
            .is_some_and(|seen| matches!(seen.reports.last(), Some(ReportBody::TriggerReached { .. }))),
        WorkerCommand::Cancel { build, epoch, .. } => {
            seen(*build, *epoch).is_none_or(|seen| !seen.is_fenced && seen.finished().is_none())
        }
    }
}

fn away() -> Refusal {
    Refusal::Unavailable { why: "away".to_owned() }
}

#[async_trait]
impl Master for Service {
    async fn hello(&self, hello: Hello) -> Result<Welcome, Refusal> {
        self.change(|state| {
            if state.is_away {
                return Err(away());
            }
            let stop = hello
                .builds
                .iter()
                .filter(|held| state.builds.get(&(held.build, held.epoch)).is_some_and(|seen| seen.is_fenced));
            let stop = stop.copied().collect();
            state.hellos.push(hello);
            Ok(Welcome { stop })
        })
    }

    async fn secrets(&self, _: &WorkerName, _: BuildId, _: i64, _: u32) -> Result<Secrets, Refusal> {
        let values = self.state().secrets.clone();
        Ok(if values.is_empty() {
            Secrets::Denied { why: "not for this branch".to_owned() }
        } else {
            Secrets::Given { values }
        })
    }

    async fn append_artifact(&self, _: &WorkerName, piece: ArtifactPiece) -> Result<u64, Refusal> {
        self.change(|state| {
            let file = state.files.entry(piece.digest.as_str().to_owned()).or_default();
            if piece.offset != file.len() as u64 {
                return Err(Refusal::Offset { length: file.len() as u64 });
            }
            file.extend(&piece.bytes);
            Ok(file.len() as u64)
        })
    }

    async fn poll(&self, _worker: &WorkerName) -> Result<Vec<WorkerCommand>, Refusal> {
        self.change(|state| state.polls += 1);
        let look = |state: &State| {
            if state.is_away || state.polls_refused > 0 {
                return Some(Err(away()));
            }
            let open: Vec<_> = state.commands.iter().filter(|command| is_open(state, command)).cloned().collect();
            (!open.is_empty()).then_some(Ok(open))
        };
        match self.wait(LONG_POLL, look).await {
            Some(Err(refusal)) => {
                self.change(|state| state.polls_refused = state.polls_refused.saturating_sub(1));
                Err(refusal)
            }
            Some(Ok(commands)) => Ok(commands),
            None => Ok(Vec::new()),
        }
    }

    async fn report(&self, _worker: &WorkerName, reports: Vec<Report>) -> Result<(), Refusal> {
        self.change(|state| {
            if state.is_away {
                return Err(away());
            }
            assert!(!reports.is_empty() && reports.len() <= limit::REPORTS_MAX);
            let Report { build, epoch, .. } = reports[0];
            let seen = state.builds.entry((build, epoch)).or_default();
            seen.calls += 1;
            for report in reports {
                assert_eq!((report.build, report.epoch), (build, epoch), "a call is about one build");
                if seen.is_fenced {
                    return Err(Refusal::Fenced { build, epoch });
                }
                let next = seen.reports.len() as u64 + 1;
                assert!(report.seq <= next, "report {} came before {next}", report.seq);
                if report.seq == next {
                    assert!(seen.finished().is_none(), "nothing comes after the end: {report:?}");
                    seen.reports.push(report.body);
                }
            }
            if state.answers_lost > 0 {
                state.answers_lost -= 1;
                return Err(away());
            }
            Ok(())
        })
    }

    async fn append_log(&self, _worker: &WorkerName, piece: LogAppend) -> Result<u64, Refusal> {
        self.change(|state| {
            if state.is_away {
                return Err(away());
            }
            let LogAddress { build, epoch, step, .. } = piece.log;
            let seen = state.builds.entry((build, epoch)).or_default();
            if seen.is_fenced {
                return Err(Refusal::Fenced { build, epoch });
            }
            let is_over =
                |body: &ReportBody| matches!(body, ReportBody::StepFinished { step: over, .. } if *over == step);
            assert!(!seen.reports.iter().any(is_over), "a step's log comes before its end");
            assert!(piece.length > 0 && piece.length as usize <= limit::FRAME_BYTES_MAX);
            let bytes = zstd::bulk::decompress(&piece.frame, limit::FRAME_BYTES_MAX).unwrap();
            assert_eq!(bytes.len(), piece.length as usize);
            let log = state.logs.entry(piece.log).or_default();
            if piece.offset != log.len() as u64 {
                return Err(Refusal::Offset { length: log.len() as u64 });
            }
            log.extend(bytes);
            if state.answers_lost > 0 {
                state.answers_lost -= 1;
                return Err(away());
            }
            Ok(log.len() as u64)
        })
    }
}

/// A build that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) seen: Seen,
    pub(crate) logs: BTreeMap<u32, Vec<u8>>,
}

impl Service {
    /// Gives an order and waits for its end.
    pub(crate) async fn run(&self, order: BuildOrder) -> Ended {
        let lease = (order.build, order.epoch);
        self.command(WorkerCommand::Start { order });
        self.ended(lease).await
    }

    pub(crate) async fn ended(&self, (build, epoch): (BuildId, i64)) -> Ended {
        self.until("the build's end", |state| {
            let seen = state.builds.get(&(build, epoch))?;
            seen.finished()?;
            let logs = state
                .logs
                .iter()
                .filter(|(address, _)| (address.build, address.epoch) == (build, epoch) && address.log == 0);
            let logs = logs.map(|(address, bytes)| (address.step, bytes.clone())).collect();
            Some(Ended { seen: seen.clone(), logs })
        })
        .await
    }

    /// Waits until a step's log has a text in it.
    pub(crate) async fn until_log(&self, build: BuildId, step: u32, text: &str) -> String {
        self.until(text, |state| {
            let (_, bytes) = state.logs.iter().find(|(address, _)| (address.build, address.step) == (build, step))?;
            let log = String::from_utf8_lossy(bytes);
            log.contains(text).then(|| log.into_owned())
        })
        .await
    }
}

impl Ended {
    pub(crate) fn log(&self, step: u32) -> String {
        self.logs.get(&step).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    /// What it came to, for whose fault, in one line: `failure (test): step test: exit code 2`.
    pub(crate) fn end(&self) -> String {
        match self.seen.finished() {
            Some(ReportBody::Finished { outcome, cause, summary }) => match cause {
                Some(cause) => format!("{outcome} ({cause}): {summary}"),
                None => format!("{outcome}: {summary}"),
            },
            other => panic!("the build has not ended: {other:?}"),
        }
    }

    /// The steps that ran, with their ends.
    pub(crate) fn steps(&self) -> Vec<(u32, Outcome, String)> {
        let step = |body: &ReportBody| match body {
            ReportBody::StepFinished { step, outcome, summary, .. } => Some((*step, *outcome, summary.clone())),
            _ => None,
        };
        self.seen.reports.iter().filter_map(step).collect()
    }
}
