//! A round: all that one turn does before it is committed, apart from reading and writing.
//!
//! It takes inputs one after the other, answers repetitions as the first was answered, and ends with a [`Draft`] that is
//! committed as a whole, and with the [commands](Rounded::commands) that workers get once it is. What the store knows of
//! an input that may have come before is looked up by whoever runs the round, and handed in as [`Recalled`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_model::protocol::{Origin, WorkerCommand};
use gristmill_model::{
    Catalog, CatalogHash, ChangeId, DeliveryId, EventBody, RepositoryName, Seq, Timestamp, WorkerName, mutant,
};

use crate::decide::{close, decide};
use crate::input::{Input, NewDelivery, Reply};
use crate::order;
use crate::state::State;
use crate::turn::Turn;

/// The announcer's cursor, which moves with the messages that it queues.
pub const ANNOUNCER: &str = "announcer";

/// What a turn hands over to be committed: all of it or nothing.
///
/// A draft without events is allowed; it may move cursors and keep answers, and the head stays.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Where the journal's head was when the turn was decided: the fence against another master.
    pub expected_head: Seq,
    /// The turn's time, which every event gets.
    pub at: Timestamp,
    /// What happened, in order. The first gets the number after `expected_head`.
    pub events: Vec<EventBody>,
    /// What belongs to these events and is too big or too raw to be in them.
    pub blobs: Vec<Blob>,
    /// Followers' cursors that move with this turn; never back, never past the new head.
    pub cursors: Vec<(String, Seq)>,
    /// Answers kept for callers who repeat themselves.
    pub answers: Vec<Answer>,
}

impl Draft {
    /// Says whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.cursors.is_empty() && self.answers.is_empty()
    }
}

/// Bytes that belong to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blob {
    /// A webhook request as received. Every `delivery.accepted` must have one in its turn (S1).
    Delivery {
        /// Which.
        id: DeliveryId,
        /// The headers worth keeping, as JSON.
        headers: String,
        /// The body.
        body: Vec<u8>,
    },
    /// A configuration's text. A `catalog.activated` of a hash that was never stored must have one in its turn.
    Catalog {
        /// Its hash.
        hash: CatalogHash,
        /// The text.
        text: String,
    },
}

/// An answer kept under the key that a caller chose, so that a repeat gets the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The principal and the key it chose.
    pub key: String,
    /// SHA-256 (hexadecimal) of the request, so that the same key with another request is noticed.
    pub request_sha256: String,
    /// What was answered.
    pub body: String,
}

/// A key under which a repeated request is answered as the first was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Who asks, and the key they chose.
    pub key: String,
    /// SHA-256 of the request, hexadecimal: the same key with another request is refused.
    pub request_sha256: String,
}

/// The same idempotency key came with another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the idempotency key was used for another request before")]
pub struct KeyReused;

/// What the store knows of an input from earlier turns. What this turn knows itself need not be looked up
/// ([`Round::has_answer`], [`Round::has_delivery`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recalled {
    /// The answer that was kept under the input's key.
    pub answer: Option<Kept>,
    /// The delivery that came under the input's delivery key.
    pub delivery: Option<KnownDelivery>,
}

/// An answer as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of the request that it answered.
    pub request_sha256: String,
    /// What was answered.
    pub body: String,
}

/// A delivery that was received before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDelivery {
    /// Which.
    pub id: DeliveryId,
    /// The answer that is kept under [`delivery_answer`], if it told changes.
    pub answer: Option<String>,
}

/// The key under which the answer to a delivery is kept for its repetitions.
pub fn delivery_answer(delivery: DeliveryId) -> String {
    format!("delivery {delivery}")
}

/// One turn while it takes inputs. Dropped without [`Round::finish`], or finished and not committed, it leaves a state
/// that is worth nothing: load it again.
#[derive(Debug)]
pub struct Round<'s> {
    catalog: Arc<Catalog>,
    state: &'s mut State,
    draft: Draft,
    /// Answers of this turn under their keys, for a repetition within it.
    said: BTreeMap<String, (String, Reply)>,
    /// Deliveries of this turn, for a repetition within it.
    delivered: BTreeMap<(RepositoryName, String), Reply>,
    /// Workers that introduced themselves in this turn.
    introduced: BTreeSet<WorkerName>,
}

/// A round that has ended.
#[derive(Debug)]
pub struct Rounded {
    /// What is to be committed.
    pub draft: Draft,
    /// What workers are told once it is committed, and not before.
    pub commands: Vec<(WorkerName, WorkerCommand)>,
    /// The catalog that is in force once it is committed.
    pub catalog: Arc<Catalog>,
}

