//! The test language: a small world in, what happened out.
//!
//! ```text
//! repository app
//! builder test of app [requires gpu=yes] [retries 1]
//! scheduler quick: branch app/main [files src/**]; quiet 2m at-most 10m; test, package needs test
//! scheduler after: dependent quick; deploy
//! worker w1 2
//! 00:00 app main a1 by ada: src/lib.rs
//! 00:01 test succeeds
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use gristmill_model::matching::{Field, Matcher};
use gristmill_model::protocol::{Hello, Report, ReportBody, WorkerCommand};
use gristmill_model::{
    Admits, BuildState, Builder, Care, Catalog, Cause, Commit, Condition, Event, EventBody, Graph, Hold, HoldKind,
    Movement, Need, NeedMode, Node, Outcome, Person, Place, Quiet, Recipe, RefName, RefUpdate, Repository, Revision,
    Scheduler, SchedulerKind, Sighting, SourceUse, StepAction, StepRecipe, Target, Timestamp, Token, Trigger,
    VerdictKind, Via, Window,
};

use crate::input::{Cancel, Input, Reply};
use crate::order::standing;
use crate::state::State;
use crate::turn::Turn;
use crate::{close, decide, explain, next_due};

/// The first moment of every small world: a Tuesday, 2026-11-24 00:00 UTC.
const START: i64 = 1_795_478_400;

/// A small world.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) state: State,
    journal: Vec<Event>,
    now: Timestamp,
    said: String,
    tips: BTreeMap<(String, String), Revision>,
}

/// Plays a script and gives what happened.
pub(crate) fn play(script: &str) -> String {
    let mut world = World { now: Timestamp::from_seconds(START), ..World::default() };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        world.line(line);
        world.check_fold();
    }
    world.said
}

/// Plays a script and compares what happened.
#[track_caller]
pub(crate) fn check(script: &str, wanted: &expect_test::Expect) {
    wanted.assert_eq(&play(script));
}

