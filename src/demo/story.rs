//! What happens in the demo, said line by line as it happens.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use gristmill_model::RepositoryName;
use serde_json::json;

use super::place::{ADA, LIN, Place, PlaceError, Somebody, TILL};
use super::witness::{Seen, witness};
use super::{irc, smtp};
use crate::cli::client::{Client, idempotency_key};
use crate::cli::exit::Failure;
use crate::cli::narrate::{Detail, Narrator};
use crate::cli::tell::{Journal, Teller, Voice};
use crate::cli::terminal::{Ink, Look, clip, line};
use crate::cli::view::{Buildset, Forced, Why};
use crate::service::{Options, Service, ServiceError};
use crate::store::Database;

/// The port that is tried first.
const PORT: u16 = 8020;

/// How many ports after it are tried.
const PORTS_TRIED: u16 = 20;

/// The pause between two chapters, so that a person can read along and look at the pages.
const PAUSE: Duration = Duration::from_secs(3);

/// How long a push may stay unnoticed before the repository is swept.
const NOTICED_MAX: Duration = Duration::from_secs(5);

/// How long the writers' quiet period and its build may take before the story goes on without them.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// How the demo is to be.
pub struct DemoOptions {
    /// Where to listen; otherwise the usual port or the next free one.
    pub listen: Option<SocketAddr>,
    /// Whether the folder stays.
    pub keep: bool,
    /// Whether it ends with its story, without pauses.
    pub exit_when_done: bool,
    /// How things look.
    pub look: Look,
    /// Whether events are printed as JSON, and nothing else is said.
    pub json: bool,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Its folder could not be made.
    #[error("cannot make a temporary folder")]
    Folder(#[source] std::io::Error),
    /// Its repositories could not be made or pushed to.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It could not listen.
    #[error("cannot listen on this machine's loopback")]
    Listen(#[source] std::io::Error),
    /// The service did not start.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A repository of the demo could not be looked at.
    #[error("a repository of the demo cannot be looked at: {0}")]
    Sweep(String),
    /// The service did not answer as it should.
    #[error(transparent)]
    Answer(#[from] Failure),
}

impl DemoOptions {
    /// Says something, unless events are wanted as JSON. A terminal that has gone ends nothing.
    fn say(&self, text: &str) {
        if self.json {
            return;
        }
        if let Err(error) = line(text) {
            tracing::debug!("nobody listens to the demo: {error}");
        }
    }

    fn opening(&self, place: &Place, address: SocketAddr) {
        let name = self.look.paint(Ink::Bold, concat!("Gristmill ", env!("CARGO_PKG_VERSION"), ", the demo"));
        self.say(&format!("  {name}   {}", self.look.paint(Ink::Blue, &format!("http://{address}"))));
        if self.listen.is_none() && address.port() != PORT {
            self.say(&format!("  port {PORT} is taken, so it is {}", address.port()));
        }
        self.say(&format!("  repositories lib, app, docs in {}", place.repositories_folder().display()));
        self.say("  projects     core (lib), shop (app), handbook (docs); a good library has the shop tested again");
        self.say(
            "  all of it is real: git, the builds, the mail, the IRC lines. Nothing leaves this machine. Times are UTC",
        );
        self.say("");
    }
}

/// Shows the demo until `signal` ends it.
///
/// # Errors
///
/// If it cannot be set up, or a step of the story does not work.
pub async fn run(options: DemoOptions, signal: impl Future<Output = ()>) -> Result<(), DemoError> {
    let folder = tempfile::Builder::new().prefix("gristmill-demo-").tempdir().map_err(DemoError::Folder)?;
    let path = folder.path().to_owned();
    let shown = show(&options, &path, signal).await;
    if options.keep {
        options.say(&format!("  kept         {}", folder.keep().display()));
        return shown;
    }
    match folder.close() {
        Ok(()) => options.say(&format!("  removed      {}", path.display())),
        Err(error) => tracing::warn!("the demo's folder {} could not be removed: {error}", path.display()),
    }
    shown
}

async fn show(options: &DemoOptions, root: &Path, signal: impl Future<Output = ()>) -> Result<(), DemoError> {
    let place = Place::make(root).await?;
    let mail = smtp::start(place.mail_folder()).await.map_err(DemoError::Listen)?;
    let chat = irc::start(place.irc_file()).await.map_err(DemoError::Listen)?;
    let listen = options.listen.map_or_else(free_address, Ok).map_err(DemoError::Listen)?;
    let file = place.configure(listen, mail.address, chat.address)?;
    let service = Service::start(Options {
        file,
        data: place.data_folder(),
        database: Database::Embedded,
        listen,
        worker: true,
        demo: true,
    })
    .await?;

    options.opening(&place, service.address());

    let (aside, seen) = witness(options.look);
    let head = service.head();
    let from = *head.borrow();
    let journal = Journal { reader: service.reader().clone(), head, from };
    let voice = Voice { narrator: Narrator::new(options.look, Detail::Usual), json: options.json, aside: Some(aside) };
    let teller = Teller::start(journal, voice);
    let client = Client::to(service.address())?;
    let mut stage = Stage { options, place: &place, service: &service, teller, client, seen };
    let played = tokio::select! {
        played = stage.play() => played,
        () = signal => Ok(()),
    };
    options.say("\n  stopping");
    let teller = stage.teller;
    service.stop().await;
    teller.stop().await;
    mail.stop().await;
    chat.stop().await;
    played
}

/// Gives the usual address if it is free, else the next one that is.
fn free_address() -> std::io::Result<SocketAddr> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = (PORT..=PORT + PORTS_TRIED).find(|port| TcpListener::bind(at(*port)).is_ok());
    match free {
        Some(port) => Ok(at(port)),
        None => TcpListener::bind(at(0))?.local_addr(),
    }
}

/// Where it is played: everything that a chapter needs.
struct Stage<'a> {
    options: &'a DemoOptions,
    place: &'a Place,
    service: &'a Service,
    teller: Teller,
    client: Client,
    seen: tokio::sync::watch::Receiver<Seen>,
}

impl Stage<'_> {
    /// Plays all chapters, and then stays up, unless it is to end.
    async fn play(&mut self) -> Result<(), DemoError> {
        self.settle().await;
        self.library().await?;
        self.writers().await?;
        self.gpu().await?;
        self.breaking().await?;
        self.fixing().await?;
        self.closing().await;
        if !self.options.exit_when_done {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn library(&mut self) -> Result<(), DemoError> {
        self.chapter("Ada pushes to the library. What depends on it is another project, and follows").await;
        let queue = format!("{}\nqueue_clear() {{\n    QUEUE=\n}}\n", include_str!("files/lib-queue.sh"));
        self.push(ADA, "lib", &[("queue.sh", &queue)], "Let a queue be cleared").await?;
        self.settle().await;
        Ok(())
    }

    async fn writers(&mut self) -> Result<(), DemoError> {
        self.chapter("Lin writes a page, and corrects it at once. The scheduler waits until he pauses").await;
        self.push(LIN, "docs", &[("basket.md", "# The baskte\n")], "Describe the basket").await?;
        self.push(LIN, "docs", &[("basket.md", "# The basket\n")], "Spell it right").await?;
        self.settle().await;
        Ok(())
    }

    async fn gpu(&mut self) -> Result<(), DemoError> {
        self.chapter("Somebody asks for a benchmark on a gpu. No worker has one, and `why` says so").await;
        let body = json!({"parameters": {}, "reason": "to see what happens", "by": "you, perhaps"});
        let forced: Forced = self.client.act(&["schedulers", "benchmark", "force"], &idempotency_key(), &body).await?;
        let buildset: Buildset = self.client.read(&["buildsets", &forced.buildset.to_string()], &[]).await?;
        self.settle().await;
        let Some(request) = buildset.requests.first() else { return Ok(()) };
        let why: Why = self.client.read(&["why"], &[("about", &format!("request:{}", request.id))]).await?;
        self.say(&format!("            $ {} why request {}", self.program(), request.id));
        for sentence in why.answer.iter().flat_map(|sentence| sentence.lines()) {
            self.say(&format!("              {}", clip(sentence, 120)));
        }
        Ok(())
    }

    async fn breaking(&mut self) -> Result<(), DemoError> {
        self.chapter("Ada breaks the shop").await;
        self.push(ADA, "app", &[("till.sh", &broken_till())], "Count with a better name").await?;
        self.settle().await;
        Ok(())
    }

    async fn fixing(&mut self) -> Result<(), DemoError> {
        self.chapter("Lin fixes it").await;
        self.push(LIN, "app", &[("till.sh", TILL)], "Call the queue by its name").await?;
        self.settle().await;
        let quiet_built = self.seen.wait_for(|seen| seen.completed.contains("docs-main"));
        if tokio::time::timeout(QUIET_MAX, quiet_built).await.is_err() {
            tracing::warn!("the build of the docs has not come");
        }
        self.settle().await;
        Ok(())
    }

    async fn closing(&mut self) {
        self.chapter("That was it. The service stays up; a nightly fires every third minute").await;
        let program = self.program();
        let clone = self.place.clone_of(LIN, "app");
        let address = self.service.address();
        self.say(&format!("  pages        http://{address}"));
        self.say(&format!("  mails        {}", self.place.mail_folder().display()));
        self.say(&format!("  IRC          {}", self.place.irc_file().display()));
        self.say(&format!(
            "  break it     cd {} && echo 'echo oops' >> till.sh && git commit -am oops && git push",
            clone.display()
        ));
        let server = if address.port() == PORT { String::new() } else { format!(" --server http://{address}") };
        self.say(&format!("  ask it       {program} status{server}"));
        self.say(&format!("               {program} watch{server}"));
        self.say("  your own     gristmill init, in a repository of yours; Ctrl-C ends the demo");
    }

    /// Begins a chapter, after a pause in which the last one can be looked at.
    async fn chapter(&self, title: &str) {
        if !self.options.exit_when_done {
            tokio::time::sleep(PAUSE).await;
        }
        let rule = if self.options.look.unicode { "──" } else { "--" };
        self.say(&format!("\n  {}", self.options.look.paint(Ink::Bold, &format!("{rule} {title}"))));
    }

    /// Pushes, and waits until the service has noticed by itself.
    async fn push(
        &mut self,
        somebody: Somebody,
        repository: &str,
        files: &[(&str, &str)],
        message: &str,
    ) -> Result<(), DemoError> {
        let revision = self.place.push(somebody, repository, files, message).await?;
        let repository: RepositoryName = repository.into();
        let wait = self.seen.wait_for(|seen| seen.tips.get(&repository) == Some(&revision));
        if tokio::time::timeout(NOTICED_MAX, wait).await.is_err() {
            self.service.sweep(&repository).await.map_err(DemoError::Sweep)?;
        }
        Ok(())
    }

    /// Waits until nothing moves any more and everything has been said.
    async fn settle(&mut self) {
        self.service.settle().await;
        let head = *self.service.head().borrow();
        self.teller.told(head).await;
    }

    /// Gives the words to type for this very program.
    fn program(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        std::env::current_exe()
            .ok()
            .and_then(|program| program.strip_prefix(&here).ok().map(|program| program.display().to_string()))
            .unwrap_or_else(|| "gristmill".to_owned())
    }

    fn say(&self, text: &str) {
        self.options.say(text);
    }
}

/// The till with a word misspelt, as Ada pushes it.
pub(super) fn broken_till() -> String {
    TILL.replace("queue_push \"$article\"", "queue_put \"$article\"")
}
