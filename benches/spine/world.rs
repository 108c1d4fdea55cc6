//! The service under measurement, and the repositories that it watches.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use git2::{Oid, Repository, Signature};
use gristmill::engine::Engine;
use gristmill::service::{Options, Service};
use gristmill::store::Database;
use gristmill_model::{BuildId, EventBody, RefName, RepositoryName, Seq};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::watch;

use super::soon;

/// Events read at once.
const EVENTS: u32 = 200;
const SECRET: &str = "s3cret";

/// Gives the time as `date +%s%N` does.
#[expect(clippy::disallowed_methods, reason = "what a process says of the time is compared with the system's clock")]
pub(super) fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_nanos()).expect("it is before 2554")
}

/// A service and who follows its journal.
pub(super) struct World {
    service: Service,
    http: reqwest::Client,
    head: watch::Receiver<Seq>,
    read: Seq,
    /// Builds that have ended and were not asked for yet.
    ended: VecDeque<BuildId>,
}

impl World {
    /// Starts it over the repositories of `folder`, for which `FOLDER` stands in `config`. All have been seen then.
    pub(super) async fn start(folder: &Path, config: &str) -> anyhow::Result<Self> {
        let file = folder.join("gristmill.yaml");
        std::fs::write(&file, config.replace("FOLDER", &folder.display().to_string()))?;
        std::fs::write(folder.join("secret"), SECRET)?;
        let (data, listen) = (folder.join("data"), ([127, 0, 0, 1], 0).into());
        let service =
            Service::start(Options { file, data, database: Database::Embedded, listen, worker: true, demo: false })
                .await?;
        let names: Vec<RepositoryName> = service.engine().catalog().repositories.keys().cloned().collect();
        for name in names {
            service.sweep(&name).await.map_err(anyhow::Error::msg)?;
        }
        service.settle().await;
        let head = service.head();
        let read = *head.borrow();
        Ok(Self { service, http: reqwest::Client::new(), head, read, ended: VecDeque::new() })
    }

    pub(super) fn engine(&self) -> &Engine {
        self.service.engine()
    }

    pub(super) async fn stop(self) {
        self.service.stop().await;
    }

    /// Waits for the ends of builds.
    pub(super) async fn finished(&mut self, count: usize) -> anyhow::Result<Vec<BuildId>> {
        while self.ended.len() < count {
            let events = self.service.reader().events_after(self.read, EVENTS).await?;
            let Some(last) = events.last().map(|event| event.seq) else {
                soon("a build's end", self.head.changed()).await??;
                continue;
            };
            self.read = last;
            for event in events {
                if let EventBody::BuildFinished { build, outcome, .. } = event.body {
                    anyhow::ensure!(outcome == gristmill_model::Outcome::Success, "build {build}: {outcome:?}");
                    self.ended.push_back(build);
                }
            }
        }
        Ok(self.ended.drain(..count).collect())
    }

    /// Waits for a build, and for rest after it, and gives when its step said that it was started.
    pub(super) async fn step_started(&mut self, step: u32) -> anyhow::Result<u64> {
        let build = self.finished(1).await?[0];
        let url = self.url(&format!("/api/v1/builds/{build}/log?step={step}"));
        let log = self.http.get(url).send().await?.error_for_status()?.text().await?;
        let said = log.lines().find_map(|line| line.parse().ok()).with_context(|| format!("no time in `{log}`"))?;
        soon("rest", self.service.settle()).await?;
        Ok(said)
    }

    /// Makes a signed delivery.
    pub(super) fn hook(&self, key: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
        mac.update(&body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.http
            .post(self.url("/hooks/hooked"))
            .header("Content-Type", "application/json")
            .header("X-GitHub-Event", "push")
            .header("X-GitHub-Delivery", key)
            .header("X-Hub-Signature-256", format!("sha256={hex}"))
            .body(body)
    }

    /// Gives the accepted tip of a branch of `hooked`.
    pub(super) async fn accepted(&self, branch: &str) -> Option<String> {
        let tips = self.engine().tips(&"hooked".into()).await?;
        tips.get(&RefName::of_branch(branch))?.as_ref().map(ToString::to_string)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.address())
    }
}

/// A repository, driven in this process so that git's own time is not counted.
pub(super) struct Origin {
    repository: Repository,
    path: PathBuf,
}

impl Origin {
    /// Makes a bare one with a first commit on each branch.
    pub(super) fn make(folder: &Path, name: &str, branches: &[&str]) -> anyhow::Result<Self> {
        let path = folder.join(format!("{name}.git"));
        let origin = Self { repository: Repository::init_bare(&path)?, path };
        let first = origin.commit_on(&[])?;
        branches.iter().try_for_each(|branch| origin.move_to(branch, first))?;
        Ok(origin)
    }

    /// Makes a clone from which can be pushed.
    pub(super) fn clone_to(&self, name: &str) -> anyhow::Result<Self> {
        let path = self.path.with_file_name(name);
        let repository = Repository::clone(&self.path.display().to_string(), &path)?;
        Ok(Self { repository, path })
    }

    pub(super) fn tip(&self, branch: &str) -> anyhow::Result<Oid> {
        Ok(self.repository.refname_to_id(&format!("refs/heads/{branch}"))?)
    }

    /// Makes a commit that no branch has yet.
    pub(super) fn commit(&self, parent: Oid) -> anyhow::Result<Oid> {
        if self.repository.find_commit(parent).is_err() {
            self.git(&["fetch", "-q", "origin"])?;
        }
        self.commit_on(&[&self.repository.find_commit(parent)?])
    }

    fn commit_on(&self, parents: &[&git2::Commit<'_>]) -> anyhow::Result<Oid> {
        let blob = self.repository.blob(nanos().to_string().as_bytes())?;
        let mut tree = self.repository.treebuilder(None)?;
        tree.insert("wheel", blob, 0o100_644)?;
        let tree = self.repository.find_tree(tree.write()?)?;
        let ada = Signature::now("Ada", "ada@example.org")?;
        Ok(self.repository.commit(None, &ada, &ada, "wheel: turn faster\n", &tree, parents)?)
    }

    /// Moves a branch: the moment of a push.
    pub(super) fn move_to(&self, branch: &str, to: Oid) -> anyhow::Result<()> {
        self.repository.reference(&format!("refs/heads/{branch}"), to, true, "push")?;
        Ok(())
    }

    /// Pushes as people do.
    pub(super) fn push(&self, branch: &str, what: Oid) -> anyhow::Result<()> {
        self.git(&["push", "-q", "origin", &format!("{what}:refs/heads/{branch}")])
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.path).env("GIT_CONFIG_NOSYSTEM", "1");
        anyhow::ensure!(command.env("GIT_CONFIG_GLOBAL", "/dev/null").status()?.success(), "git {arguments:?}");
        Ok(())
    }
}