impl World {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "repository" => self.repository(rest),
            "builder" => self.builder(rest),
            "scheduler" => self.scheduler(rest),
            "worker" => self.worker(rest),
            "lend" => self.lend(rest),
            time => {
                self.until(parse_clock(time));
                self.happening(rest);
            }
        }
    }

    fn repository(&mut self, name: &str) {
        let repository = Repository {
            url: format!("/srv/{name}.git"),
            branches: None,
            tags: true,
            default_branch: "main".to_owned(),
            poll: Duration::from_secs(60),
            webhook: None,
            credentials: None,
            build_first_sight: true,
            place: Place::default(),
        };
        self.catalog.repositories.insert(name.into(), repository);
    }

    /// `NAME of REPO, REPO [requires K=V] [retries N]`
    fn builder(&mut self, text: &str) {
        let (name, rest) = text.split_once(" of ").expect("builder NAME of REPOSITORY");
        let mut words = rest.split_whitespace().peekable();
        let (mut sources, mut requires, mut retries_max) = (BTreeMap::new(), BTreeMap::new(), 0);
        while let Some(word) = words.next() {
            match word {
                "requires" => {
                    let (label, value) = words.next().and_then(|pair| pair.split_once('=')).expect("label=value");
                    requires.insert(label.to_owned(), value.to_owned());
                }
                "retries" => retries_max = words.next().and_then(|count| count.parse().ok()).expect("a count"),
                repository => {
                    let repository = repository.trim_end_matches(',');
                    let source = SourceUse { repository: repository.into(), into: String::new(), branch: None };
                    sources.insert(repository.into(), source);
                }
            }
        }
        let trigger = name.strip_prefix("calls-").map(|scheduler| StepAction::Trigger {
            scheduler: scheduler.into(),
            wait: true,
            properties: BTreeMap::new(),
        });
        let action = trigger.unwrap_or(StepAction::Checkout { method: Default::default() });
        let step = StepRecipe { folder: name.to_owned(), ..StepRecipe::new("step", action) };
        let recipe = Recipe {
            sources,
            requires,
            environment: BTreeMap::new(),
            matrix: BTreeMap::new(),
            steps: vec![step],
            retries_max,
            ..Recipe::default()
        };
        let builder = Builder {
            family: name.to_owned(),
            project: None,
            digest: recipe.digest(),
            recipe,
            place: Place::default(),
        };
        self.catalog.builders.insert(name.into(), builder);
    }

    /// `NAME: KIND …; [quiet …;] NODE [needs NODE (failed|ended)?], …`
    fn scheduler(&mut self, text: &str) {
        let (name, rest) = text.split_once(": ").expect("scheduler NAME: …");
        let parts: Vec<&str> = rest.split("; ").collect();
        let quiet = parts.iter().find_map(|part| part.strip_prefix("quiet ")).map(|text| {
            let (span, at_most) = text.split_once(" at-most ").expect("quiet SPAN at-most SPAN");
            Quiet { span: parse_span(span), at_most: parse_span(at_most) }
        });
        let words: Vec<&str> = parts[0].split_whitespace().collect();
        let (kind, when) = parse_kind(&words, quiet);
        let graph = parse_graph(parts.last().expect("a graph"));
        let place = Place { file: "gristmill.yaml".to_owned(), line: 7 };
        let scheduler = Scheduler { kind, when, graph, project: None, priority: 0, place };
        self.catalog.schedulers.insert(name.into(), scheduler);
        self.catalog.hash = gristmill_model::CatalogHash(format!("{}", self.catalog.schedulers.len()));
        self.turn(vec![Input::Activate { catalog: std::sync::Arc::new(Catalog::default()), text: String::new() }]);
    }

    fn worker(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        let hello = Hello {
            worker: words.next().expect("a name").into(),
            slots: words.next().and_then(|slots| slots.parse().ok()).expect("slots"),
            labels: words.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            ..Hello::default()
        };
        self.turn(vec![Input::Hello(hello)]);
    }

    /// Lets everything happen that is due before `clock`.
    fn until(&mut self, clock: Duration) {
        let goal = Timestamp::from_seconds(START).after(clock);
        while let Some(due) = next_due(&self.catalog, &self.state, self.now).filter(|due| *due <= goal) {
            assert!(due >= self.now, "something was due at {due} and did not happen");
            let stuck = due == self.now;
            self.now = due;
            self.turn(vec![Input::Tick]);
            assert!(!stuck || next_due(&self.catalog, &self.state, self.now) != Some(due), "it is due again and again");
        }
        self.now = goal;
    }

    fn happening(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["nothing"] => self.turn(vec![Input::Tick]),
            ["hold", worker, kind, rest @ ..] => self.hold(worker, kind, rest),
            ["free", worker] => {
                self.turn(vec![Input::Free { worker: (*worker).into(), kind: None, by: "ada".to_owned() }]);
            }
            ["forget", worker] => self.turn(vec![Input::Forget { worker: (*worker).into(), by: "ada".to_owned() }]),
            ["gone", worker] => self.turn(vec![Input::Gone { worker: (*worker).into(), why: "silent".to_owned() }]),
            ["unheard", worker, seconds] => {
                let silent = Duration::from_secs(seconds.parse().expect("seconds"));
                self.turn(vec![Input::Unheard { worker: (*worker).into(), silent }]);
            }
            ["pool", id, max] => self.make_pool(id, max.parse().expect("a count")),
            ["revoke", id] => self.turn(vec![Input::RevokeToken { token: (*id).into(), by: "ada".to_owned() }]),
            ["hello", worker, token, bytes] => {
                let label = ("note".to_owned(), "x".repeat(bytes.parse().expect("bytes")));
                let token = (*token != "-").then(|| (*token).into());
                let hello =
                    Hello { worker: (*worker).into(), token, slots: 1, labels: [label].into(), ..Hello::default() };
                self.turn(vec![Input::Hello(hello)]);
            }
            ["why", request] => self.why(request),
            ["told", worker] => self.told(worker),
            ["restored"] => self.restored(),
            ["stale", worker, build, epoch] => {
                let number = |text: &str| text.parse::<i64>().expect("a number");
                let body = ReportBody::Finished { outcome: Outcome::Success, cause: None, summary: String::new() };
                let report = Report { build: number(build).into(), epoch: number(epoch), seq: 1, body };
                self.turn(vec![Input::Report { worker: (*worker).into(), report }]);
            }
            ["cancel", "buildset", id] => {
                let what = Cancel::Buildset(gristmill_model::BuildsetId(id.parse().expect("a number")));
                self.turn(vec![Input::Cancel { what, by: "ada".to_owned() }]);
            }
            ["force", scheduler, said @ ..] => {
                let parameters =
                    said.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
                let (scheduler, by) = ((*scheduler).into(), "ada".to_owned());
                self.turn(vec![Input::Force { scheduler, parameters: parameters.collect(), by, reason: None }]);
            }
            [builder, verb] => self.finish(builder, verb),
            [repository, branch, "deleted"] => self.push(repository, branch, None, "ada", &[]),
            [repository, branch, revision, "by", author, files @ ..] => {
                let author = author.trim_end_matches(':');
                self.push(repository, branch, Some(revision), author, files);
            }
            _ => panic!("the fixture does not understand `{text}`"),
        }
    }

    /// `KIND [until HH:MM]`
    fn hold(&mut self, worker: &str, kind: &str, rest: &[&str]) {
        let kind = match kind {
            "pause" => HoldKind::Pause,
            "drain" => HoldKind::Drain,
            other => panic!("what hold is `{other}`?"),
        };
        let until = match rest {
            ["until", clock] => Some(Timestamp::from_seconds(START).after(parse_clock(clock))),
            _ => None,
        };
        let hold = Hold { by: "ada".to_owned(), until, ..Hold::default() };
        self.turn(vec![Input::Hold { worker: worker.into(), kind, hold }]);
    }

    fn make_pool(&mut self, id: &str, max: u32) {
        let token = Token {
            id: id.into(),
            admits: Admits::Pool { pool: "pool".into(), max },
            sha256: "0".repeat(64),
            owner: None,
            made_at: Timestamp::default(),
            made_by: "ada".to_owned(),
            expires_at: None,
            revoked: None,
        };
        self.turn(vec![Input::MakeToken { token }]);
    }

    /// `PATTERN DAYS FROM TO`: a window in UTC, minutes after midnight.
    fn lend(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let minutes = |word: &str| u16::try_from(parse_clock(word).as_secs() / 60).expect("minutes of a day");
        let (from, to) = (minutes(words[1]), minutes(words[2]));
        let window = Window { days: [true; 7], from, to, timezone: "UTC".to_owned() };
        self.catalog.care.push(Care { workers: words[0].to_owned(), windows: vec![window], ..Care::default() });
    }

    fn push(&mut self, repository: &str, branch: &str, revision: Option<&str>, author: &str, files: &[&str]) {
        let key = (repository.to_owned(), branch.to_owned());
        let old = self.tips.get(&key).cloned();
        let new = revision.map(Revision::from);
        match &new {
            Some(new) => self.tips.insert(key, new.clone()),
            None => self.tips.remove(&key),
        };
        let commit = |revision: &Revision| Commit {
            revision: revision.clone(),
            author: Person { name: author.to_owned(), email: format!("{author}@example.org") },
            message: format!("commit {revision}"),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            at: self.now,
        };
        let reference = match branch.strip_prefix("tag:") {
            Some(tag) => RefName(format!("refs/tags/{tag}")),
            None => RefName::of_branch(branch),
        };
        let movement = match (&old, &new) {
            (_, None) => Movement::Deleted,
            (None, _) => Movement::Created,
            _ => Movement::Moved,
        };
        let commits = new.iter().map(commit).collect();
        let update = RefUpdate { reference, old, new, movement, commits, incomplete: files == ["…"] };
        let first_sight = !self.state.repositories.contains_key(repository);
        let sighting = Sighting { repository: repository.into(), via: Via::Poll, first_sight, updates: vec![update] };
        self.turn(vec![Input::Sight(sighting)]);
    }

    /// `BUILDER succeeds|fails|warns|vanishes|reaches` for its oldest running build.
    fn finish(&mut self, builder: &str, verb: &str) {
        let open = self
            .state
            .builds
            .values()
            .find(|open| open.build.builder.as_str() == builder && open.build.state != BuildState::Suspended);
        let open = open.unwrap_or_else(|| panic!("no build of {builder} runs")).clone();
        let (outcome, cause) = match verb {
            "succeeds" => (Outcome::Success, None),
            "warns" => (Outcome::Warnings, None),
            "fails" => (Outcome::Failure, Some(Cause::Code)),
            "vanishes" => (Outcome::Retry, Some(Cause::Infrastructure)),
            "starts" => return self.report(&open, ReportBody::Started),
            "reaches" => return self.report(&open, ReportBody::TriggerReached { step: 0 }),
            other => panic!("what is `{other}`?"),
        };
        let summary = format!("step step: {verb}");
        self.report(&open, ReportBody::Finished { outcome, cause, summary });
    }

    fn report(&mut self, open: &crate::state::OpenBuild, body: ReportBody) {
        let report = Report { build: open.build.id, epoch: open.build.epoch, seq: 1, body };
        self.turn(vec![Input::Report { worker: open.build.worker.clone(), report }]);
    }

    /// What a restore of a backup that was just taken makes of the journal, and the start that follows.
    fn restored(&mut self) {
        let mut last = self.state.last;
        last.build.0 += 100;
        last.request.0 += 100;
        let (instance, head) = (gristmill_model::InstanceEpoch(1), self.state.head);
        let body = EventBody::InstanceRestored { instance, head, taken: self.now, last };
        let event = Event { seq: head.next(), at: self.now, body };
        self.state.apply(&event);
        self.journal.push(event);
        self.turn(vec![Input::Activate { catalog: std::sync::Arc::new(Catalog::default()), text: String::new() }]);
    }

    fn why(&mut self, request: &str) {
        let id = gristmill_model::RequestId(request.parse().expect("a number"));
        let reasons = explain(&self.catalog, &self.state, id, self.now).unwrap_or_default();
        let sentences: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let clock = self.clock();
        writeln!(self.said, "{clock} request {id}: {}", sentences.join("; also ")).expect("text grows");
    }

    /// Says what a worker must have heard, as things stand.
    fn told(&mut self, worker: &str) {
        for (_, command) in standing(&self.state, Some(&worker.into()), &|_| None) {
            let what = match command {
                WorkerCommand::Start { order } => format!("start build {} epoch {}", order.build, order.epoch),
                WorkerCommand::Resume { build, step, outcome, .. } => {
                    format!("resume build {build} after step {}: {outcome}", step.map_or(-1, i64::from))
                }
                WorkerCommand::Cancel { build, by, .. } => format!("cancel build {build} for {by}"),
            };
            let clock = self.clock();
            writeln!(self.said, "{clock} {worker} must know: {what}").expect("text grows");
        }
    }

    fn turn(&mut self, inputs: Vec<Input>) {
        let catalog = self.catalog.clone();
        let mut turn = Turn::new(&catalog, &mut self.state, self.now);
        let replies: Vec<Reply> = inputs.into_iter().map(|input| decide(&mut turn, input)).collect();
        close(&mut turn);
        let events = std::mem::take(&mut turn.events);
        for body in events {
            let seq = gristmill_model::Seq(self.journal.len() as i64 + 1);
            self.say(&body);
            self.journal.push(Event { seq, at: self.now, body });
        }
        for reply in replies {
            if let Reply::Refused(denial) = reply {
                let clock = self.clock();
                writeln!(self.said, "{clock} refused: {denial}").expect("text grows");
            }
        }
    }

    /// The state is the fold of the journal.
    fn check_fold(&self) {
        let mut folded = State::default();
        for event in &self.journal {
            folded.apply(event);
        }
        assert_eq!(folded, self.state);
    }

    fn clock(&self) -> String {
        let minutes = (self.now.seconds() - START) / 60;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    fn say(&mut self, body: &EventBody) {
        let Some(sentence) = self.sentence(body) else { return };
        let clock = self.clock();
        writeln!(self.said, "{clock} {sentence}").expect("text grows");
    }

    fn sentence(&self, body: &EventBody) -> Option<String> {
        Some(match body {
            EventBody::VerdictGiven { verdict } => {
                let reasons: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
                let what = match &verdict.kind {
                    VerdictKind::Built { buildset } => format!("built buildset {buildset}"),
                    VerdictKind::Held { .. } => "held".to_owned(),
                    VerdictKind::Nothing => "nothing".to_owned(),
                };
                format!("{} on change {}: {what}: {}", verdict.scheduler, verdict.change, reasons.join("; "))
            }
            EventBody::TimerFired { scheduler, nominal: Some(nominal), nothing, .. } => {
                let what = nothing.as_deref().map_or("fires".to_owned(), |why| format!("fires for nothing: {why}"));
                format!("{scheduler} {what} (meant {})", nominal.to_clock())
            }
            EventBody::BuildsetCreated { buildset, requests, .. } => {
                let stamps: Vec<String> =
                    buildset.stamps.iter().map(|(codebase, stamp)| format!("{codebase}@{}", stamp.revision)).collect();
                let nodes: Vec<&str> = requests.iter().map(|request| request.node.as_str()).collect();
                let why = match &buildset.trigger {
                    Trigger::Upstream { buildsets } => format!(" after {buildsets:?}"),
                    Trigger::Step { build, .. } => format!(" for build {build}"),
                    Trigger::Person { by, .. } => format!(" by {by}"),
                    _ => String::new(),
                }
                .replace("BuildsetId", "");
                format!("buildset {} {} [{}]{why}", buildset.id, stamps.join(" "), nodes.join(" "))
            }
            EventBody::RequestReleased { request } => format!("{} is ready", self.node(*request)),
            EventBody::RequestSettled { request, outcome, reason, .. } => {
                format!("{} {outcome}: {reason}", self.node(*request))
            }
            EventBody::BuildLeased { build } => {
                format!("build {} {} on {} (attempt {})", build.id, build.builder, build.worker, build.attempt)
            }
            EventBody::BuildFinished { build, outcome, retry, summary, .. } => {
                let again = if *retry { ", again" } else { "" };
                format!("build {build} {outcome}{again} ({summary})")
            }
            EventBody::StepTriggered { build, buildset, .. } => format!("build {build} waits for buildset {buildset}"),
            EventBody::BuildResumed { build, outcome, .. } => format!("build {build} goes on after {outcome}"),
            EventBody::BuildCancelAsked { build, by } => format!("build {build} is to end for {by}"),
            EventBody::BuildsetCompleted { buildset, outcome } => format!("buildset {buildset} {outcome}"),
            EventBody::UpstreamNoted { scheduler, buildset, result, .. } => {
                format!("{scheduler} notes buildset {buildset}: {result}")
            }
            EventBody::IncidentOpened { incident, builder, suspects, .. } => {
                format!("incident {incident}: {builder} broke, suspects {}", say_suspects(suspects))
            }
            EventBody::IncidentJoined { incident, builder, suspects, .. } => {
                format!("incident {incident}: {builder} too, suspects {}", say_suspects(suspects))
            }
            EventBody::IncidentEased { incident, builder, .. } => format!("incident {incident}: {builder} fixed"),
            EventBody::IncidentClosed { incident, .. } => format!("incident {incident} closed"),
            EventBody::WorkerJoined { worker } if worker.token.is_some() => format!("{} joins", worker.name),
            EventBody::WorkerLeft { worker, why } => format!("{worker} leaves ({why})"),
            EventBody::WorkerHeld { worker, kind, hold } => {
                let until = hold.until.map(|until| format!(" until {}", until.to_clock())).unwrap_or_default();
                let reason = hold.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                format!("{worker} is held: {} by {}{until}{reason}", kind.as_str(), hold.by)
            }
            EventBody::WorkerFreed { worker, kind, by } => format!("{worker} is freed: {} by {by}", kind.as_str()),
            EventBody::WorkerForgotten { worker, by } => format!("{worker} is forgotten by {by}"),
            EventBody::WorkerAiling { worker, why } => format!("{worker} ails: {why}"),
            EventBody::ReportRefused { build, epoch, .. } => format!("report on build {build} epoch {epoch} refused"),
            _ => return None,
        })
    }

    fn node(&self, request: gristmill_model::RequestId) -> String {
        let created = self.journal.iter().find_map(|event| match &event.body {
            EventBody::BuildsetCreated { requests, .. } => requests.iter().find(|one| one.id == request),
            _ => None,
        });
        created.map_or_else(|| format!("request {request}"), |request| request.node.0.clone())
    }
}

