//! The running service looks at itself from time to time, and tells what has changed since it last looked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_schedulers::Input;
use gristmill_schedulers::input::{Examination, Examined};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{Extent, Outcome, Running, Subject, all_names, examine};
use crate::chain::chain;
use crate::engine::Engine;
use crate::logs::LogStore;
use crate::store::inspect::Inspector;
use crate::store::{Store, StoreError};

/// The time between two looks, unless configured.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long after the start the first look is: a start has enough to do.
const FIRST_AFTER: Duration = Duration::from_secs(5 * 60);
/// How long one look may take; what was not reached is looked at the next time.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether the configuration wants another time now.
const LOOK_AT_SETTINGS_EVERY: Duration = Duration::from_secs(60);
/// Characters of a finding that are told.
const DETAIL_MAX: usize = 1_000;

/// The one that looks.
#[derive(Debug)]
pub(in crate::service) struct Rounds {
    pub(in crate::service) engine: Engine,
    pub(in crate::service) store: Arc<Store>,
    pub(in crate::service) data: PathBuf,
    pub(in crate::service) logs_folder: PathBuf,
    pub(in crate::service) logs: LogStore,
}

impl Rounds {
    /// Looks from time to time until stopped, and soon when the disk did not take a log; never twice at once.
    pub(in crate::service) async fn run(self, stop: CancellationToken) {
        let mut last = Instant::now();
        let (mut is_first, mut told) = (true, 0);
        loop {
            let unsafe_logs = self.logs.unsafe_logs().count;
            let every = self.engine.catalog().settings.doctor.unwrap_or(EVERY);
            let wait = if is_first { every.min(FIRST_AFTER) } else { every };
            let left = wait.saturating_sub(last.elapsed());
            if !left.is_zero() && unsafe_logs == told {
                let nap = tokio::time::sleep(left.min(LOOK_AT_SETTINGS_EVERY));
                if stop.run_until_cancelled(nap).await.is_none() {
                    return;
                }
                continue;
            }
            if stop.run_until_cancelled(self.look()).await.is_none() {
                return;
            }
            (last, is_first, told) = (Instant::now(), false, unsafe_logs);
        }
    }

    /// Looks once, and hands in what every check came to: what has changed is decided in the turn.
    pub(in crate::service) async fn look(&self) {
        let Ok(memory) = self.engine.look(|_, state| state.clone()).await else { return };
        let inspector = match self.inspector().await {
            Ok(inspector) => inspector,
            Err(problem) => return error!("the doctor cannot look at the database: {}", chain(&problem)),
        };
        let running = Some(Running { memory, unsafe_logs: self.logs.unsafe_logs() });
        let subject = Subject { inspector, data: self.data.clone(), logs: self.logs_folder.clone(), running };
        let extent = Extent { is_deep: false, until: Some(Instant::now() + TIME_MAX) };
        let mut examined: Vec<Examined> =
            all_names().map(|check| Examined { check: check.to_owned(), result: Examination::NotLooked }).collect();
        examine(subject, extent, |line| {
            debug!(check = line.check, took_ms = line.took_ms, "the doctor looked: {:?}", line.result);
            let result = told(line.check, line.result);
            if let Some(one) = examined.iter_mut().find(|one| one.check == line.check) {
                one.result = result;
            }
        })
        .await;
        if let Err(problem) = self.engine.submit(Input::Examine { examined }).await {
            error!("what the doctor found is not told: {problem}");
        }
    }
}

impl Rounds {
    /// Opens a connection on which no statement goes on after this look.
    async fn inspector(&self) -> Result<Inspector, StoreError> {
        let mut inspector = self.store.inspector().await?;
        inspector.hurry(TIME_MAX).await?;
        Ok(inspector)
    }
}

fn told(check: &str, result: Outcome) -> Examination {
    match result {
        Outcome::Sound { .. } => Examination::Sound,
        Outcome::Found(found) => {
            error!("the doctor found ({check}): {}", found.detail);
            Examination::Found(found.detail.chars().take(DETAIL_MAX).collect())
        }
        Outcome::NotLooked { why } => {
            warn!("the doctor could not look ({check}): {why}");
            Examination::NotLooked
        }
    }
}
