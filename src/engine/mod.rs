//! The engine: takes inputs, decides in turns, and is the only writer of the database.
//!
//! [`Engine`] is the handle that everybody else has. Behind it one task runs turns ([`turns`]): it drains the inbox,
//! decides, commits once, and only then answers, sends orders and publishes the new head. Followers read the journal
//! behind it: [`announce`] turns events into messages, [`deliver`] brings them to their targets; [`retain`] deletes what is
//! over and old.

pub mod announce;
pub mod deliver;
pub mod retain;
mod steady;
pub mod turns;

use std::sync::{Arc, RwLock};

use gristmill_model::{Catalog, Event, Reason, RepositoryName, RequestId, Seq};
use gristmill_schedulers::input::Tips;
use gristmill_schedulers::round::KeyReused;
use gristmill_schedulers::{Input, Reply, State};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use gristmill_schedulers::round::ANNOUNCER;
pub use gristmill_schedulers::round::Once;

/// Inputs that wait for a turn; whoever comes after waits for room.
pub const INBOX_MAX: usize = 4096;

/// Why an input was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopped,
    /// Another master leads, or none does: it alone decides.
    #[error("this master does not lead now; the one that does must be asked")]
    NotLeading,
    /// The turn could not be committed; nothing of it happened. Say it again.
    #[error("nothing was changed, because the database did not take it: {why}")]
    NotCommitted {
        /// The database's words.
        why: String,
    },
    /// The same idempotency key came with another request.
    #[error("the idempotency key was used for another request before")]
    KeyReused,
}

impl From<KeyReused> for EngineError {
    fn from(_: KeyReused) -> Self {
        Self::KeyReused
    }
}

/// One input on its way.
pub(crate) struct Submission {
    pub(crate) input: Input,
    pub(crate) once: Option<Once>,
    pub(crate) answer: oneshot::Sender<Result<Reply, EngineError>>,
}

/// A look at the state, between two turns.
pub(crate) type Look = Box<dyn FnOnce(&Catalog, &State) + Send>;

/// What lies in the inbox.
pub(crate) enum Letter {
    Submit(Box<Submission>),
    Look(Look),
    Fold(Box<Fold>),
    Lead(Box<Lead>),
    Follow(oneshot::Sender<()>),
}

/// Says what to begin a lead with, by the state that it begins from.
pub(crate) type First = Box<dyn FnOnce(&State) -> Vec<Input> + Send>;

/// A lead that is to begin.
pub(crate) struct Lead {
    pub(crate) first: First,
    /// Hears whether it has begun.
    pub(crate) done: oneshot::Sender<Result<(), EngineError>>,
}

/// What another master has written, on its way to a state that follows.
pub(crate) struct Fold {
    pub(crate) events: Vec<Event>,
    /// The configuration that is in force after them, if they changed it.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// Hears whether they continued the state; if not, it has been loaded again.
    pub(crate) done: oneshot::Sender<bool>,
}

/// Where the answer to a posted input will come.
#[derive(Debug)]
pub struct Posted(oneshot::Receiver<Result<Reply, EngineError>>);

impl Posted {
    /// Waits for the answer, which comes after the input's turn is committed.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub async fn receive(self) -> Result<Reply, EngineError> {
        self.0.await.map_err(|_| EngineError::Stopped)?
    }
}

