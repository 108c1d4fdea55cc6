//! Getting a ref list and objects from a server, over https, ssh and the git daemon's protocol.
//!
//! We open the connection and read the ref list ourselves: so the limits hold while it comes, names in any encoding are
//! survived, and a look that finds nothing new costs one request. Only if something moved does libgit2 take over, to
//! negotiate and to index the pack. It is given the connection under an address of our own (`gristmill://7`), and a ref
//! list that holds just what is wanted, under names of our own. So no address, no login and no foreign ref name ever
//! reaches it, and one deadline and one byte limit hold for every transport.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use git2::{AutotagOption, ErrorClass, FetchOptions, Oid, RemoteCallbacks, Repository as GitRepository};
use gristmill_model::catalog::Repository;

use self::http::Http;
use super::listing::Listing;
use super::location::Location;
use super::{Login, Patience, SweepError};

pub(crate) mod advertisement;
mod daemon;
mod http;
mod ssh;

/// The scheme under which libgit2 knows our connections.
const SCHEME: &str = "gristmill";

/// What is needed to open a connection.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Whither.
    pub location: &'a Location,
    /// What is sent to be let in.
    pub login: &'a Login,
    /// How long.
    pub patience: &'a Patience,
    /// How many bytes may come.
    pub bytes_max: u64,
    /// The program that speaks ssh.
    pub ssh: &'a Path,
}

/// An open connection to a server.
pub struct Connection {
    line: Line,
    meter: Meter,
    capabilities: String,
    /// Whom we speak with, for messages.
    to: String,
}

/// How the two sides take turns.
enum Line {
    /// A request and an answer at a time.
    Http(Arc<Http>, Option<http::Answer>),
    /// One stream in both directions.
    Stream(Box<dyn Duplex>),
}

/// A stream in both directions whose waits can be limited.
trait Duplex: Read + Write + Send {
    /// Sets how long the next read or write may wait.
    fn wait_at_most(&mut self, span: std::time::Duration) -> io::Result<()>;

    /// Says why the stream ended before its time, if it knows.
    fn why_it_ended(&mut self) -> Option<SweepError>;
}

/// What has come so far, and how long it may take: shared by everything that belongs to one look.
#[derive(Clone)]
struct Meter {
    patience: Patience,
    received: Arc<AtomicU64>,
    bytes_max: u64,
    /// Why it failed, kept here because libgit2 only carries a text.
    failure: Arc<Mutex<Option<SweepError>>>,
}

impl Meter {
    fn check(&self) -> Result<(), SweepError> {
        self.patience.check()?;
        match self.received.load(Ordering::Relaxed) > self.bytes_max {
            true => Err(SweepError::TooManyBytes { limit: self.bytes_max }),
            false => Ok(()),
        }
    }

    /// Remembers why it failed and gives an error that libgit2 can carry.
    fn fail(&self, error: SweepError) -> io::Error {
        let text = error.to_string();
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        io::Error::other(text)
    }

