//! What stories are told with: real repositories, a real service, real mail and IRC servers.

pub(crate) mod browser;
pub(crate) mod irc;
pub(crate) mod mail;
#[expect(dead_code, reason = "the store's own tests do more with it")]
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod worker;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use gristmill::fleet::watch::Stopwatch;
use gristmill::service::{Options, Service};
use gristmill::store::Database;
use gristmill_model::{BuildId, RepositoryName};
use serde_json::Value;

/// How long anything may take that is waited for. Generous: machines that run tests are busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that must happen, and says what did not.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, happens).await.unwrap_or_else(|_| panic!("{what} did not happen in {DEADLINE:?}"))
}

/// Runs git with an identity of its own.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    git_as("Ada", folder, arguments)
}

/// Runs git as somebody.
pub(crate) fn git_as(author: &str, folder: &Path, arguments: &[&str]) -> String {
    let email = format!("{}@example.org", author.to_lowercase());
    let output = Command::new("git")
        .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", "-c", "core.quotePath=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", author)
        .env("GIT_AUTHOR_EMAIL", &email)
        .env("GIT_COMMITTER_NAME", author)
        .env("GIT_COMMITTER_EMAIL", &email)
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository, as its developers see it: a clone from which they push.
pub(crate) struct Repository {
    pub(crate) clone: PathBuf,
}

impl Repository {
    /// Makes a bare repository with one commit on `main`.
    pub(crate) fn make(folder: &Path, name: &str) -> Self {
        let bare = folder.join(format!("{name}.git"));
        let clone = folder.join("clones").join(name);
        std::fs::create_dir_all(&clone).unwrap();
        git(folder, &["init", "-q", "--bare", bare.to_str().unwrap()]);
        git(&clone, &["init", "-q"]);
        git(&clone, &["remote", "add", "origin", bare.to_str().unwrap()]);
        let repository = Self { clone };
        repository.push("main", "first", &[("README", "hello\n")]);
        repository
    }

    /// Commits files on a branch and pushes it; gives the revision.
    pub(crate) fn push(&self, branch: &str, message: &str, files: &[(&str, &str)]) -> String {
        self.push_as("Ada", branch, message, files)
    }

    /// Commits and pushes as somebody.
    pub(crate) fn push_as(&self, author: &str, branch: &str, message: &str, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.clone.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        git(&self.clone, &["add", "-A"]);
        git_as(author, &self.clone, &["commit", "-q", "--allow-empty", "-m", message]);
        git(&self.clone, &["push", "-q", "origin", &format!("+HEAD:refs/heads/{branch}")]);
        git(&self.clone, &["rev-parse", "HEAD"])
    }
}

/// A service with its repositories, in a folder of its own.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    service: Option<Service>,
    http: reqwest::Client,
    database: Database,
    /// Whether the built-in worker is started.
    worker: bool,
    /// By what the silence of workers is measured.
    pub(crate) silence: Stopwatch,
}

impl World {
    /// Makes repositories, and a service over them. In `config`, `FOLDER` stands for the folder of the repositories.
    pub(crate) async fn start(config: &str, repositories: &[&str]) -> (Self, Vec<Repository>) {
        Self::start_on(Database::Embedded, config, repositories).await
    }

    /// The same without the built-in worker.
    pub(crate) async fn start_without_worker(config: &str, repositories: &[&str]) -> (Self, Vec<Repository>) {
        Self::start_with(Database::Embedded, false, config, repositories).await
    }

    /// The same on another database.
    pub(crate) async fn start_on(database: Database, config: &str, repositories: &[&str]) -> (Self, Vec<Repository>) {
        Self::start_with(database, true, config, repositories).await
    }

    async fn start_with(
        database: Database,
        worker: bool,
        config: &str,
        repositories: &[&str],
    ) -> (Self, Vec<Repository>) {
        set_up_process();
        let folder = tempfile::tempdir().unwrap();
        let repositories = repositories.iter().map(|name| Repository::make(folder.path(), name)).collect();
        let mut world = Self {
            folder,
            service: None,
            http: reqwest::Client::new(),
            database,
            worker,
            silence: Stopwatch::default(),
        };
        world.configure(config);
        world.restart().await;
        (world, repositories)
    }

    /// Writes the configuration's file.
    pub(crate) fn configure(&self, config: &str) {
        let text = config.replace("FOLDER", self.folder.path().to_str().unwrap());
        std::fs::write(self.file(), text).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("gristmill.yaml")
    }

    /// Stops the service if it runs, and starts it again over the same data. Every repository has been seen then.
    pub(crate) async fn restart(&mut self) {
        self.restart_at_once().await;
        let names: Vec<RepositoryName> = self.service().engine().catalog().repositories.keys().cloned().collect();
        for name in names {
            self.sweep(name.as_str()).await;
        }
        self.settle().await;
    }

    /// The same in the middle of something: nothing is waited for.
    pub(crate) async fn restart_at_once(&mut self) {
        self.stop().await;
        let data = self.folder.path().join("data");
        let (database, silence) = (self.database.clone(), self.silence.clone());
        let options = Options::new(self.file(), data, ([127, 0, 0, 1], 0).into());
        let options = Options { database, silence, worker: self.worker, ..options };
        let service = soon("the start", Service::start(options)).await.unwrap_or_else(|problem| panic!("{problem}"));
        self.service = Some(service);
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            soon("the stop", service.stop()).await;
        }
    }

    pub(crate) fn service(&self) -> &Service {
        self.service.as_ref().expect("the service runs")
    }

    /// Looks at a repository and waits until everything that follows has happened; memory and tables agree then.
    pub(crate) async fn notice(&self, repository: &str) {
        self.sweep(repository).await;
        self.settle().await;
    }

    async fn sweep(&self, repository: &str) {
        let swept = soon("a look", self.service().sweep(&repository.into())).await;
        swept.unwrap_or_else(|problem| panic!("{repository}: {problem}"));
    }

    /// Waits until nothing happens any more, and holds memory against the tables.
    pub(crate) async fn settle(&self) {
        soon("rest", self.service().settle()).await;
        self.service().verify().await.unwrap_or_else(|difference| panic!("{difference}"));
    }

    /// Gets JSON from the API.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(self.http.get(self.url(path))).await;
        assert!(status.is_success(), "GET {path}: {status} {body}");
        body
    }

    /// Sends any request and gives status and JSON (or text).
    pub(crate) async fn ask(&self, request: reqwest::RequestBuilder) -> (reqwest::StatusCode, Value) {
        let answer = soon("an answer", request.send()).await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service().address())
    }

    /// Gives what a build printed.
    pub(crate) async fn log(&self, build: BuildId, step: u32) -> String {
        let request = self.http.get(self.url(&format!("/api/v1/builds/{build}/log?step={step}")));
        soon("a log", request.send()).await.unwrap().text().await.unwrap()
    }

    /// Gives each build as `builder outcome`, oldest first.
    pub(crate) async fn builds(&self) -> Vec<String> {
        let list = self.get("/api/v1/builds?limit=200").await;
        let mut builds: Vec<String> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|build| format!("{} {}", build["builder"].as_str().unwrap(), build["outcome"].as_str().unwrap_or("-")))
            .collect();
        builds.reverse();
        builds
    }
}

/// What `main` does first, once for all tests of the process.
pub(crate) fn set_up_process() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("nobody did it before");
        gristmill::sources::register_transports();
    });
}
