//! Events as lines for people: what `serve` and `watch` say as things happen.
//!
//! Pure. An event says enough for its rows but not always enough for a sentence (`build.finished` knows only a number),
//! so the narrator remembers what is open, and forgets it when it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_model::time::say_span;
use gristmill_model::{
    BuildId, BuilderName, BuildsetId, Cause, Change, ChangeId, Event, EventBody, IncidentId, Message, MessageId,
    Outcome, Reason, RepositoryName, RequestId, SchedulerName, SuspectRange, Timestamp, Transition, Trigger, Verdict,
    VerdictKind,
};

use super::terminal::{Ink, Look, clean, clip};

/// Characters of a commit's title or of a reason that are shown.
const TITLE_WIDTH: usize = 72;

/// Schedulers that made nothing of a change and are named; `why` tells the rest.
const NOTHINGS_MAX: usize = 3;

/// Repositories whose suspected changes are named.
const SUSPECTS_MAX: usize = 3;

/// Lines of a refused configuration's mistakes that are shown.
const PROBLEM_LINES_MAX: usize = 40;

/// Open things that are remembered of each kind; beyond it the oldest is forgotten and shown by its number only.
const REMEMBERED_MAX: usize = 10_000;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Changes, builds, buildsets, incidents, messages, troubles.
    Usual,
    /// Also steps and deliveries.
    More,
}

/// What an event is about, for filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The buildset.
    pub buildset: Option<BuildsetId>,
    /// The build.
    pub build: Option<BuildId>,
    /// The request.
    pub request: Option<RequestId>,
    /// The builder.
    pub builder: Option<BuilderName>,
    /// The scheduler.
    pub scheduler: Option<SchedulerName>,
    /// The branch.
    pub branch: Option<String>,
    /// The repository.
    pub repository: Option<String>,
}

#[derive(Debug, Clone)]
struct KnownBuild {
    builder: BuilderName,
    buildset: BuildsetId,
    since: Timestamp,
}

#[derive(Debug, Clone)]
struct KnownBuildset {
    scheduler: SchedulerName,
    branch: String,
}

#[derive(Debug, Clone)]
struct KnownRequest {
    builder: BuilderName,
    buildset: BuildsetId,
}

/// Puts events into lines.
pub struct Narrator {
    look: Look,
    detail: Detail,
    builds: BTreeMap<BuildId, KnownBuild>,
    buildsets: BTreeMap<BuildsetId, KnownBuildset>,
    requests: BTreeMap<RequestId, KnownRequest>,
    messages: BTreeMap<MessageId, Message>,
    incidents: BTreeMap<IncidentId, String>,
    nothings: (ChangeId, usize),
    /// The change that is being told, with what comes of it in the same turn.
    current: Option<(ChangeId, Timestamp)>,
}

impl Narrator {
    /// Makes one that knows nothing yet.
    pub fn new(look: Look, detail: Detail) -> Self {
        Self {
            look,
            detail,
            builds: BTreeMap::new(),
            buildsets: BTreeMap::new(),
            requests: BTreeMap::new(),
            messages: BTreeMap::new(),
            incidents: BTreeMap::new(),
            nothings: (ChangeId::default(), 0),
            current: None,
        }
    }

    /// Tells it of a build that began before it listened.
    pub fn know_build(&mut self, build: BuildId, builder: BuilderName, buildset: BuildsetId, since: Timestamp) {
        remember(&mut self.builds, build, KnownBuild { builder, buildset, since });
    }

    /// Tells it of a buildset that was made before it listened.
    pub fn know_buildset(&mut self, buildset: BuildsetId, scheduler: SchedulerName, branch: String) {
        remember(&mut self.buildsets, buildset, KnownBuildset { scheduler, branch });
    }

    /// Tells it of a request that was made before it listened.
    pub fn know_request(&mut self, request: RequestId, builder: BuilderName, buildset: BuildsetId) {
        remember(&mut self.requests, request, KnownRequest { builder, buildset });
    }

