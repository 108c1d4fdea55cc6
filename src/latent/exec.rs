//! Workers that a program starts: for clouds and hypervisors.
//!
//! The program gets one request as JSON on its standard input and answers with JSON on its standard output:
//!
//! | request | answer |
//! |---|---|
//! | `{"action":"list","pool":"cloud"}` | `{"workers":["cloud-0badcafe"]}` |
//! | `{"action":"start","pool":"cloud","worker":"cloud-0badcafe","server":"https://…","token":"gmw_…","slots":1,"labels":{}}` | `{}` |
//! | `{"action":"stop","pool":"cloud","worker":"cloud-0badcafe"}` | `{}` |
//!
//! An exit code other than 0 is a failure, and the last line of its standard error says why. It must tag what it starts
//! with the worker's name, so that `list` finds it even if `start` never came back.

use std::process::Stdio;

use async_trait::async_trait;
use gristmill_model::{PoolName, WorkerName};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::source::{New, Source};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Characters of a program's last words that are told.
const WORDS_MAX: usize = 300;

/// A program that starts workers.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The pool.
    pub pool: PoolName,
    /// Program and arguments.
    pub command: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    workers: Vec<WorkerName>,
}

#[async_trait]
impl Source for Exec {
    async fn list(&self) -> Result<Vec<WorkerName>, String> {
        let answer = self.ask(serde_json::json!({"action": "list", "pool": self.pool})).await?;
        Ok(answer.workers)
    }

    async fn start(&self, new: &New) -> Result<(), String> {
        let mut request = serde_json::json!({"action": "start", "pool": self.pool});
        if let (Some(request), Ok(serde_json::Value::Object(new))) =
            (request.as_object_mut(), serde_json::to_value(new))
        {
            request.extend(new);
        }
        self.ask(request).await.map(drop)
    }

    async fn stop(&self, worker: &WorkerName) -> Result<(), String> {
        self.ask(serde_json::json!({"action": "stop", "pool": self.pool, "worker": worker})).await.map(drop)
    }
}

impl Exec {
    async fn ask(&self, request: serde_json::Value) -> Result<Answer, String> {
        let (program, arguments) = self.command.split_first().ok_or("it has no program")?;
        let mut command = Command::new(program);
        command.args(arguments);
        let said = run(command, request.to_string().as_bytes()).await.map_err(|why| format!("{program}: {why}"))?;
        if said.trim_ascii().is_empty() {
            return Ok(Answer::default());
        }
        serde_json::from_slice(&said).map_err(|problem| format!("{program} did not answer in JSON: {problem}"))
    }
}

/// Runs a program with bytes on its standard input, and gives what it printed. Dropped, it kills the program.
pub(super) async fn run(mut command: Command, input: &[u8]) -> Result<Vec<u8>, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|problem| problem.to_string())?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read its request says so by its exit code, if it minds.
            stdin.write_all(input).await.ok();
        }
    };
    let (mut said, mut words) = (Vec::new(), Vec::new());
    let read = async {
        match stdout {
            Some(stdout) => stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut said).await.map(drop),
            None => Ok(()),
        }
    };
    let complain = async {
        if let Some(stderr) = stderr {
            stderr.take(64 * 1024).read_to_end(&mut words).await.ok();
        }
    };
    let ((), read, ()) = tokio::join!(write, read, complain);
    read.map_err(|problem| problem.to_string())?;
    if u64::try_from(said.len()).unwrap_or(u64::MAX) > ANSWER_BYTES_MAX {
        return Err(format!("it answered with more than {ANSWER_BYTES_MAX} bytes"));
    }
    let status = child.wait().await.map_err(|problem| problem.to_string())?;
    if status.success() { Ok(said) } else { Err(format!("{status}: {}", last_line(&words))) }
}

fn last_line(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    line.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}
