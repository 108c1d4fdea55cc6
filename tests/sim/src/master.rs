//! A master: the shell round the rounds. What the service's engine does with tasks and a database, this does with what is
//! due and a store in memory, step by step, so that it may die between any two.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::WorkerCommand;
use gristmill_model::{Catalog, Event, EventBody, MessageId, Seq, Timestamp, WorkerName, mutant};
use gristmill_notifiers::outbox::UnderWay;
use gristmill_schedulers::round::{Kept, KnownDelivery, Recalled, Rounded, delivery_answer};
use gristmill_schedulers::watch::{self, Watch};
use gristmill_schedulers::{Draft, Input, Once, Reply, Round, State, next_due, order};

use crate::check::{Said, Violation};
use crate::profile::Fault;
use crate::store::{CommitError, Store};
use crate::world::{Asker, Due, Letter, NoAnswer, World};

/// Inputs that share a turn at the most.
const TURN_INPUTS_MAX: usize = 256;
/// Events after which no further input joins a turn.
const TURN_EVENTS_ENOUGH: usize = 4_000;
/// Inputs that are decided one by one after one was found that the tables refuse.
const ALONE_AFTER_REFUSAL: usize = 2 * TURN_INPUTS_MAX;
/// The longest sleep between two looks at the clock.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(30);
/// Waits before the state is loaded again.
const RELOAD_WAITS: [u64; 4] = [50, 250, 1_000, 5_000];
/// The longest jump of a clock.
const JUMP_MAX: Duration = Duration::from_secs(600);

/// One run of the service, and its next ones.
#[derive(Debug, Default)]
pub(crate) struct Master {
    /// How often it was started.
    pub(crate) life: u32,
    /// Whether it runs.
    pub(crate) is_alive: bool,
    /// Whether its configuration is in force, so that it takes what others say.
    pub(crate) is_ready: bool,
    /// Until when it stands still.
    pub(crate) frozen: Option<Timestamp>,
    pub(crate) state: State,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) inbox: VecDeque<Letter>,
    pending: Option<Pending>,
    is_turn_due: bool,
    is_reloading: bool,
    wake: Option<Timestamp>,
    alone: usize,
    failures: usize,
    /// How far its clock is off, in microseconds.
    pub(crate) skew: i64,
    /// Commands that wait for workers.
    pub(crate) fleet: BTreeMap<WorkerName, Vec<WorkerCommand>>,
    /// Who was heard of when.
    watch: Watch,
    pub(crate) read: Seq,
    pub(crate) saved: Seq,
    pub(crate) is_announcing: bool,
    /// Per notifier: mail, IRC.
    pub(crate) under_way: [UnderWay; 2],
    /// When it looks at the outbox next.
    pub(crate) looks_at: Option<Timestamp>,
    /// What became of messages, until that is noted.
    pub(crate) ends: BTreeMap<MessageId, Input>,
}

/// What was said in a turn, and what came of it: for the checker.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// What was said.
    pub(crate) said: Said,
    /// What was answered.
    pub(crate) reply: Result<Reply, NoAnswer>,
    /// The events that it set off, by their place in the turn.
    pub(crate) events: Range<usize>,
}

/// Who gets which answer once a turn is committed.
type Answers = Vec<(Asker, Result<Reply, NoAnswer>)>;

/// A turn that was decided and is being committed.
#[derive(Debug)]
struct Pending {
    rounded: Rounded,
    answers: Answers,
    heard: Vec<Heard>,
}

impl Master {
    /// Says whether it takes what others say.
    pub(crate) fn answers(&self) -> bool {
        self.is_alive && self.is_ready && self.frozen.is_none()
    }

    fn is(&self, life: u32) -> bool {
        self.is_alive && self.life == life
    }
}

impl World {
    fn clock(&self, master: usize) -> Timestamp {
        Timestamp(self.now.0 + self.masters[master].skew)
    }

