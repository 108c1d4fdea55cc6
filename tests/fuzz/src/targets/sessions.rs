//! Workers: what they say, in any order, against the lease that they have or claim to have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use gristmill_model::protocol::{Held, Hello, Report, ReportBody, WorkerCommand};
use gristmill_model::{
    BuildId, BuildsetId, Catalog, Cause, Commit, Event, EventBody, Movement, Outcome, Person, RefName, RefUpdate,
    RequestId, Revision, Seq, Sighting, Timestamp, Via, WorkerName,
};
use gristmill_schedulers::input::{Cancel, Denial};
use gristmill_schedulers::{Input, Reply, State, Turn, close, decide, explain, next_due, order};

use super::{blind_seeds, catalog, texts};
use crate::Target;
use crate::source::Source;

pub(super) const SESSION: Target = Target {
    seeds: blind_seeds,
    size_max: 1024,
    short: 200,
    millis_max: 300,
    ..Target::new(
        "worker-session",
        "whatever workers, sources and people say in any order: the state is the fold of the events, also after they went through JSON; a \
         report under a lease that is not the worker's is refused and changes nothing else; no request has two builds, no worker more than its \
         slots at placement; every order fits its lease, and steps stay within what a build may have",
        run_session,
    )
};

const CATALOG: &str = r#"
repositories:
  core: {git: /srv/core.git, tags: true}
  site: {git: /srv/site.git}
projects:
  core: {repositories: [core]}
  site: {repositories: [site, core]}
builders:
  test:    {project: core, source: core, steps: [checkout, {name: test, run: make test}], retries: 1}
  package: {project: core, source: core, steps: [checkout, {run: make package}, {trigger: deploy, wait: true}]}
  lint:    {project: core, source: core, requires: {gpu: "yes"}, steps: [{run: make lint}, {trigger: deploy}]}
  deploy:  {project: site, source: site, steps: [checkout, {run: make deploy}]}
schedulers:
  push:
    kind: any-branch
    when: {repository: core}
    build:
      test: {builder: test}
      package: {builder: package, needs: test}
      lint: {builder: lint}
      report: {builder: test, needs: [{node: package, if: failure}]}
  after:   {kind: dependent, upstream: push, build: [deploy]}
  deploy:  {kind: triggerable, build: [deploy]}
  nightly: {kind: nightly, cron: "0 3 * * *", timezone: Europe/Berlin, repository: core, branch: main, build: [test]}
  often:   {kind: periodic, every: 1h, repository: core, branch: main, build: [test]}
  by-hand: {kind: force, parameters: {branch: {type: string, default: main}, size: {type: integer, required: true}}, build: [test]}
"#;

/// The same with things gone and changed.
const OTHER: &str = r#"
repositories:
  core: {git: /srv/core.git}
projects:
  core: {repositories: [core]}
builders:
  test: {project: core, source: core, steps: [checkout]}
  new:  {project: core, source: core, steps: [{run: "true"}]}
schedulers:
  push:  {kind: any-branch, when: {repository: core, files: ["src/**"]}, build: [test, new]}
  after: {kind: dependent, upstream: push, build: [new]}
"#;

fn catalogs() -> &'static [Arc<Catalog>; 2] {
    static CATALOGS: OnceLock<[Arc<Catalog>; 2]> = OnceLock::new();
    CATALOGS.get_or_init(|| [Arc::new(catalog(CATALOG)), Arc::new(catalog(OTHER))])
}

const WORKERS: [&str; 3] = ["one", "two", "three"];
const START: i64 = 1_795_478_400;

struct World {
    catalog: Arc<Catalog>,
    state: State,
    /// What the events alone make of the beginning, by way of their JSON.
    fold: State,
    now: Timestamp,
    tips: BTreeMap<(String, String), Revision>,
    seq: u64,
}

fn run_session(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut world = World {
        catalog: Arc::clone(&catalogs()[0]),
        state: State::default(),
        fold: State::default(),
        now: Timestamp::from_seconds(START),
        tips: BTreeMap::new(),
        seq: 0,
    };
    let first = Arc::clone(&world.catalog);
    world.happen(Input::Activate { catalog: first, text: CATALOG.to_owned() });
    for repository in ["core", "site"] {
        world.push(repository, "main", 1, "src/a.rs");
    }
    for _ in 0..60 {
        if source.is_empty() {
            break;
        }
        world.step(&mut source);
    }
}

