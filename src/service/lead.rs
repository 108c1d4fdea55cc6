//! What a master does only while it leads: look at repositories, announce, deliver, run the built-in worker, follow its
//! configuration's file. Begun when the lead is taken, ended when it is lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::{Catalog, CatalogHash, Seq, WorkerName};
use gristmill_schedulers::{Input, State};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::notifiers::Notifiers;
use super::{LOCAL_LABEL, Options, ServiceError, base_url, control, doctor, join, reload};
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::engine::Engine;
use crate::engine::announce::Announcer;
use crate::engine::retain::Retainer;
use crate::fleet::desk::Desk as WorkerDesk;
use crate::fleet::local::LocalMaster;
use crate::fleet::watch as fleet_watch;
use crate::latent;
use crate::leader::candidate::BEAT_EVERY;
use crate::leader::{Follower, Keeper, Leadership, Lost, name};
use crate::sources;
use crate::sources::webhook::route::{Hooks, UNREAD_MAX};
use crate::store::{Claim, Store};
use crate::web::Guard;

/// How often a master that does not lead looks what was written.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// The wait after a lead that could not be begun.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What leading is done with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) options: Options,
    pub(super) address: std::net::SocketAddr,
    pub(super) engine: Engine,
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
    /// The built-in worker's name.
    pub(super) local_worker: WorkerName,
    pub(super) workers: WorkerDesk,
    pub(super) sources: sources::Handle,
    pub(super) notifiers: Notifiers,
    pub(super) hooks: Hooks,
    pub(super) guard: Arc<Guard>,
    pub(super) announced: watch::Sender<Seq>,
}

/// What runs while this master leads.
pub(super) struct Leading {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Desk {
    /// Begins to lead: from here on this master decides. What runs then is in `leading`, to be ended also when this fails.
    ///
    /// # Errors
    /// If the engine does not take the configuration.
    pub(super) async fn begin(&self, leading: &mut Leading, loaded: Loaded) -> Result<(), ServiceError> {
        // What happened before the new configuration is in force is decided by the one that is (S22); where that cannot be
        // read, nothing is decided before.
        self.follower().begin().await.map_err(ServiceError::Follow)?;
        // From here on everybody says hello to this master, and nobody's silence of before counts.
        self.workers.fleet.begin();
        let catalog = Arc::new(loaded.catalog);
        let activate = Input::Activate { catalog: Arc::clone(&catalog), text: loaded.text };
        let own = self.local_worker.clone();
        self.engine.lead(move |state| partings(state, &own).into_iter().chain([activate]).collect()).await?;
        let (engine, fleet) = (self.engine.clone(), self.workers.fleet.clone());
        leading.spawn(fleet_watch::run(engine, fleet, leading.stop.clone()));
        self.guard.set_token(control::token(&catalog).as_deref());
        let announcer = Announcer {
            engine: self.engine.clone(),
            reader: self.store.reader().clone(),
            logs: self.workers.logs.clone(),
            url: base_url(&catalog, self.address),
        };
        leading.spawn(announcer.run(self.announced.clone(), leading.stop.clone()));
        self.notifiers.configure(&catalog);
        self.sources.reconfigure(&catalog);
        let unread = self.store.reader().unread_deliveries(UNREAD_MAX).await;
        self.hooks.resume(unread.map_err(ServiceError::Read)?);
        if self.options.worker {
            leading.spawn(self.clone().work(Arc::clone(&catalog), leading.stop.clone()));
        }
        let reload = reload::Reload {
            guard: Arc::clone(&self.guard),
            file: self.options.file.clone(),
            engine: self.engine.clone(),
            sources: self.sources.clone(),
            notifiers: self.notifiers.clone(),
            in_force: catalog.hash.clone(),
        };
        leading.spawn(reload.run(leading.stop.clone()));
        let rounds = doctor::rounds::Rounds {
            engine: self.engine.clone(),
            store: Arc::clone(&self.store),
            data: self.options.data.clone(),
            logs_folder: self.options.logs_folder(),
            logs: self.workers.logs.clone(),
        };
        leading.spawn(rounds.run(leading.stop.clone()));
        self.name_logs().await?;
        leading.spawn(self.retainer().run(leading.stop.clone()));
        let latent = latent::Keeper {
            engine: self.engine.clone(),
            clock: Arc::clone(&self.clock),
            folder: self.options.data.join("latent"),
            server: base_url(&catalog, self.address),
        };
        leading.spawn(latent.run(leading.stop.clone()));
        Ok(())
    }

    /// Puts this installation's name into the folder of logs, before another one can. Whose folder it is already, says so:
    /// this one works then, and deletes nothing there.
    async fn name_logs(&self) -> Result<(), ServiceError> {
        let (logs, name) =
            (self.workers.logs.clone(), self.store.reader().installation().await.map_err(ServiceError::Read)?);
        match tokio::task::spawn_blocking(move || logs.claim(&name)).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => error!("old logs are not deleted: {}", chain(&problem)),
            Err(problem) => error!("the folder of logs was not looked at: {problem}"),
        }
        Ok(())
    }

