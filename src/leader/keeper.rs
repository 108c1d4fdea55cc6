//! Looks who leads, takes the lead when nobody does, and shows that it lives while it has it.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::candidate::{Advice, BEAT_EVERY, Candidate, FENCE};
use super::name;
use crate::store::{Claim, Leader, Store, StoreError};

/// Who leads, as this master saw it last. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership {
    leads: watch::Receiver<bool>,
    seen: Arc<RwLock<Leader>>,
}

impl Leadership {
    /// Makes it of what says whether this master decides.
    pub fn new(leads: watch::Receiver<bool>) -> Self {
        Self { leads, seen: Arc::default() }
    }

    /// Says whether this master decides.
    pub fn is_here(&self) -> bool {
        *self.leads.borrow()
    }

    /// Gives who leads.
    pub fn leader(&self) -> Leader {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes who leads.
    pub fn note(&self, leader: Leader) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = leader;
    }
}

/// Why a lead ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Another master has taken it, or has written.
    Taken,
    /// This master stops.
    Stopped,
}

/// The one that looks, takes, beats and gives up.
#[derive(Debug)]
pub struct Keeper {
    store: Arc<Store>,
    candidate: Candidate,
    claim: Claim,
    leadership: Leadership,
    started: Instant,
    /// The epoch of the lead that it has or had last, or may have taken; 0 if there is none.
    epoch: i64,
    /// Where its name is kept.
    name_file: PathBuf,
    /// Whether it takes the lead once although the logs of before are in another folder.
    forgets_logs: bool,
}

impl Keeper {
    /// Makes it for a master that would lead, and whose name is kept in `name_file`.
    pub fn new(store: Arc<Store>, claim: Claim, leadership: Leadership, name_file: PathBuf) -> Self {
        let candidate = Candidate::new(&claim.master, !store.is_shared());
        let started = Instant::now();
        Self { store, candidate, claim, leadership, started, epoch: 0, name_file, forgets_logs: false }
    }

    /// Lets it take the lead once although the logs of before are in another folder.
    #[must_use]
    pub fn forgetting_logs(self, forgets_logs: bool) -> Self {
        Self { forgets_logs, ..self }
    }

    /// Says whether its logs are where the others' are: who leads writes them.
    fn may_take(&self, seen: &Leader) -> bool {
        let is_same = !self.store.is_shared() || seen.logs.is_empty() || seen.logs == self.claim.logs;
        if !is_same && !self.forgets_logs {
            warn!("this master does not take the lead: its folder of logs is not the one that the others use");
        }
        is_same || self.forgets_logs
    }

    /// Says whether this master's folder of logs is the one that the others use. Of a master that is alone it always is.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn shares_logs(&self) -> Result<bool, StoreError> {
        let known = self.store.reader().leader().await?.logs;
        Ok(!self.store.is_shared() || known.is_empty() || known == self.claim.logs)
    }

    /// Looks once, and takes the lead if nobody has it. Gives whether it did.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn look(&mut self) -> Result<bool, StoreError> {
        let seen = match self.store.reader().leader().await {
            Ok(seen) => seen,
            Err(problem) => {
                // A beat that could not be seen has not stood still.
                self.candidate.forget();
                return Err(problem);
            }
        };
        if self.store.is_shared() && self.candidate.has_namesake(&seen, (self.epoch, &self.claim.address)) {
            self.part_from_namesake(&seen);
        }
        let advice = self.candidate.look(&seen, self.started.elapsed());
        let (before, epoch) = (seen.master.clone(), seen.epoch + 1);
        self.leadership.note(seen.clone());
        if advice == Advice::Follow || !self.may_take(&seen) {
            return Ok(false);
        }
        // It may be taken although no answer comes.
        self.epoch = epoch;
        let is_taken = self.store.take_lead(&seen, &self.claim).await?;
        if !is_taken {
            self.epoch = 0;
        } else {
            self.forgets_logs = false;
            let Claim { master, address, logs } = self.claim.clone();
            self.leadership.note(Leader { epoch, master, address, beat: 0, logs });
            if self.store.is_shared() {
                let after = if before.is_empty() { "nobody" } else { &before };
                info!("{} leads after {after} (epoch {epoch})", self.candidate.master());
            }
        }
        Ok(is_taken)
    }

    /// Takes a fresh name: two masters of one name would take each other for their own predecessor, and depose each other
    /// without end.
    fn part_from_namesake(&mut self, seen: &Leader) {
        let name = name::fresh();
        error!(
            "another master, at {}, has the name of this one, {}: one data folder is a copy of the other. This master is \
             called {name} from now on; every master needs a data folder that was never another's",
            if seen.address.is_empty() { "an unknown address" } else { &seen.address },
            seen.master,
        );
        if let Err(problem) = name::keep(&self.name_file, &name) {
            error!("the new name cannot be kept in {}: {problem}", self.name_file.display());
        }
        self.candidate.rename(&name);
        self.claim.master = name;
        self.epoch = 0;
    }

    /// Keeps the lead until it is lost: beats, and gives it up by itself when no beat was acknowledged for so long that
    /// another master is about to take it, or when another one has written.
    pub async fn hold(&self, mut leads: watch::Receiver<bool>, stop: &CancellationToken) -> Lost {
        tokio::select! {
            () = stop.cancelled() => Lost::Stopped,
            // An error means that the engine has stopped.
            is_fenced = async { leads.wait_for(|leads| !leads).await.is_ok() } => {
                if is_fenced { Lost::Taken } else { Lost::Stopped }
            }
            () = self.lose() => Lost::Taken,
        }
    }

    /// Beats until the lead is lost; never ends where no other master can be. May be dropped at any time.
    pub async fn lose(&self) {
        if !self.store.is_shared() {
            return std::future::pending().await;
        }
        let mut acknowledged = Instant::now();
        loop {
            let sent = Instant::now();
            // What is dropped here is done all the same, and its answer too late to count.
            let left = FENCE.saturating_sub(acknowledged.elapsed());
            match tokio::time::timeout(left, self.beat()).await {
                Ok(Ok(true)) => acknowledged = sent,
                Ok(Ok(false)) => return,
                Ok(Err(problem)) => warn!("the lead cannot be kept: {}", crate::chain::chain(&problem)),
                Err(_) => {}
            }
            if acknowledged.elapsed() >= FENCE {
                warn!("the database has not answered for {} s; this master leads no longer", FENCE.as_secs());
                return;
            }
            tokio::time::sleep(BEAT_EVERY).await;
        }
    }

    async fn beat(&self) -> Result<bool, StoreError> {
        self.store.beat(self.epoch, self.candidate.master()).await
    }

    /// Lets others take the lead at once.
    pub async fn give_up(&self) {
        match self.store.give_up_lead(self.epoch, self.candidate.master()).await {
            Ok(_) => {}
            Err(problem) => warn!("the lead was not given up, and ends by itself: {}", crate::chain::chain(&problem)),
        }
    }
}
