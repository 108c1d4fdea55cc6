//! The world of one seed: what is due when, who is in it, and what is said between them.
//!
//! One thread, one heap of what is due, virtual time. Everything that an actor does comes from the seed; nothing is left to
//! the machine that runs it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::WorkerCommand;
use gristmill_model::{MessageId, RepositoryName, Seq, Timestamp};
use gristmill_notifiers::{DeliveryError, Receipt};
use gristmill_schedulers::{Input, Once, Reply, State};

use crate::check::{Checker, Violation};
use crate::config::{self, Config};
use crate::git::Git;
use crate::master::Master;
use crate::outside::Target;
use crate::profile::{Fault, Faults, Size};
use crate::rng::{Hash, Rng};
use crate::store::Store;
use crate::worker::Worker;

/// The first moments of seeds: an ordinary day, and the nights in which Berlin changes its clocks (S19).
const STARTS: [i64; 4] = [1_795_478_400, 1_795_478_400, 1_774_738_800, 1_792_884_600];
/// How long the second phase may take before the world counts as stuck.
const LIVENESS_MAX: Duration = Duration::from_secs(6 * 3600);
/// How often the second phase is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What may happen in one world; more is a loop.
const HAPPENINGS_MAX: u64 = 1_500_000;
/// Whoever asks a service that does not answer gives up after this at the latest.
const PATIENCE: Duration = Duration::from_secs(30);

/// A build under an epoch.
pub(crate) type Lease = (gristmill_model::BuildId, i64);

/// What is asked of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The seed, from which everything follows.
    pub seed: u64,
    /// How long the first phase lasts, instead of what the seed draws.
    pub hours: Option<f64>,
    /// Kinds of fault that do not exist.
    pub disabled: BTreeSet<Fault>,
    /// Single faults that are left out, by number.
    pub suppressed: BTreeSet<u32>,
    /// Whether what happens is written down.
    pub trace: bool,
    /// Whether the history's hash covers every byte of every event; slower.
    pub full_hash: bool,
    /// What a scenario asks for, instead of what the seed draws.
    pub scenario: Scenario,
}

/// What a scenario fixes.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// The faults, each with its probability per opportunity.
    pub faults: Option<Vec<(Fault, f64)>>,
    /// The first moment.
    pub start: Option<i64>,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Seconds of virtual time, all of the cluster's.
    pub virtual_seconds: f64,
    /// Builds that ended.
    pub builds: u64,
    /// Events in the journal.
    pub events: u64,
    /// Of those, in the first phase.
    pub events_in_safety: u64,
    /// Turns that were committed.
    pub commits: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Faults that were drawn, suppressed ones included.
    pub fault_numbers: u32,
    /// The history's hash.
    pub hash: u64,
    /// How often each invariant was looked at.
    pub checks: BTreeMap<&'static str, u64>,
    /// Messages that targets accepted.
    pub messages: u64,
}

/// A run that went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What did.
    pub violation: Violation,
    /// What had been done until then.
    pub stats: Stats,
    /// The last things that happened, if they were written down.
    pub timeline: Vec<String>,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nobody answered, or the service said that nothing was committed.
    Lost,
    /// The idempotency key was used for another request.
    KeyReused,
}

/// Who waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Nobody.
    Nobody,
    /// A master that starts.
    Boot { master: usize, life: u32 },
    /// A worker that introduces itself.
    Hello { worker: usize, life: u32, session: u32 },
    /// A worker that reports `count` things.
    Report { worker: usize, life: u32, lease: Lease, count: usize, ends: bool },
    /// A source that looked.
    Look { repository: RepositoryName, again: u32 },
    /// The sender of a webhook.
    Hook { repository: RepositoryName },
    /// A person, by the number of what they want.
    Person { wish: usize },
    /// The announcer of a master.
    Announcer { master: usize, life: u32, to: Seq },
    /// The deliverer of a master, which notes that it is about to send.
    Claim { master: usize, life: u32, message: MessageId },
    /// The deliverer of a master, which notes what became of a message.
    Note { master: usize, life: u32, message: MessageId },
}

