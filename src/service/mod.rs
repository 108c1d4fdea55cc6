//! The service: all parts put together, started and stopped in order.
//!
//! Started: the store, the engine, the configuration, then those who follow and those who feed. Stopped the other way
//! round: first nobody feeds any more, then what is decided is committed, then the database is closed.

pub mod doctor;

mod control;
mod lead;
mod notifiers;
mod reload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::Origin;
use gristmill_model::{Catalog, RepositoryName, Seq, WorkerName};
use gristmill_schedulers::State;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Diagnostics, Loaded};
use crate::engine::retain::{RetainError, Retainer};
use crate::engine::turns::OriginOf;
use crate::engine::{self, Engine, EngineError};
use crate::fleet::Fleet;
use crate::fleet::desk::Desk as WorkerDesk;
use crate::fleet::http::{self as fleet_http, Gate};
use crate::fleet::watch::Stopwatch;
use crate::keeping;
use crate::leader::{self, Keeper, Leadership};
use crate::logs::LogStore;
use crate::sources::git::{Limits, location::Location, mirror};
use crate::sources::webhook::{self, route::Hooks};
use crate::sources::{self, Sources, SweepReport};
use crate::store::{Database, ReadError, Reader, Store, StoreError};
use crate::web::doors::Doors;
use crate::web::{self, App, Guard, Info};
use lead::Desk;

/// How long the parts may take to stop; after that they are dropped where they stand, which loses nothing.
const STOP_MAX: Duration = Duration::from_secs(10);
/// The built-in worker's name; where there are several masters, the master's name follows after an `@`.
pub const LOCAL_WORKER: &str = "local";
/// The label that every built-in worker has, so that builders can ask for it.
const LOCAL_LABEL: &str = "local";

/// What the service is told when it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration's file.
    pub file: PathBuf,
    /// The folder for mirrors, logs and workspaces, and for the database unless it is elsewhere.
    pub data: PathBuf,
    /// Where the database is.
    pub database: Database,
    /// The address to listen on; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Whether the built-in worker is started.
    pub worker: bool,
    /// Whether this is the demo, which the pages say.
    pub demo: bool,
    /// Where other masters reach this one, as a URL; `None` for the address that it listens on.
    pub advertise: Option<String>,
    /// The folder of logs; `None` for the one in `data`. Masters on one database share it.
    pub logs: Option<PathBuf>,
    /// Whether to start although the logs of before are in another folder.
    pub forget_logs: bool,
    /// By what the silence of workers is measured; tests keep it, to let time pass.
    pub silence: Stopwatch,
}

