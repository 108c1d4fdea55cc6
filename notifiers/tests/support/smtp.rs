//! A mail server for tests that says what it is told to say.
#![expect(unreachable_pub, reason = "a test has no outside")]

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does at one point of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Answers with this line.
    Say(&'static str),
    /// Answers nothing and keeps the connection open.
    Hang,
    /// Closes the connection.
    Drop,
}

/// What the server does at each point.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    pub greeting: Act,
    pub features: &'static [&'static str],
    pub auth: Act,
    pub mail: Act,
    pub rcpt: Act,
    pub data: Act,
    pub content: Act,
    pub quit: Act,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            greeting: Act::Say("220 sink"),
            features: &["8BITMIME"],
            auth: Act::Say("235 welcome"),
            mail: Act::Say("250 ok"),
            rcpt: Act::Say("250 ok"),
            data: Act::Say("354 go on"),
            content: Act::Say("250 kept as 7"),
            quit: Act::Say("221 bye"),
        }
    }
}

/// A running server. Stops when dropped.
pub struct Sink {
    pub port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Sink {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, script, Arc::clone(&kept)));
            }
        });
        Self { port, lines, task }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Every line received so far, over all connections.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no test thread died").clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(stream: TcpStream, script: Script, lines: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut next = Some(script.greeting);
    let mut in_content = false;
    loop {
        match next.take() {
            Some(Act::Say(line)) => {
                let written = stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await;
                if written.is_err() {
                    return;
                }
            }
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Drop) => return,
            None => {}
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end().to_owned();
        lines.lock().expect("no test thread died").push(line.clone());
        let word = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        next = match (in_content, word.as_str()) {
            (true, _) if line == "." => {
                in_content = false;
                Some(script.content)
            }
            (true, _) => None,
            (_, "EHLO") => {
                let mut features = vec!["sink"];
                features.extend(script.features);
                let last = features.len() - 1;
                let answer = features
                    .iter()
                    .enumerate()
                    .map(|(index, feature)| format!("250{}{feature}\r\n", if index == last { ' ' } else { '-' }));
                if stream.get_mut().write_all(answer.collect::<String>().as_bytes()).await.is_err() {
                    return;
                }
                None
            }
            (_, "AUTH") => Some(script.auth),
            (_, "MAIL") => Some(script.mail),
            (_, "RCPT") => Some(script.rcpt),
            (_, "DATA") => {
                in_content = matches!(script.data, Act::Say(line) if line.starts_with("354"));
                Some(script.data)
            }
            (_, "QUIT") => Some(script.quit),
            _ => Some(Act::Say("500 what")),
        };
    }
}
