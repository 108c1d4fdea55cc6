//! Workers: they connect, obey, work, report until it is acknowledged, and now and then vanish, freeze or lie.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gristmill_model::protocol::{BuildOrder, Held, Hello, Report, ReportBody, WorkerCommand};
use gristmill_model::{BuildId, Cause, Outcome, StepAction, Timestamp, WorkerName};
use gristmill_schedulers::input::Denial;
use gristmill_schedulers::{Input, Reply};

use crate::check::ends_build;
use crate::profile::Fault;
use crate::rng::Rng;
use crate::world::{Asker, Due, Lease, World};

/// A worker, and its next lives.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its name.
    pub(crate) name: WorkerName,
    /// What it is.
    pub(crate) labels: BTreeMap<String, String>,
    /// How many builds it runs at once.
    pub(crate) slots: u32,
    /// Whether it runs.
    pub(crate) is_alive: bool,
    /// How often it was started.
    pub(crate) life: u32,
    /// Until when it stands still.
    pub(crate) frozen: Option<Timestamp>,
    /// The master (and its life) that it is connected to.
    pub(crate) link: Option<(usize, u32)>,
    /// How often it introduced itself.
    pub(crate) session: u32,
    held: BTreeMap<Lease, Run>,
    ended: BTreeSet<Lease>,
}

/// A build that a worker has.
#[derive(Debug)]
struct Run {
    order: Option<Box<BuildOrder>>,
    step: u32,
    waits: bool,
    is_over: bool,
    /// What is to be said, oldest first.
    outbox: VecDeque<ReportBody>,
    /// Whether some of it is on its way.
    is_saying: bool,
    said: u64,
    warnings: bool,
}

