//! A notifier that delivers to nobody: it keeps messages in memory, for the demo and for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use gristmill_model::Message;
use tokio::sync::watch;

use crate::delivery::{DeliveryError, Guarantee, Notifier, Receipt};

/// Keeps the last [`Recorder::KEPT_MAX`] messages instead of sending them. Clones share them.
#[derive(Debug, Clone)]
pub struct Recorder {
    kept: Arc<Mutex<VecDeque<Message>>>,
    count: Arc<watch::Sender<u64>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// Messages that are kept; older ones are dropped.
    pub const KEPT_MAX: usize = 1_000;

    /// Makes an empty one.
    pub fn new() -> Self {
        Self { kept: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }

    /// Gives the messages kept, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.lock().iter().cloned().collect()
    }

    /// Gives a receiver of how many messages there have been; it changes after each one was kept.
    pub fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Message>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notifier for Recorder {
    /// Keeps the message. A repeat, recognised by its key, is accepted and not kept twice.
    async fn deliver(&self, message: &Message) -> Result<Receipt, DeliveryError> {
        let mut kept = self.lock();
        if kept.iter().any(|known| known.key == message.key) {
            return Ok(Receipt::new("kept in memory before; sent to nobody"));
        }
        if kept.len() == Self::KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(message.clone());
        drop(kept);
        self.count.send_modify(|count| *count += 1);
        Ok(Receipt::new("kept in memory; sent to nobody"))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_kept_once() {
        let recorder = Recorder::new();
        let mut seen = recorder.count();
        let message = crate::sample::message("ada@example.org");
        for _ in 0..2 {
            recorder.deliver(&message).await.expect("it is kept");
        }
        assert_eq!(*seen.borrow_and_update(), 1);
        assert_eq!(recorder.messages(), [message]);
    }
}
