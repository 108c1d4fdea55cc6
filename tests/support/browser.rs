//! A real browser: Chromium, driven by ChromeDriver over the WebDriver protocol.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::soon;

/// Chromium without what needs the world outside.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

pub(crate) struct Browser {
    http: reqwest::Client,
    session: String,
    _driver: Child,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this test needs chromedriver: run it by `tests/run`, which installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = soon("the driver's port", lines.next_line()).await.unwrap().expect("the driver starts");
            let after =
                line.split_once("started successfully on port ").map(|(_, rest)| rest.trim_end_matches('.').to_owned());
            if let Some(port) = after {
                break port;
            }
        };
        let http = reqwest::Client::new();
        let options = json!({"args": ARGUMENTS});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let url = format!("http://127.0.0.1:{port}/session");
        let made: Value =
            soon("a browser", async { http.post(&url).json(&wanted).send().await?.json().await }).await.unwrap();
        let id = made["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {made}"));
        Self { session: format!("{url}/{id}"), http, _driver: driver }
    }

    pub(crate) async fn open(&self, url: &str) {
        self.command("url", &json!({"url": url})).await;
    }

    /// Runs a script in the page and gives what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Waits in the page until an expression is true; the page's own changes wake it.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        let script = format!(
            "const done = arguments[0]; const look = () => {{ if ({expression}) {{ seen.disconnect(); done(true); }} }};
             const seen = new MutationObserver(look);
             seen.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}}); look();"
        );
        self.command("timeouts", &json!({"script": super::DEADLINE.as_millis() as u64})).await;
        let answer = self.command("execute/async", &json!({"script": script, "args": []})).await;
        assert_eq!(answer, Value::Bool(true), "{what}");
    }

    async fn command(&self, name: &str, body: &Value) -> Value {
        let url = format!("{}/{name}", self.session);
        let ask = async { self.http.post(url).json(body).send().await?.json::<Value>().await };
        let mut answer = soon(name, ask).await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{name} {body}: {answer}");
        answer["value"].take()
    }

    /// Closes the browser; dropped without it, the driver takes it along.
    pub(crate) async fn close(self) {
        soon("the browser's end", self.http.delete(&self.session).send()).await.unwrap();
    }
}