impl Options {
    /// Makes the options of a service that is alone: the embedded database, everything in `data`, and a worker.
    pub fn new(file: PathBuf, data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            file,
            data,
            listen,
            worker: true,
            demo: false,
            database: Database::Embedded,
            advertise: None,
            logs: None,
            forget_logs: false,
            silence: Stopwatch::default(),
        }
    }

    fn logs_folder(&self) -> PathBuf {
        self.logs.clone().unwrap_or_else(|| self.data.join("logs"))
    }
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The configuration has mistakes.
    #[error("the configuration has mistakes\n{}", .0.render(false))]
    Config(Diagnostics),
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[source] StoreError),
    /// Other masters on the same database keep their logs elsewhere.
    #[error(
        "{} is not the folder of logs that the other masters on this database use: `--logs DIR` names the one that all \
         of them share, and `--forget-logs` starts without the logs of before",
        folder.display()
    )]
    LogsElsewhere {
        /// This master's.
        folder: PathBuf,
    },
    /// There is no configuration to lead by.
    #[error("{}", lead::no_configuration(file))]
    NoConfiguration {
        /// The configuration's file.
        file: PathBuf,
    },
    /// The store cannot be read.
    #[error("cannot read what was left unfinished")]
    Read(#[source] ReadError),
    /// The configuration that was in force before cannot be read from the store.
    #[error("cannot read the configuration that was in force")]
    Follow(#[source] leader::follow::FollowError),
    /// Another master took the lead while this one was beginning.
    #[error("another master took the lead while this one was beginning")]
    Overtaken,
    /// The engine did not take the configuration.
    #[error("the configuration was not put in force")]
    Engine(#[from] EngineError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is another service there? `--listen ADDRESS:PORT` takes another one")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something that the system must give was not given.
    #[error("cannot start {what}")]
    System {
        /// What.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    engine: Engine,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    sources: sources::Handle,
    notifiers: notifiers::Notifiers,
    logs_folder: PathBuf,
    retainer: Retainer,
    address: SocketAddr,
    announced: watch::Receiver<Seq>,
    stop: Stops,
    tasks: Vec<JoinHandle<()>>,
    engine_task: JoinHandle<()>,
}

/// What ends which part.
#[derive(Debug, Default)]
struct Stops {
    /// Those who feed the engine and those who follow it.
    parts: CancellationToken,
    /// The engine.
    engine: CancellationToken,
}

impl Service {
    /// Starts everything. When it returns, pages are served and repositories are being looked at.
    ///
    /// # Errors
    /// What is wrong with the configuration, the data folder or the address.
    pub async fn start(options: Options) -> Result<Self, ServiceError> {
        let loaded = config::load(&options.file).map_err(ServiceError::Config)?;
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|source| ServiceError::Listen { address: options.listen, source })?;
        let store = Store::open_database(&options.data, &options.database).await.map_err(ServiceError::Store)?;
        keeping::forecast::remove_rehearsals(&options.data);
        Self::assemble(options, loaded, listener, Arc::new(store)).await
    }

    async fn assemble(
        options: Options,
        loaded: Loaded,
        listener: TcpListener,
        store: Arc<Store>,
    ) -> Result<Self, ServiceError> {
        let address = listener.local_addr().map_err(system("the web server"))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stop = Stops::default();
        let logs_folder = options.logs_folder();
        let logs = LogStore::new(logs_folder.clone());
        let fleet = Fleet::new(options.silence.clone());
        let engine_options = engine::turns::Options {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            dispatch: Arc::new(fleet.clone()),
            origin: origins(options.data.join("git")),
            leads: false,
        };
        let (engine, engine_task) =
            engine::turns::start(engine_options, stop.engine.clone()).await.map_err(ServiceError::Store)?;
        let leadership = Leadership::new(engine.leads());
        let claim = lead::claim(&options, address).map_err(system("without its own name in its folders"))?;
        let master = claim.master.clone();
        let mut keeper =
            Keeper::new(Arc::clone(&store), claim, leadership.clone(), options.data.join(leader::name::MASTER_FILE))
                .forgetting_logs(options.forget_logs);
        if !options.forget_logs && !keeper.shares_logs().await.map_err(ServiceError::Store)? {
            return Err(ServiceError::LogsElsewhere { folder: options.logs_folder() });
        }

        let notifiers = notifiers::Notifiers::new(engine.clone(), store.reader().clone(), Arc::clone(&clock));
        let sources = Sources::start(source_options(&engine, &options.data, &stop.parts))
            .map_err(system("looking at repositories"))?;
        let hooks = Hooks::new(Arc::new(engine.clone()), sources.clone(), secrets(&engine), stop.parts.clone());
        let control = control::Controls { engine: engine.clone(), sources: sources.clone(), hooks: hooks.clone() };
        let url = base_url(&loaded.catalog, address);
        let app = app(
            &options,
            &loaded.catalog,
            (address, url),
            (control, &store),
            (logs.clone(), Arc::clone(&clock)),
            &stop,
        );
        let app = app.led_by(leadership.clone());
        let workers = WorkerDesk::new(engine.clone(), fleet, logs);
        let gate = Gate::new(workers.clone(), Arc::clone(&clock), stop.parts.clone());
        let (announced_out, announced) = watch::channel(Seq(0));
        let desk = Desk {
            options,
            address,
            engine: engine.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            local_worker: local_worker(&store, &master),
            workers,
            sources: sources.clone(),
            notifiers: notifiers.clone(),
            hooks: hooks.clone(),
            guard: Arc::clone(&app.guard),
            announced: announced_out,
        };
        let retainer = desk.retainer();
        // Alone it leads at once, and what is wrong is told to whoever started it.
        let leading = match keeper.look().await.map_err(ServiceError::Store)? {
            true => lead::begin_at_start(&desk, &keeper, loaded).await?,
            false => {
                let leader = leadership.leader();
                info!("{} leads at {}; this master follows", leader.master, leader.address);
                None
            }
        };
        let supervisor = tokio::spawn(lead::run(desk, keeper, leadership, leading, stop.parts.clone()));
        let tasks = vec![supervisor, serve(listener, app, (hooks, gate), stop.parts.clone())];
        Ok(Self {
            engine,
            store,
            clock,
            sources,
            notifiers,
            logs_folder,
            retainer,
            address,
            announced,
            stop,
            tasks,
            engine_task,
        })
    }

    /// Gives the address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives what follows the journal's head.
    pub fn head(&self) -> watch::Receiver<Seq> {
        self.engine.head()
    }

    /// Gives the reads.
    pub fn reader(&self) -> &Reader {
        self.store.reader()
    }

    /// Gives the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Looks at a repository now, and comes back when what was found has been judged.
    ///
    /// # Errors
    /// In words, why it could not be looked at.
    pub async fn sweep(&self, repository: &RepositoryName) -> Result<SweepReport, String> {
        self.sources.sweep_now(repository).await
    }

    /// Waits until nothing happens any more by itself: no build runs, everything is announced, nothing due is in the
    /// outbox. What waits for time, for people or for a worker that nobody has is at rest.
    pub async fn settle(&self) {
        let (mut head, mut announced) = (self.engine.head(), self.announced.clone());
        loop {
            let seen = *head.borrow_and_update();
            let told = *announced.borrow_and_update();
            let is_idle = self.engine.look(|_, state| is_idle(state)).await.unwrap_or(true);
            if is_idle && told >= seen && self.is_delivered().await && *head.borrow() == seen {
                return;
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return },
                changed = announced.changed() => if changed.is_err() { return },
                () = self.notifiers.moved() => {}
            }
        }
    }

    async fn is_delivered(&self) -> bool {
        let due = self.store.reader().has_due_messages(self.clock.now()).await;
        self.notifiers.under_way() == 0 && !due.unwrap_or(false)
    }

    /// Deletes what is too old to be kept now instead of later; gives how many of what were deleted.
    ///
    /// # Errors
    /// If something cannot be read or deleted; what was deleted before that stays deleted.
    pub async fn retire(&self) -> Result<BTreeMap<String, u64>, RetainError> {
        self.retainer.once().await
    }

    /// Insists that the engine's memory is what the tables say, that these are the fold of the journal, and that nothing
    /// else is found in the database and the logs either.
    ///
    /// # Errors
    /// What was found.
    pub async fn verify(&self) -> Result<(), String> {
        let state = self.engine.look(|_, state| state.clone()).await.map_err(|problem| problem.to_string())?;
        doctor::prove(&self.store, self.logs_folder.clone(), state).await
    }

    /// Looks at everything that is kept, as is done from time to time, and tells what has changed.
    pub async fn examine(&self) {
        let (engine, store) = (self.engine.clone(), Arc::clone(&self.store));
        let (logs_folder, logs) = (self.logs_folder.clone(), self.retainer.logs.clone());
        doctor::rounds::Rounds { engine, data: self.store.folder().to_owned(), logs_folder, logs, store }.look().await;
    }

    /// Stops everything in order. Running builds of the built-in worker end with it, and are tried again later.
    pub async fn stop(self) {
        let stopped = async {
            self.stop.parts.cancel();
            for task in self.tasks {
                join(task).await;
            }
            self.sources.closed().await;
            self.stop.engine.cancel();
            join(self.engine_task).await;
            drop((self.engine, self.sources, self.notifiers, self.retainer));
            match Arc::try_unwrap(self.store) {
                Ok(store) => store.close().await,
                Err(_) => error!("the database is still in use, and is closed by the end of the process"),
            }
        };
        if tokio::time::timeout(STOP_MAX, stopped).await.is_err() {
            error!("not everything stopped within {} s; nothing is lost by that", STOP_MAX.as_secs());
        }
    }
}

async fn join(task: JoinHandle<()>) {
    if let Err(problem) = task.await {
        error!("a part of the service had failed: {problem}");
    }
}

fn is_idle(state: &State) -> bool {
    state.builds.is_empty()
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> ServiceError {
    move |source| ServiceError::System { what, source }
}

/// Gives the address that people reach the pages by, without a slash at the end.
fn base_url(catalog: &Catalog, address: SocketAddr) -> String {
    let configured = catalog.settings.url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    configured.unwrap_or_else(|| format!("http://{address}"))
}

/// Workers of this machine fetch from the repository itself if it is here too, else from its mirror.
fn origins(mirrors: PathBuf) -> OriginOf {
    Arc::new(move |catalog: &Catalog, name: &RepositoryName| {
        let repository = catalog.repositories.get(name)?;
        let mirror = match Location::parse(&repository.url) {
            Ok(location) if location.is_local() => None,
            _ => Some(mirror::folder_of(&mirrors, name).to_string_lossy().into_owned()),
        };
        Some(Origin { url: repository.url.clone(), mirror })
    })
}

/// Finds secrets by the configuration in force at that moment.
fn secrets(engine: &Engine) -> sources::Secrets {
    let engine = engine.clone();
    Arc::new(move |name| control::secret(&engine.catalog(), name))
}

fn source_options(engine: &Engine, data: &Path, stop: &CancellationToken) -> sources::Options {
    sources::Options {
        engine: Arc::new(engine.clone()),
        mirrors: data.join("git"),
        secrets: secrets(engine),
        limits: Limits::default(),
        ssh: PathBuf::from("ssh"),
        seed: u64::from(std::process::id()),
        stop: stop.clone(),
    }
}

fn app(
    options: &Options,
    catalog: &Catalog,
    (address, url): (SocketAddr, String),
    (control, store): (control::Controls, &Store),
    (logs, clock): (LogStore, Arc<dyn Clock>),
    stop: &Stops,
) -> App {
    let info = Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: address,
        catalog_file: Some(options.file.clone()),
        base_url: url,
        demo: options.demo,
    };
    let token = control::token(catalog);
    let guard = Guard::new(address, catalog.settings.url.as_deref(), token.as_deref());
    App::new(Arc::new(control), store.reader().clone(), logs, clock, (info, guard, stop.parts.clone()))
}

/// Gives the built-in worker's name. Masters that share a database have one each.
fn local_worker(store: &Store, master: &str) -> WorkerName {
    match store.is_shared() {
        true => WorkerName(format!("{LOCAL_WORKER}@{master}")),
        false => WorkerName::from(LOCAL_WORKER),
    }
}

fn serve(listener: TcpListener, app: App, (hooks, gate): (Hooks, Gate), stop: CancellationToken) -> JoinHandle<()> {
    let trusted_otherwise = webhook::route::routes(hooks.clone()).merge(fleet_http::routes(gate));
    let router = web::router_with(app, trusted_otherwise);
    tokio::spawn(async move {
        // Open streams end by the same stop; a client that never reads is not waited for.
        tokio::select! {
            () = Doors::default().serve(listener, router, stop.clone()) => {}
            () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(2)).await } => {
                info!("connections that were still open are cut");
            }
        }
        hooks.closed().await;
    })
}
