//! IRC: a bot that stays in its channels and says one short line a happening.
//!
//! [`Irc`] owns a task that keeps the connection: it joins, answers pings, comes back after kicks, splits and restarts,
//! and never speaks faster than [`Flood`] allows. A message is delivered when its line was written to a channel that we
//! are in and the server has answered a later ping; whatever is lost before that is not repeated, because the channel
//! would see it twice. What a stranger wrote cannot end a line, start a command or ring a bell (`wire`).

mod flood;
#[doc(hidden)]
pub mod seam;
mod session;
mod task;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gristmill_model::{IrcConfig, Message};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

pub use self::flood::Flood;
pub use self::session::Presence;
use self::session::{Login, Session};
use self::task::{Connector, Job, Task};
use crate::backoff::Backoff;
use crate::delivery::{DeliveryError, Guarantee, Notifier, Receipt};

/// Messages that wait for the bot to take them.
pub const QUEUE_MAX: usize = 64;
/// The time after which a message is offered again that found the queue full, or its channel not joined.
pub const RETRY: Duration = Duration::from_secs(5);
/// The time that a goodbye may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const PLAIN_PORT: u16 = 6667;
const TLS_PORT: u16 = 6697;

/// Why IRC cannot be used with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum IrcError {
    /// The server's address cannot be read.
    #[error("server `{server}`: {problem}; write it as `host:port`")]
    Server {
        /// As configured.
        server: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The nick can be none.
    #[error(
        "nick `{nick}`: a nick has letters, digits and `-[]\\`_^{{|}}`, starts with no digit, and has at most 30 of them"
    )]
    Nick {
        /// As configured.
        nick: String,
    },
    /// A channel can be none.
    #[error("channel `{channel}`: a channel starts with `#` and has no spaces or commas")]
    Channel {
        /// As configured.
        channel: String,
    },
    /// Only one of account and password is there.
    #[error("an account and a password are needed, and there is no {missing}")]
    HalfLogin {
        /// What is missing.
        missing: &'static str,
    },
    /// The password would be sent so that others can read it.
    #[error("a password is sent with `tls: true` only, or to this machine")]
    PasswordWithoutTls,
    /// A certificate cannot be read, or TLS not be set up.
    #[error("TLS: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
}

/// What the configuration does not say.
#[derive(Debug, Clone)]
pub struct IrcOptions {
    /// How fast the bot speaks.
    pub flood: Flood,
    /// When it connects again after a connection was lost or refused.
    pub reconnect: Backoff,
    /// When it joins again after it was kicked or refused.
    pub rejoin: Backoff,
    /// How long the server may be silent before it is pinged, and then before it is given up.
    pub liveness: Duration,
    /// The time that connecting, and then registering, may take.
    pub connect_timeout: Duration,
    /// Certificates (PEM) that are trusted besides the usual ones.
    pub roots: Vec<Vec<u8>>,
}

impl Default for IrcOptions {
    fn default() -> Self {
        let backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(600) };
        Self {
            flood: Flood::default(),
            reconnect: backoff,
            rejoin: backoff,
            liveness: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(30),
            roots: Vec::new(),
        }
    }
}

/// How the bot is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Whether it is registered with the server.
    pub is_online: bool,
    /// The nick it has.
    pub nick: String,
    /// Its channels, and where it stands with each.
    pub channels: BTreeMap<String, Presence>,
    /// Why it is not online, or why it was not before.
    pub problem: Option<String>,
    /// How many connections there have been.
    pub connections: u64,
}

impl Status {
    /// Says whether the bot is in a channel.
    pub fn is_in(&self, channel: &str) -> bool {
        self.is_online && self.channels.get(channel) == Some(&Presence::Joined)
    }
}

/// A bot on one IRC network. Says goodbye and stops when dropped.
pub struct Irc {
    jobs: mpsc::Sender<Job>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl fmt::Debug for Irc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Irc").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Irc {
    /// Starts the bot; it connects in the background, and again whenever the connection is lost. Must be called within
    /// a tokio runtime.
    ///
    /// # Errors
    /// Names what cannot be used in the configuration.
    pub fn start(config: &IrcConfig, password: Option<String>, options: IrcOptions) -> Result<Self, IrcError> {
        let (host, port) = Self::check(config)?;
        let login = match (config.sasl_user.clone(), password) {
            (Some(user), Some(password)) => Some(Login { user, password }),
            (None, None) => None,
            (Some(_), None) => return Err(IrcError::HalfLogin { missing: "password" }),
            (None, Some(_)) => return Err(IrcError::HalfLogin { missing: "account" }),
        };
        let tls = if config.tls { Some(tls(&host, &options.roots)?) } else { None };
        let session = Session::new(&config.nick, login, &config.channels, options.rejoin);
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (status_sender, status) = watch::channel(Status::default());
        let stop = CancellationToken::new();
        let connector = Connector { host, port, tls };
        let task = Task::new(connector, session, options, queue, status_sender, stop.clone());
        Ok(Self { jobs, status, stop, task: tokio::spawn(task.run()) })
    }

