//! Telling what happens in a running service, line by line, from its own journal.

use std::time::Duration;

use gristmill_model::{Event, Seq};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::narrate::Narrator;
use super::terminal::line;
use crate::store::Reader;

/// Events read at once.
const BATCH_MAX: u32 = 500;
/// Batches that wait to be printed.
const BATCHES_WAITING_MAX: usize = 1;
/// How long a stop waits for what is just being printed.
const STOP_MAX: Duration = Duration::from_secs(1);

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

/// Somebody who tells: a task that reads, and a thread of its own that prints. Whoever does not take what is printed (a
/// stopped terminal, a pipe that nobody reads) holds up that thread and nothing else.
pub struct Teller {
    told: watch::Receiver<Seq>,
    script: mpsc::Sender<Script>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// What is to be printed.
enum Script {
    Events(Vec<Event>),
    Remark(String),
}

impl Teller {
    /// Begins to tell.
    pub fn start(journal: Journal, voice: Voice) -> Self {
        let (sender, told) = watch::channel(journal.from);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (script, printed) = mpsc::channel(BATCHES_WAITING_MAX);
        let events = script.clone();
        let printing = std::thread::Builder::new().name("gristmill-tell".into()).spawn(move || {
            print(voice, printed, &sender);
        });
        if let Err(error) = printing {
            tracing::error!("events cannot be told on the terminal: {error}");
        }
        let task = tokio::spawn(async move {
            tokio::select! {
                () = read(journal, events) => {}
                () = stopped.cancelled() => {}
            }
        });
        Self { told, script, stop, task }
    }

    /// Says a line of another kind, unless nobody takes what is printed.
    pub async fn remark(&self, text: &str) {
        drop(tokio::time::timeout(STOP_MAX, self.script.send(Script::Remark(text.to_owned()))).await);
    }

    /// Waits until everything up to `seq` has been told.
    pub async fn told(&mut self, seq: Seq) {
        // An error means that the thread has ended: then nothing more will be told.
        drop(self.told.wait_for(|told| *told >= seq).await);
    }

    /// Ends the telling. What is just being printed is waited for, though not for long.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!("the telling of events broke: {error}");
        }
        drop(self.script);
        let ended = async { while self.told.changed().await.is_ok() {} };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!("nobody takes what is told on standard output; the rest of it is left out");
        }
    }
}

/// Reads events as the journal grows, and hands them on.
async fn read(journal: Journal, events: mpsc::Sender<Script>) {
    let Journal { reader, mut head, mut from } = journal;
    loop {
        let batch = match reader.events_after(from, BATCH_MAX).await {
            Ok(batch) => batch,
            Err(error) => {
                // The service goes on without being told of; its pages still show everything.
                tracing::error!("events can no longer be read for the terminal: {error}");
                return;
            }
        };
        match batch.last() {
            Some(last) => {
                from = last.seq;
                if events.send(Script::Events(batch)).await.is_err() {
                    // Whoever read this has gone.
                    return;
                }
            }
            None if head.wait_for(|head| *head > from).await.is_err() => return,
            None => {}
        }
    }
}

/// Prints until nothing more comes, or whoever read it has gone.
fn print(mut voice: Voice, mut script: mpsc::Receiver<Script>, told: &watch::Sender<Seq>) {
    while let Some(script) = script.blocking_recv() {
        let said = match &script {
            Script::Events(batch) => batch.iter().try_for_each(|event| say(&mut voice, event)),
            Script::Remark(_) if voice.json => Ok(()),
            Script::Remark(text) => line(text),
        };
        if said.is_err() {
            return;
        }
        if let Script::Events(batch) = &script
            && let Some(last) = batch.last()
        {
            told.send_replace(last.seq);
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
