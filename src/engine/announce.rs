//! The announcer: reads the journal behind the engine and makes messages of what happened.
//!
//! Messages and the cursor are written in one turn, so each event is announced exactly once. What was read and found
//! not worth a message moves the cursor only now and then: read again after a crash, it is not worth one again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::{
    BuildId, BuilderName, Catalog, Event, EventBody, IncidentId, Message, MessageId, Seq, Transition,
};
use gristmill_notifiers::happening::{ExcerptLine, FailedStep, Suspect};
use gristmill_notifiers::{Happening, Renderer, route};
use gristmill_schedulers::Input;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{ANNOUNCER, Engine};
use crate::chain::chain;
use crate::logs::LogStore;
use crate::store::{IncidentRow, ReadError, Reader, StoreError, SuspectRow};

/// Events read at once.
const BATCH: u32 = 256;
/// How far the cursor may stay behind what was read without a message.
const CURSOR_LAG_MAX: i64 = 1_000;
/// Commits that a message names; more are counted.
const SUSPECTS_SHOWN_MAX: usize = 20;
/// The wait after a first failure to read or write; it doubles with each one in a row.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// A repository is told to be failing when it has failed this often in a row: one glitch is no news.
const FAILURES_TOLD: u32 = 2;

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

#[derive(Debug, thiserror::Error)]
enum AnnounceError {
    #[error("cannot read what happened")]
    Store(#[from] StoreError),
    #[error("cannot read the facts")]
    Read(#[from] ReadError),
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
        let Some(happening) = self.happening(catalog, event).await? else { return Ok(Vec::new()) };
        let routing = route(catalog, &happening);
        for who in &routing.passed_over {
            warn!("event {}: {who}", event.seq);
        }
        Ok(routing.addressed.iter().map(|addressed| renderer.render(catalog, addressed, &happening)).collect())
    }

    /// Makes a happening of an event that is worth one.
    async fn happening(&self, catalog: &Catalog, event: &Event) -> Result<Option<Happening>, AnnounceError> {
        let (seq, at) = (event.seq, event.at);
        let system = |kind: &str, detail: String| Happening::of_system(seq, at, kind, detail);
        Ok(match &event.body {
            EventBody::IncidentOpened { incident, builder, build, .. }
            | EventBody::IncidentJoined { incident, builder, build, .. } => {
                Some(self.turned(event, Transition::Broke, *incident, Some(builder), *build).await?)
            }
            EventBody::IncidentClosed { incident, build } => {
                Some(self.turned(event, Transition::Fixed, *incident, None, *build).await?)
            }
            EventBody::BuilderTurned { builder, transition: Transition::StillFailing, build, .. } => {
                let mut happening = Happening::turned(seq, at, Transition::StillFailing, vec![builder.clone()]);
                self.add_build(&mut happening, *build).await?;
                self.add_culprits(&mut happening, *build).await?;
                Some(happening)
            }
            EventBody::SourceFailing { repository, error, failures } if *failures == FAILURES_TOLD => {
                let mut happening = system("source.failing", error.clone());
                happening.projects = catalog.projects_of(repository);
                happening.repository = Some(repository.clone());
                Some(happening)
            }
            EventBody::SourceRecovered { repository, failures } if *failures >= FAILURES_TOLD => {
                let detail = format!("it had failed {failures} times in a row");
                let mut happening = system("source.recovered", detail);
                happening.projects = catalog.projects_of(repository);
                happening.repository = Some(repository.clone());
                Some(happening)
            }
            EventBody::CatalogRefused { problems } => Some(system("catalog.refused", problems.clone())),
            EventBody::MessageDead { message, error } => self.given_up(event, *message, error).await?,
            _ => None,
        }
        .map(|happening| Happening { url: Some(self.url.clone()), ..happening }))
    }

    /// Tells that a message was given up, by other notifiers than the one that gave up. That such news could not be told
    /// is no news again: two notifiers that both fail would tell of each other without end.
    async fn given_up(
        &self,
        event: &Event,
        message: MessageId,
        error: &str,
    ) -> Result<Option<Happening>, AnnounceError> {
        let mut happening =
            Happening::of_system(event.seq, event.at, "message.dead", format!("message {message}: {error}"));
        let Some(dead) = self.reader.find_message(message).await? else { return Ok(Some(happening)) };
        let told_of = self.reader.events_after(Seq(dead.event.0 - 1), 1).await?;
        if told_of.iter().any(|told| matches!(told.body, EventBody::MessageDead { .. })) {
            warn!("event {}: message {message} told of a message that was given up; nobody is told of it", event.seq);
            return Ok(None);
        }
        happening.notifier = Some(dead.notifier);
        Ok(Some(happening))
    }

    /// Tells of an incident that broke or was fixed, with all builders that it has by now.
    async fn turned(
        &self,
        event: &Event,
        transition: Transition,
        incident: IncidentId,
        first: Option<&BuilderName>,
        build: BuildId,
    ) -> Result<Happening, AnnounceError> {
        let known = self.reader.find_incident(incident).await?;
        let mut happening = Happening::turned(event.seq, event.at, transition, builders(first, known.as_ref()));
        happening.incident = Some(incident);
        self.add_build(&mut happening, build).await?;
        if let Some(known) = known {
            happening.since = Some(known.opened_at);
            if transition == Transition::Broke {
                add_suspects(&mut happening, &known.suspects);
            } else {
                self.add_culprits(&mut happening, build).await?;
            }
        }
        Ok(happening)
    }

    async fn add_build(&self, happening: &mut Happening, build: BuildId) -> Result<(), AnnounceError> {
        let Some(facts) = self.reader.happening_facts(build).await? else { return Ok(()) };
        happening.build = Some(build);
        happening.buildset = Some(facts.buildset);
        happening.projects = facts.project.into_iter().collect();
        happening.branch = Some(facts.branch);
        happening.scheduler = Some(facts.scheduler);
        happening.outcome = facts.outcome;
        happening.cause = facts.cause;
        happening.stamps = facts.stamps;
        happening.worker = Some(facts.worker);
        happening.detail = facts.summary;
        if let Some(step) = facts.failing_step {
            if let Some(log) = step.log {
                happening.excerpt = self.excerpt(log).await;
            }
            let summary = step.summary.unwrap_or_default();
            happening.step = Some(FailedStep { number: step.number, name: step.name, summary });
        }
        Ok(())
    }

    /// Reads the lines round the first error. A log that cannot be read is no reason to tell nothing.
    async fn excerpt(&self, log: gristmill_model::protocol::LogAddress) -> Vec<ExcerptLine> {
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

    async fn add_culprits(&self, happening: &mut Happening, build: BuildId) -> Result<(), AnnounceError> {
        if let Some(range) = self.reader.culprit_range(build).await? {
            add_suspects(happening, &range.suspects);
        }
        Ok(())
    }
}

/// Lists an incident's builders, the one that showed it first.
fn builders(first: Option<&BuilderName>, incident: Option<&IncidentRow>) -> Vec<BuilderName> {
    let mut seen = BTreeSet::new();
    first
        .into_iter()
        .chain(incident.into_iter().flat_map(|incident| incident.builders.iter().map(|one| &one.builder)))
        .filter(|builder| seen.insert((*builder).clone()))
        .cloned()
        .collect()
}

/// Names the newest commits first, one line per author and change.
fn add_suspects(happening: &mut Happening, suspects: &[SuspectRow]) {
    let all: Vec<Suspect> = suspects
        .iter()
        .rev()
        .flat_map(|suspect| {
            suspect.authors.iter().map(|author| Suspect {
                change: suspect.change,
                repository: suspect.repository.clone(),
                revision: suspect.revision.clone().unwrap_or_default(),
                author: author.clone(),
                subject: suspect.title.clone(),
            })
        })
        .collect();
    happening.suspects_more = all.len().saturating_sub(SUSPECTS_SHOWN_MAX);
    happening.suspects = all.into_iter().take(SUSPECTS_SHOWN_MAX).collect();
}