impl Asker {
    /// Says whether it is a part of the master itself, which stands still with it.
    pub(crate) fn is_within(&self) -> bool {
        matches!(self, Self::Boot { .. } | Self::Announcer { .. } | Self::Claim { .. } | Self::Note { .. })
    }
}

/// What lies in a master's inbox: inputs that were said together.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// What is said, in order.
    pub inputs: Vec<Input>,
    /// The key of a request that may be repeated.
    pub once: Option<Once>,
    /// Who waits.
    pub asker: Asker,
}

/// Something that is due.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    /// A master starts.
    Boot(usize),
    /// A letter arrives.
    Arrive(usize, u32, Box<Letter>),
    /// A master runs a turn.
    Turn(usize, u32),
    /// The turn's commit.
    Commit(usize, u32),
    /// A master loads its state again.
    Reload(usize, u32),
    /// A master looks at the clock.
    Wake(usize, u32),
    /// A master that stood still goes on.
    Thaw(usize, u32),
    /// A master is ended by those who run it.
    End(usize, u32),
    /// A master notices that a worker has gone.
    Gone { master: usize, life: u32, worker: usize, session: u32 },
    /// An announcer looks at the journal.
    Announce(usize, u32),
    /// A deliverer looks at the outbox.
    Deliver(usize, u32),
    /// A message reaches its target.
    AtTarget { master: usize, life: u32, message: MessageId },
    /// The target's answer reaches the master.
    Answered { master: usize, life: u32, message: MessageId, result: Result<Receipt, DeliveryError> },
    /// An answer reaches whoever asked.
    Answer(Asker, Result<Reply, NoAnswer>),
    /// A worker's process starts.
    WorkerUp(usize),
    /// A worker introduces itself.
    Connect(usize, u32),
    /// A worker lets itself be heard.
    Beat(usize, u32, u32),
    /// A master looks who was not heard of for long.
    Watch(usize, u32),
    /// Commands reach a worker.
    Commands(usize, u32, Vec<WorkerCommand>),
    /// A step of a build ends.
    StepEnd { worker: usize, life: u32, lease: Lease, step: u32 },
    /// A worker reports what it has to say of a build.
    Say { worker: usize, life: u32, lease: Lease },
    /// Chance strikes at workers.
    Accident,
    /// Somebody pushes.
    Push,
    /// A source looks at a repository.
    Look(RepositoryName, u32),
    /// What it saw is handed over.
    Seen(RepositoryName, u32),
    /// Somebody wants something.
    Person,
    /// They say it, perhaps again.
    Wish(usize),
    /// Another configuration is put in force.
    Configure,
}

/// One entry of the heap: the earliest first, and of those at the same time the one that was put there first.
struct Entry {
    at: Timestamp,
    number: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What a person wants, so that it can be said again under the same key.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) input: Input,
    pub(crate) once: Option<Once>,
    pub(crate) is_over: bool,
}

/// Streams of chance, one per actor.
#[derive(Debug)]
pub(crate) struct Chances {
    pub(crate) net: Rng,
    pub(crate) store: Rng,
    pub(crate) git: Rng,
    pub(crate) source: Rng,
    pub(crate) people: Rng,
    pub(crate) worker: Rng,
    pub(crate) target: Rng,
}

/// The world of one seed.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    heap: BinaryHeap<Reverse<Entry>>,
    number: u64,
    pub(crate) size: Size,
    pub(crate) faults: Faults,
    pub(crate) chances: Chances,
    pub(crate) configs: Vec<Arc<Config>>,
    /// Which configuration the file has.
    pub(crate) config: usize,
    pub(crate) store: Store,
    /// The fold of the journal, by the code under test.
    pub(crate) folded: State,
    pub(crate) checker: Checker,
    pub(crate) masters: Vec<Master>,
    /// The master that everybody turns to.
    pub(crate) front: usize,
    pub(crate) workers: Vec<Worker>,
    pub(crate) git: Git,
    pub(crate) hooked: BTreeSet<RepositoryName>,
    pub(crate) deliveries: u64,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) target: Target,
    pub(crate) stats: Stats,
    /// What an actor found wrong.
    pub(crate) violation: Option<Violation>,
    happened: u64,
    hash: Hash,
    full_hash: bool,
    timeline: Option<Vec<String>>,
    /// When the second phase began.
    pub(crate) healed: Option<Timestamp>,
}

