//! Telling: the announcer and the deliverer of each master, by the rules of the product, and the targets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gristmill_model::{
    BuildId, ChangeId, EventBody, IncidentId, Message, MessageId, NotifierName, Seq, StampSet, Suspects, mutant,
};
use gristmill_notifiers::outbox::{self, End, Plan, Waiting};
use gristmill_notifiers::telling::{BuildFacts, Facts, IncidentFacts, MessageFacts, SuspectFacts, happening};
use gristmill_notifiers::{DeliveryError, Guarantee, Receipt, route};
use gristmill_schedulers::Input;

use crate::check::Violation;
use crate::config::MAIL;
use crate::profile::Fault;
use crate::store::{Rows, Store};
use crate::world::{Asker, Due, World};

/// Events read at once.
const BATCH: usize = 256;
/// How far the cursor may stay behind what was read without a message.
const CURSOR_LAG_MAX: i64 = 1_000;
/// The longest sleep between two looks at the outbox.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The tables, as the announcer reads them.
struct Tables<'a>(&'a Store);

impl Facts for Tables<'_> {
    type Error = Infallible;

    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentFacts>, Infallible> {
        let rows = &self.0.rows;
        Ok(rows.incidents.get(&id).map(|row| IncidentFacts {
            builders: row.builders.keys().cloned().collect(),
            suspects: suspects(rows, &row.suspects),
            opened_at: row.opened_at,
        }))
    }

    async fn build(&self, id: BuildId) -> Result<Option<BuildFacts>, Infallible> {
        let rows = &self.0.rows;
        Ok(rows.builds.get(&id).map(|row| {
            let buildset = &rows.buildsets[&row.build.buildset].buildset;
            BuildFacts {
                buildset: buildset.id,
                project: buildset.project.clone(),
                branch: buildset.branch.clone(),
                scheduler: buildset.scheduler.clone(),
                outcome: row.build.outcome,
                cause: row.build.cause,
                stamps: buildset.stamps.clone(),
                worker: row.build.worker.clone(),
                ..BuildFacts::default()
            }
        }))
    }

    async fn culprits(&self, build: BuildId) -> Result<Vec<SuspectFacts>, Infallible> {
        let rows = &self.0.rows;
        let Some(row) = rows.builds.get(&build) else { return Ok(Vec::new()) };
        let stamps: &StampSet = &rows.buildsets[&row.build.buildset].buildset.stamps;
        let newest = stamps.values().filter_map(|stamp| stamp.change);
        Ok(newest.filter_map(|change| suspect(rows, change)).collect())
    }

    async fn message(&self, id: MessageId) -> Result<Option<MessageFacts>, Infallible> {
        Ok(self.0.rows.outbox.get(&id).map(|row| {
            let told = self.0.event(row.message.event);
            let told_of_death = told.is_some_and(|event| matches!(event.body, EventBody::MessageDead { .. }));
            MessageFacts { notifier: row.message.notifier.clone(), told_of_death }
        }))
    }
}

fn suspects(rows: &Rows, ranges: &Suspects) -> Vec<SuspectFacts> {
    let within = ranges.iter().flat_map(|(repository, range)| {
        let ids = (range.after.0 + 1..=range.upto.0).map(ChangeId);
        ids.filter(move |id| rows.changes.get(id).is_some_and(|change| change.repository == *repository))
    });
    within.filter_map(|id| suspect(rows, id)).collect()
}

fn suspect(rows: &Rows, id: ChangeId) -> Option<SuspectFacts> {
    let change = rows.changes.get(&id)?;
    Some(SuspectFacts {
        change: id,
        repository: change.repository.clone(),
        revision: change.new.clone(),
        title: change.title(),
        authors: change.authors().into_iter().cloned().collect(),
    })
}

/// Runs what waits for nothing.
fn at_once<T>(future: impl Future<Output = Result<T, Infallible>>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(value)) => value,
        Poll::Pending => unreachable!("the tables in memory answer at once"),
    }
}

fn guarantee(notifier: &NotifierName) -> Guarantee {
    if notifier.as_str() == MAIL { Guarantee::AtLeastOnce } else { Guarantee::AtMostOnce }
}

