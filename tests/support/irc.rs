//! A real IRC server, ngircd, and somebody who listens in a channel.

use std::net::TcpListener;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{DEADLINE, soon};

pub(crate) struct IrcServer {
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
    _process: Child,
}

impl IrcServer {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.path().join("ngircd.conf");
        let text = format!(
            "[Global]\nName = irc.example.org\nInfo = test\nListen = 127.0.0.1\nPorts = {port}\n\
             [Limits]\nMaxConnectionsIP = 0\n[Options]\nPAM = no\nIdent = no\nDNS = no\n"
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("ngircd")
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .arg("--nodaemon")
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("this test needs ngircd: run it by `tests/run`, which installs it");
        let server = Self { port, _folder: folder, _process: process };
        drop(server.connect().await);
        server
    }

    /// Connects as soon as the server listens.
    async fn connect(&self) -> TcpStream {
        let started = tokio::time::Instant::now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)).await {
                Ok(stream) => return stream,
                Err(problem) => assert!(started.elapsed() < DEADLINE, "ngircd does not listen: {problem}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Joins a channel as somebody.
    pub(crate) async fn listen(&self, nick: &str, channel: &str) -> Listener {
        let mut listener = Listener { stream: BufReader::new(self.connect().await) };
        listener.send(&format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n")).await;
        listener.until(" 001 ").await;
        listener.send(&format!("JOIN {channel}\r\n")).await;
        listener.until(" 366 ").await;
        listener
    }
}

pub(crate) struct Listener {
    stream: BufReader<TcpStream>,
}

impl Listener {
    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to a line that has `part` in it, and gives that line.
    pub(crate) async fn until(&mut self, part: &str) -> String {
        let read = async {
            let mut line = String::new();
            loop {
                line.clear();
                assert!(self.stream.read_line(&mut line).await.unwrap() > 0, "the connection ended before `{part}`");
                if line.contains(part) {
                    return line.trim_end().to_owned();
                }
                if let Some(token) = line.strip_prefix("PING ") {
                    let pong = format!("PONG {token}");
                    self.stream.get_mut().write_all(pong.as_bytes()).await.unwrap();
                }
            }
        };
        soon(part, read).await
    }
}