    /// Checks a configuration without connecting, and gives the server's host and port.
    ///
    /// # Errors
    /// Names what cannot be used in the configuration.
    pub fn check(config: &IrcConfig) -> Result<(String, u16), IrcError> {
        let (host, port) = split_server(config)?;
        if !wire::is_nick(&config.nick) {
            return Err(IrcError::Nick { nick: config.nick.clone() });
        }
        if let Some(channel) = config.channels.iter().find(|channel| !wire::is_channel(channel)) {
            return Err(IrcError::Channel { channel: channel.clone() });
        }
        if config.sasl_user.is_some() && !config.tls && !is_loopback(&host) {
            return Err(IrcError::PasswordWithoutTls);
        }
        Ok((host, port))
    }

    /// Gives how the bot is, and every change of it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Says goodbye and waits until the connection is closed, for 5 seconds at the most.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Irc {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Notifier for Irc {
    /// Says the message's subject in its channel.
    ///
    /// While the channel is not joined the answer is "not now". A line that was written and not confirmed before the
    /// connection was lost is given up: a permanent error in doubt.
    async fn deliver(&self, message: &Message) -> Result<Receipt, DeliveryError> {
        if !wire::is_channel(&message.target) {
            return Err(DeliveryError::permanent(format!("`{}` is no channel", message.target)));
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { channel: message.target.clone(), words: message.subject.clone(), answer };
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(DeliveryError::not_now(format!("{QUEUE_MAX} messages wait already"), RETRY));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Err(DeliveryError::not_now("the bot has stopped", RETRY));
            }
        }
        // Every job is answered; only a task that died in the middle cannot, and then nobody knows.
        answered.await.unwrap_or_else(|_| Err(DeliveryError::permanent("the bot died while it spoke").in_doubt()))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtMostOnce
    }
}

fn split_server(config: &IrcConfig) -> Result<(String, u16), IrcError> {
    let bad = |problem| IrcError::Server { server: config.server.clone(), problem };
    let text = config.server.as_str();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| bad("the bracket is not closed"))?;
            (host, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(|character: char| character.is_whitespace() || character == '/') {
        return Err(bad("there is no host name in it"));
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| bad("the port is no number up to 65535"))?,
        None if config.tls => TLS_PORT,
        None => PLAIN_PORT,
    };
    Ok((host.to_owned(), port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls(host: &str, roots: &[Vec<u8>]) -> Result<(TlsConnector, ServerName<'static>), IrcError> {
    let bad = |problem: String| IrcError::Tls { problem };
    let mut store = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for pem in roots {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| bad(format!("a root certificate cannot be read: {error}")))?;
            store.add(certificate).map_err(|error| bad(format!("a root certificate cannot be used: {error}")))?;
        }
    }
    // The provider is named, so that it does not matter what else is linked into the program.
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| bad(format!("`{host}`: {error}")))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> IrcConfig {
        IrcConfig {
            server: "irc.example.org".to_owned(),
            tls: false,
            nick: "gristmill".to_owned(),
            channels: vec!["#ci".to_owned()],
            sasl_user: None,
            sasl_password: None,
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_named() {
        let said = |config: IrcConfig, password: Option<&str>| {
            Irc::start(&config, password.map(str::to_owned), IrcOptions::default())
                .expect_err("it is wrong")
                .to_string()
        };
        let account = Some("ci".to_owned());
        assert_eq!(
            said(IrcConfig { server: "irc.example.org:x".to_owned(), ..config() }, None),
            "server `irc.example.org:x`: the port is no number up to 65535; write it as `host:port`"
        );
        assert!(said(IrcConfig { nick: "a b".to_owned(), ..config() }, None).starts_with("nick `a b`: "));
        assert!(
            said(IrcConfig { channels: vec!["#a,#b".to_owned()], ..config() }, None).starts_with("channel `#a,#b`")
        );
        assert_eq!(said(config(), Some("x")), "an account and a password are needed, and there is no account");
        assert_eq!(
            said(IrcConfig { sasl_user: account, ..config() }, Some("geheim")),
            "a password is sent with `tls: true` only, or to this machine"
        );
    }

    #[test]
    fn servers_are_read() {
        let read = |server: &str, tls| split_server(&IrcConfig { server: server.to_owned(), tls, ..config() }).ok();
        assert_eq!(read("irc.example.org", true), Some(("irc.example.org".to_owned(), 6697)));
        assert_eq!(read("irc.example.org", false), Some(("irc.example.org".to_owned(), 6667)));
        assert_eq!(read("[::1]:7000", false), Some(("::1".to_owned(), 7000)));
        assert_eq!(read(":6667", false), None);
    }
}
