//! The doors: takes connections, only so many at once, and ends those that ask nothing.
//!
//! A connection is an open file, and builds, logs and repositories need open files, too. Whoever opens thousands of
//! connections and says nothing may make others wait for a page; they must not keep builds from running.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

/// Connections at once; fewer where the process may not open twice as many files. More wait until one ends.
pub const CONNECTIONS_MAX: usize = 4_000;
/// How long a request's head may take to come, counted from the connection's begin or the last answer's end.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// The pause after a connection could not be taken.
const RETRY: Duration = Duration::from_secs(1);

/// How many are let in, and for how long they may say nothing.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// Connections at once.
    pub connections_max: usize,
    /// How long a request's head may take.
    pub head_time_max: Duration,
}

impl Default for Doors {
    fn default() -> Self {
        let files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        let half = files.map_or(CONNECTIONS_MAX, |(now, _)| usize::try_from(now / 2).unwrap_or(usize::MAX));
        Self { connections_max: half.clamp(1, CONNECTIONS_MAX), head_time_max: HEAD_TIME_MAX }
    }
}

impl Doors {
    /// Serves until stopped, and then until the answers that are under way have ended.
    pub async fn serve(self, listener: TcpListener, router: Router, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.connections_max));
        let connections = TaskTracker::new();
        while let Some(next) = stop.run_until_cancelled(next(&listener, &room)).await {
            match next {
                Ok((stream, place)) => {
                    let served = self.answer(stream, router.clone(), stop.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                // Somebody who has gone before being let in is no reason to wait.
                Err(problem) if is_of_the_caller(&problem) => {}
                Err(problem) => {
                    error!("a connection could not be taken: {problem}");
                    stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                }
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    async fn answer(self, stream: TcpStream, router: Router, stop: CancellationToken) {
        // Live lines are small and wanted at once.
        if let Err(problem) = stream.set_nodelay(true) {
            debug!("a connection may be slow: {problem}");
        }
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.head_time_max);
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(problem) = ended {
            debug!("a connection ended early: {problem}");
        }
    }
}

/// Waits for a place, then for somebody to take it.
async fn next(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    if room.available_permits() == 0 {
        warn!("all places for connections are taken; who comes now waits");
    }
    let place = Arc::clone(room).acquire_owned().await.expect("it is never closed");
    listener.accept().await.map(|(stream, _)| (stream, place))
}

fn is_of_the_caller(problem: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(problem.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    /// How long anything may take that is waited for.
    const DEADLINE: Duration = Duration::from_secs(60);

    async fn open(doors: Doors) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/", get(async || "here"));
        (address, stop.clone(), tokio::spawn(doors.serve(listener, router, stop)))
    }

    async fn said(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("it is ended").unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn who_asks_nothing_is_ended_and_makes_room() {
        let doors = Doors { connections_max: 2, head_time_max: Duration::from_millis(100) };
        let (address, stop, served) = open(doors).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(&REQUEST[..20]).await.unwrap();
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(REQUEST).await.unwrap();
        assert!(said(&mut third).await.ends_with("here"), "it gets the place of one of the others");
        for held in [&mut silent, &mut half] {
            assert!(!said(held).await.contains("here"));
        }
        stop.cancel();
        tokio::time::timeout(DEADLINE, served).await.expect("it stops").unwrap();
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_waits_for_one() {
        let doors = Doors { connections_max: 1, head_time_max: DEADLINE };
        let (address, stop, served) = open(doors).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut second = None;
        for _ in 0..2 {
            first.write_all(ask).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"here") {
                let read = tokio::time::timeout(DEADLINE, first.read_buf(&mut answer)).await.expect("it is answered");
                assert!(read.unwrap() > 0, "it stays open");
            }
            if second.is_none() {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(REQUEST).await.unwrap();
                second = Some(stream);
            }
        }
        let mut second = second.unwrap();
        let early = second.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock, "there is one place");
        drop(first);
        assert!(said(&mut second).await.ends_with("here"));
        stop.cancel();
        tokio::time::timeout(DEADLINE, served).await.expect("it stops").unwrap();
    }

    #[test]
    fn half_of_the_open_files_is_left_for_builds() {
        let doors = Doors::default();
        let (files, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        assert!(doors.connections_max >= 1 && doors.connections_max as u64 <= (files / 2).max(1));
    }
}
