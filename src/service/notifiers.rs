//! The notifiers of the configuration in force, each with its own delivery.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::{Catalog, Message, NotifierKind, NotifierName, SecretName};
use gristmill_notifiers::{DeliveryError, Guarantee, Notifier, Receipt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::control::secret;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::engine::deliver::{Deliverer, UnderWay};
use crate::store::Reader;

/// How long messages wait for a notifier that could not be made.
const TRY_AGAIN_TO_MAKE: Duration = Duration::from_secs(60);

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

    /// Brings what runs in line with the configuration. The messages of a notifier that cannot be made stay in the outbox
    /// and say why.
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
            let notifier = MadeWhenNeeded::new(catalog, name, kind);
            let before = ending.remove(name).map(|one| one.task);
            running.insert(name.clone(), self.start(name, made_of(catalog, kind), Arc::new(notifier), before));
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

/// A notifier that is made as soon as that is possible: a secret that is missing now may be there later.
struct MadeWhenNeeded {
    made: OnceLock<Arc<dyn Notifier>>,
    kind: NotifierKind,
    catalog: Catalog,
}

impl MadeWhenNeeded {
    /// Tries at once, so that IRC is joined before there is something to say, and a problem is told at the start.
    fn new(catalog: &Catalog, name: &NotifierName, kind: &NotifierKind) -> Self {
        let new = Self { made: OnceLock::new(), kind: kind.clone(), catalog: catalog.clone() };
        if let Err(problem) = new.get() {
            error!("notifier {name} cannot work, its messages wait: {problem}");
        }
        new
    }

    fn get(&self) -> Result<&Arc<dyn Notifier>, String> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let made = make(&self.catalog, &self.kind)?;
        Ok(self.made.get_or_init(|| made))
    }
}

#[async_trait]
impl Notifier for MadeWhenNeeded {
    async fn deliver(&self, message: &Message) -> Result<Receipt, DeliveryError> {
        let made = self.get().map_err(|problem| DeliveryError::not_now(problem, TRY_AGAIN_TO_MAKE))?;
        made.deliver(message).await
    }

    fn guarantee(&self) -> Guarantee {
        match (self.made.get(), &self.kind) {
            (Some(made), _) => made.guarantee(),
            (None, NotifierKind::Mail(_)) => Guarantee::AtLeastOnce,
            (None, NotifierKind::Irc(_)) => Guarantee::AtMostOnce,
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

/// Two services that send as the same person must not give the same Message-ID.
fn mail_options(catalog: &Catalog) -> gristmill_notifiers::MailOptions {
    let host = catalog.settings.url.as_deref().and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
    let host = host.and_then(|rest| rest.split(['/', ':']).next()).filter(|host| !host.is_empty());
    gristmill_notifiers::MailOptions { instance: host.map(str::to_owned), ..Default::default() }
}

fn make(catalog: &Catalog, kind: &NotifierKind) -> Result<Arc<dyn Notifier>, String> {
    let value = |name: Option<&SecretName>| name.map(|name| secret(catalog, name)).transpose();
    match kind {
        NotifierKind::Mail(config) => {
            let password = value(config.password.as_ref())?;
            gristmill_notifiers::Mail::new(config, password, mail_options(catalog))
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