impl World {
    /// Reads the journal on, and queues what is worth telling.
    pub(crate) fn announce(&mut self, index: usize, life: u32) {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Announce(index, life));
            return;
        }
        let master = &self.masters[index];
        if !master.is_alive || master.life != life || !master.is_ready || master.is_announcing {
            return;
        }
        let first = usize::try_from(master.read.0).unwrap_or(0);
        let events = &self.store.journal[first.min(self.store.journal.len())..];
        let events = &events[..events.len().min(BATCH)];
        let Some(last) = events.last().map(|event| event.seq) else { return };
        let tables = Tables(&self.store);
        let mut messages: BTreeMap<String, Message> = BTreeMap::new();
        for event in events {
            let Some(happening) = at_once(happening(&tables, &master.catalog, event)) else { continue };
            for addressed in route(&master.catalog, &happening).addressed {
                let message = Message {
                    id: MessageId(0),
                    event: happening.event,
                    notifier: addressed.notifier,
                    target: addressed.target,
                    because: addressed.because,
                    key: addressed.key.clone(),
                    incident: happening.incident,
                    subject: happening.kind.clone(),
                    text: String::new(),
                    html: None,
                    at: happening.at,
                };
                messages.entry(addressed.key).or_insert(message);
            }
        }
        let mut news: Vec<Message> = messages.into_values().collect();
        news.retain(|message| !self.store.rows.message_keys.contains_key(&message.key));
        news.sort_by_key(|message| message.event);
        let saved = master.saved;
        let master = &mut self.masters[index];
        if news.is_empty() && last.0 - saved.0 < CURSOR_LAG_MAX {
            master.read = last;
            self.after(Duration::ZERO, Due::Announce(index, life));
            return;
        }
        master.is_announcing = true;
        let asker = Asker::Announcer { master: index, life, to: last };
        if mutant::is_on(38) {
            // The cursor first, the messages later.
            let inputs = vec![Input::Announce { from: saved, to: last, messages: Vec::new() }];
            self.arrive(index, life, crate::world::Letter { inputs, once: None, asker: Asker::Nobody });
            let inputs = vec![Input::Announce { from: saved, to: last, messages: news }];
            let letter = crate::world::Letter { inputs, once: None, asker };
            self.after(Duration::from_millis(50), Due::Arrive(index, life, Box::new(letter)));
            return;
        }
        let inputs = vec![Input::Announce { from: saved, to: last, messages: news }];
        self.arrive(index, life, crate::world::Letter { inputs, once: None, asker });
    }

    pub(crate) fn announced(&mut self, index: usize, life: u32, to: Seq, is_good: bool) {
        let master = &mut self.masters[index];
        if !master.is_alive || master.life != life {
            return;
        }
        master.is_announcing = false;
        if is_good {
            (master.read, master.saved) = (to, to);
        }
        self.after(if is_good { Duration::ZERO } else { RETRY }, Due::Announce(index, life));
    }

    /// Sends what is due.
    pub(crate) fn deliver(&mut self, index: usize, life: u32) {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Deliver(index, life));
            return;
        }
        let master = &self.masters[index];
        if !master.is_alive || master.life != life || !master.is_ready || self.store.rows.due.is_empty() {
            return;
        }
        let now = self.now;
        let mut first: BTreeMap<(bool, &str), MessageId> = BTreeMap::new();
        let mut next = None;
        for id in &self.store.rows.due {
            let row = &self.store.rows.outbox[id];
            if row.due <= now {
                first.entry((row.message.notifier.as_str() == MAIL, row.message.target.as_str())).or_insert(*id);
            } else {
                next = Some(next.map_or(row.due, |next: gristmill_model::Timestamp| next.min(row.due)));
            }
        }
        let due: Vec<(usize, MessageId)> =
            first.into_iter().map(|((is_mail, _), id)| (usize::from(!is_mail), id)).collect();
        for (notifier, id) in due {
            let waiting = self.waiting(id);
            if self.masters[index].under_way[notifier].begin(&waiting.message) {
                self.attempt(index, life, &waiting);
            }
        }
        if let Some(next) = next {
            let at = next.min(now.after(LOOK_EVERY));
            let master = &mut self.masters[index];
            if master.looks_at.is_none_or(|looks| looks <= now || looks > at) {
                master.looks_at = Some(at);
                self.at(at, Due::Deliver(index, life));
            }
        }
    }

    fn waiting(&self, id: MessageId) -> Waiting {
        let row = &self.store.rows.outbox[&id];
        Waiting { message: row.message.clone(), attempts: row.attempts, claimed: row.claimed }
    }

    fn attempt(&mut self, index: usize, life: u32, waiting: &Waiting) {
        let message = waiting.message.id;
        match outbox::plan(guarantee(&waiting.message.notifier), waiting, self.now) {
            Plan::Leave(end) => self.tell_end(index, life, message, end),
            Plan::ClaimAndSend { until } => {
                let inputs = vec![Input::Claim { message, until }];
                let asker = Asker::Claim { master: index, life, message };
                self.arrive(index, life, crate::world::Letter { inputs, once: None, asker });
            }
            Plan::Send => self.send(index, life, message),
        }
    }

    pub(crate) fn claimed(&mut self, index: usize, life: u32, message: MessageId, is_good: bool) {
        let master = &self.masters[index];
        if !master.is_alive || master.life != life {
            return;
        }
        if is_good {
            self.send(index, life, message);
        } else {
            self.end_attempt(index, message);
            self.after(RETRY, Due::Deliver(index, life));
        }
    }

    fn send(&mut self, index: usize, life: u32, message: MessageId) {
        if mutant::is_on(39) {
            let end = End::Delivered { receipt: "250 it will be".to_owned() };
            self.tell_end(index, life, message, end);
        }
        let latency = self.chances.target.millis(5, 500);
        self.after(latency, Due::AtTarget { master: index, life, message });
    }

    /// A message reaches its target, which accepts, refuses, hangs, or accepts and is not heard.
    pub(crate) fn at_target(&mut self, index: usize, life: u32, message: MessageId) -> Result<(), Violation> {
        // What was on its way when its master died may have been sent.
        let is_gone = !self.masters[index].is_alive || self.masters[index].life != life;
        if is_gone && self.chances.target.chance(0.5) {
            return Ok(());
        }
        let key = self.store.rows.outbox[&message].message.key.clone();
        let (result, wait) = if self.faults.come(Fault::TargetRefuses) {
            let is_permanent = self.faults.chances(Fault::TargetRefuses).chance(0.05);
            let refusal =
                if is_permanent { DeliveryError::permanent("550 no") } else { DeliveryError::transient("451 later") };
            (Err(refusal), Duration::from_millis(20))
        } else if self.faults.come(Fault::TargetHangs) {
            if self.faults.chances(Fault::TargetHangs).chance(0.3) {
                self.accept(message, &key)?;
            }
            (Err(outbox::no_answer()), outbox::ATTEMPT_MAX)
        } else {
            self.accept(message, &key)?;
            if self.faults.come(Fault::TargetDoubt) {
                (Err(DeliveryError::transient("the connection was reset").in_doubt()), Duration::from_secs(1))
            } else {
                (Ok(Receipt::new("250 ok")), Duration::from_millis(20))
            }
        };
        self.after(wait, Due::Answered { master: index, life, message, result });
        Ok(())
    }

    fn accept(&mut self, message: MessageId, key: &str) -> Result<(), Violation> {
        self.note(|| format!("target: accepts message {message} {key}"));
        self.target.accepted += 1;
        let times = self.target.keys.entry(key.to_owned()).or_default();
        *times += 1;
        let times = *times;
        let row = &self.store.rows.outbox[&message];
        self.checker.accepted(row, times)
    }

    pub(crate) fn answered(
        &mut self,
        index: usize,
        life: u32,
        message: MessageId,
        result: &Result<Receipt, DeliveryError>,
    ) {
        if let Some(until) = self.frozen(index) {
            self.at(until, Due::Answered { master: index, life, message, result: result.clone() });
            return;
        }
        if !self.masters[index].is_alive || self.masters[index].life != life {
            return;
        }
        if mutant::is_on(39) {
            return;
        }
        let waiting = self.waiting(message);
        let end = outbox::conclude(guarantee(&waiting.message.notifier), &waiting, result.as_ref(), self.now);
        self.tell_end(index, life, message, end);
    }

    fn tell_end(&mut self, index: usize, life: u32, message: MessageId, end: End) {
        let input = match end {
            End::Delivered { receipt } => Input::Delivered { message, receipt },
            End::Deferred { attempts, error, due } => Input::Deferred { message, attempts, error, due },
            End::Dead { error } => Input::Dead { message, error },
        };
        let asker = Asker::Note { master: index, life, message };
        self.masters[index].ends.insert(message, input.clone());
        self.arrive(index, life, crate::world::Letter { inputs: vec![input], once: None, asker });
    }

    /// What became of a message is noted, or must be said again: what is not noted would be sent twice.
    pub(crate) fn noted(&mut self, index: usize, life: u32, message: MessageId, is_good: bool) {
        let master = &self.masters[index];
        if !master.is_alive || master.life != life {
            return;
        }
        let is_over = !self.store.rows.due.contains(&message);
        if is_good || is_over {
            self.masters[index].ends.remove(&message);
            self.end_attempt(index, message);
            self.after(Duration::ZERO, Due::Deliver(index, life));
        } else if let Some(input) = self.masters[index].ends.get(&message).cloned() {
            let asker = Asker::Note { master: index, life, message };
            let letter = crate::world::Letter { inputs: vec![input], once: None, asker };
            self.after(RETRY, Due::Arrive(index, life, Box::new(letter)));
        }
    }

    fn end_attempt(&mut self, index: usize, message: MessageId) {
        let row = &self.store.rows.outbox[&message].message;
        let notifier = usize::from(row.notifier.as_str() != MAIL);
        let target = row.target.clone();
        self.masters[index].under_way[notifier].end(message, &target);
    }
}
