//! Commands that wait for one worker, until it says that it has them.
//!
//! Each has a number that grows while this master lives. A poll names the number up to which the worker has heard
//! everything, and is given what comes after; an answer that is lost is so given again.

use std::collections::VecDeque;

use gristmill_model::protocol::WorkerCommand;

/// Commands that wait for one worker. A worker of the most slots that there may be has a start and an end for each; when
/// more wait it has not asked for long, and learns by its next hello what it must know.
pub const COMMANDS_MAX: usize = 2_048;
/// Commands in one answer; the rest is in the next one.
pub const COMMANDS_AT_ONCE: usize = 64;

/// What one poll is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// The commands, in order.
    pub commands: Vec<WorkerCommand>,
    /// The number up to which the worker has heard everything once it has these: its next poll says it.
    pub ack: u64,
}

/// One worker's commands.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: VecDeque<(u64, WorkerCommand)>,
    /// The newest command's number.
    last: u64,
    /// Whether commands were dropped because there were too many.
    has_lost: bool,
    /// Which poll is the newest: an older one is not answered with anything any more.
    poll: u64,
}

impl Mailbox {
    pub(super) fn put(&mut self, command: WorkerCommand) {
        if self.waiting.len() >= COMMANDS_MAX {
            self.has_lost = true;
            return;
        }
        self.last += 1;
        self.waiting.push_back((self.last, command));
    }

    /// Gives the newest command's number.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Begins a poll of a worker that has heard everything up to `ack`. A number that was never given out is that of
    /// another master, and says nothing.
    pub(super) fn begin_poll(&mut self, ack: u64) -> u64 {
        if ack <= self.last {
            self.forget(ack);
        }
        self.poll += 1;
        self.poll
    }

    /// Drops commands up to a number: they were heard, or say nothing any more.
    fn forget(&mut self, number: u64) {
        while self.waiting.front().is_some_and(|(waiting, _)| *waiting <= number) {
            self.waiting.pop_front();
        }
    }

    /// Begins anew: commands up to `mark` were for an earlier run of the worker, and open polls are its.
    pub(super) fn begin_anew(&mut self, mark: u64) {
        self.forget(mark);
        self.has_lost = false;
        self.poll += 1;
    }

    /// Looks what there is for a poll; `None` if there is nothing yet.
    pub(super) fn look(&self, poll: u64) -> Option<Look> {
        if self.poll != poll {
            return Some(Look::Overtaken);
        }
        if self.has_lost {
            return Some(Look::Lost);
        }
        let given: Vec<_> = self.waiting.iter().take(COMMANDS_AT_ONCE).cloned().collect();
        let ack = given.last()?.0;
        Some(Look::Given(Given { commands: given.into_iter().map(|(_, command)| command).collect(), ack }))
    }

    /// Gives what a poll says that found nothing.
    pub(super) fn nothing(&self) -> Given {
        let ack = self.waiting.front().map_or(self.last, |(number, _)| number - 1);
        Given { commands: Vec::new(), ack }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.has_lost
    }
}

/// What a poll finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Commands.
    Given(Given),
    /// A newer poll has taken its place.
    Overtaken,
    /// There were too many: the worker must say hello again.
    Lost,
}

#[cfg(test)]
mod tests {
    use gristmill_model::BuildId;

    use super::*;

    fn cancel(build: i64) -> WorkerCommand {
        WorkerCommand::Cancel { build: BuildId(build), epoch: 1, by: "ada".to_owned() }
    }

    fn given(mailbox: &mut Mailbox, ack: u64) -> Given {
        let poll = mailbox.begin_poll(ack);
        match mailbox.look(poll) {
            Some(Look::Given(given)) => given,
            None => mailbox.nothing(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_not_acknowledged_is_given_again() {
        let mut mailbox = Mailbox::default();
        mailbox.put(cancel(1));
        mailbox.put(cancel(2));
        let first = given(&mut mailbox, 0);
        assert_eq!(first, Given { commands: vec![cancel(1), cancel(2)], ack: 2 });
        mailbox.put(cancel(3));
        assert_eq!(given(&mut mailbox, 0).commands, [cancel(1), cancel(2), cancel(3)], "the answer was lost");
        assert_eq!(given(&mut mailbox, 2), Given { commands: vec![cancel(3)], ack: 3 });
        assert_eq!(given(&mut mailbox, 99).commands, [cancel(3)], "no command ever had that number");
        assert_eq!(given(&mut mailbox, 3), Given { commands: Vec::new(), ack: 3 });
    }

    #[test]
    fn a_worker_that_asks_for_nothing_is_told_to_say_hello_again() {
        let mut mailbox = Mailbox::default();
        (0..).take(COMMANDS_MAX + 1).for_each(|build| mailbox.put(cancel(build)));
        let poll = mailbox.begin_poll(0);
        assert_eq!(mailbox.look(poll), Some(Look::Lost));
        mailbox.begin_anew(mailbox.last());
        assert_eq!(mailbox.look(poll), Some(Look::Overtaken));
        assert_eq!(given(&mut mailbox, 0).commands, []);
    }

    #[test]
    fn what_came_after_the_mark_stays() {
        let mut mailbox = Mailbox::default();
        mailbox.put(cancel(1));
        let mark = mailbox.last();
        mailbox.put(cancel(2));
        mailbox.begin_anew(mark);
        assert_eq!(given(&mut mailbox, 0), Given { commands: vec![cancel(2)], ack: 2 });
    }
}