    /// Gives what follows the journal while another master leads.
    fn follower(&self) -> Follower {
        Follower { engine: self.engine.clone(), reader: self.store.reader().clone() }
    }

    /// Gives what deletes what is over and old.
    pub(super) fn retainer(&self) -> Retainer {
        Retainer {
            engine: self.engine.clone(),
            store: Arc::clone(&self.store),
            logs: self.workers.logs.clone(),
            data: self.options.data.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Ends what [`Desk::begin`] began. What was under way is in doubt, as after a crash.
    pub(super) async fn end(&self, mut leading: Leading, lost: Lost) {
        leading.stop.cancel();
        if lost == Lost::Taken {
            // First of all nothing is decided any more: whoever leads now must not be overtaken.
            self.unlead().await;
        }
        // In order, what became of messages under way is still noted, so that they are not sent again.
        self.notifiers.stop().await;
        self.sources.reconfigure(&Catalog::default());
        for task in std::mem::take(&mut leading.tasks) {
            join(task).await;
        }
        self.unlead().await;
    }

    /// Decides nothing from now on. It fails only when the engine has stopped, and then decides nothing either.
    async fn unlead(&self) {
        self.engine.follow().await.ok();
    }

    async fn work(self, catalog: Arc<Catalog>, stop: CancellationToken) {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        let slots = catalog.settings.local_slots.unwrap_or(cores);
        let folder = self.options.data.join("worker");
        let mut options = gristmill_worker::Options::new(self.local_worker.clone(), slots, folder);
        options.labels = catalog.settings.local_labels.clone();
        options.labels.entry(LOCAL_LABEL.to_owned()).or_insert_with(|| "yes".to_owned());
        let fleet = self.workers.fleet.clone();
        fleet.set_inside(Some(self.local_worker));
        let master = LocalMaster::new(self.workers);
        if let Err(problem) = gristmill_worker::run(options, Arc::new(master), stop).await {
            error!("the built-in worker has stopped: {}", chain(&problem));
        }
        fleet.set_inside(None);
    }

    /// Reads the configuration for a lead that is taken over. A file that is broken by now is refused, as at a reload,
    /// and the configuration in force stays.
    async fn configuration(&self) -> Option<(Loaded, Option<String>)> {
        let file = self.options.file.clone();
        let problems = match tokio::task::spawn_blocking(move || config::load(&file)).await {
            Ok(Ok(loaded)) => return Some((loaded, None)),
            Ok(Err(problems)) => problems.render(false),
            Err(problem) => problem.to_string(),
        };
        let reader = self.store.reader();
        let hash = reader.active_catalog().await.ok()??;
        let text = reader.catalog_text(&hash).await.ok()??;
        let loaded = config::read(&text, "the configuration in force").ok()?;
        Some((loaded, Some(problems)))
    }

    async fn take_over(&self, leading: &mut Leading) -> Result<(), ServiceError> {
        let Some((loaded, refused)) = self.configuration().await else {
            return Err(ServiceError::NoConfiguration { file: self.options.file.clone() });
        };
        self.begin(leading, loaded).await?;
        if let Some(problems) = refused {
            error!("{} is refused; the configuration in force stays", self.options.file.display());
            if let Err(problem) = self.engine.submit(Input::Refuse { problems }).await {
                error!("that it is refused was not told: {problem}");
            }
        }
        Ok(())
    }
}

impl Leading {
    pub(super) fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: Vec::new() }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }
}

