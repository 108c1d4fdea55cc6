//! The real program in a process of its own, which may be killed.

use std::path::Path;
use std::process::Stdio;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::soon;

/// `gristmill serve` in its own process.
pub(crate) struct Served {
    pub(crate) url: String,
    child: Child,
    http: reqwest::Client,
}

impl Served {
    /// Starts it over a configuration on a port that is free, and waits until it answers.
    pub(crate) async fn start(file: &Path, data: &Path) -> Self {
        Self::start_under(&[], file, data).await
    }

    /// Starts it under another command, such as a shell that limits it.
    pub(crate) async fn start_under(prefix: &[&str], file: &Path, data: &Path) -> Self {
        Self::launch(prefix, &[], file, data).await
    }

    /// Starts it with variables in its environment.
    pub(crate) async fn start_with(environment: &[(&str, &str)], file: &Path, data: &Path) -> Self {
        Self::launch(&[], environment, file, data).await
    }

    async fn launch(prefix: &[&str], environment: &[(&str, &str)], file: &Path, data: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = env!("CARGO_BIN_EXE_gristmill");
        let mut words: Vec<&str> = prefix.to_vec();
        words.push(program);
        let child = Command::new(words[0])
            .args(&words[1..])
            .envs(environment.iter().copied())
            .arg("serve")
            .arg(file)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::from(
                std::fs::File::options().create(true).append(true).open(data.with_extension("log")).unwrap(),
            ))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let served = Self { url: format!("http://127.0.0.1:{port}"), child, http: reqwest::Client::new() };
        soon("the first answer", served.wait_until_it_answers()).await;
        served
    }

    async fn wait_until_it_answers(&self) {
        while self.http.get(format!("{}/healthz", self.url)).send().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Gets JSON from the API.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = soon(path, self.http.get(format!("{}{path}", self.url)).send()).await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// Follows the journal from its beginning to the first event that `is_it`.
    pub(crate) async fn until(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let answer = soon("the stream", self.http.get(format!("{}/api/v1/events/stream?since=0", self.url)).send());
        let mut stream = answer.await.unwrap().bytes_stream();
        let mut text = String::new();
        let read = async {
            loop {
                text.push_str(&String::from_utf8_lossy(&stream.next().await.expect("the stream lasts").unwrap()));
                while let Some((line, rest)) = text.split_once('\n') {
                    if let Some(event) =
                        line.strip_prefix("data:").and_then(|data| serde_json::from_str(data.trim()).ok())
                        && is_it(&event)
                    {
                        return event;
                    }
                    text = rest.to_owned();
                }
            }
        };
        soon(what, read).await
    }

    /// Kills it as a crash does: no instruction of it runs any more.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM).unwrap();
        soon("the end", self.child.wait()).await.unwrap()
    }
}
