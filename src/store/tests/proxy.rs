//! A connection that may be cut at the worst moment: a relay between the store and a server.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// At the COMMIT.
    Commit,
    /// At the packet to the server that comes after so many.
    Packet(u32),
}

/// How a connection is cut: once; after that everything is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Where.
    pub(super) at: At,
    /// Whether the server gets it, and carries it out, before nobody hears its answer.
    pub(super) passes: bool,
}

/// A relay on a port of its own.
pub(super) struct Proxy {
    port: u16,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl Proxy {
    /// Starts one before the server of a database, and gives it with the database's address behind it.
    pub(super) async fn before(url: &str) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), cut: Arc::default() };
        let cut = Arc::clone(&proxy.cut);
        let (before, rest) = url.rsplit_once(':').unwrap();
        let (port, database) = rest.split_once('/').unwrap();
        let behind = format!("{before}:{}/{database}", proxy.port);
        let port: u16 = port.parse().unwrap();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&cut)));
            }
        });
        (proxy, behind)
    }

    /// Says where a connection is cut next.
    pub(super) fn cut(&self, cut: Cut) {
        *self.cut.lock().unwrap() = Some(cut);
    }

    /// Says whether the cut that was ordered has not come.
    pub(super) fn is_whole(&self) -> bool {
        self.cut.lock().unwrap().take().is_some()
    }
}

/// Gives the cut if it comes at this packet.
fn due(cut: &Mutex<Option<Cut>>, packet: &[u8]) -> Option<Cut> {
    let mut ordered = cut.lock().unwrap();
    match ordered.as_mut().map(|cut| &mut cut.at) {
        Some(At::Commit) if packet.starts_with(b"Q") && packet.ends_with(b"COMMIT\0") => {}
        Some(At::Packet(0)) => {}
        Some(At::Packet(left)) => {
            *left -= 1;
            return None;
        }
        _ => return None,
    }
    ordered.take()
}

async fn relay(mut client: TcpStream, mut server: TcpStream, cut: Arc<Mutex<Option<Cut>>>) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let due = due(&cut, &asked[..length]);
                if due.is_some_and(|cut| !cut.passes) || server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
                if due.is_some() {
                    // The answer shows that it was carried out.
                    drop(server.read(&mut answered).await);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