    /// Says what an event is about. To be asked before [`Narrator::tell`], which forgets what has ended.
    pub fn subject(&self, body: &EventBody) -> Subject {
        use EventBody as E;
        match body {
            E::ChangeSeen { change } => Subject {
                branch: Some(change.reference.short().to_owned()),
                repository: Some(change.repository.to_string()),
                ..Subject::default()
            },
            E::VerdictGiven { verdict } => {
                let buildset = match verdict.kind {
                    VerdictKind::Built { buildset } => Some(buildset),
                    VerdictKind::Held { .. } | VerdictKind::Nothing => None,
                };
                Subject { buildset, scheduler: Some(verdict.scheduler.clone()), ..Subject::default() }
            }
            E::BuildsetCreated { buildset, .. } => Subject {
                buildset: Some(buildset.id),
                scheduler: Some(buildset.scheduler.clone()),
                branch: Some(buildset.branch.clone()),
                ..Subject::default()
            },
            E::BuildsetCompleted { buildset, .. } => self.of_buildset(*buildset),
            E::RequestReleased { request } | E::RequestSettled { request, .. } => self.of_request(*request),
            E::BuildLeased { build } => Subject {
                build: Some(build.id),
                request: Some(build.request),
                builder: Some(build.builder.clone()),
                ..self.of_buildset(build.buildset)
            },
            E::BuildStarted { build }
            | E::StepStarted { build, .. }
            | E::StepFinished { build, .. }
            | E::StepOutputs { build, .. }
            | E::StepTested { build, .. }
            | E::StepTriggered { build, .. }
            | E::BuildResumable { build }
            | E::BuildResumed { build, .. }
            | E::BuildCancelAsked { build, .. }
            | E::BuildFinished { build, .. }
            | E::ReportRefused { build, .. } => self.of_build(*build),
            E::ArtifactStored { artifact } => self.of_build(artifact.build),
            E::BuilderTurned { builder, branch, build, .. } | E::IncidentOpened { builder, branch, build, .. } => {
                Subject { builder: Some(builder.clone()), branch: Some(branch.clone()), ..self.of_build(*build) }
            }
            E::IncidentJoined { builder, build, .. } | E::IncidentEased { builder, build, .. } => {
                Subject { builder: Some(builder.clone()), ..self.of_build(*build) }
            }
            E::IncidentClosed { build, .. } => self.of_build(*build),
            E::RepositorySeen { repository }
            | E::TipRecorded { repository, .. }
            | E::SourceFailing { repository, .. }
            | E::SourceRecovered { repository, .. } => {
                Subject { repository: Some(repository.to_string()), ..Subject::default() }
            }
            E::DeliveryAccepted { delivery } => {
                Subject { repository: Some(delivery.repository.to_string()), ..Subject::default() }
            }
            E::TimerFired { scheduler, .. } | E::UpstreamNoted { scheduler, .. } => {
                Subject { scheduler: Some(scheduler.clone()), ..Subject::default() }
            }
            _ => Subject::default(),
        }
    }

    fn of_buildset(&self, buildset: BuildsetId) -> Subject {
        let known = self.buildsets.get(&buildset);
        Subject {
            buildset: Some(buildset),
            scheduler: known.map(|known| known.scheduler.clone()),
            branch: known.map(|known| known.branch.clone()),
            ..Subject::default()
        }
    }

    fn of_request(&self, request: RequestId) -> Subject {
        let Some(known) = self.requests.get(&request) else {
            return Subject { request: Some(request), ..Subject::default() };
        };
        Subject { request: Some(request), builder: Some(known.builder.clone()), ..self.of_buildset(known.buildset) }
    }

    fn of_build(&self, build: BuildId) -> Subject {
        let Some(known) = self.builds.get(&build) else {
            return Subject { build: Some(build), ..Subject::default() };
        };
        Subject { build: Some(build), builder: Some(known.builder.clone()), ..self.of_buildset(known.buildset) }
    }