impl<'s> Round<'s> {
    /// Begins a turn at `now` under the catalog in force. Time never runs backwards in the journal, whatever the machine's
    /// clock does, and whichever machine the last turn was made on.
    pub fn begin(catalog: Arc<Catalog>, state: &'s mut State, now: Timestamp) -> Self {
        let draft = Draft {
            expected_head: state.head,
            at: if mutant::is_on(7) { now } else { now.max(state.at) },
            ..Draft::default()
        };
        Self { catalog, state, draft, said: BTreeMap::new(), delivered: BTreeMap::new(), introduced: BTreeSet::new() }
    }

    /// Counts the events so far.
    pub fn events(&self) -> usize {
        self.draft.events.len()
    }

    /// Says whether this turn has answered a request under this key, so that the store need not be asked.
    pub fn has_answer(&self, once: &Once) -> bool {
        self.said.contains_key(&once.key)
    }

    /// Says whether this turn has taken a delivery under this key, so that the store need not be asked.
    pub fn has_delivery(&self, delivery: &NewDelivery) -> bool {
        self.delivered.contains_key(&key_of(delivery))
    }

    /// Decides one input, or repeats the answer that it got before.
    ///
    /// # Errors
    /// If its key was used for another request before; then nothing was decided.
    pub fn input(&mut self, input: Input, once: Option<Once>, recalled: Recalled) -> Result<Reply, KeyReused> {
        if let Some(once) = &once
            && let Some(known) = self.recall(once, recalled.answer)?
        {
            return Ok(known);
        }
        if let Input::Deliver(delivery) = &input
            && let Some(known) = self.recall_delivery(delivery, recalled.delivery)
        {
            return Ok(known);
        }
        let reply = self.decide(input);
        if let Some(once) = once
            && !matches!(reply, Reply::Refused(_))
        {
            self.keep(once.key.clone(), once.request_sha256.clone(), &reply);
            self.said.insert(once.key, (once.request_sha256, reply.clone()));
        }
        Ok(reply)
    }

    /// Gives the answer that was given to this request before, in this turn or an earlier one.
    fn recall(&self, once: &Once, kept: Option<Kept>) -> Result<Option<Reply>, KeyReused> {
        let known = match self.said.get(&once.key) {
            Some(said) => Some(said.clone()),
            None => kept.and_then(|kept| Some((kept.request_sha256, serde_json::from_str(&kept.body).ok()?))),
        };
        match known {
            Some((sha256, _)) if sha256 != once.request_sha256 => Err(KeyReused),
            _ if mutant::is_on(104) => Ok(None),
            known => Ok(known.map(|(_, reply)| reply)),
        }
    }

    fn recall_delivery(&self, delivery: &NewDelivery, known: Option<KnownDelivery>) -> Option<Reply> {
        if let Some(reply) = self.delivered.get(&key_of(delivery)) {
            return Some(reply.clone());
        }
        let KnownDelivery { id: delivery, answer } = known?;
        // Only what told changes has an answer of its own.
        let kept = answer.and_then(|kept| serde_json::from_str(&kept).ok());
        Some(kept.unwrap_or(Reply::Delivered { delivery, repeat: true, sweep: false, changes: Vec::new() }))
    }

    fn keep(&mut self, key: String, request_sha256: String, reply: &Reply) {
        let body = serde_json::to_string(reply).expect("a reply is plain data");
        self.draft.answers.push(Answer { key, request_sha256, body });
    }

    fn decide(&mut self, mut input: Input) -> Reply {
        let raw = match &mut input {
            Input::Activate { catalog, text } => {
                self.catalog = Arc::clone(catalog);
                self.draft.blobs.push(Blob::Catalog { hash: catalog.hash.clone(), text: std::mem::take(text) });
                None
            }
            Input::Announce { to, .. } => {
                self.draft.cursors.push((ANNOUNCER.to_owned(), *to));
                None
            }
            Input::Deliver(new) => Some(Raw::take(new)),
            Input::Hello(hello) => {
                self.introduced.insert(hello.worker.clone());
                None
            }
            _ => None,
        };
        let mut turn = Turn::new(&self.catalog, self.state, self.draft.at);
        let reply = decide(&mut turn, input);
        self.draft.events.append(&mut turn.events);
        if let (Some(raw), Reply::Delivered { delivery, changes, .. }) = (raw, &reply) {
            self.keep_delivery(raw, *delivery, changes.clone());
        }
        reply
    }

