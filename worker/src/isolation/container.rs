//! Containers, by the command line of docker or podman.
//!
//! The engine's program runs like any other command of a step. Its containers are no children of the worker's, so one
//! whose step was ended from outside is removed by its name, and what an earlier run of the worker left is removed by its
//! label before the first one is started.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::{Command, Engine, Isolation, Limits};
use tokio::sync::OnceCell;

use crate::LogWriter;
use crate::executor::{Apart, Executor, ExecutorError, Processes, StepEnd, StepOrder, Stop};

/// How long the engine may take to remove containers.
const REMOVE_MAX: Duration = Duration::from_secs(60);

/// Variables by which the engine's program finds its service.
const ENGINE_VARIABLES: [&str; 5] = ["DOCKER_HOST", "DOCKER_CONFIG", "CONTAINER_HOST", "XDG_RUNTIME_DIR", "HOME"];

/// Runs steps as they ask for it: as processes, or in containers.
#[derive(Debug, Default)]
pub(crate) struct Isolated {
    processes: Processes,
    /// The value of the label of this worker's containers.
    token: String,
    count: AtomicU64,
    swept: OnceCell<()>,
}

impl Isolated {
    /// Marks containers with the worker's token.
    pub(crate) fn new(token: String) -> Self {
        Self { token, ..Self::default() }
    }

    fn label(&self) -> String {
        format!("gristmill.worker={}", self.token)
    }

    /// Removes what an earlier run of this worker left behind.
    async fn sweep(&self, engine: Engine) {
        let label = self.label();
        let filter = format!("label={label}");
        let listed = run(engine, &["ps", "--all", "--quiet", "--filter", &filter]).await;
        let ids: Vec<&str> = listed.split_whitespace().collect();
        if !ids.is_empty() {
            tracing::warn!(count = ids.len(), "removed containers of an earlier run");
            let words: Vec<&str> = ["rm", "--force"].into_iter().chain(ids).collect();
            run(engine, &words).await;
        }
    }
}

#[async_trait]
impl Executor for Isolated {
    async fn run(&self, step: &StepOrder, output: &mut LogWriter, stop: &Stop) -> Result<StepEnd, ExecutorError> {
        let Isolation::Container { image, engine, network } = &step.apart.isolation else {
            return self.processes.run(step, output, stop).await;
        };
        self.swept.get_or_init(|| self.sweep(*engine)).await;
        let name = format!("gristmill-{}-{}", self.token, self.count.fetch_add(1, Ordering::Relaxed));
        let words = words(step, Names { image, container: &name, label: &self.label() }, *engine, *network);
        let order = StepOrder {
            command: Command::Arguments(words),
            environment: environment(step),
            limits: Limits::default(),
            apart: Apart::default(),
            ..step.clone()
        };
        let end = self.processes.run(&order, output, stop).await?;
        if !matches!(end, StepEnd::Exited { .. }) {
            run(*engine, &["rm", "--force", &name]).await;
        }
        Ok(end)
    }
}

/// What a container is called.
struct Names<'a> {
    image: &'a str,
    container: &'a str,
    label: &'a str,
}