    /// Puts an event into lines: none, one, or one with lines that belong to it. Untrusted text is cleaned.
    pub fn tell(&mut self, event: &Event) -> Vec<String> {
        let said = self.say(event);
        if let EventBody::ChangeSeen { change } = &event.body {
            self.current = Some((change.id, event.at));
        }
        let clock = self.look.paint(Ink::Dim, &event.at.to_clock());
        said.into_iter()
            .map(|line| match line {
                Line::New(text) => format!("  {clock}  {text}"),
                Line::More(text) => format!("            {text}").trim_end().to_owned(),
            })
            // Names come from a service that may not be the one that checked them.
            .map(|line| self.look.safe(&line))
            .collect()
    }

    fn say(&mut self, event: &Event) -> Vec<Line> {
        use EventBody as E;
        match &event.body {
            E::CatalogActivated { hash } => new(format!("catalog {}  in force", hash.short())),
            E::CatalogRefused { problems } => self.refused(problems),
            E::ChangeSeen { change } => self.change(change),
            E::VerdictGiven { verdict } => self.verdict(verdict),
            E::BuildsetCreated { buildset, requests, .. } => {
                self.know_buildset(buildset.id, buildset.scheduler.clone(), buildset.branch.clone());
                for request in requests {
                    self.know_request(request.id, request.builder.clone(), buildset.id);
                }
                let builds = count(requests.len(), "build");
                let said = format!("{} buildset {}  {} ({builds})", self.look.arrow(), buildset.id, buildset.scheduler);
                match &buildset.trigger {
                    // It stands below the change that set it off.
                    Trigger::Changes { changes }
                        if changes.last().map(|change| (*change, event.at)) == self.current =>
                    {
                        vec![Line::More(said)]
                    }
                    trigger => new(format!("{said}  {}", set_off_by(trigger))),
                }
            }
            E::BuildLeased { build } => {
                self.know_build(build.id, build.builder.clone(), build.buildset, event.at);
                let attempt = if build.attempt > 1 { format!(", attempt {}", build.attempt) } else { String::new() };
                let sign = self.look.sign("running");
                new(format!("{sign} build {}  {} on {}{attempt}", build.id, build.builder, build.worker))
            }
            E::StepStarted { build, step, name } if self.detail >= Detail::More => {
                new(format!("  build {build}  step {step} {}", clip(name, TITLE_WIDTH)))
            }
            E::StepFinished { build, step, outcome, summary, .. } if self.detail >= Detail::More => {
                let sign = self.look.sign(outcome.as_str());
                new(format!("{sign} build {build}  step {step} {outcome}  {}", clip(summary, TITLE_WIDTH)))
            }
            E::ArtifactStored { artifact } if self.detail >= Detail::More => {
                let name = clip(&artifact.path, TITLE_WIDTH);
                new(format!(
                    "  build {}  step {} kept {name} ({} bytes)",
                    artifact.build, artifact.step, artifact.bytes
                ))
            }
            E::StepTriggered { build, step, buildset, wait } => {
                let then = if *wait { "and waits for it" } else { "and goes on" };
                new(format!("  build {build}  step {step} started buildset {buildset} {then}"))
            }
            E::BuildCancelAsked { build, by } => new(format!("  build {build}  {} asked for its end", clean(by))),
            E::BuildFinished { build, outcome, cause, summary, retry } => {
                self.build_finished(*build, *outcome, *cause, summary, *retry, event.at)
            }
            E::RequestSettled { request, outcome, reason, .. } => {
                let name = self.requests.get(request).map_or("", |known| known.builder.as_str());
                let sign = self.look.sign(outcome.as_str());
                new(format!("{sign} request {request}  {name}  {outcome}: {}", clip(reason, TITLE_WIDTH)))
            }
            E::BuildsetCompleted { buildset, outcome } => self.completed(*buildset, *outcome),
            E::TimerFired { scheduler, nothing: Some(why), .. } => {
                new(format!("  {scheduler}  nothing ({})", clip(why, TITLE_WIDTH)))
            }
            E::BuilderTurned { builder, branch, transition: Transition::StillFailing, .. } => {
                let sign = self.look.sign("failure");
                new(format!("{sign} {builder} still fails on {}", clip(branch, TITLE_WIDTH)))
            }
            E::SourceFailing { repository, error, failures } => {
                let sign = self.look.sign("warnings");
                new(format!("{sign} {repository}  cannot be read ({failures}×): {}", clip(error, 2 * TITLE_WIDTH)))
            }
            E::SourceRecovered { repository, failures } => new(format!(
                "{} {repository}  can be read again after {}",
                self.look.sign("success"),
                count(*failures as usize, "failure")
            )),
            E::RepositorySeen { repository } => new(format!("  {repository}  seen for the first time")),
            E::DeliveryAccepted { delivery } if self.detail >= Detail::More => new(format!(
                "  delivery {}  {} for {}",
                delivery.id,
                clip(&delivery.event, TITLE_WIDTH),
                delivery.repository
            )),
            E::ReportRefused { worker, build, why, .. } => {
                let sign = self.look.sign("warnings");
                new(format!("{sign} build {build}  {worker} is not heard: {}", clip(why, TITLE_WIDTH)))
            }
            E::WorkerJoined { worker } => {
                let slots = count(worker.slots as usize, "slot");
                new(format!("{} worker {}  joined, {slots}", self.look.sign("success"), worker.name))
            }
            E::WorkerLeft { worker, why } => {
                new(format!("{} worker {worker}  left: {}", self.look.sign("warnings"), clip(why, TITLE_WIDTH)))
            }
            E::InstanceRestored { head, taken, .. } => {
                let sign = self.look.sign("warnings");
                new(format!("{sign} restored from the backup of {}, event {head}", taken.to_minute()))
            }
            E::RetentionRan { deleted, .. } => {
                let total: u64 = deleted.values().sum();
                let what: Vec<String> = deleted.iter().map(|(noun, number)| format!("{number} {noun}")).collect();
                if total == 0 { Vec::new() } else { new(format!("  retention  deleted {}", what.join(", "))) }
            }
            body => self.trouble_or_message(body),
        }
    }