impl World {
    fn step(&mut self, source: &mut Source<'_>) {
        match source.below(16) {
            0 | 1 => {
                let input = self.hello(source);
                self.happen(input);
            }
            2..=7 => self.report(source),
            8 => self.now = self.now.after(std::time::Duration::from_secs(source.number().unsigned_abs() % 200_000)),
            9 => {
                let worker = self.worker(source);
                self.happen(Input::Gone { worker, why: source.text() });
            }
            10 | 11 => {
                let repository = *source.pick(&["core", "core", "site"]);
                let branch = source.name(&["main", "topic", "release/1"]);
                let (revision, file) = (source.byte(), source.name(&["src/a.rs", "docs/b.md"]));
                self.push(repository, &branch, revision, &file);
            }
            12 => {
                let parameters = source.pairs(&["branch", "size"]);
                let scheduler = source.name(&["by-hand", "by-hand", "push", "nightly"]).into();
                self.happen(Input::Force { scheduler, parameters, by: source.text(), reason: Some(source.text()) });
            }
            13 => {
                let what = match source.below(3) {
                    0 => Cancel::Build(BuildId(source.number())),
                    1 => Cancel::Request(RequestId(source.number())),
                    _ => Cancel::Buildset(BuildsetId(source.number())),
                };
                self.happen(Input::Cancel { what, by: source.text() });
            }
            14 => {
                let catalog = Arc::clone(source.pick(catalogs()));
                self.catalog = Arc::clone(&catalog);
                self.happen(Input::Activate { catalog, text: String::new() });
            }
            _ => {
                if let Some(due) = next_due(&self.catalog, &self.state, self.now) {
                    self.now = self.now.max(due);
                }
                self.happen(Input::Tick);
            }
        }
    }

    fn worker(&self, source: &mut Source<'_>) -> WorkerName {
        source.name(&WORKERS).into()
    }

    fn hello(&self, source: &mut Source<'_>) -> Input {
        let worker = self.worker(source);
        let own: Vec<Held> = self
            .state
            .builds
            .values()
            .filter(|open| open.build.worker == worker)
            .map(|open| Held { build: open.build.id, epoch: open.build.epoch })
            .collect();
        let mut builds = if source.flag() { own } else { Vec::new() };
        if source.once_in(4) {
            builds.push(Held { build: BuildId(source.number()), epoch: source.number() });
        }
        let labels = if source.flag() { [("gpu".to_owned(), "yes".to_owned())].into() } else { source.pairs(&["gpu"]) };
        Input::Hello(Hello {
            worker,
            labels,
            slots: u32::try_from(source.below(5)).unwrap(),
            builds,
            ..Hello::default()
        })
    }

    fn report(&mut self, source: &mut Source<'_>) {
        let open: Vec<_> = self.state.builds.values().map(|open| open.build.clone()).collect();
        let mut worker = self.worker(source);
        let (mut build, mut epoch) = (BuildId(source.number()), source.number());
        if !open.is_empty() && !source.once_in(5) {
            let known = source.pick(&open);
            (worker, build, epoch) = (known.worker.clone(), known.id, known.epoch);
            match source.below(12) {
                0 => epoch += 1,
                1 => epoch -= 1,
                2 => worker = "somebody else".into(),
                _ => {}
            }
        }
        self.seq += 1;
        let seq = if source.once_in(6) { source.number().unsigned_abs() } else { self.seq };
        let body = body(source);
        let holds =
            self.state.builds.get(&build).is_some_and(|it| it.build.worker == worker && it.build.epoch == epoch);
        let (reply, events) = self.happen(Input::Report { worker, report: Report { build, epoch, seq, body } });
        if holds {
            assert_eq!(reply, Reply::Done);
        } else {
            assert_eq!(reply, Reply::Refused(Denial::Fenced { build, epoch }), "a lie is taken");
            // What comes after it is placement.
            let is_of_lie = |event: &&EventBody| !matches!(event.kind(), "build.leased" | "timer.fired");
            assert!(matches!(events.iter().find(is_of_lie), Some(EventBody::ReportRefused { .. })), "{events:?}");
        }
    }

    fn push(&mut self, repository: &str, branch: &str, revision: u8, file: &str) {
        let key = (repository.to_owned(), branch.to_owned());
        let old = self.tips.get(&key).cloned();
        let new = Revision(format!("{revision:02x}").repeat(20));
        let commit = Commit {
            revision: new.clone(),
            author: Person { name: "Ada".to_owned(), email: "ada@example.org".to_owned() },
            message: "Change it".to_owned(),
            files: vec![file.to_owned()],
            at: self.now,
        };
        let update = RefUpdate {
            reference: RefName::of_branch(branch),
            movement: if old.is_some() { Movement::Moved } else { Movement::Created },
            old,
            new: Some(new.clone()),
            commits: vec![commit],
            incomplete: false,
        };
        self.tips.insert(key, new);
        let sighting =
            Sighting { repository: repository.into(), via: Via::Poll, first_sight: false, updates: vec![update] };
        self.happen(Input::Sight(sighting));
    }

    /// Runs one turn as the engine does, and looks at what it left.
    fn happen(&mut self, input: Input) -> (Reply, Vec<EventBody>) {
        let catalog = Arc::clone(&self.catalog);
        let mut turn = Turn::new(&catalog, &mut self.state, self.now);
        let reply = decide(&mut turn, input);
        close(&mut turn);
        let events = turn.events;
        let at = self.now;
        for body in &events {
            let text = serde_json::to_string(body).unwrap();
            let body: EventBody = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            self.fold.apply(&Event { seq: Seq(self.fold.head.0 + 1), at, body });
        }
        assert!(self.state == self.fold, "the state is not what the events say\n{events:#?}");
        self.check(&events);
        (reply, events)
    }