    /// Starts a master: it loads the state, forgets who was connected, and puts its configuration in force.
    pub(crate) fn boot(&mut self, index: usize) {
        if self.masters[index].is_alive {
            return;
        }
        let before = std::mem::take(&mut self.masters[index]);
        let cursor = self.store.cursors.get(gristmill_schedulers::round::ANNOUNCER).copied().unwrap_or_default();
        let life = before.life + 1;
        let state = self.store.load();
        self.note(|| format!("master {index}: starts, life {life}, at event {}", state.head));
        self.masters[index] =
            Master { life, is_alive: true, state, skew: before.skew, read: cursor, saved: cursor, ..Master::default() };
        let catalog = Arc::clone(&self.configs[self.config].catalog);
        let inputs = vec![Input::Activate { catalog, text: String::new() }];
        self.front = index;
        let letter = Letter { inputs, once: None, asker: Asker::Boot { master: index, life } };
        self.arrive(index, life, letter);
    }

    /// The configuration is in force, or the service gives up and is started again.
    pub(crate) fn booted(&mut self, index: usize, life: u32, is_good: bool) {
        if !self.masters[index].is(life) {
            return;
        }
        if is_good {
            self.masters[index].is_ready = true;
            let connected = self.store.rows.workers.values().filter(|worker| worker.connected);
            let gone = |worker: &gristmill_model::Worker| Input::Gone {
                worker: worker.name.clone(),
                why: "the service started again".to_owned(),
            };
            let inputs: Vec<Input> = connected.map(gone).collect();
            self.arrive(index, life, Letter { inputs, once: None, asker: Asker::Nobody });
            self.after(Duration::ZERO, Due::Watch(index, life));
            self.after(Duration::ZERO, Due::Announce(index, life));
            self.after(Duration::ZERO, Due::Deliver(index, life));
        } else {
            self.die(index, "it could not put its configuration in force");
        }
    }

    /// Gives when an event of a master that stands still is to be looked at again.
    pub(crate) fn frozen(&self, index: usize) -> Option<Timestamp> {
        self.masters[index].frozen.filter(|until| *until > self.now)
    }

    pub(crate) fn arrive(&mut self, index: usize, life: u32, letter: Letter) {
        if !self.masters[index].is(life) {
            let wait = self.chances.net.millis(100, 3_000);
            self.after(wait, Due::Answer(letter.asker, Err(NoAnswer::Lost)));
            return;
        }
        if let Some(Input::Hello(hello)) = letter.inputs.first() {
            self.masters[index].fleet.remove(&hello.worker);
        }
        if let Some(Input::Report { worker, .. }) = letter.inputs.first() {
            self.hear(index, worker);
        }
        self.masters[index].inbox.push_back(letter);
        self.want_turn(index);
    }

    /// A clock that never jumps, whatever the machine's does.
    fn monotonic(&self) -> watch::Reading {
        self.now.since(Timestamp::default())
    }

    /// Notes that a worker was heard of.
    pub(crate) fn hear(&mut self, index: usize, worker: &WorkerName) {
        let now = self.monotonic();
        self.masters[index].watch.heard(worker, now);
    }