    /// Incidents and messages: what people are told of.
    fn trouble_or_message(&mut self, body: &EventBody) -> Vec<Line> {
        use EventBody as E;
        let look = self.look;
        match body {
            E::IncidentOpened { incident, branch, builder, build, suspects } => {
                remember(&mut self.incidents, *incident, branch.clone());
                let suspects: Vec<String> = suspects.iter().take(SUSPECTS_MAX).map(suspected).collect();
                let by = if suspects.is_empty() { String::new() } else { format!(" by {}", suspects.join(", ")) };
                let said = format!(
                    "incident {incident}  {builder} broke on {}{by} (build {build})",
                    clip(branch, TITLE_WIDTH)
                );
                new(format!("{} {}", look.sign("failure"), look.paint(Ink::Red, &said)))
            }
            E::IncidentJoined { incident, builder, build, .. } => {
                new(format!("{} incident {incident}  {builder} broke too (build {build})", look.sign("failure")))
            }
            E::IncidentEased { incident, builder, build } => {
                new(format!("{} incident {incident}  {builder} is good again (build {build})", look.sign("success")))
            }
            E::IncidentClosed { incident, build } => {
                let branch = self.incidents.remove(incident).unwrap_or_default();
                let on = if branch.is_empty() { String::new() } else { format!(" on {}", clip(&branch, TITLE_WIDTH)) };
                let said = format!("incident {incident}  fixed{on} (build {build})");
                new(format!("{} {}", look.sign("success"), look.paint(Ink::Green, &said)))
            }
            E::MessageQueued { message } => {
                remember(&mut self.messages, message.id, message.clone());
                Vec::new()
            }
            E::MessageDelivered { message, .. } => match self.messages.remove(message) {
                Some(known) => {
                    let (target, subject) = (clip(&known.target, TITLE_WIDTH), clip(&known.subject, 2 * TITLE_WIDTH));
                    new(format!("{} {} to {target}: {subject}", look.arrow(), known.notifier))
                }
                None => new(format!("{} message {message} delivered", look.arrow())),
            },
            E::MessageDeferred { message, error, attempts, due } => {
                let to = self.target_of(*message);
                let error = clip(error, 2 * TITLE_WIDTH);
                let sign = look.sign("warnings");
                // Without an attempt there was nobody to try it with: no connection, as with IRC after a start.
                let tried = match attempts {
                    0 => "waits to be delivered".to_owned(),
                    1 => "not delivered".to_owned(),
                    _ => format!("not delivered, {attempts} times"),
                };
                new(format!("{sign} {to} {tried}; again at {}: {error}", due.to_clock()))
            }
            E::DoctorFound { check, detail } => {
                let sign = self.look.sign("warnings");
                new(format!("{sign} doctor  {check}: {}", clip(detail, 2 * TITLE_WIDTH)))
            }
            E::DoctorCleared { check } => {
                new(format!("{} doctor  {check} is as it should be again", self.look.sign("success")))
            }
            E::MessageDead { message, error } => {
                let to = self.target_of(*message);
                self.messages.remove(message);
                new(format!("{} {to} given up: {}", look.sign("exception"), clip(error, 2 * TITLE_WIDTH)))
            }
            _ => Vec::new(),
        }
    }