    fn take_failure(&self) -> Option<SweepError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads once, within the limits.
    fn read(&self, buffer: &mut [u8], read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        self.check().map_err(|error| self.fail(error))?;
        match read(buffer) {
            Ok(count) => {
                self.received.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) if is_timeout(&error) => Err(self.fail(self.patience.spent())),
            Err(error) => Err(error),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let by_http = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
        || by_http.is_some_and(reqwest::Error::is_timeout)
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and asks for the ref list.
    ///
    /// # Errors
    /// If there is no way, or no way in.
    pub fn open(opening: &Opening<'_>) -> Result<Self, SweepError> {
        let meter = Meter {
            patience: opening.patience.clone(),
            received: Arc::default(),
            bytes_max: opening.bytes_max,
            failure: Arc::default(),
        };
        let line = match (opening.location, opening.login) {
            (Location::Local(_), _) => return Err(SweepError::LoginUnfit("a path on this machine is read in place")),
            (Location::Http { .. }, Login::SshKey(_)) => {
                return Err(SweepError::LoginUnfit("a key cannot be used over http; configure an ssh address"));
            }
            (Location::Ssh { .. } | Location::Daemon { .. }, Login::Password { .. }) => {
                return Err(SweepError::LoginUnfit(
                    "a password is sent only over https; use a key or an https address",
                ));
            }
            (location @ Location::Http { .. }, Login::Password { .. }) if location.is_clear_text() => {
                return Err(SweepError::LoginUnfit("a password is sent only over https; configure an https address"));
            }
            (Location::Http { base }, login) => {
                let (http, answer) = Http::open(base, login, opening.patience)?;
                Line::Http(Arc::new(http), Some(answer))
            }
            (location @ Location::Ssh { .. }, login) => {
                Line::Stream(Box::new(ssh::open(location, login, opening, Arc::clone(&meter.received))?))
            }
            (Location::Daemon { host, port, path }, _) => {
                Line::Stream(Box::new(daemon::open(host, *port, path, opening.patience)?))
            }
        };
        Ok(Self { line, meter, capabilities: String::new(), to: opening.location.to_string() })
    }

    /// Reads the ref list.
    ///
    /// # Errors
    /// If it is not one, or too long, or the server has something else to say.
    pub fn list(&mut self, config: &Repository, refs_max: usize) -> Result<Listing, SweepError> {
        let meter = self.meter.clone();
        let read = match &mut self.line {
            Line::Http(_, answer) => {
                let answer = answer.as_mut().ok_or_else(|| SweepError::Fetch("the list was read before".to_owned()))?;
                let mut reader = Metered { meter: &meter, inner: answer };
                advertisement::read(&mut reader, true, config, refs_max)
            }
            Line::Stream(stream) => {
                let mut reader = MeteredStream { meter: &meter, inner: stream.as_mut() };
                advertisement::read(&mut reader, false, config, refs_max)
            }
        };
        if let Line::Http(_, answer) = &mut self.line {
            *answer = None;
        }
        // A stream that ends before its list usually knows better why.
        let (listing, capabilities) = read.map_err(|error| match (meter.take_failure(), error) {
            (Some(failure), _) => failure,
            (None, SweepError::NotGit { .. }) => SweepError::NotGit { to: self.to.clone() },
            (None, error) => error,
        })?;
        self.capabilities = capabilities;
        Ok(listing)
    }

    /// Takes leave without fetching.
    pub fn part(mut self) {
        if let Line::Stream(stream) = &mut self.line
            && let Err(error) = stream.write_all(b"0000").and_then(|()| stream.flush())
        {
            tracing::debug!("taking leave of a git server failed: {error}");
        }
    }

    /// Fetches objects, and what they need, into `repository`.
    ///
    /// # Errors
    /// If that fails or exceeds a limit. Nothing of an unfinished pack is kept.
    pub fn download(self, repository: &GitRepository, wanted: &BTreeSet<Oid>) -> Result<(), SweepError> {
        let meter = self.meter.clone();
        let registered = Registered::new(self, wanted);
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|_| meter.check().map_err(|error| meter.fail(error)).is_ok());
        let mut options = FetchOptions::new();
        options.download_tags(AutotagOption::None).update_fetchhead(false).remote_callbacks(callbacks);
        let mut remote = repository.remote_anonymous(&registered.url()).map_err(SweepError::reading)?;
        let fetched = remote.download(&["+refs/wanted/*:refs/wanted/*"], Some(&mut options));
        let parted = remote.disconnect();
        match fetched.and(parted) {
            Ok(()) => Ok(()),
            Err(error) => Err(meter.take_failure().unwrap_or_else(|| failure_of(&error, repository))),
        }
    }
}

/// Tells what the server did wrong from what is wrong here.
fn failure_of(error: &git2::Error, repository: &GitRepository) -> SweepError {
    let problem = error.message().to_owned();
    match error.class() {
        ErrorClass::Odb | ErrorClass::Object | ErrorClass::Reference | ErrorClass::Zlib => SweepError::Reading(problem),
        ErrorClass::Os | ErrorClass::Filesystem | ErrorClass::NoMemory => {
            SweepError::Mirror { path: repository.path().display().to_string(), problem }
        }
        _ => SweepError::Fetch(problem),
    }
}

/// Connections that libgit2 is about to ask for, by number.
static WAITING: Mutex<BTreeMap<u64, Pending>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A connection together with the ref list that libgit2 gets to see.
struct Pending {
    connection: Connection,
    list: Vec<u8>,
}

/// A connection's place in [`WAITING`]; it is left empty again in any case.
struct Registered(u64);

impl Registered {
    fn new(connection: Connection, wanted: &BTreeSet<Oid>) -> Self {
        let is_http = matches!(connection.line, Line::Http(..));
        let list = advertisement::write(wanted, &connection.capabilities, is_http);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        waiting().insert(number, Pending { connection, list });
        Self(number)
    }

