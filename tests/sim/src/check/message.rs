//! What is told: S17.

use gristmill_model::{EventBody, Message, MessageId, MessageState, Seq, Timestamp};
use gristmill_schedulers::round::ANNOUNCER;

use super::{Checked, Checker, must};
use crate::config::{CHANNEL, IRC};
use crate::store::Store;
use crate::store::rows::MessageRow;

/// How old a message may become that may be repeated, and one that may not.
const AGES: [i64; 2] = [3 * 24 * 3600, 3600];

impl Checker {
    /// S17: a message tells of an event that happened, once per happening and target.
    pub(super) fn s17_queued(&mut self, store: &Store, seq: Seq, message: &Message) -> Checked {
        self.count("S17");
        must(message.event < seq && store.event(message.event).is_some(), "S17", || {
            format!("message {} tells of event {}, which has not happened", message.key, message.event)
        })?;
        must(!store.rows.message_keys.contains_key(&message.key), "S17", || {
            format!("message {} is told twice", message.key)
        })?;
        let is_once = message.incident.is_some() && matches!(message.subject.as_str(), "broke" | "fixed");
        let same = |row: &MessageRow| {
            let other = &row.message;
            (other.incident, &other.subject, &other.notifier, &other.target)
                == (message.incident, &message.subject, &message.notifier, &message.target)
        };
        let twice = is_once && store.rows.outbox.values().rev().take(300).any(same);
        must(!twice, "S17", || format!("incident {:?} is told twice to {}", message.incident, message.target))
    }

    /// S17: whatever the announcer's cursor has passed has its messages.
    pub(super) fn s17_announced(&mut self, store: &Store) -> Checked {
        let cursor = store.cursors.get(ANNOUNCER).copied().unwrap_or_default();
        must(cursor >= self.cursor, "S17", || format!("the announcer's cursor goes back to {cursor}"))?;
        let (from, to) = (self.cursor.0, cursor.0);
        self.cursor = cursor;
        let passed = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
        for event in &store.journal[passed] {
            let (incident, word) = match &event.body {
                EventBody::IncidentOpened { incident, .. } => (incident, "broke"),
                EventBody::IncidentClosed { incident, .. } => (incident, "fixed"),
                _ => continue,
            };
            self.count("S17");
            let key = format!("incident-{incident}:{word}:{IRC}:{CHANNEL}");
            must(store.rows.message_keys.contains_key(&key), "S17", || {
                format!("event {} ({}) is passed, and {key} is not told", event.seq, event.body.kind())
            })?;
        }
        Ok(())
    }

    /// S17: a message is given up for a reason: it was refused for good, is too old, or in doubt and not to be repeated.
    pub(super) fn s17_dead(&mut self, store: &Store, at: Timestamp, id: MessageId, error: &str) -> Checked {
        self.count("S17");
        let row = &store.rows.outbox[&id];
        let is_irc = row.message.notifier.as_str() == IRC;
        let age = at.since(row.message.at).as_secs();
        let is_old = i64::try_from(age).unwrap_or(i64::MAX) + 1 >= AGES[usize::from(is_irc)];
        let is_so = is_old || error.starts_with("550") || (is_irc && row.claimed);
        must(is_so, "S17", || format!("message {id} is given up after {age} s: {error}"))
    }

    /// S17: a target that must not be told twice is not; and nobody is told what is noted as over.
    ///
    /// # Errors
    /// If one was.
    pub(crate) fn accepted(&mut self, row: &MessageRow, times: u64) -> Checked {
        self.count("S17");
        let id = row.message.id;
        must(row.message.notifier.as_str() != IRC || times == 1, "S17", || {
            format!("message {id} reached {} {times} times, and must not be repeated", row.message.target)
        })?;
        must(row.state != MessageState::Delivered || times > 1, "S17", || {
            format!("message {id} counted as delivered before it was")
        })
    }
}
