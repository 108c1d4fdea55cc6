//! The program that works, from its start to its stop.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::protocol::wire::{self, HoldRequest, HoldWish};
use gristmill_model::{About, WorkerName};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::Args;
use super::control::Control;
use super::{Exit, Failure};
use crate::remote::{Address, Credential, Identity, Remote};
use crate::{Backoff, Handle, Options, SpoolLimits, Worker, WorkerError};

/// Threads that speak and write: a disk that is slow holds up one of them, and the others keep the leases.
const THREADS: usize = 4;

/// The waits before something is said again to a service that is away: a thousand workers must not press it.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30) };

/// How long a worker that is to end tries to tell its service so.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(10);

/// The file that says that the worker drained itself, and is to be free when it starts again.
const DRAINED: &str = "drained";

/// Works until it is told to stop.
pub(super) fn run(args: &Args) -> Result<String, Failure> {
    begin_log();
    // Another part of the program may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let remote = prepare(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Broken, format!("cannot begin: {error}")))?;
    runtime.block_on(work(args, remote))
}

/// Sends the program's own log to standard error, unless the caller has decided otherwise.
fn begin_log() {
    let level = match std::env::var("GRISTMILL_LOG").as_deref() {
        Ok("debug") => tracing::Level::DEBUG,
        Ok("warn") => tracing::Level::WARN,
        Ok("error") => tracing::Level::ERROR,
        _ => tracing::Level::INFO,
    };
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(is_terminal);
    log.with_writer(std::io::stderr).try_init().ok();
}

/// Checks everything that was typed before anything is done.
fn prepare(args: &Args) -> Result<Remote, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, why);
    let server = args.server.as_deref().ok_or_else(|| {
        usage("no service is named: give --server https://ci.example.org, or set GRISTMILL_SERVER".to_owned())
    })?;
    let credential = match (&args.token_file, std::env::var("GRISTMILL_WORKER_TOKEN")) {
        (Some(path), _) => Credential::File(path.clone()),
        (None, Ok(token)) => Credential::Given(token),
        (None, Err(_)) => {
            let why = "no token is given: put what `gristmill worker token` prints into a file, and give --token-file";
            return Err(usage(why.to_owned()));
        }
    };
    credential.token().map_err(|error| usage(error.to_string()))?;
    let address = Address::new(server, args.ca.as_deref()).map_err(|error| usage(error.to_string()))?;
    if address.is_exposed() {
        tracing::warn!("{server} is not https: whoever is on the way can read the token, and give this worker orders");
    }
    let broken = |error: &dyn std::fmt::Display| Failure::new(Exit::Broken, error);
    make_folder(&args.data)?;
    let identity = Identity::open(&args.data).map_err(|error| broken(&error))?;
    Remote::new(address, credential, identity).map_err(|error| broken(&error))
}

fn make_folder(data: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| Failure::new(Exit::Broken, format!("cannot make the folder `{}`: {error}", data.display())))
}

async fn work(args: &Args, remote: Remote) -> Result<String, Failure> {
    let stop = CancellationToken::new();
    let worker = Worker::open(options(args), Arc::new(remote), stop.clone()).await.map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        match &error {
            WorkerError::InUse { .. } => Failure::new(Exit::Broken, &error),
            WorkerError::Folder { .. } => Failure::new(Exit::Broken, format!("{error}{source}")),
        }
    })?;
    let control = Control::open(&args.data).map_err(|error| {
        let why = format!("cannot make a socket in `{}`: {error}; is the path too long?", args.data.display());
        Failure::new(Exit::Broken, why)
    })?;
    let handle = worker.handle();
    let signals = signals()?;
    let working = worker.work();
    tokio::pin!(working);
    tokio::select! {
        () = &mut working => return Ok(String::new()),
        () = control.serve(handle.clone()) => {}
        () = free_again(args, &handle) => {}
        () = told_to_stop(args, signals, &handle) => {}
    }
    stop.cancel();
    working.await;
    Ok(String::new())
}

fn options(args: &Args) -> Options {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let mut options = Options::new(WorkerName::from(host.as_str()), args.slots.unwrap_or(cores), args.data.clone());
    options.labels = args.labels();
    options.backoff = BACKOFF;
    options.spool = Some(SpoolLimits::default());
    options.mirror_bytes_max = (args.mirrors > 0).then(|| args.mirrors.saturating_mul(1 << 30));
    options.finds_tools = true;
    options.about = About { version: env!("CARGO_PKG_VERSION").to_owned(), host, protocol: wire::VERSION };
    options
}

type Signals = (Signal, Signal);

fn signals() -> Result<Signals, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::new(Exit::Broken, format!("cannot hear signals: {error}")));
    Ok((listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?))
}

async fn next(signals: &mut Signals) {
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
    }
}

/// Ends when the worker is to stop.
async fn told_to_stop(args: &Args, mut signals: Signals, handle: &Handle) {
    next(&mut signals).await;
    if !args.drain_on_term {
        tracing::info!("told to stop: builds that run are ended, and reported when this worker starts again");
        return;
    }
    tracing::info!("told to stop: no new builds, the end comes with the last one, or with a second signal");
    tokio::select! {
        () = drain(args, handle) => {}
        () = next(&mut signals) => tracing::info!("told to stop again: builds that run are ended"),
    }
}

async fn drain(args: &Args, handle: &Handle) {
    let wish = |kind| HoldRequest { kind, until: None, reason: Some("the worker stops".to_owned()) };
    if let Err(error) = std::fs::write(args.data.join(DRAINED), "") {
        tracing::warn!(%error, "when this worker starts again it must be freed by hand: `gristmill-worker resume`");
    }
    match tokio::time::timeout(FAREWELL_TIMEOUT, handle.hold(wish(HoldWish::Drain))).await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => tracing::warn!(%refusal, "the service does not know that this worker ends"),
        Err(_) => tracing::warn!("the service does not know that this worker ends: it does not answer"),
    }
    handle.idle().await;
}

/// Ends the drain of an earlier run, as soon as the service can be told; then waits for ever.
async fn free_again(args: &Args, handle: &Handle) {
    let mark = args.data.join(DRAINED);
    let wish = HoldRequest { kind: HoldWish::Resume, until: None, reason: None };
    let mut waits = BACKOFF.begin();
    while mark.exists() {
        if handle.hold(wish.clone()).await.is_err() {
            tokio::time::sleep(waits.next()).await;
        } else if let Err(error) = std::fs::remove_file(&mark) {
            tracing::warn!(%error, "`{}` cannot be deleted", mark.display());
            break;
        }
    }
    std::future::pending::<()>().await;
}