fn say_suspects(suspects: &gristmill_model::Suspects) -> String {
    let ranges: Vec<String> =
        suspects.iter().map(|(repository, range)| format!("{repository} {}..{}", range.after, range.upto)).collect();
    if ranges.is_empty() { "none".to_owned() } else { ranges.join(", ") }
}

fn parse_kind(words: &[&str], quiet: Option<Quiet>) -> (SchedulerKind, Matcher) {
    let target = |text: &str, only_if_changed: bool| {
        let (repository, branch) = text.split_once('/').expect("REPOSITORY/BRANCH");
        Target { repository: repository.into(), branch: branch.to_owned(), only_if_changed }
    };
    let mut when = Matcher::any();
    let kind = match words {
        [kind @ ("branch" | "any-branch"), place, rest @ ..] => {
            let (repository, branch) = place.split_once('/').expect("REPOSITORY/BRANCH");
            when = when.with(Field::Repository, [repository]).expect("a pattern");
            if *kind == "branch" {
                when = when.with(Field::Branch, [branch]).expect("a pattern");
            }
            for field in rest.chunks(2) {
                let name = Field::parse(field[0]).expect("a field");
                when = when.with(name, field[1].split('|')).expect("patterns");
            }
            if *kind == "branch" { SchedulerKind::Branch { quiet } } else { SchedulerKind::AnyBranch { quiet } }
        }
        ["dependent", upstream @ .., "failed"] => SchedulerKind::Dependent {
            upstream: upstream.iter().map(|&it| it.into()).collect(),
            on: Condition::Failure,
        },
        ["dependent", upstream @ ..] => SchedulerKind::Dependent {
            upstream: upstream.iter().map(|&it| it.into()).collect(),
            on: Condition::Success,
        },
        ["periodic", every, place, rest @ ..] => {
            SchedulerKind::Periodic { every: parse_span(every), target: target(place, rest == ["if-changed"]) }
        }
        ["daily-at", clock, place, rest @ ..] => {
            let (hour, minute) = clock.split_once(':').expect("a clock");
            let cron = format!("{minute} {hour} * * *");
            let target = target(place, rest == ["if-changed"]);
            SchedulerKind::Nightly { cron, timezone: "UTC".to_owned(), target }
        }
        ["triggerable"] => SchedulerKind::Triggerable,
        ["force"] => SchedulerKind::Force { parameters: BTreeMap::new() },
        other => panic!("what kind of scheduler is {other:?}?"),
    };
    (kind, when)
}

