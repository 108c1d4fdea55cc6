//! The announcer: reads the journal behind the engine and makes messages of what happened.
//!
//! Messages and the cursor are written in one turn, so each event is announced exactly once. What was read and found
//! not worth a message moves the cursor only now and then: read again after a crash, it is not worth one again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::LogAddress;
use gristmill_model::{BuildId, Catalog, Event, EventBody, IncidentId, Message, MessageId, Seq};
use gristmill_notifiers::happening::{ExcerptLine, FailedStep};
use gristmill_notifiers::telling::{self, BuildFacts, Facts, IncidentFacts, MessageFacts, SuspectFacts};
use gristmill_notifiers::{Happening, Renderer, route};
use gristmill_schedulers::Input;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{ANNOUNCER, Engine};
use crate::chain::chain;
use crate::logs::LogStore;
use crate::store::{ReadError, Reader, StoreError, SuspectRow};

/// Events read at once.
const BATCH: u32 = 256;
/// How far the cursor may stay behind what was read without a message.
const CURSOR_LAG_MAX: i64 = 1_000;
/// The wait after a first failure to read or write; it doubles with each one in a row.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// What the announcer needs.
#[derive(Debug)]
pub struct Announcer {
    /// Takes the messages.
    pub engine: Engine,
    /// Has the facts.
    pub reader: Reader,
    /// Has the log lines.
    pub logs: LogStore,
    /// The address that people reach the pages by.
    pub url: String,
}

/// Why nothing is announced for now.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The journal.
    #[error("cannot read what happened")]
    Store(#[from] StoreError),
    /// The tables.
    #[error("cannot read the facts")]
    Read(#[from] ReadError),
    /// The engine.
    #[error("cannot queue messages")]
    Engine(#[from] super::EngineError),
}

/// Where the announcer is, while it runs.
struct Progress {
    read: Seq,
    saved: Seq,
}

impl Announcer {
    /// Follows the journal until stopped. `done` says up to which event everything is told.
    pub async fn run(self, done: watch::Sender<Seq>, stop: CancellationToken) {
        let mut head = self.engine.head();
        let renderer = Renderer::new();
        let mut progress = loop {
            match self.reader.cursor(ANNOUNCER).await {
                Ok(cursor) => break Progress { read: cursor, saved: cursor },
                Err(problem) => error!("the announcer's cursor cannot be read: {}", chain(&problem)),
            }
            if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                return;
            }
        };
        let mut failures = 0;
        loop {
            let wait = match self.step(&renderer, &mut progress).await {
                Ok(is_more) => {
                    failures = 0;
                    if is_more {
                        continue;
                    }
                    None
                }
                Err(problem) => {
                    let wait = RETRY.saturating_mul(1 << failures).min(RETRY_MAX);
                    failures = (failures + 1).min(16);
                    let seconds = wait.as_secs();
                    let why = chain(&problem);
                    error!("announcing stands still at event {}, next try in {seconds} s: {why}", progress.read);
                    Some(wait)
                }
            };
            done.send_replace(progress.read);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                changed = head.changed(), if wait.is_none() => if changed.is_err() { return },
            }
        }
    }

    /// Reads one batch; says whether there was one.
    async fn step(&self, renderer: &Renderer, progress: &mut Progress) -> Result<bool, AnnounceError> {
        let events = self.reader.events_after(progress.read, BATCH).await?;
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(false) };
        let catalog = self.engine.catalog();
        let mut messages: BTreeMap<String, Message> = BTreeMap::new();
        for event in &events {
            for message in self.tell(renderer, &catalog, event).await? {
                messages.entry(message.key.clone()).or_insert(message);
            }
        }
        let mut news = Vec::new();
        for (key, message) in messages {
            if !self.reader.has_message(&key).await? {
                news.push(message);
            }
        }
        news.sort_by_key(|message| message.event);
        if !news.is_empty() || last.0 - progress.saved.0 >= CURSOR_LAG_MAX {
            info!(messages = news.len(), "announced up to event {last}");
            self.engine.submit(Input::Announce { from: progress.saved, to: last, messages: news }).await?;
            progress.saved = last;
        }
        progress.read = last;
        Ok(true)
    }

    async fn tell(
        &self,
        renderer: &Renderer,
        catalog: &Arc<Catalog>,
        event: &Event,
    ) -> Result<Vec<Message>, AnnounceError> {
        let Some(happening) = telling::happening(self, catalog, event).await? else { return Ok(Vec::new()) };
        let happening = Happening { url: Some(self.url.clone()), ..happening };
        let routing = route(catalog, &happening);
        for who in &routing.passed_over {
            warn!("event {}: {who}", event.seq);
        }
        Ok(routing.addressed.iter().map(|addressed| renderer.render(catalog, addressed, &happening)).collect())
    }

    /// Reads the lines round the first error. A log that cannot be read is no reason to tell nothing.
    async fn excerpt(&self, log: LogAddress) -> Vec<ExcerptLine> {
        let logs = self.logs.clone();
        let read = tokio::task::spawn_blocking(move || logs.excerpt(log)).await;
        match read {
            Ok(Ok(excerpt)) => excerpt
                .lines
                .into_iter()
                .map(|line| ExcerptLine {
                    is_error: excerpt.error == Some(line.number),
                    number: line.number,
                    text: String::from_utf8_lossy(&line.text).into_owned(),
                })
                .collect(),
            Ok(Err(problem)) => {
                warn!("the log of build {} has no excerpt: {}", log.build, chain(&problem));
                Vec::new()
            }
            Err(problem) => {
                warn!("the log of build {} has no excerpt: {problem}", log.build);
                Vec::new()
            }
        }
    }
}

