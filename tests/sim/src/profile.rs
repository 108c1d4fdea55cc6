//! What a seed draws first: how big its world is, which faults exist in it, and how often each comes (swarm).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rng::Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $word:literal $rarest:literal $most:literal;)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Gives the word used on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// Reads the word back.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|fault| fault.as_str() == word)
            }

            /// How rare and how frequent it is where it exists: per opportunity.
            fn range(self) -> (f64, f64) {
                match self { $(Self::$name => ($rarest, $most)),* }
            }
        }
    };
}

faults! {
    /// A webhook request never arrives.
    HookLost "hook-lost" 0.02 0.4;
    /// It arrives more than once.
    HookDoubled "hook-doubled" 0.02 0.3;
    /// It arrives minutes later, after others.
    HookLate "hook-late" 0.02 0.3;
    /// Another body arrives under the same delivery id, or the same id at another repository.
    HookMutated "hook-mutated" 0.02 0.2;
    /// A look at a repository fails.
    LookFails "look-fails" 0.02 0.5;
    /// A request to the service is lost, or its answer is.
    LinkLost "link-lost" 0.002 0.05;
    /// A request to the service arrives twice, the second time later.
    LinkDoubled "link-doubled" 0.002 0.05;
    /// A worker dies, and forgets everything.
    WorkerCrash "worker-crash" 0.0005 0.02;
    /// A worker stands still, and goes on.
    WorkerFreeze "worker-freeze" 0.0005 0.02;
    /// A worker says what it has no right to say, or says it twice.
    WorkerLies "worker-lies" 0.002 0.1;
    /// An attempt ends for infrastructure's sake.
    AttemptFails "attempt-fails" 0.01 0.2;
    /// The service dies between two operations.
    MasterCrash "master-crash" 0.0002 0.01;
    /// The service stands still; another one is started on the same store, and the first wakes up again.
    MasterFreeze "master-freeze" 0.0005 0.01;
    /// The store is busy: nothing is committed.
    StoreBusy "store-busy" 0.001 0.05;
    /// The store does not say whether it committed.
    CommitUnknown "commit-unknown" 0.001 0.03;
    /// A read of the store fails.
    ReadFails "read-fails" 0.001 0.02;
    /// A notifier's target refuses.
    TargetRefuses "target-refuses" 0.05 0.6;
    /// It does not answer.
    TargetHangs "target-hangs" 0.02 0.3;
    /// It accepts, and its answer is lost.
    TargetDoubt "target-doubt" 0.02 0.3;
    /// The machine's clock jumps.
    ClockJump "clock-jump" 0.0005 0.01;
    /// A worker is out of reach, and goes on.
    WorkerVanish "worker-vanish" 0.0005 0.02;
}

/// How often each fault comes, and what chance says of each opportunity.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    rates: Vec<f64>,
    streams: Vec<Rng>,
    /// Faults that are left out, by their number in this run.
    suppressed: BTreeSet<u32>,
    /// Faults so far, suppressed ones included.
    pub(crate) count: u32,
    /// Faults that happened.
    pub(crate) injected: u64,
    /// Whether anything may fail at all.
    pub(crate) on: bool,
}

impl Faults {
    /// Draws which faults exist. `disabled` ones do not; `suppressed` ones are passed over one by one.
    pub(crate) fn draw(rng: &Rng, disabled: &BTreeSet<Fault>, suppressed: BTreeSet<u32>) -> Self {
        let mut draw = rng.fork("faults");
        // One seed in eight is healthy: it must stay fast, and it finds what needs no fault.
        let share = *draw.pick(&[0.0, 0.15, 0.3, 0.3, 0.5, 0.5, 0.8, 1.0]);
        let rates = Fault::ALL.iter().map(|fault| {
            let exists = draw.chance(share);
            let (rarest, most) = fault.range();
            // Even on a scale of powers, so that rare ones are met as often as frequent ones.
            let rate = rarest * (most / rarest).powf(draw.unit());
            if exists && !disabled.contains(fault) { rate } else { 0.0 }
        });
        let rates = rates.collect();
        let streams = Fault::ALL.iter().map(|fault| rng.fork(fault.as_str())).collect();
        Self { rates, streams, suppressed, count: 0, injected: 0, on: true }
    }

    /// Makes none but the given ones come, each with its probability.
    pub(crate) fn only(rng: &Rng, wanted: &[(Fault, f64)], suppressed: BTreeSet<u32>) -> Self {
        let rate = |fault: &Fault| wanted.iter().find(|(one, _)| one == fault).map_or(0.0, |(_, rate)| *rate);
        let rates = Fault::ALL.iter().map(rate).collect();
        let streams = Fault::ALL.iter().map(|fault| rng.fork(fault.as_str())).collect();
        Self { rates, streams, suppressed, count: 0, injected: 0, on: true }
    }

    /// Says whether a fault comes at this opportunity.
    pub(crate) fn come(&mut self, fault: Fault) -> bool {
        let index = fault as usize;
        if !self.on || self.rates[index] <= 0.0 || !self.streams[index].chance(self.rates[index]) {
            return false;
        }
        self.count += 1;
        if self.suppressed.contains(&self.count) {
            return false;
        }
        self.injected += 1;
        true
    }

    /// Gives the chances that belong to a kind of fault, such as for how long it lasts.
    pub(crate) fn chances(&mut self, fault: Fault) -> &mut Rng {
        &mut self.streams[fault as usize]
    }
}

/// How big a world is, and how much happens in it.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Repositories.
    pub(crate) repositories: usize,
    /// Builders.
    pub(crate) builders: usize,
    /// Schedulers.
    pub(crate) schedulers: usize,
    /// Workers.
    pub(crate) workers: usize,
    /// The mean time between two pushes.
    pub(crate) push_every: Duration,
    /// The mean time between two acts of people.
    pub(crate) person_every: Duration,
    /// The mean time between two reloads of the configuration.
    pub(crate) reload_every: Duration,
    /// The mean time that a step takes.
    pub(crate) step: Duration,
    /// How often a step fails.
    pub(crate) failures: f64,
    /// How long the first phase lasts, in which anything may fail.
    pub(crate) safety: Duration,
}

impl Size {
    /// Draws a size; `hours` replaces the length of the first phase.
    pub(crate) fn draw(rng: &Rng, hours: Option<f64>) -> Self {
        let mut draw = rng.fork("size");
        let drawn = draw.span(Duration::from_secs(5_400), Duration::from_secs(14_400));
        let safety = hours.map_or(drawn, |hours| Duration::from_secs_f64(hours * 3600.0));
        let (schedulers, workers) = (draw.between(2, 9), draw.between(1, 12));
        // About 240 builds an hour, and workers for more: an overloaded world is only slow.
        let push_every = Duration::from_secs_f64(15.0 * schedulers as f64 * (0.5 + draw.unit()));
        let step =
            draw.span(Duration::from_secs(2), Duration::from_secs(30)).min(Duration::from_secs(4 * workers as u64));
        Self {
            repositories: draw.between(1, 4),
            builders: draw.between(2, 10),
            schedulers,
            workers,
            push_every,
            // Even on a scale of powers: some people are never satisfied.
            person_every: Duration::from_secs_f64(40.0 * 50_f64.powf(draw.unit())),
            reload_every: draw.span(Duration::from_secs(300), Duration::from_secs(7_200)),
            step,
            failures: *draw.pick(&[0.02, 0.1, 0.3]),
            safety,
        }
    }
}