/// Writes the engine's command line. Secrets are named in it, and their values are not.
fn words(step: &StepOrder, names: Names<'_>, engine: Engine, network: bool) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let mut words: Vec<String> =
        [engine.as_str(), "run", "--rm", "--init", "--name", names.container, "--label", names.label]
            .map(str::to_owned)
            .into();
    words.extend(["--user".to_owned(), format!("{}:{}", nix::unistd::geteuid(), nix::unistd::getegid())]);
    if !network {
        words.extend(["--network".to_owned(), "none".to_owned()]);
    }
    for folder in [Some(&step.apart.workspace), step.apart.scratch.as_ref()].into_iter().flatten() {
        words.extend(["--mount".to_owned(), format!("type=bind,source={0},target={0}", text(folder))]);
    }
    words.extend(["--workdir".to_owned(), text(&step.folder)]);
    words.extend(limits(&step.limits));
    for (name, value) in &step.environment {
        if step.apart.secret.contains(name) {
            words.extend(["--env".to_owned(), name.clone()]);
        } else if !step.apart.native.contains(name) {
            words.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
    }
    let command = match &step.command {
        Command::Script(text) => vec!["/bin/sh".to_owned(), "-e".to_owned(), "-c".to_owned(), text.replace('\0', "")],
        Command::Arguments(words) => words.clone(),
    };
    let mut command = command.into_iter();
    // An image may have a program of its own, which would take the command for its arguments.
    words.extend(["--entrypoint".to_owned(), command.next().unwrap_or_default(), names.image.to_owned()]);
    words.extend(command);
    words
}

fn limits(limits: &Limits) -> Vec<String> {
    let Limits { memory, processes, file_size, cpu_time, nice: _ } = limits;
    let mut words = Vec::new();
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    if let Some(bytes) = memory {
        add("--memory", bytes.to_string());
    }
    if let Some(count) = processes {
        add("--pids-limit", count.to_string());
    }
    if let Some(bytes) = file_size {
        add("--ulimit", format!("fsize={bytes}"));
    }
    if let Some(time) = cpu_time {
        add("--ulimit", format!("cpu={}", time.as_secs().max(1)));
    }
    words
}

/// Gives the environment of the engine's program: where its service is, and the secrets that it hands on by name.
fn environment(step: &StepOrder) -> std::collections::BTreeMap<String, String> {
    let own = ENGINE_VARIABLES.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let known = step
        .environment
        .iter()
        .filter(|(name, _)| step.apart.secret.contains(*name) || *name == "PATH" || *name == crate::environment::LEASE);
    own.chain(known.map(|(name, value)| (name.clone(), value.clone()))).collect()
}

/// Runs the engine's program beside a step, and gives what it printed. What it cannot do is in the worker's log.
async fn run(engine: Engine, words: &[&str]) -> String {
    let mut command = tokio::process::Command::new(engine.as_str());
    command.args(words).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(REMOVE_MAX, command.output()).await {
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(Ok(output)) => {
            tracing::warn!(status = %output.status, "{} {} failed", engine.as_str(), words.join(" "));
            String::new()
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot run {}", engine.as_str());
            String::new()
        }
        Err(_) => {
            tracing::warn!("{} {} did not end", engine.as_str(), words.join(" "));
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gristmill_model::Timeouts;

    use super::*;

    #[test]
    fn a_secret_is_named_and_its_value_is_in_no_argument() {
        let environment = [("A", "1"), ("KEY", "hunter22"), ("PATH", "/bin")];
        let step = StepOrder {
            command: Command::Script("make check".to_owned()),
            folder: "/w/a/0/sub".into(),
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            timeouts: Timeouts::default(),
            limits: Limits { memory: Some(1024), processes: Some(9), ..Limits::default() },
            apart: Apart {
                workspace: "/w/a/0".into(),
                secret: ["KEY".to_owned()].into(),
                native: ["PATH".to_owned()].into(),
                ..Apart::default()
            },
        };
        let names = Names { image: "debian:12", container: "c", label: "l" };
        let words = words(&step, names, Engine::Podman, false).join(" ");
        let user = format!("{}:{}", nix::unistd::geteuid(), nix::unistd::getegid());
        assert_eq!(
            words,
            format!(
                "podman run --rm --init --name c --label l --user {user} --network none \
                 --mount type=bind,source=/w/a/0,target=/w/a/0 --workdir /w/a/0/sub --memory 1024 --pids-limit 9 \
                 --env A=1 --env KEY --entrypoint /bin/sh debian:12 -e -c make check"
            )
        );
        let handed: BTreeMap<String, String> = super::environment(&step);
        assert_eq!(handed.get("KEY").map(String::as_str), Some("hunter22"));
        assert!(!handed.contains_key("A"));
    }
}
