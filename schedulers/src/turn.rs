//! The turn: inputs become events, and what an event sets off is decided in the same turn.

use gristmill_model::{
    BuildId, BuildsetId, Catalog, ChangeId, DeliveryId, Event, EventBody, IncidentId, MessageId, RequestId, Timestamp,
};

use crate::state::State;

/// One turn in the making. What it emits is folded into the state at once, so that the next decision sees it.
///
/// If the events cannot be committed the state is worth nothing: load it again.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The configuration in force.
    pub catalog: &'a Catalog,
    /// The state, as the events so far have left it.
    pub state: &'a mut State,
    /// The time of the whole turn.
    pub now: Timestamp,
    /// What happened in it.
    pub events: Vec<EventBody>,
}

impl<'a> Turn<'a> {
    /// Begins a turn.
    pub fn new(catalog: &'a Catalog, state: &'a mut State, now: Timestamp) -> Self {
        Self { catalog, state, now, events: Vec::new() }
    }

    /// Lets something happen.
    pub(crate) fn emit(&mut self, body: EventBody) {
        let event = Event { seq: self.state.head.next(), at: self.now, body };
        self.state.apply(&event);
        self.events.push(event.body);
    }

    pub(crate) fn next_change(&self) -> ChangeId {
        self.state.last.change.next()
    }

    pub(crate) fn next_delivery(&self) -> DeliveryId {
        self.state.last.delivery.next()
    }

    pub(crate) fn next_buildset(&self) -> BuildsetId {
        self.state.last.buildset.next()
    }

    pub(crate) fn next_request(&self) -> RequestId {
        self.state.last.request.next()
    }

    pub(crate) fn next_build(&self) -> BuildId {
        self.state.last.build.next()
    }

    pub(crate) fn next_incident(&self) -> IncidentId {
        self.state.last.incident.next()
    }

    pub(crate) fn next_message(&self) -> MessageId {
        self.state.last.message.next()
    }
}
