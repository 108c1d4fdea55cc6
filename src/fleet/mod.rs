//! The service's side of workers: commands that wait for them, what they report, the logs they send.
//!
//! Reading order: [`mailbox`] keeps commands until a worker has them; [`roster`] knows who is there and since when nobody
//! heard of them; [`Fleet`] holds both for all workers. [`desk`] is what a worker may ask, whichever way it comes:
//! [`local`] lets the built-in worker ask without a socket, [`http`] lets in everybody else, by the credentials of
//! [`token`]. [`watch`] tells the engine who has fallen silent.

pub mod desk;
pub mod http;
pub mod local;
pub mod mailbox;
pub mod roster;
pub mod token;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_model::WorkerName;
use gristmill_model::protocol::WorkerCommand;
use tokio::sync::Notify;

use crate::engine::turns::Dispatch;
use mailbox::{Given, Look, Mailbox};
use roster::{NoSession, Roster, Session, SessionHash};
use watch::Stopwatch;

/// Commands on their way to workers, and who is there. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    mailboxes: Arc<Mutex<BTreeMap<WorkerName, Shelf>>>,
    roster: Arc<Mutex<Roster>>,
    clock: Stopwatch,
}

/// A worker's mailbox, and the bell beside it.
#[derive(Debug, Default)]
struct Shelf {
    mailbox: Mailbox,
    bell: Arc<Notify>,
}

/// More commands waited for a worker than may: it must say hello again, and is told all that holds then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Fleet {
    /// Makes one that measures silence by `clock`.
    pub fn new(clock: Stopwatch) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Gives the clock by which silence is measured.
    pub fn clock(&self) -> &Stopwatch {
        &self.clock
    }

    /// Begins to lead: no worker has a session, nothing waits for anybody, and nobody has been silent yet.
    pub fn begin(&self) {
        let mut mailboxes = self.mailboxes();
        mailboxes.values_mut().for_each(|shelf| {
            shelf.mailbox.begin_anew(shelf.mailbox.last());
            shelf.bell.notify_waiters();
        });
        drop(mailboxes);
        self.roster().begin(self.clock.now());
    }

    /// Waits until commands wait for a worker that has heard everything up to `ack`, and gives them; they are given again
    /// until a later call acknowledges them. Gives nothing once the worker asks anew. May be dropped at any time.
    ///
    /// # Errors
    /// If there were too many.
    pub async fn next(&self, worker: &WorkerName, ack: u64) -> Result<Given, TooMany> {
        let (poll, bell) = {
            let mut mailboxes = self.mailboxes();
            let shelf = mailboxes.entry(worker.clone()).or_default();
            let poll = shelf.mailbox.begin_poll(ack);
            shelf.bell.notify_waiters();
            (poll, Arc::clone(&shelf.bell))
        };
        loop {
            // Made before looking, so that no bell in between is missed.
            let woken = bell.notified();
            let look = self.mailboxes().get(worker).map_or(Some(Look::Overtaken), |shelf| shelf.mailbox.look(poll));
            match look {
                Some(Look::Given(given)) => return Ok(given),
                Some(Look::Overtaken) => return Ok(self.nothing(worker)),
                Some(Look::Lost) => return Err(TooMany),
                None => {}
            }
            woken.await;
        }
    }

    /// Gives what a poll says that found nothing.
    pub fn nothing(&self, worker: &WorkerName) -> Given {
        self.mailboxes().get(worker).map(|shelf| shelf.mailbox.nothing()).unwrap_or_default()
    }

    /// Gives the number of the newest command for a worker.
    fn mark(&self, worker: &WorkerName) -> u64 {
        self.mailboxes().get(worker).map_or(0, |shelf| shelf.mailbox.last())
    }

    /// Begins anew with a worker that introduced itself: commands up to `mark` were for its earlier run, or are said
    /// again after them.
    fn begin_anew(&self, worker: &WorkerName, mark: u64) {
        if let Some(shelf) = self.mailboxes().get_mut(worker) {
            shelf.mailbox.begin_anew(mark);
            shelf.bell.notify_waiters();
        }
    }

    /// Says for how long nobody heard of a worker.
    pub fn silent(&self, worker: &WorkerName) -> Duration {
        self.roster().silent(worker, self.clock.now())
    }

    fn hear(&self, worker: &WorkerName) {
        self.roster().hear(worker, self.clock.now());
    }

    fn was_deaf(&self) {
        self.roster().was_deaf(self.clock.now());
    }

    /// Notes whether the built-in worker runs: as long as it does, it is there.
    pub fn set_inside(&self, worker: Option<WorkerName>) {
        self.roster().set_inside(worker);
    }

    fn duplicate_of(&self, worker: &WorkerName, run: &str) -> Option<Duration> {
        self.roster().duplicate_of(worker, run, self.clock.now())
    }

    fn open(&self, hash: SessionHash, session: Session) {
        self.roster().open(hash, session, self.clock.now());
    }

    fn find(&self, hash: &SessionHash) -> Result<Session, NoSession> {
        self.roster().find(hash)
    }

    /// Forgets workers that are not known any more.
    fn keep_only(&self, is_known: impl Fn(&WorkerName) -> bool) {
        self.roster().keep_only(&is_known, self.clock.now());
        self.mailboxes().retain(|worker, shelf| is_known(worker) || !shelf.mailbox.is_empty());
    }

    fn mailboxes(&self) -> MutexGuard<'_, BTreeMap<WorkerName, Shelf>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dispatch for Fleet {
    fn dispatch(&self, worker: WorkerName, command: WorkerCommand) {
        let mut mailboxes = self.mailboxes();
        let shelf = mailboxes.entry(worker).or_default();
        shelf.mailbox.put(command);
        shelf.bell.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use gristmill_model::BuildId;

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
            async move { fleet.next(&one, 0).await }
        });
        fleet.dispatch(two.clone(), cancel(2));
        fleet.dispatch(one.clone(), cancel(1));
        let given = waiting.await.expect("the waiter lives").expect("there are few");
        assert_eq!(given, Given { commands: vec![cancel(1)], ack: 1 });
        assert_eq!(fleet.next(&one, 0).await.expect("there are few"), given, "its answer was lost");
        assert_eq!(fleet.next(&two, 0).await.expect("there are few").commands, [cancel(2)]);
    }

    #[tokio::test]
    async fn a_newer_poll_ends_the_older_one() {
        let fleet = Fleet::default();
        let one = WorkerName::from("one");
        let mut older = Box::pin(fleet.next(&one, 0));
        assert!(futures_util::poll!(&mut older).is_pending());
        let mut newer = Box::pin(fleet.next(&one, 0));
        assert!(futures_util::poll!(&mut newer).is_pending());
        assert_eq!(older.await, Ok(Given::default()));
        fleet.dispatch(one.clone(), cancel(1));
        assert_eq!(newer.await.expect("there are few").commands, [cancel(1)]);
    }
}