/// Runs one seed.
///
/// # Errors
/// What went wrong, with what had happened until then.
pub fn run(options: &Options) -> Result<Stats, Box<Failure>> {
    let mut world = World::new(options);
    let result = world.live();
    world.finish();
    match result {
        Ok(()) => Ok(world.stats),
        Err(violation) => {
            let timeline = world.timeline.take().unwrap_or_default();
            Err(Box::new(Failure { violation, stats: world.stats, timeline }))
        }
    }
}

impl World {
    fn new(options: &Options) -> Self {
        let rng = Rng::new(options.seed);
        let size = Size::draw(&rng, options.hours);
        let faults = match &options.scenario.faults {
            Some(wanted) => Faults::only(&rng, wanted, options.suppressed.clone()),
            None => Faults::draw(&rng, &options.disabled, options.suppressed.clone()),
        };
        let configs = config::generate(&rng, &size);
        let mut draw = rng.fork("world");
        let drawn = *draw.pick(&STARTS);
        let names: Vec<RepositoryName> = configs[0].catalog.repositories.keys().cloned().collect();
        let hooked = names.iter().filter(|_| draw.chance(0.7)).cloned().collect();
        let workers = (0..size.workers).map(|index| Worker::new(index, &mut draw)).collect();
        let stream = |label| rng.fork(label);
        let chances = Chances {
            net: stream("net"),
            store: stream("store"),
            git: stream("git"),
            source: stream("source"),
            people: stream("people"),
            worker: stream("worker"),
            target: stream("target"),
        };
        Self {
            now: Timestamp::from_seconds(options.scenario.start.unwrap_or(drawn)),
            heap: BinaryHeap::new(),
            number: 0,
            faults,
            chances,
            checker: Checker::new(&configs),
            configs,
            config: 0,
            store: Store::default(),
            folded: State::default(),
            masters: Vec::new(),
            front: 0,
            workers,
            git: Git(names.into_iter().map(|name| (name, Default::default())).collect()),
            hooked,
            deliveries: 0,
            wishes: Vec::new(),
            target: Target::default(),
            stats: Stats::default(),
            violation: None,
            happened: 0,
            hash: Hash::default(),
            full_hash: options.full_hash,
            timeline: options.trace.then(Vec::new),
            healed: None,
            size,
        }
    }

    /// Puts something on the heap.
    pub(crate) fn after(&mut self, wait: Duration, due: Due) {
        self.at(self.now.after(wait), due);
    }

    pub(crate) fn at(&mut self, at: Timestamp, due: Due) {
        self.number += 1;
        self.heap.push(Reverse(Entry { at: at.max(self.now), number: self.number, due }));
    }

