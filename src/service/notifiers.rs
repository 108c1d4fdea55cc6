//! The notifiers of the configuration in force, each with its own delivery.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gristmill_model::{Catalog, NotifierKind, NotifierName, SecretName};
use gristmill_notifiers::Notifier;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::control::secret;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::engine::deliver::{Deliverer, UnderWay};
use crate::store::Reader;

/// Starts, changes and stops notifiers as the configuration says.
#[derive(Debug, Clone)]
pub(super) struct Notifiers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    reader: Reader,
    clock: Arc<dyn Clock>,
    under_way: UnderWay,
    running: Mutex<BTreeMap<NotifierName, Running>>,
}

#[derive(Debug)]
struct Running {
    /// What it was made of: when that changes, it is made anew.
    made_of: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Notifiers {
    pub(super) fn new(engine: Engine, reader: Reader, clock: Arc<dyn Clock>) -> Self {
        let under_way = UnderWay { count: Arc::new(AtomicUsize::new(0)), moved: Arc::new(Notify::new()) };
        Self(Arc::new(Inner { engine, reader, clock, under_way, running: Mutex::default() }))
    }

    /// Brings what runs in line with the configuration. A notifier that cannot be made is told in the log; its messages
    /// stay in the outbox.
    pub(super) fn configure(&self, catalog: &Catalog) {
        let mut running = self.0.running.lock().expect("nobody panics while holding the notifiers");
        let is_same = |name: &NotifierName, one: &mut Running| {
            catalog.notifiers.get(name).is_some_and(|kind| made_of(catalog, kind) == one.made_of)
        };
        let mut ending: BTreeMap<NotifierName, Running> =
            running.extract_if(.., |name, one| !is_same(name, one)).collect();
        for one in ending.values() {
            one.stop.cancel();
        }
        for (name, kind) in &catalog.notifiers {
            if running.contains_key(name) {
                continue;
            }
            match make(catalog, kind) {
                Ok(notifier) => {
                    let before = ending.remove(name).map(|one| one.task);
                    running.insert(name.clone(), self.start(name, made_of(catalog, kind), notifier, before));
                }
                Err(problem) => error!("notifier {name} cannot work: {problem}"),
            }
        }
    }

    /// Starts delivering once the notifier's predecessor has ended: two at a time would send the same message twice.
    fn start(
        &self,
        name: &NotifierName,
        made_of: String,
        notifier: Arc<dyn Notifier>,
        before: Option<JoinHandle<()>>,
    ) -> Running {
        let stop = CancellationToken::new();
        let deliverer = Deliverer {
            name: name.clone(),
            notifier,
            engine: self.0.engine.clone(),
            reader: self.0.reader.clone(),
            clock: Arc::clone(&self.0.clock),
            under_way: self.0.under_way.clone(),
        };
        let until = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                super::join(before).await;
            }
            deliverer.run(until).await;
        });
        Running { made_of, task, stop }
    }

    /// Counts messages that are being delivered.
    pub(super) fn under_way(&self) -> usize {
        self.0.under_way.count.load(Ordering::SeqCst)
    }

    /// Waits until a delivery begins or ends.
    pub(super) async fn moved(&self) {
        self.0.under_way.moved.notified().await;
    }

    /// Stops them all.
    pub(super) async fn stop(&self) {
        let all = std::mem::take(&mut *self.0.running.lock().expect("nobody panics while holding the notifiers"));
        for one in all.values() {
            one.stop.cancel();
        }
        for one in all.into_values() {
            super::join(one.task).await;
        }
    }
}

/// Describes what a notifier is made of, its secret's source included, so that a change is noticed.
fn made_of(catalog: &Catalog, kind: &NotifierKind) -> String {
    let secret = match kind {
        NotifierKind::Mail(mail) => mail.password.as_ref(),
        NotifierKind::Irc(irc) => irc.sasl_password.as_ref(),
    };
    format!("{kind:?} {:?}", secret.and_then(|name| catalog.secrets.get(name)))
}

fn make(catalog: &Catalog, kind: &NotifierKind) -> Result<Arc<dyn Notifier>, String> {
    let value = |name: Option<&SecretName>| name.map(|name| secret(catalog, name)).transpose();
    match kind {
        NotifierKind::Mail(config) => {
            let password = value(config.password.as_ref())?;
            gristmill_notifiers::Mail::new(config, password, gristmill_notifiers::MailOptions::default())
                .map(|mail| Arc::new(mail) as Arc<dyn Notifier>)
                .map_err(|problem| crate::chain::chain(&problem))
        }
        NotifierKind::Irc(config) => {
            let password = value(config.sasl_password.as_ref())?;
            gristmill_notifiers::Irc::start(config, password, gristmill_notifiers::IrcOptions::default())
                .map(|irc| Arc::new(irc) as Arc<dyn Notifier>)
                .map_err(|problem| crate::chain::chain(&problem))
        }
    }
}
