//! What the two receivers have in common: a listener on loopback, lines of bounded length, a stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that are served at once; others wait.
const CONNECTIONS_MAX: usize = 8;

/// Bytes of one line; a longer one ends the connection.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A receiver that listens.
pub(super) struct Sink {
    /// Where it listens.
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sink {
    /// Listens on a free port of loopback and serves each connection with `serve`.
    pub(super) async fn start<Served>(
        serve: impl Fn(BufReader<TcpStream>) -> Served + Send + 'static,
    ) -> io::Result<Self>
    where
        Served: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (stopped, connections) = (stop.clone(), tasks.clone());
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        tasks.spawn(async move {
            loop {
                let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopped.cancelled() => return,
                };
                let Ok((stream, _)) = accepted else { continue };
                let (served, stopped) = (serve(BufReader::new(stream)), stopped.clone());
                connections.spawn(async move {
                    tokio::select! {
                        ended = served => if let Err(error) = ended {
                            tracing::debug!("a conversation of the demo ended: {error}");
                        },
                        () = stopped.cancelled() => {}
                    }
                    drop(permit);
                });
            }
        });
        Ok(Self { address, stop, tasks })
    }

    /// Ends every conversation.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Reads a line without its end; `None` when the other side has gone.
pub(super) async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long or cut off"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