    fn check(&self, events: &[EventBody]) {
        let mut requests = BTreeSet::new();
        for open in self.state.builds.values() {
            assert!(requests.insert(open.build.request), "two builds of request {}", open.build.request);
            assert!(self.state.requests.contains_key(&open.build.request), "a build without its request");
            let request = &self.state.requests[&open.build.request];
            let steps = self.state.recipes[&request.recipe].steps.len();
            let is_step = |step: &u32| (*step as usize) < steps;
            assert!(open.steps.keys().all(is_step), "steps {:?} of {steps}", open.steps.keys());
        }
        for event in events {
            if let EventBody::BuildLeased { build } = event {
                let slots = self.state.workers[&build.worker].slots as usize;
                let busy = self
                    .state
                    .builds
                    .values()
                    .filter(|open| open.build.worker == build.worker && open.build.state.holds_slot());
                assert!(busy.count() <= slots, "{} has more than its {slots} slots", build.worker);
            }
        }
        for (_, command) in order::commands(&self.state, events, &|_| None) {
            if let WorkerCommand::Start { order } = command {
                let open = &self.state.builds[&order.build].build;
                assert_eq!((open.epoch, open.attempt), (order.epoch, order.attempt));
            }
        }
        for request in self.state.requests.keys().take(4) {
            assert!(explain(&self.catalog, &self.state, *request, self.now).is_some());
        }
        if let Some(due) = next_due(&self.catalog, &self.state, self.now) {
            assert!(due > self.now, "a turn leaves something due at {due}, and it is {}", self.now);
        }
    }
}

fn body(source: &mut Source<'_>) -> ReportBody {
    let step = match source.below(6) {
        0 => u32::try_from(source.number() & 0xffff_ffff).unwrap(),
        small => u32::try_from(small / 2).unwrap(),
    };
    let outcome = *source.pick(&Outcome::ALL);
    let cause =
        if source.flag() { Some(*source.pick(&[Cause::Code, Cause::Infrastructure, Cause::Test])) } else { None };
    match source.below(6) {
        0 => ReportBody::Started,
        1 => ReportBody::StepStarted { step },
        2 => ReportBody::StepFinished { step, outcome, cause, summary: source.text(), warnings: 0 },
        3 => ReportBody::TriggerReached { step },
        _ => ReportBody::Finished { outcome, cause, summary: source.text() },
    }
}

pub(super) const JSON: Target = Target {
    seeds: || {
        texts(&[
            r#"{"worker":"one","labels":{"os":"linux"},"slots":2,"builds":[{"build":1,"epoch":1}]}"#,
            r#"{"build":1,"epoch":1,"seq":1,"body":{"report":"step-finished","step":0,"outcome":"failure","cause":"code","summary":"x"}}"#,
            r#"{"build":1,"epoch":1,"seq":2,"body":{"report":"finished","outcome":"success","cause":null,"summary":""}}"#,
            r#"{"command":"cancel","build":1,"epoch":1,"by":"ada"}"#,
            r#"{"command":"resume","build":1,"epoch":1,"outcome":"success","summary":"x"}"#,
            r#"{"log":{"build":1,"epoch":1,"step":0},"offset":0,"length":3,"frame":[40,181]}"#,
            r#"{"type":"build.started","build":1}"#,
        ])
    },
    words: &[
        "\"worker\":",
        "\"build\":",
        "\"epoch\":",
        "\"seq\":",
        "\"body\":",
        "\"report\":\"started\"",
        "\"report\":\"trigger-reached\"",
        "\"step\":",
        "\"outcome\":\"retry\"",
        "\"cause\":\"infrastructure\"",
        "\"slots\":",
        "4294967296",
        "-1",
        "1e99",
        "null",
        "{}",
        "[]",
        "\"frame\":",
        "\"command\":\"start\"",
        "\\ud83d",
        "\\u0000",
    ],
    short: 10_000,
    ..Target::new(
        "worker-json",
        "what a worker or the service sends is read or refused without panic, and what is read is written and read again as the same",
        run_json,
    )
};

fn run_json(bytes: &[u8]) {
    fn again<T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug>(
        bytes: &[u8],
    ) -> Option<T> {
        let read: T = serde_json::from_slice(bytes).ok()?;
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<T>(&written).unwrap(), read, "{written}");
        Some(read)
    }
    again::<Hello>(bytes);
    again::<WorkerCommand>(bytes);
    again::<gristmill_model::protocol::LogAppend>(bytes);
    again::<gristmill_model::protocol::Welcome>(bytes);
    again::<EventBody>(bytes);
    again::<gristmill_schedulers::input::Reply>(bytes);
    if let Some(report) = again::<Report>(bytes) {
        let mut state = State::default();
        let catalog = &catalogs()[0];
        let mut turn = Turn::new(catalog, &mut state, Timestamp::from_seconds(START));
        let (build, epoch) = (report.build, report.epoch);
        let reply = decide(&mut turn, Input::Report { worker: "one".into(), report });
        assert_eq!(reply, Reply::Refused(Denial::Fenced { build, epoch }), "nobody has a lease yet");
    }
}