impl Worker {
    /// Makes a worker.
    pub(crate) fn new(index: usize, rng: &mut Rng) -> Self {
        let os = if index == 0 || rng.chance(0.6) { "linux" } else { "mac" };
        // Whatever a builder may require is there at least once: the first two are never alike.
        let os = if index == 1 { "mac" } else { os };
        Self {
            name: format!("w{index}").as_str().into(),
            labels: [("os".to_owned(), os.to_owned())].into(),
            slots: u32::try_from(rng.between(1, 3)).expect("a small number"),
            is_alive: false,
            life: 0,
            frozen: None,
            link: None,
            session: 0,
            held: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    fn is(&self, life: u32) -> bool {
        self.is_alive && self.life == life
    }
}

impl World {
    /// A worker's process starts, and remembers nothing.
    pub(crate) fn worker_up(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if worker.is_alive {
            return;
        }
        worker.is_alive = true;
        worker.life += 1;
        let life = worker.life;
        self.after(Duration::ZERO, Due::Connect(index, life));
    }

    fn awake(&mut self, index: usize, due: &Due) -> bool {
        let frozen = self.workers[index].frozen.filter(|until| *until > self.now);
        if let Some(until) = frozen {
            self.at(until, due.clone());
        }
        frozen.is_none()
    }

    pub(crate) fn connect(&mut self, index: usize, life: u32) {
        if !self.workers[index].is(life) || !self.awake(index, &Due::Connect(index, life)) {
            return;
        }
        let worker = &mut self.workers[index];
        if worker.link.is_some() {
            return;
        }
        worker.session += 1;
        let session = worker.session;
        let builds = worker.held.keys().map(|&(build, epoch)| Held { build, epoch }).collect();
        let (name, labels, slots) = (worker.name.clone(), worker.labels.clone(), worker.slots);
        let hello = Hello { worker: name, labels, slots, builds, ..Hello::default() };
        self.ask(Asker::Hello { worker: index, life, session }, vec![Input::Hello(hello)], None);
    }

    pub(crate) fn welcomed(&mut self, index: usize, life: u32, session: u32, answer: Option<Reply>) {
        if !self.workers[index].is(life) || self.workers[index].session != session {
            return;
        }
        let front = self.front;
        let Some(Reply::Welcome(welcome)) = answer.filter(|_| self.masters[front].answers()) else {
            let wait = self.chances.worker.millis(500, 5_000);
            self.after(wait, Due::Connect(index, life));
            return;
        };
        for Held { build, epoch } in welcome.stop {
            self.fence(index, (build, epoch));
        }
        self.workers[index].link = Some((front, self.masters[front].life));
        let name = self.workers[index].name.clone();
        self.hand_over(front, &name);
    }

    /// Breaks a worker's connection: it introduces itself again, and its master may notice that it is away.
    pub(crate) fn unlink(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        let Some((master, life)) = worker.link.take() else { return };
        let session = worker.session;
        let notices = self.chances.worker.millis(15_000, 45_000);
        self.after(notices, Due::Gone { master, life, worker: index, session });
        let (worker_life, wait) = (self.workers[index].life, self.chances.worker.millis(500, 20_000));
        self.after(wait, Due::Connect(index, worker_life));
    }

    /// A master notices that a worker has gone, unless it has come back by then.
    pub(crate) fn worker_gone(&mut self, master: usize, life: u32, index: usize, session: u32) {
        let is_master = self.masters[master].is_alive && self.masters[master].life == life;
        if is_master && self.workers[index].session == session {
            let worker = self.workers[index].name.clone();
            let inputs = vec![Input::Gone { worker, why: "it has not asked for 30 s".to_owned() }];
            self.arrive(master, life, crate::world::Letter { inputs, once: None, asker: Asker::Nobody });
        }
    }

    pub(crate) fn commands(&mut self, index: usize, session: u32, commands: Vec<WorkerCommand>) {
        if !self.workers[index].is_alive || self.workers[index].session != session {
            return;
        }
        if !self.awake(index, &Due::Commands(index, session, commands.clone())) {
            return;
        }
        for command in commands {
            self.obey(index, command);
        }
    }

    fn obey(&mut self, index: usize, command: WorkerCommand) {
        match command {
            WorkerCommand::Start { order } => {
                let lease = (order.build, order.epoch);
                let worker = &self.workers[index];
                if worker.held.contains_key(&lease) || worker.ended.contains(&lease) {
                    return;
                }
                self.note(|| format!("worker {index}: begins build {} epoch {}", lease.0, lease.1));
                let run = Run::new(Some(Box::new(order)));
                self.workers[index].held.insert(lease, run);
                self.put(index, lease, ReportBody::Started);
                self.begin_step(index, lease);
            }
            WorkerCommand::Resume { build, epoch, step, outcome, .. } => {
                let lease = (build, epoch);
                let Some(run) = self.workers[index].held.get_mut(&lease) else { return };
                if !run.waits || step.is_some_and(|step| step != run.step) {
                    return;
                }
                run.waits = false;
                self.end_step(index, lease, outcome);
            }
            WorkerCommand::Cancel { build, epoch, .. } => self.cancel(index, (build, epoch)),
        }
    }

    fn cancel(&mut self, index: usize, lease: Lease) {
        let worker = &mut self.workers[index];
        if worker.ended.contains(&lease) {
            return;
        }
        // Its order may never have come: somebody waits for the word that it is over all the same.
        let run = worker.held.entry(lease).or_insert_with(|| Run::new(None));
        if run.is_over {
            return;
        }
        (run.is_over, run.waits) = (true, false);
        let (step, began) = (run.step, run.order.is_some());
        let (outcome, cause, summary) = (Outcome::Cancelled, Some(Cause::Person), "cancelled".to_owned());
        if began {
            self.put(
                index,
                lease,
                ReportBody::StepFinished { step, outcome, cause, summary: summary.clone(), warnings: 0 },
            );
        }
        self.put(index, lease, ReportBody::Finished { outcome, cause, summary });
    }

    /// Forgets a build that is no longer the worker's.
    fn fence(&mut self, index: usize, lease: Lease) {
        if self.workers[index].held.remove(&lease).is_some() {
            self.note(|| format!("worker {index}: build {} epoch {} is no longer its own", lease.0, lease.1));
            self.workers[index].ended.insert(lease);
        }
    }

    fn begin_step(&mut self, index: usize, lease: Lease) {
        let Some(run) = self.workers[index].held.get_mut(&lease) else { return };
        let step = run.step;
        let action =
            run.order.as_ref().and_then(|order| order.recipe.steps.get(step as usize)).map(|step| &step.action);
        let Some(action) = action.cloned() else {
            let outcome = if run.warnings { Outcome::Warnings } else { Outcome::Success };
            return self.finish_run(index, lease, outcome, None);
        };
        self.put(index, lease, ReportBody::StepStarted { step });
        let life = self.workers[index].life;
        match action {
            StepAction::Trigger { wait, .. } => {
                if let Some(run) = self.workers[index].held.get_mut(&lease) {
                    run.waits = wait;
                }
                self.put(index, lease, ReportBody::TriggerReached { step });
                if !wait {
                    self.end_step(index, lease, Outcome::Success);
                }
            }
            StepAction::Run { .. } | StepAction::Checkout { .. } => {
                let takes = self.chances.worker.wait(self.size.step).max(Duration::from_millis(200));
                let takes = takes.min(self.size.step * 6);
                self.after(takes, Due::StepEnd { worker: index, life, lease, step });
            }
        }
    }

    pub(crate) fn step_end(&mut self, index: usize, life: u32, lease: Lease, step: u32) {
        if !self.workers[index].is(life) || !self.awake(index, &Due::StepEnd { worker: index, life, lease, step }) {
            return;
        }
        let Some(run) = self.workers[index].held.get(&lease) else { return };
        if run.is_over || run.step != step {
            return;
        }
        if self.faults.come(Fault::AttemptFails) {
            let (outcome, cause, summary) = (Outcome::Exception, Some(Cause::Infrastructure), "the disk".to_owned());
            self.put(index, lease, ReportBody::StepFinished { step, outcome, cause, summary, warnings: 0 });
            return self.finish_run(index, lease, Outcome::Retry, cause);
        }
        let outcome = match self.chances.worker.unit() {
            draw if draw < self.size.failures => Outcome::Failure,
            draw if draw < self.size.failures + 0.05 => Outcome::Warnings,
            _ => Outcome::Success,
        };
        self.end_step(index, lease, outcome);
    }

    fn end_step(&mut self, index: usize, lease: Lease, outcome: Outcome) {
        let Some(run) = self.workers[index].held.get_mut(&lease) else { return };
        let step = run.step;
        run.step += 1;
        run.warnings |= outcome == Outcome::Warnings;
        let cause = outcome.is_bad().then_some(Cause::Code);
        let summary = format!("step {step}: {outcome}");
        self.put(index, lease, ReportBody::StepFinished { step, outcome, cause, summary, warnings: 0 });
        match outcome {
            Outcome::Success | Outcome::Warnings | Outcome::Skipped => self.begin_step(index, lease),
            Outcome::Retry | Outcome::Cancelled => {
                self.finish_run(index, lease, Outcome::Failure, Some(Cause::Dependency));
            }
            bad => self.finish_run(index, lease, bad, cause),
        }
    }

    fn finish_run(&mut self, index: usize, lease: Lease, outcome: Outcome, cause: Option<Cause>) {
        if let Some(run) = self.workers[index].held.get_mut(&lease) {
            run.is_over = true;
            let summary = format!("ended with {outcome}");
            self.put(index, lease, ReportBody::Finished { outcome, cause, summary });
        }
    }

    /// Puts something into a build's outbox.
    fn put(&mut self, index: usize, lease: Lease, body: ReportBody) {
        let life = self.workers[index].life;
        let Some(run) = self.workers[index].held.get_mut(&lease) else { return };
        run.outbox.push_back(body);
        if !run.is_saying {
            run.is_saying = true;
            self.after(Duration::from_millis(1), Due::Say { worker: index, life, lease });
        }
    }

    /// Says all that there is to say of a build; said again until it is acknowledged.
    pub(crate) fn say(&mut self, index: usize, life: u32, lease: Lease) {
        if !self.workers[index].is(life) || !self.awake(index, &Due::Say { worker: index, life, lease }) {
            return;
        }
        let name = self.workers[index].name.clone();
        let Some(run) = self.workers[index].held.get_mut(&lease) else { return };
        let bodies: Vec<ReportBody> = run.outbox.iter().cloned().collect();
        if bodies.is_empty() {
            run.is_saying = false;
            return;
        }
        let first = run.said;
        let report = |(place, body): (usize, ReportBody)| Input::Report {
            worker: name.clone(),
            report: Report { build: lease.0, epoch: lease.1, seq: first + place as u64 + 1, body },
        };
        let count = bodies.len();
        let inputs: Vec<Input> = bodies.into_iter().enumerate().map(report).collect();
        if self.faults.come(Fault::WorkerLies) {
            let lie = self.lie(&inputs);
            self.note(|| format!("worker {index}: lies: {lie:?}"));
            self.ask(Asker::Nobody, vec![lie], None);
        }
        let ends = ends_build(&inputs);
        self.ask(Asker::Report { worker: index, life, lease, count, ends }, inputs, None);
    }

    /// Makes up something that a worker has no right to say, or says something twice.
    fn lie(&mut self, inputs: &[Input]) -> Input {
        let rng = self.faults.chances(Fault::WorkerLies);
        let mut lie = rng.pick(inputs).clone();
        if let Input::Report { report, worker } = &mut lie {
            match rng.below(7) {
                0 => report.epoch += 1,
                1 => report.epoch -= 1,
                2 => report.build = BuildId(report.build.0 + 1 - 2 * i64::from(rng.chance(0.5))),
                3 => *worker = format!("w{}", rng.below(12)).as_str().into(),
                4 => report.body = ReportBody::StepStarted { step: 7 },
                5 => report.body = ReportBody::TriggerReached { step: 7 },
                _ => {}
            }
        }
        lie
    }

    pub(crate) fn reported(&mut self, index: usize, life: u32, lease: Lease, count: usize, answer: Option<Reply>) {
        if !self.workers[index].is(life) {
            return;
        }
        match answer {
            Some(Reply::Refused(Denial::Fenced { build, epoch })) => self.fence(index, (build, epoch)),
            Some(_) => self.acknowledged(index, lease, count),
            None => {
                let wait = self.chances.worker.millis(500, 8_000);
                self.after(wait, Due::Say { worker: index, life, lease });
            }
        }
    }

    fn acknowledged(&mut self, index: usize, lease: Lease, count: usize) {
        let worker = &mut self.workers[index];
        let life = worker.life;
        let Some(run) = worker.held.get_mut(&lease) else { return };
        run.outbox.drain(..count.min(run.outbox.len()));
        run.said += count as u64;
        run.is_saying = !run.outbox.is_empty();
        if run.is_saying {
            self.after(Duration::from_millis(1), Due::Say { worker: index, life, lease });
        } else if run.is_over {
            worker.held.remove(&lease);
            worker.ended.insert(lease);
        }
    }

    /// Chance strikes: a worker dies, or stands still.
    pub(crate) fn accident(&mut self) {
        let index = self.chances.worker.below(self.workers.len());
        if self.healed.is_some() {
            return;
        }
        self.after(Duration::from_secs(10), Due::Accident);
        if !self.workers[index].is_alive {
            return;
        }
        if self.faults.come(Fault::WorkerCrash) {
            self.note(|| format!("worker {index}: dies"));
            self.unlink(index);
            let worker = &mut self.workers[index];
            worker.is_alive = false;
            worker.held.clear();
            worker.ended.clear();
            let away = self.faults.chances(Fault::WorkerCrash).span(Duration::from_secs(1), Duration::from_secs(900));
            self.after(away, Due::WorkerUp(index));
        } else if self.faults.come(Fault::WorkerFreeze) {
            let away = self.faults.chances(Fault::WorkerFreeze).span(Duration::from_secs(1), Duration::from_secs(600));
            self.note(|| format!("worker {index}: stands still for {} s", away.as_secs()));
            self.workers[index].frozen = Some(self.now.after(away));
            self.unlink(index);
        }
    }
}

impl Run {
    fn new(order: Option<Box<BuildOrder>>) -> Self {
        Self {
            order,
            step: 0,
            waits: false,
            is_over: false,
            outbox: VecDeque::new(),
            is_saying: false,
            said: 0,
            warnings: false,
        }
    }
}