impl Drop for Leading {
    /// Nothing that it began goes on without it.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Begins to lead at the start, where what is wrong is told to whoever started the service; the lead is given up again.
/// `None` if something was written meanwhile: a server may commit the last turn of a master that was killed after its end.
/// It follows then, and the next look takes the lead.
///
/// # Errors
/// If the engine does not take the configuration.
pub(super) async fn begin_at_start(
    desk: &Desk,
    keeper: &Keeper,
    loaded: Loaded,
) -> Result<Option<Leading>, ServiceError> {
    let mut leading = Leading::new();
    let begun = tokio::select! {
        begun = desk.begin(&mut leading, loaded) => begun,
        () = keeper.lose() => Err(ServiceError::Overtaken),
    };
    let Err(problem) = begun else { return Ok(Some(leading)) };
    desk.end(leading, Lost::Taken).await;
    keeper.give_up().await;
    match problem {
        ServiceError::Overtaken => Ok(None),
        ServiceError::Engine(_) if desk.store.is_shared() => Ok(None),
        problem => Err(problem),
    }
}

/// Leads and follows by turns until stopped. Begins with what there is at the start.
pub(super) async fn run(
    desk: Desk,
    mut keeper: Keeper,
    leadership: Leadership,
    mut leading: Option<Leading>,
    stop: CancellationToken,
) {
    loop {
        let held = match leading.take() {
            Some(held) => held,
            None => match follow(&desk, &mut keeper, &stop).await {
                Some(held) => held,
                None => return,
            },
        };
        let lost = keeper.hold(desk.engine.leads(), &stop).await;
        // Whoever leads now is found by the next look; this master it is not.
        leadership.note(crate::store::Leader::default());
        desk.end(held, lost).await;
        match lost {
            Lost::Stopped => {
                keeper.give_up().await;
                return;
            }
            Lost::Taken => warn!("the lead is lost; this master follows now"),
        }
    }
}

/// Follows until the lead is taken and begun, or until stopped.
async fn follow(desk: &Desk, keeper: &mut Keeper, stop: &CancellationToken) -> Option<Leading> {
    let mut following = Following { follower: desk.follower(), has_begun: false, token_of: None, is_silent: false };
    let mut looked = None;
    loop {
        stop.run_until_cancelled(following.step(desk)).await?;
        let is_due = looked.is_none_or(|at: tokio::time::Instant| at.elapsed() >= BEAT_EVERY);
        if is_due {
            looked = Some(tokio::time::Instant::now());
            match stop.run_until_cancelled(keeper.look()).await? {
                Ok(true) => match take_over(desk, keeper, stop).await {
                    Some(leading) => return Some(leading),
                    None => stop.run_until_cancelled(tokio::time::sleep(TRY_AGAIN)).await?,
                },
                Ok(false) => {}
                Err(problem) => warn!("who leads is not known: {}", chain(&problem)),
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(FOLLOW_EVERY)).await?;
    }
}

/// Begins the lead that was taken; beats meanwhile. If that does not succeed everything is ended and the lead given up.
async fn take_over(desk: &Desk, keeper: &Keeper, stop: &CancellationToken) -> Option<Leading> {
    let mut leading = Leading::new();
    let problem = tokio::select! {
        begun = desk.take_over(&mut leading) => match begun {
            Ok(()) => return Some(leading),
            Err(problem) => Some(problem),
        },
        () = keeper.lose() => Some(ServiceError::Overtaken),
        () = stop.cancelled() => None,
    };
    if let Some(problem) = problem {
        error!("the lead was taken and could not be begun: {}", chain(&problem));
    }
    desk.end(leading, Lost::Taken).await;
    keeper.give_up().await;
    None
}

/// What a master that does not lead remembers between two steps.
struct Following {
    follower: Follower,
    has_begun: bool,
    /// The configuration whose token the guard asks for.
    token_of: Option<CatalogHash>,
    /// Whether the last step failed, and that was said.
    is_silent: bool,
}

impl Following {
    /// Reads what the leader has written.
    async fn step(&mut self, desk: &Desk) {
        let read = match self.has_begun {
            true => self.follower.catch_up().await,
            false => self.follower.begin().await,
        };
        match read {
            Ok(()) => (self.has_begun, self.is_silent) = (true, false),
            Err(problem) if self.is_silent => tracing::debug!("{}", chain(&problem)),
            Err(problem) => {
                warn!("what the leader wrote is not read yet: {}", chain(&problem));
                self.is_silent = true;
            }
        }
        let catalog = desk.engine.catalog();
        // The one of nobody is no configuration: until there is one, the token of the file stands.
        if catalog.hash != Catalog::default().hash && self.token_of.as_ref() != Some(&catalog.hash) {
            self.token_of = Some(catalog.hash.clone());
            desk.guard.set_token(control::token(&catalog).as_deref());
        }
    }
}

/// Whoever was connected before has to say hello again: nothing is placed on a worker that is not there. The built-in
/// workers of other masters are over for good, because they live only while their masters lead.
fn partings(state: &State, own: &WorkerName) -> Vec<Input> {
    let known = state.workers.values().filter(|worker| worker.connected || worker.token.is_none());
    let part = |worker: &gristmill_model::Worker| match worker.token.is_none() && worker.name != *own {
        true => Input::Ended { worker: worker.name.clone(), why: "its master leads no longer".to_owned() },
        false => Input::Gone { worker: worker.name.clone(), why: "the service started again".to_owned() },
    };
    known.map(part).collect()
}

/// Says who this master is.
pub(super) fn claim(options: &Options, address: std::net::SocketAddr) -> std::io::Result<Claim> {
    Ok(Claim {
        master: name::of(&options.data, name::MASTER_FILE)?,
        address: advertised(options, address),
        logs: name::of(&options.logs_folder(), name::LOGS_FILE)?,
    })
}

/// Says where other masters reach this one: as it was told, or at the address that it listens on.
fn advertised(options: &Options, address: std::net::SocketAddr) -> String {
    if let Some(told) = &options.advertise {
        return told.trim_end_matches('/').to_owned();
    }
    if !address.ip().is_unspecified() {
        return format!("http://{address}");
    }
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    match host {
        Some(host) => format!("http://{host}:{}", address.port()),
        None => {
            info!("other masters cannot reach this one; `--advertise URL` says where it is");
            String::new()
        }
    }
}

/// Names the file in a refusal to lead.
pub(super) fn no_configuration(file: &Path) -> String {
    format!("{} cannot be used, and no configuration was in force before; `gristmill check` shows why", file.display())
}
