//! The store in memory: the journal, the rows, cursors, answers and bodies, committed together or not at all.
//!
//! It is a model of the real one, written from what events mean and not from its code: [`rows`] says what each event
//! does to the tables and what it must not do, [`load`] makes a state of the tables alone.

mod load;
pub(crate) mod rows;

use std::collections::BTreeMap;

use gristmill_model::mutant;
use gristmill_model::{CatalogHash, DeliveryId, Event, EventBody, Seq};
use gristmill_schedulers::Draft;
use gristmill_schedulers::round::Blob;

pub(crate) use rows::Rows;

/// Why a turn was not committed, as far as its writer can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommitError {
    /// Another master has written.
    HeadMoved,
    /// The store has no time.
    Busy,
    /// A rule of the tables forbids it.
    Inconsistent(String),
    /// The store did not say.
    Unknown,
}

/// All that is durable.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// What happened, without gaps.
    pub(crate) journal: Vec<Event>,
    /// What is.
    pub(crate) rows: Rows,
    /// How far each follower has read.
    pub(crate) cursors: BTreeMap<String, Seq>,
    /// Answers by key: the request's hash, the answer.
    pub(crate) answers: BTreeMap<String, (String, String)>,
    /// Bodies of deliveries.
    pub(crate) bodies: BTreeMap<DeliveryId, Vec<u8>>,
    /// Texts of configurations.
    pub(crate) texts: BTreeMap<CatalogHash, String>,
    /// The configuration in force.
    pub(crate) active: Option<CatalogHash>,
}

impl Store {
    /// Gives the number of the last event.
    pub(crate) fn head(&self) -> Seq {
        self.journal.last().map_or(Seq(0), |event| event.seq)
    }

    /// Gives an event by its number.
    pub(crate) fn event(&self, seq: Seq) -> Option<&Event> {
        self.journal.get(usize::try_from(seq.0 - 1).ok()?)
    }

    /// Says whether a turn may be committed, without committing it.
    ///
    /// # Errors
    /// If another master has written, or if what its messages and deliveries say is over already.
    pub(crate) fn check(&self, draft: &Draft) -> Result<(), CommitError> {
        if draft.expected_head != self.head() && !mutant::is_on(47) {
            return Err(CommitError::HeadMoved);
        }
        let head = Seq(self.head().0 + i64::try_from(draft.events.len()).expect("a turn is small"));
        for (name, seq) in &draft.cursors {
            if *seq > head || self.cursors.get(name).is_some_and(|known| known > seq) {
                return Err(CommitError::Inconsistent(format!("cursor {name} to {seq}")));
            }
        }
        if let Some(known) = draft.answers.iter().find(|answer| self.answers.contains_key(&answer.key)) {
            return Err(CommitError::Inconsistent(format!("answer {} is kept already", known.key)));
        }
        self.rows.check_messages(&draft.events).map_err(CommitError::Inconsistent)
    }

    /// Writes what belongs to a turn beside its events; those are applied one by one by [`Store::append`].
    pub(crate) fn keep(&mut self, draft: &Draft) {
        for blob in &draft.blobs {
            match blob {
                Blob::Delivery { id, body, .. } => {
                    self.bodies.insert(*id, body.clone());
                }
                Blob::Catalog { hash, text } => {
                    self.texts.insert(hash.clone(), text.clone());
                }
            }
        }
        self.cursors.extend(draft.cursors.iter().cloned());
        for answer in &draft.answers {
            self.answers.insert(answer.key.clone(), (answer.request_sha256.clone(), answer.body.clone()));
        }
    }

    /// Appends one event and writes its rows.
    ///
    /// # Errors
    /// If a rule of the tables forbids it; then the store is worth nothing any more.
    pub(crate) fn append(&mut self, event: Event) -> Result<(), String> {
        if let EventBody::CatalogActivated { hash } = &event.body {
            self.active = Some(hash.clone());
        }
        self.rows.apply(&event)?;
        self.journal.push(event);
        Ok(())
    }
}