/// `NODE`, or `NODE=BUILDER`, each with `needs NODE+NODE [failed|ended|any]`.
fn parse_graph(text: &str) -> Graph {
    text.split(", ")
        .map(|node| {
            let (name, needs) = node.split_once(" needs ").unwrap_or((node, ""));
            let (name, builder) = name.split_once('=').unwrap_or((name, name));
            let mut words = needs.split_whitespace();
            let names = words.next().unwrap_or("");
            let how = words.next();
            let on = match how {
                Some("failed") => Condition::Failure,
                Some("ended") => Condition::Finished,
                _ => Condition::Success,
            };
            let needs = names.split('+').filter(|it| !it.is_empty()).map(|it| Need { node: it.into(), on }).collect();
            let mode = if how == Some("any") { NeedMode::Any } else { NeedMode::All };
            (name.into(), Node { builder: builder.into(), group: name.to_owned(), needs, mode })
        })
        .collect()
}

fn parse_span(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().expect("a number");
    Duration::from_secs(
        number
            * match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                other => panic!("what unit is `{other}`?"),
            },
    )
}

fn parse_clock(text: &str) -> Duration {
    let (hours, minutes) = text.split_once(':').unwrap_or_else(|| panic!("`{text}` is no time"));
    Duration::from_secs(hours.parse::<u64>().expect("hours") * 3600 + minutes.parse::<u64>().expect("minutes") * 60)
}

/// Makes a build that runs on a worker.
pub(crate) fn open_build(id: gristmill_model::BuildId, worker: &str) -> crate::state::OpenBuild {
    let build = gristmill_model::Build {
        id,
        request: gristmill_model::RequestId(id.0),
        buildset: gristmill_model::BuildsetId(1),
        builder: "test".into(),
        attempt: 1,
        epoch: 1,
        worker: worker.into(),
        state: gristmill_model::BuildState::Running,
        cancel: None,
        suspended_step: None,
        outcome: None,
        cause: None,
        summary: None,
        leased_at: Timestamp(1),
        started_at: None,
        finished_at: None,
    };
    crate::state::OpenBuild { build, steps: BTreeMap::new(), waits_for: None }
}
