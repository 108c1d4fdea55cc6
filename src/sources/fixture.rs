//! Real git repositories in temporary folders, for tests.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::catalog::{Catalog, Repository};
use gristmill_model::matching::{Field, Patterns};
use gristmill_model::{ChangeId, DeliveryId, Place, RefName, RepositoryName, Revision, Sighting, Via};
use gristmill_schedulers::input::{Input, NewDelivery, Reply, Tips};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::Accept;
use super::git::{Limits, Login, Look, Patience, SweepError, Swept, sweep};

/// What every wait in a test takes at the most.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A folder with a bare repository `app.git` and a working copy `work` that pushes to it.
pub(crate) struct Git {
    pub(crate) folder: TempDir,
}

impl Git {
    pub(crate) fn new() -> Self {
        let git = Self { folder: tempfile::tempdir().expect("there is room for a test") };
        git.run(&["init", "-q", "--bare", "-b", "main", "app.git"]);
        git.run(&["init", "-q", "-b", "main", "work"]);
        git.at("work", &["remote", "add", "origin", "../app.git"]);
        git
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(self.folder.path())
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Ann")
            .env("GIT_AUTHOR_EMAIL", "ann@example.org")
            .env("GIT_COMMITTER_NAME", "Bob")
            .env("GIT_COMMITTER_EMAIL", "bob@example.org")
            .env("GIT_AUTHOR_DATE", "1700000000 +0000")
            .env("GIT_COMMITTER_DATE", "1700000000 +0000")
            .stdin(Stdio::null());
        command
    }

    /// Runs git in the folder and gives what it prints, trimmed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("git can be run");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs git in a folder of the folder.
    pub(crate) fn at(&self, place: &str, arguments: &[&str]) -> String {
        self.run(&[&["-C", place], arguments].concat())
    }