/// The way to the engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inbox: mpsc::Sender<Letter>,
    head: watch::Receiver<Seq>,
    catalog: Arc<RwLock<Arc<Catalog>>>,
    leads: watch::Receiver<bool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("head", &*self.head.borrow()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Submits an input; the answer comes after its turn is committed.
    ///
    /// Dropping the future does not take the input back.
    ///
    /// # Errors
    /// If the turn was not committed: nothing of it happened.
    pub async fn submit(&self, input: Input) -> Result<Reply, EngineError> {
        self.send(input, None).await
    }

    /// Submits an input whose repetition under the same key is answered as the first was.
    ///
    /// # Errors
    /// As [`Engine::submit`], and if the key was used for another request.
    pub async fn submit_once(&self, input: Input, once: Once) -> Result<Reply, EngineError> {
        self.send(input, Some(once)).await
    }

    /// Puts an input into the inbox and gives the answer's place, so that several can share a turn in their order.
    ///
    /// # Errors
    /// If the service is stopping.
    pub async fn post(&self, input: Input) -> Result<Posted, EngineError> {
        self.put(input, None).await
    }

    async fn send(&self, input: Input, once: Option<Once>) -> Result<Reply, EngineError> {
        self.put(input, once).await?.receive().await
    }

    async fn put(&self, input: Input, once: Option<Once>) -> Result<Posted, EngineError> {
        let (answer, answered) = oneshot::channel();
        let submission = Submission { input, once, answer };
        self.inbox.send(Letter::Submit(Box::new(submission))).await.map_err(|_| EngineError::Stopped)?;
        Ok(Posted(answered))
    }

    /// Gives what follows the journal's head: a number, no data.
    pub fn head(&self) -> watch::Receiver<Seq> {
        self.head.clone()
    }

    /// Gives whether this master decides. It becomes false by itself when another one has written.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    /// Loads the state and decides from now on. What `first` gives is decided before anything else, all in one turn:
    /// a master whose first input is a configuration decides nothing without it.
    ///
    /// # Errors
    /// If that turn was not committed: then this master does not lead.
    pub(crate) async fn lead(
        &self,
        first: impl FnOnce(&State) -> Vec<Input> + Send + 'static,
    ) -> Result<(), EngineError> {
        self.ask(|done| Letter::Lead(Box::new(Lead { first: Box::new(first), done }))).await?
    }

    /// Decides nothing from now on.
    ///
    /// # Errors
    /// If the service is stopping.
    pub(crate) async fn follow(&self) -> Result<(), EngineError> {
        self.ask(Letter::Follow).await
    }

    /// Folds what another master has written into the state. Gives whether it continued the state; if not, the state
    /// was loaded again.
    ///
    /// # Errors
    /// If the service is stopping.
    pub(crate) async fn fold(&self, events: Vec<Event>, catalog: Option<Arc<Catalog>>) -> Result<bool, EngineError> {
        self.ask(|done| Letter::Fold(Box::new(Fold { events, catalog, done }))).await
    }

    async fn ask<T>(&self, letter: impl FnOnce(oneshot::Sender<T>) -> Letter) -> Result<T, EngineError> {
        let (done, answered) = oneshot::channel();
        self.inbox.send(letter(done)).await.map_err(|_| EngineError::Stopped)?;
        answered.await.map_err(|_| EngineError::Stopped)
    }

    /// Gives the configuration in force.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().expect("nobody panics while holding the catalog"))
    }

    /// Looks at the state between two turns. Keep it short: no turn runs meanwhile.
    ///
    /// # Errors
    /// If the service is stopping.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Catalog, &State) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        let letter = Letter::Look(Box::new(move |catalog, state| {
            // Whoever asked may have gone; then nobody needs the answer.
            drop(answer.send(look(catalog, state)));
        }));
        self.inbox.send(letter).await.map_err(|_| EngineError::Stopped)?;
        answered.await.map_err(|_| EngineError::Stopped)
    }

    /// Gives the accepted tips of a repository; `None` if it was never seen.
    pub async fn tips(&self, repository: &RepositoryName) -> Option<Tips> {
        let repository = repository.clone();
        self.look(move |_, state| {
            state.repositories.get(&repository).filter(|sight| sight.seen)?;
            let tips = state.tips.get(&repository).into_iter().flatten();
            Some(tips.map(|(name, tip)| (name.clone(), tip.revision.clone())).collect())
        })
        .await
        .ok()
        .flatten()
    }

    /// Gives the reasons for where a request stands; empty if it is not open.
    pub async fn explain(&self, request: RequestId) -> Vec<Reason> {
        let now = crate::clock::Clock::now(&crate::clock::SystemClock);
        let reasons = self
            .look(move |catalog, state| gristmill_schedulers::explain(catalog, state, request, now.max(state.at)))
            .await;
        reasons.ok().flatten().unwrap_or_default()
    }
}
