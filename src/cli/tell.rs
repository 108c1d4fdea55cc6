//! Telling what happens in a running service, line by line, from its own journal.

use gristmill_model::{Event, Seq};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::narrate::Narrator;
use super::terminal::line;
use crate::store::Reader;

/// Events read at once.
const BATCH_MAX: u32 = 500;

/// Says more about an event than the narrator does.
pub type Aside = Box<dyn FnMut(&Event) -> Vec<String> + Send>;

/// Where the events come from.
pub struct Journal {
    /// Reads them.
    pub reader: Reader,
    /// Grows with them.
    pub head: watch::Receiver<Seq>,
    /// The last one that is not told.
    pub from: Seq,
}

/// How they are told.
pub struct Voice {
    /// Puts them into lines.
    pub narrator: Narrator,
    /// Prints them as JSON instead.
    pub json: bool,
    /// Says more about some.
    pub aside: Option<Aside>,
}

/// A task that tells.
pub struct Teller {
    told: watch::Receiver<Seq>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Teller {
    /// Begins to tell.
    pub fn start(journal: Journal, voice: Voice) -> Self {
        let (sender, told) = watch::channel(journal.from);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = tell(journal, voice, sender) => {}
                () = stopped.cancelled() => {}
            }
        });
        Self { told, stop, task }
    }

    /// Waits until everything up to `seq` has been told.
    pub async fn told(&mut self, seq: Seq) {
        // An error means that the task has ended: then nothing more will be told.
        drop(self.told.wait_for(|told| *told >= seq).await);
    }

    /// Ends the telling.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!("the telling of events broke: {error}");
        }
    }
}

async fn tell(journal: Journal, mut voice: Voice, told: watch::Sender<Seq>) {
    let Journal { reader, mut head, mut from } = journal;
    loop {
        let events = match reader.events_after(from, BATCH_MAX).await {
            Ok(events) => events,
            Err(error) => {
                // The service goes on without being told of; its pages still show everything.
                tracing::error!("events can no longer be read for the terminal: {error}");
                return;
            }
        };
        for event in &events {
            if say(&mut voice, event).is_err() {
                // Whoever read this has gone.
                return;
            }
            from = event.seq;
        }
        told.send_replace(from);
        if events.is_empty() && head.wait_for(|head| *head > from).await.is_err() {
            return;
        }
    }
}

fn say(voice: &mut Voice, event: &Event) -> std::io::Result<()> {
    // Both hear every event, whether or not what they say is printed: they remember.
    let mut said = voice.narrator.tell(event);
    said.extend(voice.aside.as_mut().map_or_else(Vec::new, |aside| aside(event)));
    if voice.json {
        return line(&serde_json::to_string(event).expect("an event has only string keys"));
    }
    said.iter().try_for_each(|said| line(said))
}