    /// Runs git with something on its standard input.
    pub(crate) fn feed(&self, place: &str, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.command(&[&["-C", place], arguments].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git can be run");
        child.stdin.take().expect("it was asked for").write_all(input).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits a file in the working copy and gives the revision.
    pub(crate) fn commit(&self, file: &str, message: &str) -> Revision {
        let path = self.path("work").join(file);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("folders can be made");
        let mut open = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("files can be made");
        writeln!(open, "{message}").expect("files can be written");
        self.at("work", &["add", "-A"]);
        self.at("work", &["commit", "-q", "--allow-empty-message", "-m", message]);
        Revision(self.at("work", &["rev-parse", "HEAD"]))
    }

    pub(crate) fn push(&self, refspecs: &[&str]) {
        self.at("work", &[&["push", "-q", "--force", "origin"], refspecs].concat());
    }

    /// Makes `count` empty commits on top of a branch of `app.git` at once.
    pub(crate) fn many_commits(&self, branch: &str, from: &Revision, count: usize) -> Revision {
        let mut text = String::new();
        for number in 0..count {
            let message = format!("number {number}\n");
            text.push_str(&format!("commit refs/heads/{branch}\ncommitter Ann <ann@example.org> {number} +0000\n"));
            text.push_str(&format!("data {}\n{message}", message.len()));
            if number == 0 {
                text.push_str(&format!("from {from}\n"));
            }
        }
        self.feed("app.git", &["fast-import", "--quiet", "--force"], text.as_bytes());
        Revision(self.at("app.git", &["rev-parse", &format!("refs/heads/{branch}")]))
    }
}

/// A repository as the smallest configuration makes it.
pub(crate) fn configured(url: &str) -> Repository {
    Repository {
        url: url.to_owned(),
        branches: None,
        tags: false,
        default_branch: "main".to_owned(),
        poll: Duration::from_secs(60),
        webhook: None,
        credentials: None,
        build_first_sight: false,
        place: Place::default(),
    }
}

pub(crate) fn branches(patterns: &[&str]) -> Option<Patterns> {
    Some(Patterns::parse(Field::Branch, patterns.iter().copied()).expect("the patterns are good"))
}

pub(crate) fn catalog_of(repositories: &[(&str, Repository)]) -> Arc<Catalog> {
    let repositories =
        repositories.iter().map(|(name, config)| (RepositoryName::from(*name), config.clone())).collect();
    Arc::new(Catalog { repositories, ..Catalog::default() })
}

/// A watcher without an engine: what it sees becomes what it knows.
pub(crate) struct Watcher {
    pub(crate) config: Repository,
    pub(crate) mirror: PathBuf,
    pub(crate) known: Option<BTreeMap<RefName, Option<Revision>>>,
    pub(crate) login: Login,
    pub(crate) limits: Limits,
    pub(crate) ssh: PathBuf,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Watcher {
    pub(crate) fn of(git: &Git, config: Repository) -> Self {
        Self {
            config,
            mirror: git.path("mirrors/app.git"),
            known: None,
            login: Login::Nothing,
            limits: Limits::default(),
            ssh: PathBuf::from("ssh"),
            cancelled: Arc::default(),
        }
    }

    pub(crate) fn look(&self) -> Result<Swept, SweepError> {
        sweep(&Look {
            repository: &RepositoryName::from("app"),
            config: &self.config,
            mirror: &self.mirror,
            known: self.known.as_ref(),
            via: Via::Poll,
            login: self.login.clone(),
            limits: self.limits,
            patience: Patience::start(&self.limits, Arc::clone(&self.cancelled)),
            ssh: &self.ssh,
        })
    }

    /// Looks, and accepts all of it.
    pub(crate) fn accept(&mut self) -> Swept {
        let swept = self.look().unwrap_or_else(|error| panic!("the look failed: {error}"));
        let known = self.known.get_or_insert_default();
        for update in &swept.sighting.updates {
            known.insert(update.reference.clone(), update.new.clone());
        }
        swept
    }

    pub(crate) fn failure(&self) -> String {
        self.look().err().map_or_else(|| "it worked".to_owned(), |error| error.to_string())
    }
}

/// Writes a sighting as a table: one line per ref, one more per commit.
pub(crate) fn table(swept: &Swept) -> String {
    let mut text = String::new();
    for update in &swept.sighting.updates {
        let incomplete = if update.incomplete { ", incomplete" } else { "" };
        text.push_str(&format!("{} {:?}{incomplete}\n", update.reference.short(), update.movement));
        for commit in &update.commits {
            text.push_str(&format!("  {}: {}\n", commit.subject(), commit.files.join(" ")));
        }
    }
    for warning in &swept.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

/// Says where a path is as a `file://` address.
pub(crate) fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// An engine that only compares and sets tips, and tells what it was given.
pub(crate) struct Judge {
    catalog: Mutex<Arc<Catalog>>,
    state: Mutex<Judged>,
    inputs: mpsc::UnboundedSender<Input>,
    /// Whoever holds it makes everybody wait for a turn.
    pub(crate) turns: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) tips: BTreeMap<RepositoryName, Tips>,
    pub(crate) changes: i64,
    pub(crate) deliveries: BTreeMap<(RepositoryName, String), (DeliveryId, Vec<ChangeId>)>,
    /// Answers to give instead of judging.
    pub(crate) refusals: Vec<String>,
    /// How often to say that a ref has moved meanwhile.
    pub(crate) conflicts: usize,
}

/// What a [`Judge`] was given, in order.
pub(crate) type Inputs = mpsc::UnboundedReceiver<Input>;

impl Judge {
    pub(crate) fn new(catalog: Arc<Catalog>) -> (Arc<Self>, Inputs) {
        let (inputs, receiver) = mpsc::unbounded_channel();
        let turns = tokio::sync::Mutex::default();
        (Arc::new(Self { catalog: Mutex::new(catalog), state: Mutex::default(), inputs, turns }), receiver)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Judged> {
        self.state.lock().expect("no test panics here")
    }

    pub(crate) fn configure(&self, catalog: Arc<Catalog>) {
        *self.catalog.lock().expect("no test panics here") = catalog;
    }
}

impl Judged {
    fn judge(&mut self, sighting: &Sighting) -> (Vec<ChangeId>, Vec<RefName>) {
        let (mut changes, mut look_again) = (Vec::new(), Vec::new());
        if let Some(count) = self.conflicts.checked_sub(1) {
            self.conflicts = count;
            return (changes, vec![RefName::of_branch("main")]);
        }
        let tips = self.tips.entry(sighting.repository.clone()).or_default();
        for update in &sighting.updates {
            if tips.get(&update.reference).cloned().flatten() != update.old {
                look_again.push(update.reference.clone());
                continue;
            }
            tips.insert(update.reference.clone(), update.new.clone());
            if !sighting.first_sight {
                self.changes += 1;
                changes.push(ChangeId(self.changes));
            }
        }
        (changes, look_again)
    }

    fn deliver(&mut self, delivery: &NewDelivery) -> Reply {
        let key = (delivery.repository.clone(), delivery.key.clone());
        if let Some((delivery, changes)) = self.deliveries.get(&key).cloned() {
            return Reply::Delivered { delivery, repeat: true, sweep: false, changes };
        }
        let judged = delivery.sighting.as_ref().map(|sighting| {
            let is_known = self.tips.contains_key(&sighting.repository);
            if is_known { self.judge(sighting) } else { (Vec::new(), vec![RefName::default()]) }
        });
        let sweep = judged.as_ref().is_none_or(|(_, look_again)| !look_again.is_empty());
        let changes = judged.map(|(changes, _)| changes).unwrap_or_default();
        let number = DeliveryId(i64::try_from(self.deliveries.len()).expect("few") + 1);
        self.deliveries.insert(key, (number, changes.clone()));
        Reply::Delivered { delivery: number, repeat: false, sweep, changes }
    }
}

#[async_trait]
impl Accept for Judge {
    async fn accept(&self, input: Input) -> Result<Reply, String> {
        let _turn = self.turns.lock().await;
        let reply = {
            let mut state = self.state();
            if let Some(refusal) = state.refusals.pop() {
                return Err(refusal);
            }
            match &input {
                Input::Sight(sighting) => {
                    let (changes, look_again) = state.judge(sighting);
                    Reply::Sighted { changes, look_again }
                }
                Input::Deliver(delivery) => state.deliver(delivery),
                _ => Reply::Done,
            }
        };
        // The test may be over.
        self.inputs.send(input).ok();
        Ok(reply)
    }

    async fn tips(&self, repository: &RepositoryName) -> Option<Tips> {
        self.state().tips.get(repository).cloned()
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.lock().expect("no test panics here"))
    }
}

/// Waits for an input that fits; others are passed over.
pub(crate) async fn expect_input<T>(inputs: &mut Inputs, mut fits: impl FnMut(Input) -> Option<T>) -> T {
    let wait = async {
        loop {
            let input = inputs.recv().await.expect("the engine lives");
            if let Some(fitting) = fits(input) {
                return fitting;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("it comes in time")
}

/// Waits for a sighting of something.
pub(crate) async fn expect_sight(inputs: &mut Inputs) -> Sighting {
    expect_input(inputs, |input| match input {
        Input::Sight(sighting) if sighting.first_sight || !sighting.updates.is_empty() => Some(sighting),
        _ => None,
    })
    .await
}