    fn refused(&self, problems: &str) -> Vec<Line> {
        let sign = self.look.sign("failure");
        let said = "the configuration is refused; the one before stays in force";
        let mut lines = new(format!("{sign} {}", self.look.paint(Ink::Red, said)));
        let total = problems.lines().count();
        lines.extend(problems.lines().take(PROBLEM_LINES_MAX).map(|line| Line::More(clip(line, 200))));
        if total > PROBLEM_LINES_MAX {
            lines.push(Line::More(format!("… {} lines more: gristmill check", total - PROBLEM_LINES_MAX)));
        }
        lines
    }

    fn change(&self, change: &Change) -> Vec<Line> {
        let branch = clip(change.reference.short(), TITLE_WIDTH);
        let revision = change.new.as_ref().map_or("gone", |revision| revision.short());
        let author = change.commits.last().map_or(String::new(), |commit| clip(&commit.author.name, 40));
        let title = clip(&change.title(), TITLE_WIDTH);
        let what = self.look.paint(Ink::Bold, &format!("change {}", change.id));
        let gap = if author.is_empty() { "" } else { " " };
        new(format!("{what}  {} {branch} {revision}{gap}{author} “{title}”", change.repository))
    }

    fn verdict(&mut self, verdict: &Verdict) -> Vec<Line> {
        if self.nothings.0 != verdict.change {
            self.nothings = (verdict.change, 0);
        }
        // That everything matches goes without saying.
        let told = verdict.reasons.iter().filter(|reason| !matches!(reason, Reason::Matches));
        let why = || told.map(ToString::to_string).collect::<Vec<_>>().join("; ");
        match verdict.kind {
            // The buildset's own line says it.
            VerdictKind::Built { .. } => Vec::new(),
            VerdictKind::Held { .. } => {
                vec![Line::More(format!("{}: {}", verdict.scheduler, clip(&why(), 2 * TITLE_WIDTH)))]
            }
            VerdictKind::Nothing if self.detail < Detail::More && verdict.reasons.iter().any(is_no_news) => Vec::new(),
            VerdictKind::Nothing => {
                self.nothings.1 += 1;
                let scheduler = &verdict.scheduler;
                let said = match self.nothings.1 {
                    ..=NOTHINGS_MAX => format!("{scheduler}: nothing ({})", clip(&why(), 2 * TITLE_WIDTH)),
                    n if n == NOTHINGS_MAX + 1 => format!("… others: gristmill why change {}", verdict.change),
                    _ => return Vec::new(),
                };
                vec![Line::More(self.look.paint(Ink::Dim, &said))]
            }
        }
    }