    /// Looks who was not heard of for long.
    pub(crate) fn watch(&mut self, index: usize, life: u32) {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Watch(index, life));
            return;
        }
        if !self.masters[index].is(life) {
            return;
        }
        self.after(watch::LOOK_EVERY, Due::Watch(index, life));
        // Workers speak to whoever leads; another one has nothing to say of them.
        if self.front != index {
            return;
        }
        let now = self.monotonic();
        let master = &mut self.masters[index];
        for input in master.watch.look(&master.state, now) {
            self.arrive(index, life, Letter { inputs: vec![input], once: None, asker: Asker::Nobody });
        }
    }

    pub(crate) fn want_turn(&mut self, index: usize) {
        let master = &mut self.masters[index];
        if !master.is_turn_due && master.pending.is_none() && !master.is_reloading {
            master.is_turn_due = true;
            let life = master.life;
            self.after(Duration::ZERO, Due::Turn(index, life));
        }
    }

    /// Decides a turn; its commit comes a little later.
    pub(crate) fn turn(&mut self, index: usize, life: u32) -> Result<(), Violation> {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Turn(index, life));
            return Ok(());
        }
        let (now, reading) = (self.clock(index), self.monotonic());
        let Self { masters, store, faults, .. } = self;
        let master = &mut masters[index];
        if !master.is(life) || !master.is_turn_due {
            return Ok(());
        }
        master.is_turn_due = false;
        let inputs_max = if master.alone > 0 { 1 } else { TURN_INPUTS_MAX };
        let mut round = Round::begin(Arc::clone(&master.catalog), &mut master.state, now);
        let (mut answers, mut heard) = (Answers::new(), Vec::new());
        while round.events() < TURN_EVENTS_ENOUGH
            && heard.len() < inputs_max
            && let Some(letter) = master.inbox.pop_front()
        {
            master.alone = master.alone.saturating_sub(1);
            let mut answer = Ok(Reply::Done);
            for input in letter.inputs {
                let said = Said::of(&input);
                let before = round.events();
                let once = letter.once.clone();
                let reads = once.is_some() || matches!(input, Input::Deliver(_));
                let reply = if reads && faults.come(Fault::ReadFails) {
                    Err(NoAnswer::Lost)
                } else {
                    let recalled = recall(store, &round, &input, once.as_ref());
                    round.input(input, once, recalled).map_err(|_| NoAnswer::KeyReused)
                };
                // Who is not admitted was not heard.
                if let (Said::Hello { worker, .. }, Ok(Reply::Welcome(_))) = (&said, &reply) {
                    master.watch.heard(worker, reading);
                }
                heard.push(Heard { said, reply: reply.clone(), events: before..round.events() });
                if !matches!(answer, Err(_) | Ok(Reply::Refused(_))) {
                    answer = reply;
                }
            }
            answers.push((letter.asker, answer));
        }
        let rounded = round.finish(&|_, _| None);
        if rounded.draft.is_empty() {
            self.checker.turned(&self.store, &heard, &[])?;
            self.dispatch(index, rounded.commands);
            self.reply(answers);
            self.sleep(index);
            return Ok(());
        }
        if mutant::is_on(30) {
            self.reply(std::mem::take(&mut answers));
        }
        self.masters[index].pending = Some(Pending { rounded, answers, heard });
        let takes = self.chances.store.millis(1, 4);
        self.after(takes, Due::Commit(index, life));
        Ok(())
    }

    /// Commits the turn; then, and only then, commands and answers go out. It may die before, between and after.
    pub(crate) fn commit(&mut self, index: usize, life: u32) -> Result<(), Violation> {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Commit(index, life));
            return Ok(());
        }
        if !self.masters[index].is(life) {
            return Ok(());
        }
        if self.faults.come(Fault::MasterCrash) {
            self.die(index, "dies before it commits");
            return Ok(());
        }
        if self.faults.come(Fault::MasterFreeze) {
            self.freeze(index);
            self.after(Duration::ZERO, Due::Commit(index, life));
            return Ok(());
        }
        let Some(Pending { rounded, answers, heard }) = self.masters[index].pending.take() else { return Ok(()) };
        let result = self.write(index, &rounded.draft, &heard)?;
        if matches!(result, Ok(()) | Err(CommitError::Unknown)) && self.faults.come(Fault::MasterCrash) {
            self.die_with(index, answers, "dies after it committed");
            return Ok(());
        }
        match result {
            Ok(()) => {
                let master = &mut self.masters[index];
                master.failures = 0;
                master.catalog = rounded.catalog;
                self.dispatch(index, rounded.commands);
                if self.faults.come(Fault::MasterCrash) {
                    self.die_with(index, answers, "dies before it answers");
                    return Ok(());
                }
                self.reply(answers);
                self.after(Duration::ZERO, Due::Announce(index, life));
                self.after(Duration::ZERO, Due::Deliver(index, life));
                self.sleep(index);
            }
            Err(why) => {
                self.note(|| format!("master {index}: a turn was not committed: {why:?}"));
                let refused = |(asker, _): (Asker, Result<Reply, NoAnswer>)| (asker, Err(NoAnswer::Lost));
                if !mutant::is_on(31) {
                    self.reply(answers.into_iter().map(refused).collect());
                } else {
                    self.reply(answers);
                }
                let master = &mut self.masters[index];
                if matches!(why, CommitError::Inconsistent(_)) {
                    master.alone = ALONE_AFTER_REFUSAL;
                }
                let wait = RELOAD_WAITS[master.failures.min(RELOAD_WAITS.len() - 1)];
                master.failures += 1;
                master.is_reloading = true;
                self.after(Duration::from_millis(wait), Due::Reload(index, life));
            }
        }
        Ok(())
    }

    /// Writes a draft to the store, unless the store fails.
    fn write(&mut self, index: usize, draft: &Draft, heard: &[Heard]) -> Result<Result<(), CommitError>, Violation> {
        if self.faults.come(Fault::StoreBusy) {
            return Ok(Err(CommitError::Busy));
        }
        let is_unknown = self.faults.come(Fault::CommitUnknown);
        if is_unknown && self.faults.chances(Fault::CommitUnknown).chance(0.5) {
            return Ok(Err(CommitError::Unknown));
        }
        if let Err(why) = self.store.check(draft) {
            return Ok(Err(why));
        }
        self.store.keep(draft);
        for (place, body) in draft.events.iter().enumerate() {
            let seq = Seq(draft.expected_head.0 + 1 + i64::try_from(place).expect("a turn is small"));
            let event = Event { seq, at: draft.at, body: body.clone() };
            self.hash_event(&event);
            self.note(|| format!("master {index}: event {seq} {}", crate::report::sentence(&event.body)));
            if let EventBody::ChangeSeen { change } = body {
                let truth = self.git.0.get(&change.repository);
                let was_so = truth.is_some_and(|truth| truth.was_at(&change.reference, change.new.as_ref()));
                if !was_so {
                    let why = format!("change {} is of something that was never pushed", change.id);
                    return Err(Violation::new("S2", why));
                }
            }
            self.checker.event(&self.store, &event)?;
            self.folded.apply(&event);
            self.stats.events += 1;
            self.stats.builds += u64::from(body.kind() == "build.finished");
            self.store.append(event).map_err(|rule| Violation::new("S10", format!("the tables refuse it: {rule}")))?;
        }
        self.stats.commits += 1;
        self.checker.turned(&self.store, heard, &draft.events)?;
        self.checker.committed(&self.store)?;
        self.checker.same_as_memory(&self.folded, &self.masters[index].state, &self.store)?;
        Ok(if is_unknown { Err(CommitError::Unknown) } else { Ok(()) })
    }

    fn reply(&mut self, answers: Answers) {
        for (asker, answer) in answers {
            if asker != Asker::Nobody {
                let latency = self.chances.net.millis(1, 20);
                self.after(latency, Due::Answer(asker, answer));
            }
        }
    }

    /// Sets the alarm for the next moment at which a turn is due although nothing comes in.
    fn sleep(&mut self, index: usize) {
        if !self.masters[index].inbox.is_empty() {
            self.want_turn(index);
            return;
        }
        let now = self.clock(index).max(self.masters[index].state.at);
        let master = &self.masters[index];
        let due = next_due(&master.catalog, &master.state, now).map_or(LOOK_AT_CLOCK_EVERY, |due| due.since(now));
        let at = self.now.after(due.min(LOOK_AT_CLOCK_EVERY).max(Duration::from_millis(1)));
        if master.wake.is_none_or(|wake| wake > at || wake < self.now) {
            let life = master.life;
            self.masters[index].wake = Some(at);
            self.at(at, Due::Wake(index, life));
        }
    }

    /// A master looks at the clock.
    pub(crate) fn wake(&mut self, index: usize, life: u32) -> Result<(), Violation> {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Wake(index, life));
            return Ok(());
        }
        if !self.masters[index].is(life) || self.masters[index].wake.is_none_or(|wake| wake > self.now) {
            return Ok(());
        }
        self.masters[index].wake = None;
        if self.faults.come(Fault::ClockJump) {
            let jump = self.faults.chances(Fault::ClockJump).span(Duration::from_secs(1), JUMP_MAX);
            let micros = i64::try_from(jump.as_micros()).expect("minutes are few");
            // It may be put back for hours; put forward, it stays so little ahead that the world catches up.
            let skew = if self.faults.chances(Fault::ClockJump).chance(0.5) { micros } else { -20 * micros };
            self.masters[index].skew = skew;
            self.note(|| format!("master {index}: its clock is now {} s off", skew / 1_000_000));
        }
        self.want_turn(index);
        if self.masters[index].pending.is_some() || self.masters[index].is_reloading {
            self.sleep(index);
        }
        Ok(())
    }

    /// Loads the state again, and says again what workers must know.
    pub(crate) fn reload(&mut self, index: usize, life: u32) -> Result<(), Violation> {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Reload(index, life));
            return Ok(());
        }
        if !self.masters[index].is(life) {
            return Ok(());
        }
        self.masters[index].state = self.store.load();
        self.masters[index].is_reloading = false;
        // Another master may have put another configuration in force meanwhile.
        let active = self.store.active.as_ref();
        let config = self.configs.iter().find(|config| Some(&config.catalog.hash) == active);
        if let Some(config) = config.filter(|_| self.masters[index].is_ready && !mutant::is_on(44)) {
            self.masters[index].catalog = Arc::clone(&config.catalog);
        }
        self.checker.same_as_memory(&self.folded, &self.masters[index].state, &self.store)?;
        let commands = order::standing(&self.masters[index].state, None, &|_| None);
        if !mutant::is_on(101) {
            self.dispatch(index, commands);
        }
        self.after(Duration::ZERO, Due::Announce(index, life));
        self.after(Duration::ZERO, Due::Deliver(index, life));
        self.sleep(index);
        Ok(())
    }

    /// Keeps commands for workers; those that are connected get them at once.
    fn dispatch(&mut self, index: usize, commands: Vec<(WorkerName, WorkerCommand)>) {
        for (worker, command) in commands {
            self.masters[index].fleet.entry(worker.clone()).or_default().push(command);
            self.hand_over(index, &worker);
        }
    }

    /// Gives a connected worker what waits for it.
    pub(crate) fn hand_over(&mut self, index: usize, name: &WorkerName) {
        let life = self.masters[index].life;
        let linked = self.workers.iter().position(|worker| worker.name == *name && worker.link == Some((index, life)));
        let Some(worker) = linked else { return };
        let Some(commands) = self.masters[index].fleet.remove(name) else { return };
        let session = self.workers[worker].session;
        if self.faults.come(Fault::LinkLost) {
            self.note(|| format!("worker {worker}: what it was told is lost, and its connection with it"));
            self.unlink(worker);
            return;
        }
        let latency = self.chances.net.millis(1, 20);
        self.after(latency, Due::Commands(worker, session, commands));
    }

    fn die_with(&mut self, index: usize, answers: Answers, why: &str) {
        for (asker, _) in answers {
            let wait = self.chances.net.millis(100, 3_000);
            self.after(wait, Due::Answer(asker, Err(NoAnswer::Lost)));
        }
        self.die(index, why);
    }

    /// Ends a master's run: all that it had in memory is gone. It is started again.
    pub(crate) fn die(&mut self, index: usize, why: &str) {
        self.note(|| format!("master {index}: {why}"));
        self.forget(index);
        if self.front != index {
            return;
        }
        let wait = self.chances.store.span(Duration::from_millis(200), Duration::from_secs(90));
        self.after(wait, Due::Boot(index));
    }

    fn forget(&mut self, index: usize) {
        let master = &mut self.masters[index];
        let life = master.life;
        let skew = master.skew;
        let dead = std::mem::take(master);
        (master.life, master.skew) = (life, skew);
        let waiting = dead.inbox.into_iter().map(|letter| letter.asker);
        let pending = dead.pending.into_iter().flat_map(|pending| pending.answers).map(|(asker, _)| asker);
        let askers: Vec<Asker> = waiting.chain(pending).filter(|asker| !matches!(asker, Asker::Boot { .. })).collect();
        for asker in askers {
            let wait = self.chances.net.millis(100, 3_000);
            self.after(wait, Due::Answer(asker, Err(NoAnswer::Lost)));
        }
        self.leave(index);
    }

    /// Everybody who was connected to a master looks for another one.
    fn leave(&mut self, index: usize) {
        for worker in 0..self.workers.len() {
            if self.workers[worker].link.is_some_and(|(master, _)| master == index) {
                self.unlink(worker);
            }
        }
    }

    /// Has a master stand still. If that lasts, another one is started on the same store; later the first goes on.
    fn freeze(&mut self, index: usize) {
        let span = self.faults.chances(Fault::MasterFreeze).span(Duration::from_secs(5), Duration::from_secs(400));
        let until = self.now.after(span);
        self.note(|| format!("master {index}: stands still for {} s", span.as_secs()));
        let life = self.masters[index].life;
        self.masters[index].frozen = Some(until);
        self.leave(index);
        let master = &mut self.masters[index];
        let letters = master.inbox.iter_mut().map(|letter| &mut letter.asker);
        let pending = master.pending.iter_mut().flat_map(|pending| &mut pending.answers).map(|(asker, _)| asker);
        let askers: Vec<Asker> = letters
            .chain(pending)
            .filter(|asker| !asker.is_within())
            .map(|asker| std::mem::replace(asker, Asker::Nobody))
            .collect();
        for asker in askers {
            let wait = self.chances.net.millis(2_000, 30_000);
            self.after(wait, Due::Answer(asker, Err(NoAnswer::Lost)));
        }
        self.at(until, Due::Thaw(index, life));
        // Whoever runs it loses patience, starts another one, and ends the first once they see it move.
        if self.masters.len() < 3 && span > Duration::from_secs(30) {
            self.masters.push(Master::default());
            let other = self.masters.len() - 1;
            self.after(Duration::from_secs(20), Due::Boot(other));
            let until = span + self.chances.net.span(Duration::from_secs(5), Duration::from_secs(200));
            self.after(until, Due::End(index, life));
        }
    }

    pub(crate) fn thaw(&mut self, index: usize, life: u32) -> Result<(), Violation> {
        if self.masters[index].is(life) && self.frozen(index).is_none() {
            self.note(|| format!("master {index}: goes on"));
            self.masters[index].frozen = None;
            // What it noticed of workers before it stood still says nothing about now: they may have come back elsewhere.
            let is_notice =
                |letter: &Letter| matches!(letter.inputs.first(), Some(Input::Gone { .. } | Input::Unheard { .. }));
            self.masters[index].inbox.retain(|letter| !is_notice(letter));
            self.want_turn(index);
        }
        Ok(())
    }

    /// Ends a master that is not wanted any more.
    pub(crate) fn end(&mut self, index: usize, life: u32) {
        if self.masters[index].is(life) && self.front != index {
            self.note(|| format!("master {index}: is ended, another one is at work"));
            self.forget(index);
        }
    }
}

/// Looks up what the store knows of an input that may have come before.
fn recall(store: &Store, round: &Round<'_>, input: &Input, once: Option<&Once>) -> Recalled {
    let mut recalled = Recalled::default();
    if let Some(once) = once
        && !round.has_answer(once)
    {
        let kept = store.answers.get(&once.key);
        recalled.answer =
            kept.map(|(request_sha256, body)| Kept { request_sha256: request_sha256.clone(), body: body.clone() });
    }
    if let Input::Deliver(delivery) = input
        && !round.has_delivery(delivery)
    {
        let key = (delivery.repository.clone(), delivery.key.clone());
        let any = || store.rows.delivery_keys.iter().find(|((_, one), _)| *one == delivery.key).map(|(_, id)| *id);
        let known = if mutant::is_on(28) { any() } else { store.rows.delivery_keys.get(&key).copied() };
        recalled.delivery = known.map(|id| {
            let answer = store.answers.get(&delivery_answer(id)).map(|(_, body)| body.clone());
            KnownDelivery { id, answer }
        });
    }
    recalled
}
