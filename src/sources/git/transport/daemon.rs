//! The git daemon's own protocol: one line says what is wanted, then both sides talk.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Duplex;
use crate::sources::git::{Patience, SweepError};

/// A connection to a git daemon.
pub(super) struct Daemon(TcpStream);

/// Connects and says what is wanted.
pub(super) fn open(host: &str, port: u16, path: &str, patience: &Patience) -> Result<Daemon, SweepError> {
    let to = format!("{host}:{port}");
    let failed = |error: io::Error| match super::is_timeout(&error) {
        true => patience.spent(),
        false => SweepError::Connect { to: to.clone(), problem: error.to_string() },
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs().map_err(failed)? {
        patience.check()?;
        match TcpStream::connect_timeout(&address, patience.next_wait()) {
            Ok(mut stream) => {
                let line = format!("git-upload-pack {path}\0host={host}\0");
                stream.set_nodelay(true).map_err(failed)?;
                stream.set_write_timeout(Some(patience.next_wait())).map_err(failed)?;
                stream.write_all(format!("{:04x}{line}", line.len() + 4).as_bytes()).map_err(failed)?;
                return Ok(Daemon(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

impl Duplex for Daemon {
    fn wait_at_most(&mut self, span: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(span))?;
        self.0.set_write_timeout(Some(span))
    }

    fn why_it_ended(&mut self) -> Option<SweepError> {
        None
    }
}

impl Read for Daemon {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Daemon {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