impl Facts for Announcer {
    type Error = AnnounceError;

    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentFacts>, AnnounceError> {
        let known = self.reader.find_incident(id).await?;
        Ok(known.map(|known| IncidentFacts {
            builders: known.builders.into_iter().map(|one| one.builder).collect(),
            suspects: known.suspects.into_iter().map(suspect).collect(),
            opened_at: known.opened_at,
        }))
    }

    async fn build(&self, id: BuildId) -> Result<Option<BuildFacts>, AnnounceError> {
        let Some(known) = self.reader.happening_facts(id).await? else { return Ok(None) };
        let mut facts = BuildFacts {
            buildset: known.buildset,
            project: known.project,
            branch: known.branch,
            scheduler: known.scheduler,
            outcome: known.outcome,
            cause: known.cause,
            stamps: known.stamps,
            worker: known.worker,
            summary: known.summary,
            step: None,
            excerpt: Vec::new(),
        };
        if let Some(step) = known.failing_step {
            if let Some(log) = step.log {
                facts.excerpt = self.excerpt(log).await;
            }
            let summary = step.summary.unwrap_or_default();
            facts.step = Some(FailedStep { number: step.number, name: step.name, summary });
        }
        Ok(Some(facts))
    }

    async fn culprits(&self, build: BuildId) -> Result<Vec<SuspectFacts>, AnnounceError> {
        let range = self.reader.culprit_range(build).await?;
        Ok(range.into_iter().flat_map(|range| range.suspects).map(suspect).collect())
    }

    async fn message(&self, id: MessageId) -> Result<Option<MessageFacts>, AnnounceError> {
        let Some(dead) = self.reader.find_message(id).await? else { return Ok(None) };
        let told_of = self.reader.events_after(Seq(dead.event.0 - 1), 1).await?;
        // An event that is no longer kept has a later one in its place.
        let told_of_death =
            told_of.iter().any(|told| told.seq == dead.event && matches!(told.body, EventBody::MessageDead { .. }));
        if told_of_death {
            warn!("message {id} told of a message that was given up; nobody is told of it");
        }
        Ok(Some(MessageFacts { notifier: dead.notifier, told_of_death }))
    }
}

fn suspect(row: SuspectRow) -> SuspectFacts {
    SuspectFacts {
        change: row.change,
        repository: row.repository,
        revision: row.revision,
        title: row.title,
        authors: row.authors,
    }
}
