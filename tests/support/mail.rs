//! A real mail server: aiosmtpd, which says each mail that it accepted as a line of JSON.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::soon;

pub(crate) struct MailServer {
    pub(crate) port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl MailServer {
    pub(crate) async fn start() -> Self {
        let python = std::env::var("GRISTMILL_TEST_AIOSMTPD")
            .expect("this test needs aiosmtpd: run it by `tests/run`, which installs it and names its Python");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/notifiers/tests/support/mail_server.py");
        let mut process = Command::new(python)
            .args([script, "plain"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("GRISTMILL_TEST_AIOSMTPD names a Python");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = soon("the mail server's port", lines.next_line()).await.unwrap();
        Self { port: port.expect("aiosmtpd starts").parse().unwrap(), lines, _process: process }
    }

    /// Gives the mail that was accepted next.
    pub(crate) async fn next(&mut self) -> Value {
        let line = soon("a mail", self.lines.next_line()).await.unwrap().expect("the server lives");
        serde_json::from_str(&line).unwrap()
    }
}

/// Gives a header's first value.
pub(crate) fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().unwrap();
    headers.iter().find(|pair| pair[0] == name).and_then(|pair| pair[1].as_str()).unwrap_or("")
}
