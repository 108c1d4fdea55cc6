//! Git repositories: what is in them, and what moved since the last look.
//!
//! In reading order: [`location`] takes an address apart; [`transport`] gets its ref list and its objects; [`listing`]
//! is what a repository says it has; [`mirror`] keeps the objects of repositories elsewhere; [`commits`] says what a
//! movement brought; [`sweep`](mod@sweep) puts it together. Nothing here writes to a repository of somebody else, checks out a file,
//! or runs a program that a repository names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gristmill_model::time::say_span;

pub mod commits;
pub mod listing;
pub mod location;
pub mod mirror;
pub mod sweep;
pub mod transport;

#[cfg(test)]
pub(crate) mod tests;

pub use location::{Location, LocationError};
pub use sweep::{Look, Swept, sweep};
pub use transport::register_transports;

/// How much one look may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Refs that the configuration wants looked at.
    pub refs: usize,
    /// Bytes received in one look.
    pub bytes: u64,
    /// How long one look may take in all.
    pub time: Duration,
    /// How long the other side may say nothing.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            refs: 20_000,
            bytes: 4 * 1024 * 1024 * 1024,
            time: Duration::from_secs(15 * 60),
            silence: Duration::from_secs(60),
        }
    }
}

/// What is sent to be let in. Never shown: [`std::fmt::Debug`] keeps the values to itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// Nothing; ssh still uses its agent and its configuration.
    #[default]
    Nothing,
    /// A user name and a password or token, for https.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// A private key, for ssh.
    SshKey(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Password { .. } => "a password",
            Self::SshKey(_) => "a key",
        })
    }
}

/// How long a look may still take, and whether anybody still wants it.
#[derive(Debug, Clone)]
pub struct Patience {
    deadline: Instant,
    time: Duration,
    silence: Duration,
    cancelled: Arc<AtomicBool>,
}

impl Patience {
    /// Begins now.
    pub fn start(limits: &Limits, cancelled: Arc<AtomicBool>) -> Self {
        Self { deadline: Instant::now() + limits.time, time: limits.time, silence: limits.silence, cancelled }
    }

    /// Ends the look if its time is over or nobody wants it any more.
    ///
    /// # Errors
    /// If so.
    pub fn check(&self) -> Result<(), SweepError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(SweepError::Cancelled);
        }
        match self.left().is_zero() {
            true => Err(SweepError::TimedOut { after: self.time }),
            false => Ok(()),
        }
    }

    /// Gives the time left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Gives how long the next answer may take.
    pub fn next_wait(&self) -> Duration {
        self.left().min(self.silence).max(Duration::from_millis(1))
    }

    /// Says which limit a wait that came to nothing has met.
    pub fn spent(&self) -> SweepError {
        self.check().err().unwrap_or(SweepError::Silent { after: self.silence })
    }
}

/// Why a repository could not be looked at. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The address is unusable.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// There is nothing at the path.
    #[error("there is no git repository at `{path}`; check the path, or take the repository out of the configuration")]
    NotThere {
        /// The path.
        path: String,
    },
    /// There is something at the path that cannot be opened.
    #[error("`{path}` cannot be opened ({problem}); `git -C {path} fsck` says more")]
    Open {
        /// The path.
        path: String,
        /// What libgit2 says.
        problem: String,
    },
    /// An object or a ref cannot be read.
    #[error("the repository cannot be read ({0}); `git fsck` in it says more")]
    Reading(String),
    /// More refs than are looked at.
    #[error(
        "more than {limit} refs are to be looked at; name the branches that matter under `branches`, or leave `tags` off"
    )]
    TooManyRefs {
        /// The limit.
        limit: usize,
    },
    /// More bytes than are received.
    #[error(
        "more than {limit} bytes came in one look, which was ended; clone it to this machine once and configure the path"
    )]
    TooManyBytes {
        /// The limit.
        limit: u64,
    },
    /// It took too long.
    #[error("it was not done after {}, and was ended; if it is only large, clone it to this machine and configure the path", say_span(*.after))]
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// The other side stopped talking.
    #[error("the server said nothing for {}; check that it is well and reachable", say_span(*.after))]
    Silent {
        /// The limit.
        after: Duration,
    },
    /// Nobody wants to know any more.
    #[error("the look was called off")]
    Cancelled,
    /// There is no way to the server.
    #[error("no connection to {to} ({problem}); check the address and the network")]
    Connect {
        /// Whither.
        to: String,
        /// What went wrong.
        problem: String,
    },
    /// The server cannot prove who it is.
    #[error(
        "{to} is not trusted ({problem}); add its issuer to the system's certificates, or to the file SSL_CERT_FILE names"
    )]
    Untrusted {
        /// Which server.
        to: String,
        /// What is wrong with its certificate.
        problem: String,
    },
    /// The server wants to know who asks.
    #[error("{to} wants a login; name a user and a secret under `credentials`")]
    NeedsLogin {
        /// Which server.
        to: String,
    },
    /// The server does not accept who asks.
    #[error("{to} refuses the login; check the user name and the secret under `credentials`")]
    LoginRefused {
        /// Which server.
        to: String,
    },
    /// The login does not fit the address.
    #[error("{0}")]
    LoginUnfit(&'static str),
    /// The server knows no such repository, or does not say so to strangers.
    #[error("{to} knows no such repository; check the address, and `credentials` if it is private")]
    Unknown {
        /// What was asked for.
        to: String,
    },
    /// The server answered with something else.
    #[error("{to} answers with HTTP status {status}")]
    Status {
        /// Which server.
        to: String,
        /// The status.
        status: u16,
    },
    /// The server sends us elsewhere.
    #[error(
        "{from} sends us to {to}, and redirects are followed only on the same host; configure the address it names"
    )]
    Redirect {
        /// Which server.
        from: String,
        /// Where it sends us.
        to: String,
    },
    /// The server does not speak git.
    #[error("{to} does not answer in git's smart protocol; check that the address is one that `git clone` takes")]
    NotGit {
        /// Which server.
        to: String,
    },
    /// The server said no, in its own words.
    #[error("the server says: {0}")]
    ServerSays(String),
    /// The server's repository has no full history.
    #[error("the repository on the server is shallow; run `git fetch --unshallow` in it")]
    ServerShallow,
    /// The repository names its objects in a way that is not understood.
    #[error("the repository names its objects by {0}; only sha1 can be read")]
    ObjectFormat(String),
    /// The child `ssh` said no.
    #[error("ssh to {host} failed ({problem}); `ssh {host}` as the service's user must work without a question")]
    Ssh {
        /// Which host.
        host: String,
        /// What it said.
        problem: String,
    },
    /// The mirror cannot be used.
    #[error(
        "the mirror `{path}` cannot be used ({problem}); check the disk, or delete that folder to have it made again"
    )]
    Mirror {
        /// Where it is.
        path: String,
        /// What went wrong.
        problem: String,
    },
    /// A secret cannot be had.
    #[error("the secret `{name}` cannot be had: {problem}")]
    Secret {
        /// Its name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// Objects could not be fetched.
    #[error("fetching failed ({0})")]
    Fetch(String),
    /// The look itself is at fault.
    #[error("the look ended by a fault of its own; the service's log says more")]
    Panicked,
}

impl SweepError {
    /// Makes one of what libgit2 says about reading.
    #[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
    pub(crate) fn reading(error: git2::Error) -> Self {
        Self::Reading(error.message().to_owned())
    }
}
