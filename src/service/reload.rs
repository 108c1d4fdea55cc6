//! Reloading: the configuration's file is watched, and a good new text comes into force. A bad one leaves the old one in
//! force and says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::CatalogHash;
use gristmill_schedulers::Input;
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::control::token;
use super::notifiers::Notifiers;
use crate::config::{self, Loaded};
use crate::engine::Engine;
use crate::sources;
use crate::web::Guard;

/// Editors write in several steps: how long the file must be left alone before it is read.
const QUIET: Duration = Duration::from_millis(200);
/// How often the file is looked at where nothing tells of changes.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The one that reloads.
pub(super) struct Reload {
    pub(super) file: PathBuf,
    pub(super) engine: Engine,
    pub(super) sources: sources::Handle,
    pub(super) notifiers: Notifiers,
    pub(super) guard: Arc<Guard>,
    pub(super) in_force: CatalogHash,
}

impl Reload {
    /// Follows the file until stopped. SIGHUP asks for a look as well.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let (pokes, mut poked) = mpsc::channel(1);
        // Kept alive as long as this runs.
        let _watcher = watch(&self.file, pokes);
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(problem) => {
                warn!("SIGHUP is not listened to: {problem}");
                None
            }
        };
        let mut refused = None;
        loop {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = poked.recv() => {}
                Some(()) = hung_up => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if stop.run_until_cancelled(quiet(&mut poked)).await.is_none() {
                return;
            }
            self.look(&mut refused).await;
        }
    }

    /// Reads the file; what was refused before is not refused again until it changes.
    async fn look(&mut self, refused: &mut Option<String>) {
        let file = self.file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || config::load(&file)).await else { return };
        match read {
            Ok(loaded) => {
                // The one in force is put in force once more when a broken file is mended back to it: that tells everybody
                // who heard of the refusal that all is well.
                let is_mended = refused.take().is_some();
                if is_mended || loaded.catalog.hash != self.in_force {
                    self.activate(loaded).await;
                }
            }
            Err(problems) => {
                let text = problems.render(false);
                if refused.as_ref() != Some(&text) {
                    // The mistakes themselves stand in the event, which is shown as everything that happens is.
                    let (file, in_force) = (self.file.display(), self.in_force.short());
                    error!("{file} is refused, {in_force} stays in force; `gristmill check {file}` shows the mistakes");
                    *refused = Some(text.clone());
                    self.submit(Input::Refuse { problems: text }).await;
                }
            }
        }
    }

    async fn activate(&mut self, loaded: Loaded) {
        let catalog = Arc::new(loaded.catalog);
        let input = Input::Activate { catalog: Arc::clone(&catalog), text: loaded.text };
        if self.submit(input).await {
            self.in_force = catalog.hash.clone();
            self.sources.reconfigure(&catalog);
            self.notifiers.configure(&catalog);
            self.guard.set_token(token(&catalog).as_deref());
            info!("configuration {} is in force", catalog.hash.short());
        }
    }

    async fn submit(&self, input: Input) -> bool {
        match self.engine.submit(input).await {
            Ok(_) => true,
            Err(problem) => {
                error!("the configuration was not taken: {problem}");
                false
            }
        }
    }
}

/// Waits until nobody has touched the file for a moment.
async fn quiet(poked: &mut mpsc::Receiver<()>) {
    while let Ok(Some(())) = tokio::time::timeout(QUIET, poked.recv()).await {}
}

/// Watches the folder, because editors replace files instead of writing them.
fn watch(file: &Path, pokes: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let name = file.file_name()?.to_owned();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let notice = move |event: notify::Result<notify::Event>| {
        let concerns = event.is_ok_and(|event| {
            !event.kind.is_access() && event.paths.iter().any(|path| path.file_name() == Some(&name))
        });
        if concerns {
            // Full means that a poke is waiting already.
            pokes.try_send(()).ok();
        }
    };
    let watcher = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(problem) => {
            warn!("{} is looked at every {} s only: {problem}", file.display(), LOOK_EVERY.as_secs());
            None
        }
    }
}