    fn url(&self) -> String {
        format!("{SCHEME}://{}", self.0)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        drop(waiting().remove(&self.0));
    }
}

fn waiting() -> std::sync::MutexGuard<'static, BTreeMap<u64, Pending>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes our transport known to libgit2. To be called before anything else uses git, first thing in `main`; calling it
/// again does nothing.
///
/// It also turns off libgit2's check that a repository belongs to the user who reads it. The check guards against
/// running programs that somebody else's repository configuration names. Here the paths come from the operator's own
/// configuration, nothing is ever checked out, and libgit2 runs no hook, filter or helper; while a service account that
/// reads `/srv/git` is the usual case.
///
/// # Panics
/// If libgit2 cannot be set up at all.
#[expect(
    unsafe_code,
    reason = "libgit2's global settings must be made before other threads use it, which is our promise"
)]
pub fn register_transports() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the caller promises that no other thread uses libgit2 yet; `Once` keeps later callers waiting, and
        // every place in this crate that uses git goes through here first.
        unsafe {
            git2::transport::register(SCHEME, |remote| {
                let pending = remote.url().ok().and_then(number_of).and_then(|number| waiting().remove(&number));
                let pending = pending.ok_or_else(|| git2::Error::from_str("this connection is not open"))?;
                let is_http = matches!(pending.connection.line, Line::Http(..));
                Transport::smart(remote, is_http, Handover(Mutex::new(Some(pending)), Mutex::new(None)))
            })
            .and_then(|()| git2::opts::set_verify_owner_validation(false))
            .expect("libgit2 takes a transport and a setting");
        }
    });
}

fn number_of(url: &str) -> Option<u64> {
    url.strip_prefix(SCHEME)?.strip_prefix("://")?.parse().ok()
}

/// Hands a connection over to libgit2: first the ref list, then the conversation.
struct Handover(Mutex<Option<Pending>>, Mutex<Option<(Arc<Http>, Meter)>>);

impl SmartSubtransport for Handover {
    fn action(&self, _: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match service {
            Service::UploadPackLs => {
                let pending = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Pending { connection, list } =
                    pending.ok_or_else(|| git2::Error::from_str("the ref list was read before"))?;
                match connection.line {
                    Line::Http(http, _) => {
                        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = Some((http, connection.meter));
                        Ok(Box::new(Listed(Cursor::new(list))))
                    }
                    Line::Stream(stream) => {
                        Ok(Box::new(Conversation { list: Cursor::new(list), stream, meter: connection.meter }))
                    }
                }
            }
            Service::UploadPack => {
                let http = self.1.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let (http, meter) = http.ok_or_else(|| git2::Error::from_str("the ref list was not read yet"))?;
                Ok(Box::new(Exchange { http, meter, question: Vec::new(), answer: None }))
            }
            Service::ReceivePackLs | Service::ReceivePack => Err(git2::Error::from_str("nothing is ever pushed")),
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// The ref list alone.
struct Listed(Cursor<Vec<u8>>);

impl Read for Listed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Listed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("the ref list takes no questions"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The ref list, and after it a stream in both directions.
struct Conversation {
    list: Cursor<Vec<u8>>,
    stream: Box<dyn Duplex>,
    meter: Meter,
}

impl Read for Conversation {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.list.read(buffer)? {
            0 => MeteredStream { meter: &self.meter, inner: self.stream.as_mut() }.read(buffer),
            count => Ok(count),
        }
    }
}

impl Write for Conversation {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.meter.check().map_err(|error| self.meter.fail(error))?;
        self.stream.wait_at_most(self.meter.patience.next_wait())?;
        match self.stream.write(bytes) {
            Err(error) if is_timeout(&error) => Err(self.meter.fail(self.meter.patience.spent())),
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// One question and one answer over HTTP: the question is sent when the answer is first read.
struct Exchange {
    http: Arc<Http>,
    meter: Meter,
    question: Vec<u8>,
    answer: Option<http::Answer>,
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.answer.is_none() {
            let question = std::mem::take(&mut self.question);
            self.answer = Some(self.http.ask(question, &self.meter.patience).map_err(|error| self.meter.fail(error))?);
        }
        let answer = self.answer.as_mut().expect("it was just put there");
        Metered { meter: &self.meter, inner: answer }.read(buffer)
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.question.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader within the limits.
struct Metered<'a, R: Read> {
    meter: &'a Meter,
    inner: &'a mut R,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.meter.read(buffer, |buffer| self.inner.read(buffer))
    }
}

/// A stream in both directions, read within the limits.
struct MeteredStream<'a> {
    meter: &'a Meter,
    inner: &'a mut dyn Duplex,
}

impl Read for MeteredStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.wait_at_most(self.meter.patience.next_wait())?;
        let count = self.meter.read(buffer, |buffer| self.inner.read(buffer))?;
        match (count, buffer.is_empty()) {
            (0, false) => match self.inner.why_it_ended() {
                Some(error) => Err(self.meter.fail(error)),
                None => Ok(0),
            },
            _ => Ok(count),
        }
    }
}
