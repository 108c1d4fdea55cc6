//! A small IRC server: lets everybody in and keeps what is said in a file.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use super::sink::{Sink, line};

/// Starts it; what is said is appended to `file` as `#channel <nick> text`.
pub(super) async fn start(file: PathBuf) -> io::Result<Sink> {
    let file = tokio::fs::OpenOptions::new().create(true).append(true).open(&file).await?;
    let said = Arc::new(Mutex::new(file));
    Sink::start(move |stream| {
        let said = Arc::clone(&said);
        async move { converse(stream, &said).await }
    })
    .await
}

async fn converse(
    mut stream: BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    said: &Mutex<tokio::fs::File>,
) -> io::Result<()> {
    let mut guest = Guest::default();
    while let Some(line) = line(&mut stream).await? {
        let heard = guest.hear(&line);
        if let Some(said_line) = heard.said {
            let mut file = said.lock().await;
            file.write_all(format!("{said_line}\n").as_bytes()).await?;
            file.flush().await?;
        }
        for answer in heard.answers {
            stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
        if heard.leaves {
            break;
        }
    }
    Ok(())
}

/// Whoever is connected.
#[derive(Default)]
struct Guest {
    nick: Option<String>,
    user: bool,
    welcomed: bool,
}

/// What comes of a line.
#[derive(Default)]
struct Heard {
    answers: Vec<String>,
    said: Option<String>,
    leaves: bool,
}

impl Guest {
    fn hear(&mut self, line: &str) -> Heard {
        let mut heard = Heard::default();
        let (head, text) = line.split_once(" :").map_or((line, None), |(head, text)| (head, Some(text)));
        let mut words = head.split_whitespace();
        let command = words.next().unwrap_or("").to_ascii_uppercase();
        let first = words.next().or(text).unwrap_or("");
        let nick = self.nick.clone().unwrap_or_else(|| "*".to_owned());
        match command.as_str() {
            "CAP" if first.eq_ignore_ascii_case("LS") => heard.answers.push(":demo.invalid CAP * LS :".to_owned()),
            "CAP" if first.eq_ignore_ascii_case("REQ") => {
                heard.answers.push(format!(":demo.invalid CAP {nick} NAK :{}", text.unwrap_or("")));
            }
            "NICK" => self.nick = Some(first.to_owned()),
            "USER" => self.user = true,
            "PING" => heard.answers.push(format!(":demo.invalid PONG demo.invalid :{first}")),
            "JOIN" => {
                for channel in first.split(',') {
                    heard.answers.push(format!(":{nick}!guest@demo.invalid JOIN {channel}"));
                    heard.answers.push(format!(":demo.invalid 353 {nick} = {channel} :{nick}"));
                    heard.answers.push(format!(":demo.invalid 366 {nick} {channel} :end of names"));
                }
            }
            "PRIVMSG" | "NOTICE" => heard.said = Some(format!("{first} <{nick}> {}", text.unwrap_or(""))),
            "QUIT" => {
                heard.answers.push("ERROR :bye".to_owned());
                heard.leaves = true;
            }
            _ => {}
        }
        if let (Some(nick), true, false) = (&self.nick, self.user, self.welcomed) {
            self.welcomed = true;
            heard.answers.push(format!(":demo.invalid 001 {nick} :welcome"));
            heard.answers.push(format!(":demo.invalid 422 {nick} :there is no message of the day"));
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_said_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("irc.log");
        let sink = start(file.clone()).await.unwrap();
        let mut client = tokio::net::TcpStream::connect(sink.address).await.unwrap();
        let talk = "CAP LS 302\r\nNICK bot\r\nUSER bot 0 * :Bot\r\nCAP END\r\nJOIN #demo\r\nPING :1\r\nPRIVMSG #demo :main broke\r\nQUIT :x\r\n";
        client.write_all(talk.as_bytes()).await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        expect![[r"
            :demo.invalid CAP * LS :
            :demo.invalid 001 bot :welcome
            :demo.invalid 422 bot :there is no message of the day
            :bot!guest@demo.invalid JOIN #demo
            :demo.invalid 353 bot = #demo :bot
            :demo.invalid 366 bot #demo :end of names
            :demo.invalid PONG demo.invalid :1
            ERROR :bye
        "]]
        .assert_eq(&answers.replace("\r\n", "\n"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "#demo <bot> main broke\n");
        sink.stop().await;
    }
}
