//! A small mail server: takes every mail and keeps it as a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt, BufReader};

use super::sink::{Sink, line};

/// Bytes of one mail.
const MAIL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Starts it; mails become `1.eml`, `2.eml`, … in `folder`.
pub(super) async fn start(folder: PathBuf) -> io::Result<Sink> {
    tokio::fs::create_dir_all(&folder).await?;
    let (folder, received) = (Arc::new(folder), Arc::new(AtomicUsize::new(0)));
    Sink::start(move |stream| {
        let (folder, received) = (Arc::clone(&folder), Arc::clone(&received));
        async move { converse(stream, &folder, &received).await }
    })
    .await
}

async fn converse(
    mut stream: BufReader<impl tokio::io::AsyncRead + AsyncWrite + Unpin>,
    folder: &Path,
    received: &AtomicUsize,
) -> io::Result<()> {
    answer(&mut stream, "220 demo.invalid takes mail").await?;
    let mut recipients = 0;
    while let Some(command) = line(&mut stream).await? {
        let verb: String = command.chars().take(4).flat_map(char::to_uppercase).collect();
        match verb.as_str() {
            "EHLO" => answer(&mut stream, "250-demo.invalid\r\n250 8BITMIME").await?,
            "HELO" | "NOOP" => answer(&mut stream, "250 demo.invalid").await?,
            "MAIL" | "RSET" => {
                recipients = 0;
                answer(&mut stream, "250 go on").await?;
            }
            "RCPT" => {
                recipients += 1;
                answer(&mut stream, "250 known here").await?;
            }
            "DATA" if recipients == 0 => answer(&mut stream, "503 for whom?").await?,
            "DATA" => {
                answer(&mut stream, "354 end with a line that is a dot").await?;
                let mail = data(&mut stream).await?;
                let number = received.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::fs::write(folder.join(format!("{number}.eml")), mail).await?;
                answer(&mut stream, &format!("250 kept as {number}.eml")).await?;
            }
            "QUIT" => return answer(&mut stream, "221 bye").await,
            _ => answer(&mut stream, "502 not spoken here").await?,
        }
    }
    Ok(())
}

async fn data(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut mail = String::new();
    while let Some(line) = line(stream).await? {
        if line == "." {
            return Ok(mail);
        }
        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
        mail.push('\n');
        if mail.len() > MAIL_BYTES_MAX {
            break;
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the mail is too long or cut off"))
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_mail_is_kept_as_it_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let sink = start(folder.path().to_owned()).await.unwrap();
        let mut client = tokio::net::TcpStream::connect(sink.address).await.unwrap();
        let talk =
            "EHLO me\r\nDATA\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
        client.write_all(talk.as_bytes()).await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        let codes: Vec<&str> = answers.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes, ["220", "250", "250", "503", "250", "250", "354", "250", "221"]);
        assert_eq!(std::fs::read_to_string(folder.path().join("1.eml")).unwrap(), "Subject: x\n\n.dot\n");
        sink.stop().await;
    }
}
