//! A plain IRC connection for tests, which serves as a second client or, accepted, as a server.
#![expect(unreachable_pub, reason = "a test has no outside")]

use gristmill_model::IrcConfig;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::soon;

pub fn config(port: u16, channels: &[&str]) -> IrcConfig {
    IrcConfig {
        server: format!("127.0.0.1:{port}"),
        tls: false,
        nick: "gristmill".to_owned(),
        channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
        sasl_user: None,
        sasl_password: None,
    }
}

pub struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub async fn send(&mut self, text: &str) {
        self.send_bytes(format!("{text}\r\n").as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.expect("the other side listens");
    }

    /// Reads one line; `None` at the end.
    pub async fn line(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        soon("a line", self.stream.read_until(b'\n', &mut bytes)).await.ok().filter(|count| *count > 0)?;
        Some(String::from_utf8(bytes).expect("it is text").trim_end().to_owned())
    }

    /// Reads up to a line that has `part` in it, answers pings on the way, and gives that line.
    pub async fn until(&mut self, part: &str) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.line().await {
            if line.contains(part) {
                return line;
            }
            if let Some(token) = line.strip_prefix("PING ") {
                self.send(&format!("PONG {token}")).await;
            }
            seen.push(line);
        }
        panic!("the connection ended before `{part}`: {seen:#?}")
    }
}
