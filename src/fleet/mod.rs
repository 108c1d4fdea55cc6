//! The service's side of workers: commands that wait for them, what they report, the logs they send.
//!
//! [`Fleet`] keeps commands until a worker asks; [`local`] lets the built-in worker speak the protocol without a socket.

pub mod local;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use gristmill_model::protocol::{Held, WorkerCommand};
use gristmill_model::{BuildId, WorkerName};
use tokio::sync::Notify;

use crate::engine::turns::Dispatch;

/// Commands that wait for a worker. A worker has at most a few per slot; more means that it has not asked for long, and
/// what is lost then it learns when it says hello again.
pub const COMMANDS_MAX: usize = 10_000;

/// Commands on their way to workers, and the leases under which they may speak.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    shared: Arc<Mutex<Shared>>,
    woken: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Shared {
    commands: BTreeMap<WorkerName, VecDeque<WorkerCommand>>,
    leases: BTreeMap<BuildId, Lease>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    worker: WorkerName,
    epoch: i64,
}

impl Fleet {
    /// Takes the commands that wait for a worker; empty when there are none.
    pub fn take(&self, worker: &WorkerName) -> Vec<WorkerCommand> {
        let mut shared = self.lock();
        shared.commands.get_mut(worker).map(|queue| queue.drain(..).collect()).unwrap_or_default()
    }

    /// Waits until commands wait for a worker, and takes them. May be dropped at any time: nothing is taken before the
    /// moment at which it is returned.
    pub async fn next(&self, worker: &WorkerName) -> Vec<WorkerCommand> {
        loop {
            let woken = self.woken.notified();
            let commands = self.take(worker);
            if !commands.is_empty() {
                return commands;
            }
            woken.await;
        }
    }

    /// Begins anew with a worker that introduces itself: commands that wait for it speak of leases it never had, and of
    /// its leases those stay that it still has.
    pub fn begin_anew(&self, worker: &WorkerName, still_has: &[Held]) {
        let mut shared = self.lock();
        shared.commands.remove(worker);
        let has = |build: BuildId, epoch: i64| still_has.contains(&Held { build, epoch });
        shared.leases.retain(|build, lease| lease.worker != *worker || has(*build, lease.epoch));
    }

    /// Says whether a worker holds a build under an epoch.
    pub fn holds(&self, worker: &WorkerName, build: BuildId, epoch: i64) -> bool {
        self.lock().leases.get(&build).is_some_and(|lease| lease.worker == *worker && lease.epoch == epoch)
    }

    /// Notes that a build is over.
    pub fn release(&self, build: BuildId) {
        self.lock().leases.remove(&build);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics while holding the fleet")
    }
}

impl Dispatch for Fleet {
    fn dispatch(&self, worker: WorkerName, command: WorkerCommand) {
        let mut shared = self.lock();
        if let WorkerCommand::Start { order } = &command {
            let lease = Lease { worker: worker.clone(), epoch: order.epoch };
            shared.leases.insert(order.build, lease);
        }
        let queue = shared.commands.entry(worker).or_default();
        if queue.len() < COMMANDS_MAX {
            queue.push_back(command);
        }
        drop(shared);
        self.woken.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use gristmill_model::protocol::WorkerCommand;

    use super::*;

    fn cancel(build: i64) -> WorkerCommand {
        WorkerCommand::Cancel { build: BuildId(build), epoch: 1, by: "ada".to_owned() }
    }

    #[tokio::test]
    async fn a_command_reaches_the_worker_that_waits_and_no_other() {
        let fleet = Fleet::default();
        let (one, two) = (WorkerName::from("one"), WorkerName::from("two"));
        let waiting = tokio::spawn({
            let (fleet, one) = (fleet.clone(), one.clone());
            async move { fleet.next(&one).await }
        });
        fleet.dispatch(two.clone(), cancel(2));
        fleet.dispatch(one, cancel(1));
        assert_eq!(waiting.await.expect("the waiter lives"), vec![cancel(1)]);
        assert_eq!(fleet.take(&two), vec![cancel(2)]);
        assert!(fleet.take(&two).is_empty());
    }
}