    /// Writes down what happens, if it is asked for. The sentence is made only then.
    pub(crate) fn note(&mut self, actor: impl FnOnce() -> String) {
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!("{} {}", self.now.to_clock(), actor()));
        }
    }

    /// Adds an event to the history's hash.
    pub(crate) fn hash_event(&mut self, event: &gristmill_model::Event) {
        self.hash.add(&event.seq.0.to_le_bytes());
        self.hash.add(&event.at.0.to_le_bytes());
        self.hash.add(event.body.kind().as_bytes());
        if self.full_hash {
            self.hash.add(&serde_json::to_vec(&event.body).expect("an event is plain data"));
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        self.begin();
        let end_of_safety = self.now.after(self.size.safety);
        let start = self.now;
        self.until(end_of_safety)?;
        self.stats.events_in_safety = self.stats.events;
        self.heal();
        let stuck_at = self.now.after(LIVENESS_MAX);
        loop {
            self.until(self.now.after(LOOK_EVERY))?;
            self.check_bounds()?;
            match self.unfinished() {
                None => break,
                Some(what) if self.now >= stuck_at => return Err(Violation::new("L3", what)),
                Some(_) => {}
            }
        }
        self.stats.virtual_seconds = self.now.since(start).as_secs_f64();
        self.check_end()
    }

    fn finish(&mut self) {
        self.stats.hash = self.hash.0;
        self.stats.faults = self.faults.injected;
        self.stats.fault_numbers = self.faults.count;
        self.stats.checks = self.checker.counts();
        self.stats.messages = self.target.accepted;
    }

    fn begin(&mut self) {
        self.masters.push(Master::default());
        self.after(Duration::ZERO, Due::Boot(0));
        for worker in 0..self.workers.len() {
            let wait = self.chances.worker.millis(10, 5_000);
            self.after(wait, Due::WorkerUp(worker));
        }
        self.make_token(crate::worker::FIRST_TOKEN);
        // Something is there before anybody looks.
        let names: Vec<RepositoryName> = self.git.0.keys().cloned().collect();
        for name in names {
            let now = self.now;
            if let Some(repository) = self.git.0.get_mut(&name) {
                for _ in 0..3 {
                    repository.push(&mut self.chances.git, name.as_str(), now);
                }
            }
            let wait = self.chances.source.millis(1_000, 20_000);
            self.after(wait, Due::Look(name, 0));
        }
        self.after(Duration::from_secs(5), Due::Push);
        self.after(Duration::from_secs(30), Due::Person);
        self.after(Duration::from_secs(10), Due::Accident);
        let wait = self.chances.people.wait(self.size.reload_every);
        self.after(wait, Due::Configure);
    }

    /// Lets happen what is due before `end`.
    fn until(&mut self, end: Timestamp) -> Result<(), Violation> {
        while let Some(Reverse(next)) = self.heap.peek() {
            if next.at > end {
                break;
            }
            let Some(Reverse(entry)) = self.heap.pop() else { break };
            self.now = entry.at;
            self.happened += 1;
            if self.happened > HAPPENINGS_MAX {
                return Err(Violation::new("loop", format!("too much happens: {:?}", entry.due)));
            }
            self.happen(entry.due)?;
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, due: Due) -> Result<(), Violation> {
        match due {
            Due::Boot(master) => self.boot(master),
            Due::Arrive(master, life, letter) => self.arrive(master, life, *letter),
            Due::Turn(master, life) => return self.turn(master, life),
            Due::Commit(master, life) => return self.commit(master, life),
            Due::Reload(master, life) => return self.reload(master, life),
            Due::Wake(master, life) => return self.wake(master, life),
            Due::Thaw(master, life) => return self.thaw(master, life),
            Due::End(master, life) => self.end(master, life),
            Due::Gone { master, life, worker, session } => self.worker_gone(master, life, worker, session),
            Due::Announce(master, life) => self.announce(master, life),
            Due::Deliver(master, life) => self.deliver(master, life),
            Due::AtTarget { master, life, message } => return self.at_target(master, life, message),
            Due::Answered { master, life, message, result } => self.answered(master, life, message, &result),
            Due::Answer(asker, answer) => return self.answer(asker, answer),
            Due::WorkerUp(worker) => self.worker_up(worker),
            Due::Connect(worker, life) => self.connect(worker, life),
            Due::Beat(worker, life, session) => self.beat(worker, life, session),
            Due::Watch(master, life) => self.watch(master, life),
            Due::Commands(worker, session, commands) => self.commands(worker, session, commands),
            Due::StepEnd { worker, life, lease, step } => self.step_end(worker, life, lease, step),
            Due::Say { worker, life, lease } => self.say(worker, life, lease),
            Due::Accident => self.accident(),
            Due::Push => self.push(),
            Due::Look(repository, again) => self.look(repository, again),
            Due::Seen(repository, again) => self.seen(&repository, again),
            Due::Person => self.person(),
            Due::Wish(wish) => self.wish(wish),
            Due::Configure => self.configure(),
        }
        Ok(())
    }

    /// Asks the service something. The answer comes as [`Due::Answer`], whatever happens.
    pub(crate) fn ask(&mut self, asker: Asker, inputs: Vec<Input>, once: Option<Once>) {
        let patience = self.chances.net.span(Duration::from_secs(2), PATIENCE);
        let master = self.front;
        if !self.masters.get(master).is_some_and(|master| master.answers()) {
            let wait = self.chances.net.millis(200, 5_000);
            self.after(wait, Due::Answer(asker, Err(NoAnswer::Lost)));
            return;
        }
        let life = self.masters[master].life;
        let mut letter = Letter { inputs, once, asker };
        // A worker's introduction counts once: the wire knows the number that is in it.
        let is_hello = matches!(letter.asker, Asker::Hello { .. });
        if !is_hello && self.faults.come(Fault::LinkDoubled) {
            let late = self.faults.chances(Fault::LinkDoubled).millis(5, 90_000);
            let doubled = Letter { asker: Asker::Nobody, ..letter.clone() };
            self.after(late, Due::Arrive(master, life, Box::new(doubled)));
        }
        if self.faults.come(Fault::LinkLost) {
            let is_answer = self.faults.chances(Fault::LinkLost).chance(0.5);
            let asker = std::mem::replace(&mut letter.asker, Asker::Nobody);
            self.after(patience, Due::Answer(asker, Err(NoAnswer::Lost)));
            if !is_answer {
                return;
            }
        }
        let latency = self.chances.net.millis(1, 20);
        self.after(latency, Due::Arrive(master, life, Box::new(letter)));
    }

    /// Hands an answer to whoever waits for it.
    fn answer(&mut self, asker: Asker, answer: Result<Reply, NoAnswer>) -> Result<(), Violation> {
        self.checker.acknowledged(&self.store, &asker, &answer)?;
        match asker {
            Asker::Nobody => {}
            Asker::Boot { master, life } => self.booted(master, life, answer.is_ok()),
            Asker::Hello { worker, life, session } => self.welcomed(worker, life, session, answer.ok()),
            Asker::Report { worker, life, lease, count, .. } => self.reported(worker, life, lease, count, answer.ok()),
            Asker::Look { repository, again } => self.looked(repository, again, answer.ok()),
            Asker::Hook { repository } => self.hooked(repository, answer.ok()),
            Asker::Person { wish } => return self.person_answered(wish, &answer),
            Asker::Announcer { master, life, to } => self.announced(master, life, to, answer.is_ok()),
            Asker::Claim { master, life, message } => self.claimed(master, life, message, answer.is_ok()),
            Asker::Note { master, life, message } => self.noted(master, life, message, answer.is_ok()),
        }
        Ok(())
    }

    /// Ends the first phase: nothing fails any more, and a core of all there is goes on.
    fn heal(&mut self) {
        self.note(|| "the second phase begins: nothing fails any more".to_owned());
        self.faults.on = false;
        self.healed = Some(self.now);
        for master in 0..self.masters.len() {
            if master != self.front && self.masters[master].is_alive {
                let life = self.masters[master].life;
                self.end(master, life);
            }
        }
        let front = self.front;
        self.masters[front].frozen = None;
        if !self.masters[front].is_alive {
            self.after(Duration::from_secs(1), Due::Boot(front));
        } else {
            let life = self.masters[front].life;
            self.after(Duration::ZERO, Due::Turn(front, life));
            self.after(Duration::ZERO, Due::Commit(front, life));
        }
        self.config = self.config % (self.configs.len() / 2) + self.configs.len() / 2;
        let catalog = Arc::clone(&self.configs[self.config].catalog);
        self.wishes.push(Wish {
            input: Input::Activate { catalog, text: String::new() },
            once: Some(Once { key: "calm".to_owned(), request_sha256: "calm".to_owned() }),
            is_over: false,
        });
        self.after(Duration::from_secs(1), Due::Wish(self.wishes.len() - 1));
        self.end_holding();
        for worker in 0..self.workers.len() {
            self.workers[worker].frozen = None;
            self.workers[worker].vanished = None;
            self.free(worker);
            if !self.workers[worker].is_alive && !self.workers[worker].is_lost {
                self.after(Duration::from_secs(1), Due::WorkerUp(worker));
            }
        }
    }
}