    fn keep_delivery(&mut self, raw: Raw, delivery: DeliveryId, changes: Vec<ChangeId>) {
        self.draft.blobs.push(Blob::Delivery { id: delivery, headers: raw.headers, body: raw.body });
        let tells = !changes.is_empty();
        let repeat = Reply::Delivered { delivery, repeat: true, sweep: false, changes };
        if tells {
            self.keep(delivery_answer(delivery), raw.sha256, &repeat);
        }
        self.delivered.insert(raw.key, repeat);
    }

    /// Ends the turn: fires what is due, places what is ready. `origin` knows where a repository is fetched from.
    pub fn finish(mut self, origin: &dyn Fn(&Catalog, &RepositoryName) -> Option<Origin>) -> Rounded {
        let mut turn = Turn::new(&self.catalog, self.state, self.draft.at);
        close(&mut turn);
        self.draft.events.append(&mut turn.events);
        let origin = |repository: &RepositoryName| origin(&self.catalog, repository);
        let mut commands = order::commands(self.state, &self.draft.events, &origin);
        // What a worker was told before it introduced itself may have been lost with an earlier run of the service.
        let again = self.introduced.iter().flat_map(|worker| order::standing(self.state, Some(worker), &origin));
        let again: Vec<_> = again.filter(|command| !commands.contains(command)).collect();
        commands.extend(again);
        Rounded { draft: self.draft, commands, catalog: self.catalog }
    }
}

/// What is kept of a delivery beside its event.
struct Raw {
    headers: String,
    body: Vec<u8>,
    key: (RepositoryName, String),
    sha256: String,
}

impl Raw {
    fn take(new: &mut NewDelivery) -> Self {
        Self {
            headers: std::mem::take(&mut new.headers),
            body: std::mem::take(&mut new.body),
            key: key_of(new),
            sha256: new.sha256.clone(),
        }
    }
}

fn key_of(delivery: &NewDelivery) -> (RepositoryName, String) {
    (delivery.repository.clone(), delivery.key.clone())
}

#[cfg(test)]
mod tests {
    use gristmill_model::Event;

    use super::*;

    #[test]
    fn time_never_runs_backwards_whatever_the_clock_says() {
        let mut state = State::default();
        let (late, early) = (Timestamp::from_seconds(2_000), Timestamp::from_seconds(1_000));
        let body = EventBody::CatalogRefused { problems: "line 3".to_owned() };
        state.apply(&Event { seq: Seq(1), at: late, body });
        // Another run of the service, on a machine whose clock was put back.
        let mut round = Round::begin(Arc::default(), &mut state, early);
        let refuse = Input::Refuse { problems: "line 4".to_owned() };
        assert_eq!(round.input(refuse, None, Recalled::default()), Ok(Reply::Done));
        let draft = round.finish(&|_, _| None).draft;
        assert_eq!((draft.at, draft.expected_head, draft.events.len()), (late, Seq(1), 1));
    }

    #[test]
    fn a_repetition_is_answered_as_the_first_was() {
        let mut state = State::default();
        let mut round = Round::begin(Arc::default(), &mut state, Timestamp::from_seconds(1));
        let once = |sha: &str| Once { key: "ada 1".to_owned(), request_sha256: sha.to_owned() };
        let refuse = || Input::Refuse { problems: "line 3".to_owned() };
        let first = round.input(refuse(), Some(once("a")), Recalled::default());
        assert_eq!(round.input(refuse(), Some(once("a")), Recalled::default()), first);
        assert_eq!(round.input(refuse(), Some(once("b")), Recalled::default()), Err(KeyReused));
        let draft = round.finish(&|_, _| None).draft;
        assert_eq!((draft.events.len(), draft.answers.len()), (1, 1), "it happened once");

        // In a later turn the store remembers it.
        let kept = Kept { request_sha256: "a".to_owned(), body: draft.answers[0].body.clone() };
        let recalled = || Recalled { answer: Some(kept.clone()), delivery: None };
        let mut round = Round::begin(Arc::default(), &mut state, Timestamp::from_seconds(2));
        assert_eq!(round.input(refuse(), Some(once("a")), recalled()), first);
        assert_eq!(round.input(refuse(), Some(once("b")), recalled()), Err(KeyReused));
        assert!(round.finish(&|_, _| None).draft.is_empty());
    }
}