    fn build_finished(
        &mut self,
        build: BuildId,
        outcome: Outcome,
        cause: Option<Cause>,
        summary: &str,
        retry: bool,
        at: Timestamp,
    ) -> Vec<Line> {
        let known = self.builds.remove(&build);
        let builder = known.as_ref().map_or("", |known| known.builder.as_str());
        let took = known.as_ref().map_or(Duration::ZERO, |known| at.since(known.since));
        let sign = self.look.sign(outcome.as_str());
        let mut said = format!("{sign} build {build}  {builder}  {outcome} in {}", say_span(took));
        if let Some(cause) = cause {
            said.push_str(&format!(" ({cause})"));
        }
        if !outcome.is_good() && !summary.is_empty() {
            said.push_str(&format!(": {}", clip(summary, TITLE_WIDTH)));
        }
        if retry {
            said.push_str(", is tried again");
        }
        let mut lines = new(said);
        if outcome.is_bad() && !retry {
            lines.push(Line::More(self.look.paint(Ink::Dim, &format!("gristmill logs {build}"))));
        }
        lines
    }

    fn completed(&mut self, buildset: BuildsetId, outcome: Outcome) -> Vec<Line> {
        let scheduler = self.buildsets.remove(&buildset).map_or(String::new(), |known| known.scheduler.to_string());
        self.requests.retain(|_, known| known.buildset != buildset);
        let sign = self.look.sign(outcome.as_str());
        new(format!("{sign} buildset {buildset}  {scheduler}  {outcome}"))
    }

    fn target_of(&self, message: MessageId) -> String {
        match self.messages.get(&message) {
            Some(known) => format!("{} to {}", known.notifier, clip(&known.target, TITLE_WIDTH)),
            None => format!("message {message}"),
        }
    }
}

/// A line that begins with the clock, or one that belongs to the line before.
enum Line {
    New(String),
    More(String),
}

fn new(text: String) -> Vec<Line> {
    vec![Line::New(text)]
}

fn remember<K: Ord + Clone, V>(known: &mut BTreeMap<K, V>, key: K, value: V) {
    if known.len() >= REMEMBERED_MAX {
        known.pop_first();
    }
    known.insert(key, value);
}

/// Gives `1 build`, `3 builds`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Says which changes of a repository may have done it.
fn suspected((repository, range): (&RepositoryName, &SuspectRange)) -> String {
    let SuspectRange { after, upto, .. } = range;
    if after.next() == *upto {
        format!("{repository} change {upto}")
    } else if *after == ChangeId(0) {
        format!("{repository} changes up to {upto}")
    } else {
        format!("{repository} changes after {after} up to {upto}")
    }
}

/// Says whether a reason for doing nothing follows from the configuration alone: the scheduler is about something else.
/// `why` tells it to those who ask.
fn is_no_news(reason: &Reason) -> bool {
    match reason {
        Reason::NotWokenByChanges { .. } | Reason::OtherTarget { .. } | Reason::RepositoryNotBuilt { .. } => true,
        Reason::Mismatch { mismatch } => mismatch.field == "repository",
        _ => false,
    }
}

fn set_off_by(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Changes { changes } => match changes.as_slice() {
            [change] => format!("for change {change}"),
            changes => format!("for {}", count(changes.len(), "change")),
        },
        Trigger::Time { nominal, .. } => format!("by the clock, for {} UTC", nominal.to_clock()),
        Trigger::Upstream { buildsets } => {
            let buildsets: Vec<String> = buildsets.iter().map(|buildset| format!("buildset {buildset}")).collect();
            format!("after {}", buildsets.join(", "))
        }
        Trigger::Step { build, step, .. } => format!("by build {build}, step {step}"),
        Trigger::Person { by, reason } => match reason {
            Some(reason) => format!("by {}: {}", clip(by, 40), clip(reason, TITLE_WIDTH)),
            None => format!("by {}", clip(by, 40)),
        },
    }
}

#[cfg(test)]
mod tests;
