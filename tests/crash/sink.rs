//! A mail server in this process, so that thousands of runs are cheap: notes the Message-ID of every mail that it takes,
//! and refuses some at first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::dice::Dice;
use super::facts::Mail;

/// One new mail of so many is refused at first. Whoever sends it comes again in some seconds.
const REFUSED_ONE_IN: u64 = 40;

pub(crate) struct Sink {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// Which run of the service is talking.
    run: AtomicUsize,
    open: AtomicUsize,
    closed: Notify,
    book: Mutex<Book>,
}

struct Book {
    taken: Vec<Mail>,
    refused: BTreeSet<String>,
    /// None: nothing is refused.
    dice: Option<Dice>,
}

impl Sink {
    /// Starts it; with dice it refuses some mails at first.
    pub(crate) async fn start(dice: Option<Dice>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let book = Mutex::new(Book { taken: Vec::new(), refused: BTreeSet::new(), dice });
        let shared = Shared { run: AtomicUsize::new(0), open: AtomicUsize::new(0), closed: Notify::new(), book };
        let shared = Arc::new(shared);
        let sink = Self { port, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.open.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A service that is killed ends its conversations in the middle of a word.
                    let _is_cut = talk(BufReader::new(stream), &shared).await.is_err();
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                    shared.closed.notify_waiters();
                });
            }
        });
        sink
    }

    /// Waits until nothing that an ended service said is still to be heard, and counts from here on for the next run.
    pub(crate) async fn turn_page(&self) {
        // Connections are taken in their order: once this one is answered, all before it are counted.
        let mut last = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        last.read_exact(&mut [0; 3]).await.unwrap();
        drop(last);
        loop {
            let closed = self.shared.closed.notified();
            if self.shared.open.load(Ordering::SeqCst) == 0 {
                break;
            }
            closed.await;
        }
        self.mark();
    }

    /// Counts from here on for the next run, whoever is still talking.
    pub(crate) fn mark(&self) {
        self.shared.run.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives every mail that was taken, in order.
    pub(crate) fn taken(&self) -> Vec<Mail> {
        self.shared.book.lock().unwrap().taken.clone()
    }

    /// Gives how many were refused.
    pub(crate) fn refused(&self) -> usize {
        self.shared.book.lock().unwrap().refused.len()
    }
}

async fn talk(mut stream: BufReader<TcpStream>, shared: &Shared) -> std::io::Result<()> {
    stream.write_all(b"220 here\r\n").await?;
    let mut line = String::new();
    while read(&mut stream, &mut line).await? {
        let answer = match line.get(..4) {
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n").await?;
                match mail(&mut stream).await? {
                    Some(id) => shared.judge(id),
                    None => return Ok(()),
                }
            }
            Some("QUIT") => "221 bye\r\n",
            _ => "250 fine\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>, line: &mut String) -> std::io::Result<bool> {
    line.clear();
    Ok(stream.read_line(line).await? > 0 && line.ends_with('\n'))
}

/// Reads a mail and gives its Message-ID; nothing if it was cut off.
async fn mail(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let (mut line, mut id) = (String::new(), None);
    while read(stream, &mut line).await? {
        if line == ".\r\n" {
            return Ok(Some(id.unwrap_or_else(|| "a mail without Message-ID".to_owned())));
        }
        if let Some(found) = line.strip_prefix("Message-ID: ") {
            id.get_or_insert(found.trim().to_owned());
        }
    }
    Ok(None)
}

impl Shared {
    fn judge(&self, id: String) -> &'static str {
        let mut book = self.book.lock().unwrap();
        let is_new = !book.refused.contains(&id) && !book.taken.iter().any(|mail| mail.id == id);
        if is_new && book.dice.as_mut().is_some_and(|dice| dice.one_in(REFUSED_ONE_IN)) {
            book.refused.insert(id);
            return "451 not now\r\n";
        }
        book.taken.push(Mail { id, run: self.run.load(Ordering::SeqCst) });
        "250 taken\r\n"
    }
}
