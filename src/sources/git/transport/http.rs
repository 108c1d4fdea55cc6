//! Git's smart protocol over HTTP.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};

use crate::sources::git::{Login, Patience, SweepError};

/// Redirects that are followed, all on the same host.
const REDIRECTS_MAX: usize = 3;
/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// Idle connections kept per host.
const IDLE_MAX: usize = 2;

/// What a server answers.
pub(super) type Answer = Response;

/// A server and how to be let in.
pub(super) struct Http {
    client: Client,
    base: String,
    login: Login,
}

impl Http {
    /// Asks for the ref list.
    pub(super) fn open(base: &str, login: &Login, patience: &Patience) -> Result<(Self, Answer), SweepError> {
        const LIST: &str = "/info/refs?service=git-upload-pack";
        let mut http = Self { client: client(patience.silence)?, base: base.to_owned(), login: login.clone() };
        let request = http.client.get(format!("{base}{LIST}")).header(CACHE_CONTROL, "no-cache");
        let answer = http.send(request, patience)?;
        http.expect(&answer, "application/x-git-upload-pack-advertisement")?;
        // After a redirect (a project that was renamed) the questions go to the new place as well.
        if let Some(moved) = answer.url().as_str().strip_suffix(LIST) {
            http.base = moved.to_owned();
        }
        Ok((http, answer))
    }

    /// Asks for objects.
    pub(super) fn ask(&self, question: Vec<u8>, patience: &Patience) -> Result<Answer, SweepError> {
        let request = self
            .client
            .post(format!("{}/git-upload-pack", self.base))
            .header(CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(ACCEPT, "application/x-git-upload-pack-result")
            .body(question);
        let answer = self.send(request, patience)?;
        self.expect(&answer, "application/x-git-upload-pack-result")?;
        Ok(answer)
    }

    fn send(&self, request: RequestBuilder, patience: &Patience) -> Result<Answer, SweepError> {
        patience.check()?;
        let request = match &self.login {
            Login::Password { username, password } => request.basic_auth(username, Some(password)),
            Login::Nothing | Login::SshKey(_) => request,
        };
        let answer = request.send().map_err(|error| match error.is_timeout() {
            true => patience.spent(),
            false => self.unreachable(&error.without_url()),
        })?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status if status.is_redirection() => Err(self.redirected(&answer)),
            StatusCode::UNAUTHORIZED if self.login == Login::Nothing => Err(SweepError::NeedsLogin { to: self.host() }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(SweepError::LoginRefused { to: self.host() }),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(SweepError::Unknown { to: self.host() }),
            status => Err(SweepError::Status { to: self.host(), status: status.as_u16() }),
        }
    }

    fn expect(&self, answer: &Answer, content_type: &str) -> Result<(), SweepError> {
        let said = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        match said.split(';').next().is_some_and(|kind| kind.trim() == content_type) {
            true => Ok(()),
            false => Err(SweepError::NotGit { to: self.host() }),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> SweepError {
        let (to, problem) = (self.host(), chain(error));
        // The type of the error below is not reachable without knowing the TLS library's own.
        match problem.split_once("invalid peer certificate: ") {
            Some((_, problem)) => SweepError::Untrusted { to, problem: problem.to_owned() },
            None => SweepError::Connect { to, problem },
        }
    }

    fn redirected(&self, answer: &Answer) -> SweepError {
        let to = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or("");
        let to = answer.url().join(to).ok().map_or_else(|| "another place".to_owned(), |url| host_of(&url));
        SweepError::Redirect { from: self.host(), to }
    }

    fn host(&self) -> String {
        Url::parse(&self.base).map_or_else(|_| self.base.clone(), |url| host_of(&url))
    }
}

/// Gives scheme, host and port: what may be shown of an address that somebody else sent.
fn host_of(url: &Url) -> String {
    url.origin().ascii_serialization().chars().take(200).collect()
}

/// Follows a redirect only on the same host, and never from https to http, so that a login goes nowhere else.
fn same_host(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().last();
    let is_same = from.is_some_and(|from| {
        let to = attempt.url();
        from.host_str() == to.host_str()
            && (from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default()
                || from.scheme() == "http" && to.scheme() == "https")
    });
    match is_same && attempt.previous().len() <= REDIRECTS_MAX {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// Gives the client for this patience; they are few, and each has its pool of connections.
fn client(silence: Duration) -> Result<Client, SweepError> {
    static CLIENTS: Mutex<BTreeMap<Duration, Client>> = Mutex::new(BTreeMap::new());
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = clients.get(&silence) {
        return Ok(client.clone());
    }
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider().install_default().is_err()
    {
        tracing::debug!("another thread was first to choose the cryptography");
    }
    let client = Client::builder()
        .user_agent(concat!("git/2 gristmill/", env!("CARGO_PKG_VERSION")))
        // The limit of each wait, not of the whole; the deadline is looked at between reads.
        .timeout(silence)
        .connect_timeout(CONNECT_TIME_MAX.min(silence))
        .pool_max_idle_per_host(IDLE_MAX)
        .redirect(Policy::custom(same_host))
        .build()
        .map_err(|error| SweepError::Connect { to: "any https server".to_owned(), problem: chain(&error) })?;
    clients.insert(silence, client.clone());
    Ok(client)
}

/// Writes an error with its causes, because the outermost says too little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}
