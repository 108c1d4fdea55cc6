//! Workers in containers on the service's own machine, by the command line of docker or podman.

use async_trait::async_trait;
use gristmill_model::{PoolName, WorkerName};
use tokio::process::Command;

use super::exec::run;
use super::source::{New, Source};

/// Containers of one pool of one installation.
#[derive(Debug, Clone)]
pub struct Containers {
    /// The pool.
    pub pool: PoolName,
    /// The program: `docker` or `podman`.
    pub engine: String,
    /// The image.
    pub image: String,
    /// Which installation's they are: another one's on the same machine are not touched.
    pub installation: String,
}

#[async_trait]
impl Source for Containers {
    async fn list(&self) -> Result<Vec<WorkerName>, String> {
        let mut command = Command::new(&self.engine);
        command.args(["ps", "--all", "--no-trunc", "--format", "{{.Names}}"]);
        for filter in self.labels() {
            command.arg("--filter").arg(format!("label={filter}"));
        }
        let said = run(command, b"").await?;
        Ok(String::from_utf8_lossy(&said).lines().map(|line| WorkerName(line.trim().to_owned())).collect())
    }

    async fn start(&self, new: &New) -> Result<(), String> {
        let mut command = Command::new(&self.engine);
        command.args(["run", "--detach", "--init", "--name", new.worker.as_str()]);
        for label in self.labels() {
            command.arg("--label").arg(label);
        }
        // The engine reads the values from its own environment: a secret never stands in a list of arguments.
        let values = [
            ("GRISTMILL_SERVER", new.server.clone()),
            ("GRISTMILL_WORKER_TOKEN", new.token.clone()),
            ("GRISTMILL_WORKER_SLOTS", new.slots.to_string()),
            ("GRISTMILL_WORKER_LABELS", labels_in_one(&new.labels)),
        ];
        for (name, value) in values {
            command.arg("--env").arg(name).env(name, value);
        }
        command.arg("--").arg(&self.image);
        run(command, b"").await.map(drop)
    }

    async fn stop(&self, worker: &WorkerName) -> Result<(), String> {
        let mut command = Command::new(&self.engine);
        command.args(["rm", "--force", "--volumes", "--", worker.as_str()]);
        match run(command, b"").await {
            Err(why) if why.to_lowercase().contains("no such container") => Ok(()),
            done => done.map(drop),
        }
    }
}

impl Containers {
    fn labels(&self) -> [String; 2] {
        [format!("gristmill.pool={}", self.pool), format!("gristmill.installation={}", self.installation)]
    }
}

/// Writes labels as the worker's program reads them from its environment: `name=value` by commas.
pub(super) fn labels_in_one(labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
