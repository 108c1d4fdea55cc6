//! Workers: they connect, obey, work, report until it is acknowledged, and now and then vanish, freeze or lie.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gristmill_model::protocol::{BuildOrder, Held, Hello, Report, ReportBody, WorkerCommand};
use gristmill_model::{BuildId, Cause, Outcome, StepAction, Timestamp, TokenId, WorkerName, mutant};
use gristmill_schedulers::input::Denial;
use gristmill_schedulers::{Input, Reply};

use crate::check::{Violation, ends_build};
use crate::profile::Fault;
use crate::rng::Rng;
use crate::world::{Asker, Due, Lease, World};

/// The token that somebody makes at the beginning.
pub(crate) const FIRST_TOKEN: &str = "pool0000";

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
    /// Until when nothing that it says reaches anybody.
    pub(crate) vanished: Option<Timestamp>,
    /// Whether it never comes back.
    pub(crate) is_lost: bool,
    /// The token that it joins by; a worker without one is like the built-in worker.
    pub(crate) token: Option<TokenId>,
    /// How fast its clock runs.
    drift: f64,
    /// When it sent the last request that was answered: its leases are renewed by that.
    renewed: Timestamp,
    hello_sent: Timestamp,
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
    said_at: Timestamp,
    warnings: bool,
    /// Whether a step's processes run.
    is_stepping: bool,
    /// Whether its end was told while it ran: who is told so starts it elsewhere, and nothing can be done about it.
    is_belied: bool,
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
            vanished: None,
            is_lost: false,
            token: (index > 1 && rng.chance(0.3)).then(|| FIRST_TOKEN.into()),
            drift: 0.9 + 0.2 * rng.unit(),
            renewed: Timestamp::default(),
            hello_sent: Timestamp::default(),
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
        worker.renewed = self.now;
        let life = worker.life;
        self.after(Duration::ZERO, Due::Connect(index, life));
    }

    fn awake(&mut self, index: usize, due: &Due) -> bool {
        let frozen = self.workers[index].frozen.filter(|until| *until > self.now);
        if let Some(until) = frozen {
            self.at(until, due.clone());
            return false;
        }
        self.fence_itself(index);
        true
    }

    /// A worker ends what it may not go on with: four fifths of the window are over since it was last answered, by its own
    /// clock. It looks whenever it does anything, so it is always on time.
    fn fence_itself(&mut self, index: usize) {
        let worker = &self.workers[index];
        if !worker.is_alive || worker.frozen.is_some_and(|until| until > self.now) || mutant::is_on(116) {
            return;
        }
        let unanswered = self.now.since(worker.renewed).mul_f64(worker.drift);
        let is_over = |run: &Run| {
            let window = run.order.as_ref().map(|order| order.recipe.orphan_window());
            !run.is_over && window.is_some_and(|window| unanswered >= window.mul_f64(0.8))
        };
        let over: Vec<Lease> = worker.held.iter().filter(|(_, run)| is_over(run)).map(|(lease, _)| *lease).collect();
        for lease in over {
            self.note(|| format!("worker {index}: ends build {} epoch {} by its own clock", lease.0, lease.1));
            let Some(run) = self.workers[index].held.get_mut(&lease) else { continue };
            (run.waits, run.is_stepping) = (false, false);
            self.finish_run(index, lease, Outcome::Retry, Some(Cause::Infrastructure));
        }
    }

    /// S8: nobody else runs a step of the same request.
    fn check_alone(&mut self, index: usize, lease: Lease) {
        let request = |lease: &Lease| self.store.rows.builds.get(&lease.0).map(|row| row.build.request);
        let wanted = request(&lease);
        let is_same = |other: &Lease| *other != lease && request(other) == wanted;
        let others: Vec<(usize, Lease)> = (0..self.workers.len())
            .flat_map(|other| self.workers[other].held.keys().map(move |lease| (other, *lease)))
            .filter(|(_, lease)| is_same(lease))
            .collect();
        for (other, held) in others {
            self.fence_itself(other);
            let worker = &self.workers[other];
            let is_awake = worker.is_alive && worker.frozen.is_none_or(|until| until <= self.now);
            if is_awake && worker.held.get(&held).is_some_and(|run| run.is_stepping && !run.is_belied) {
                let why = format!(
                    "worker {index} begins a step of build {}, and worker {other} still runs build {} of the same request",
                    lease.0, held.0
                );
                self.violation = Some(Violation::new("S8", why));
            }
        }
    }

    /// A worker asks the service. What it says under a token that was taken back is answered by nobody, like what it says
    /// while it is out of reach.
    fn ask_as(&mut self, index: usize, asker: Asker, inputs: Vec<Input>) {
        if self.is_vanished(index) || self.is_revoked(index) {
            if self.is_revoked(index) {
                self.unlink(index);
            }
            let wait = self.chances.net.millis(2_000, 30_000);
            self.after(wait, Due::Answer(asker, Err(crate::world::NoAnswer::Lost)));
            return;
        }
        self.ask(asker, inputs, None);
    }

    fn is_vanished(&self, index: usize) -> bool {
        self.workers[index].vanished.is_some_and(|until| until > self.now)
    }

    fn is_revoked(&self, index: usize) -> bool {
        let token = self.workers[index].token.as_ref().and_then(|token| self.store.rows.tokens.get(token));
        token.is_some_and(|token| token.revoked.is_some())
    }

    /// A worker lets itself be heard.
    pub(crate) fn beat(&mut self, index: usize, life: u32, session: u32) {
        let worker = &self.workers[index];
        let Some((master, master_life)) = worker.link else { return };
        if !worker.is(life) || worker.session != session || !self.awake(index, &Due::Beat(index, life, session)) {
            return;
        }
        if self.is_revoked(index) {
            self.unlink(index);
            return;
        }
        let wait = self.chances.net.millis(9_000, 11_000);
        self.after(wait, Due::Beat(index, life, session));
        let is_lost = self.faults.come(Fault::LinkLost);
        if is_lost && self.faults.chances(Fault::LinkLost).chance(0.5) {
            return;
        }
        if self.masters[master].answers() && self.masters[master].life == master_life {
            let name = self.workers[index].name.clone();
            self.hear(master, &name);
            // Whoever counts as away is told to introduce itself again.
            let known = self.masters[master].state.workers.get(&name);
            if known.is_none_or(|known| !known.connected) {
                self.unlink(index);
                return;
            }
            if !is_lost {
                self.workers[index].renewed = self.now;
            }
        }
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
        worker.hello_sent = self.now;
        let (name, labels, slots) = (worker.name.clone(), worker.labels.clone(), worker.slots);
        let token = worker.token.clone();
        let hello = Hello { worker: name, labels, slots, builds, token, ..Hello::default() };
        let asker = Asker::Hello { worker: index, life, session };
        if self.is_vanished(index) {
            let wait = self.chances.net.millis(2_000, 30_000);
            self.after(wait, Due::Answer(asker, Err(crate::world::NoAnswer::Lost)));
            return;
        }
        self.ask(asker, vec![Input::Hello(hello)], None);
    }

    pub(crate) fn welcomed(&mut self, index: usize, life: u32, session: u32, answer: Option<Reply>) {
        if !self.workers[index].is(life) || self.workers[index].session != session {
            return;
        }
        let front = self.front;
        if let Some(Reply::Refused(_)) = answer {
            return self.not_admitted(index, life);
        }
        let Some(Reply::Welcome(welcome)) = answer.filter(|_| self.masters[front].answers()) else {
            let wait = self.chances.worker.millis(500, 5_000);
            self.after(wait, Due::Connect(index, life));
            return;
        };
        for Held { build, epoch } in welcome.stop {
            self.fence(index, (build, epoch));
        }
        let worker = &mut self.workers[index];
        worker.link = Some((front, self.masters[front].life));
        worker.renewed = worker.renewed.max(worker.hello_sent);
        let name = worker.name.clone();
        self.after(Duration::from_secs(10), Due::Beat(index, life, session));
        self.hand_over(front, &name);
    }

    /// A worker that is not admitted tries again later, perhaps by a token that somebody gave it meanwhile.
    fn not_admitted(&mut self, index: usize, life: u32) {
        let good = self.store.rows.tokens.values().filter(|token| token.revoked.is_none());
        let good: Vec<TokenId> = good.map(|token| token.id.clone()).collect();
        if !good.is_empty() && self.chances.worker.chance(0.3) {
            self.workers[index].token = Some(self.chances.worker.pick(&good).clone());
        }
        let wait = self.chances.worker.millis(20_000, 60_000);
        self.after(wait, Due::Connect(index, life));
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
                // Its first step waits for the answer: the lease may be over by now.
                if mutant::is_on(117) {
                    self.begin_step(index, lease);
                }
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
        (run.is_over, run.waits, run.is_stepping) = (true, false, false);
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
                self.check_alone(index, lease);
                if let Some(run) = self.workers[index].held.get_mut(&lease) {
                    run.is_stepping = true;
                }
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
        let Some(run) = self.workers[index].held.get_mut(&lease) else { return };
        if run.is_over || run.step != step {
            return;
        }
        run.is_stepping = false;
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
        run.said_at = self.now;
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
            self.belie(&lie);
            self.ask(Asker::Nobody, vec![lie], None);
        }
        let ends = ends_build(&inputs);
        self.ask_as(index, Asker::Report { worker: index, life, lease, count, ends }, inputs);
    }

    /// Notes of which run a lie tells the end.
    fn belie(&mut self, lie: &Input) {
        let Input::Report { worker, report } = lie else { return };
        if matches!(report.body, ReportBody::Finished { .. }) {
            let of_name = self.workers.iter_mut().filter(|one| one.name == *worker);
            let runs = of_name.filter_map(|one| one.held.get_mut(&(report.build, report.epoch)));
            runs.for_each(|run| run.is_belied = true);
        }
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
        if let (Some(_), Some(run)) = (&answer, self.workers[index].held.get(&lease)) {
            let sent = run.said_at;
            self.workers[index].renewed = self.workers[index].renewed.max(sent);
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
        let is_first = run.said == 0 && run.order.is_some() && !mutant::is_on(117);
        run.outbox.drain(..count.min(run.outbox.len()));
        run.said += count as u64;
        run.is_saying = !run.outbox.is_empty();
        if run.is_saying {
            self.after(Duration::from_millis(1), Due::Say { worker: index, life, lease });
        } else if run.is_over {
            worker.held.remove(&lease);
            worker.ended.insert(lease);
        }
        if is_first {
            self.fence_itself(index);
            if self.workers[index].held.get(&lease).is_some_and(|run| !run.is_over) {
                self.begin_step(index, lease);
            }
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
            // The first two always come back: between them they can run everything.
            worker.is_lost = index > 1 && self.faults.chances(Fault::WorkerCrash).chance(0.1);
            let away = self.faults.chances(Fault::WorkerCrash).span(Duration::from_secs(1), Duration::from_secs(900));
            if !self.workers[index].is_lost {
                self.after(away, Due::WorkerUp(index));
            }
        } else if self.faults.come(Fault::WorkerFreeze) {
            let away = away(self.faults.chances(Fault::WorkerFreeze));
            self.note(|| format!("worker {index}: stands still for {} s", away.as_secs()));
            self.workers[index].frozen = Some(self.now.after(away));
            self.unlink(index);
        } else if self.faults.come(Fault::WorkerVanish) {
            let away = away(self.faults.chances(Fault::WorkerVanish));
            self.note(|| format!("worker {index}: is out of reach for {} s", away.as_secs()));
            self.workers[index].vanished = Some(self.now.after(away));
            self.unlink(index);
        }
    }
}

/// For how long a worker is away: often for less than the windows of builds, now and then for longer than any.
fn away(rng: &mut Rng) -> Duration {
    let longest = *rng.pick(&[120, 600, 600, 2_400]);
    rng.span(Duration::from_secs(1), Duration::from_secs(longest))
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
            said_at: Timestamp::default(),
            warnings: false,
            is_stepping: false,
            is_belied: false,
        }
    }
}
