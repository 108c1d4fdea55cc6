//! What is remembered of a provider between two looks: how long things have been so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gristmill_model::{PoolName, Timestamp, WorkerName};
use gristmill_schedulers::latent::{Instance, Limit, Record};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Hours over which worker time is counted.
const HOURS: i64 = 24;
const MICROS_PER_HOUR: i64 = 3_600_000_000;
/// Two looks further apart than this were not looks of one service: the time between is not counted.
const LOOKS_APART_MAX: Duration = Duration::from_secs(300);

/// What is remembered of one provider.
#[derive(Debug)]
pub(super) struct Watch {
    file: PathBuf,
    seen: BTreeMap<WorkerName, Seen>,
    looked: Option<Instant>,
    failures: u32,
    failed: Option<Instant>,
    spent: Spent,
    complained: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    first: Instant,
    idle: Instant,
}

/// Worker time per hour, kept over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Spent(BTreeMap<i64, Duration>);

impl Watch {
    /// Begins with what an earlier service has kept.
    pub(super) fn load(folder: &Path, name: &PoolName) -> Self {
        let file = folder.join(format!("{name}.spent.json"));
        let spent = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, seen: BTreeMap::new(), looked: None, failures: 0, failed: None, spent, complained: None }
    }

    /// Takes in what is listed, and gives it with how long it has been so.
    pub(super) fn see(
        &mut self,
        busy: &BTreeSet<WorkerName>,
        listed: &[WorkerName],
        now: Instant,
        day: Timestamp,
    ) -> Vec<Instance> {
        let apart = self.looked.map_or(Duration::ZERO, |looked| now.duration_since(looked)).min(LOOKS_APART_MAX);
        self.looked = Some(now);
        self.spent.add(day, apart.saturating_mul(u32::try_from(listed.len()).unwrap_or(u32::MAX)));
        self.seen.retain(|worker, _| listed.contains(worker));
        for worker in listed {
            let seen = self.seen.entry(worker.clone()).or_insert(Seen { first: now, idle: now });
            if busy.contains(worker) {
                seen.idle = now;
                self.failures = 0;
            }
        }
        let instance = |(worker, seen): (&WorkerName, &Seen)| Instance {
            worker: worker.clone(),
            age: now.duration_since(seen.first),
            idle: now.duration_since(seen.idle),
        };
        self.seen.iter().map(instance).collect()
    }

    /// Gives what it went through lately.
    pub(super) fn record(&self, now: Instant, day: Timestamp) -> Record {
        let failed = self.failed.map_or(Duration::ZERO, |failed| now.duration_since(failed));
        Record { failures: self.failures, failed, spent: self.spent.of_day(day) }
    }

    /// Notes a start that failed, and says so.
    pub(super) fn failed(&mut self, name: &PoolName, why: &str) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(Instant::now());
        warn!("provider {name}: {why}; {} in a row", self.failures);
    }

    /// Says what is wrong, once for as long as it stays so.
    pub(super) fn complain(&mut self, name: &PoolName, why: &str) {
        if self.complained.as_deref() != Some(why) {
            warn!("provider {name}: {why}");
            self.complained = Some(why.to_owned());
        }
    }

    /// Says what keeps more workers from being started, once for as long as it stays so.
    pub(super) fn limited(&mut self, name: &PoolName, limit: Option<Limit>) {
        match limit {
            Some(Limit::Max) => self.complain(name, "as many workers as there may be are not enough for what waits"),
            Some(Limit::Hours) => self.complain(name, "the worker hours of a day are spent: nothing is started"),
            Some(Limit::Backoff(_)) => self.complain(name, "starts failed: the next one waits"),
            None => self.complained = None,
        }
    }

    /// Keeps what must outlive the service. A loss only means that a little is counted anew.
    pub(super) fn save(&self, day: Timestamp) {
        let bytes = serde_json::to_vec(&self.spent.lately(day)).expect("numbers and durations");
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).ok();
        }
        let beside = self.file.with_extension("new");
        if let Err(problem) = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, &self.file)) {
            warn!("{}: {problem}", self.file.display());
        }
    }
}

impl Spent {
    fn add(&mut self, day: Timestamp, time: Duration) {
        *self.0.entry(day.0 / MICROS_PER_HOUR).or_default() += time;
        *self = self.lately(day);
    }

    fn lately(&self, day: Timestamp) -> Self {
        let hour = day.0 / MICROS_PER_HOUR;
        Self(self.0.range(hour - HOURS + 1..=hour).map(|(hour, time)| (*hour, *time)).collect())
    }

    fn of_day(&self, day: Timestamp) -> Duration {
        self.lately(day).0.values().sum()
    }
}

/// Gives a name for this installation's containers, which is made up once.
pub(super) fn installation(folder: &Path) -> String {
    let file = folder.join("installation");
    if let Ok(name) = fs::read_to_string(&file) {
        return name.trim().to_owned();
    }
    let name = format!("{:08x}{:08x}", random(), random());
    fs::create_dir_all(folder).ok();
    if let Err(problem) = fs::write(&file, &name) {
        warn!("{}: {problem}", file.display());
    }
    name
}

/// Gives a number that nobody can foretell.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random numbers");
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_for_a_day_and_forgotten() {
        let (hour, mut spent) = (|hour: i64| Timestamp(hour * MICROS_PER_HOUR + 5), Spent::default());
        spent.add(hour(0), Duration::from_secs(60));
        spent.add(hour(23), Duration::from_secs(30));
        assert_eq!(spent.of_day(hour(23)), Duration::from_secs(90));
        assert_eq!(spent.of_day(hour(24)), Duration::from_secs(30));
        spent.add(hour(60), Duration::from_secs(1));
        assert_eq!(spent.0.len(), 1, "what is old is not kept");
    }
}
