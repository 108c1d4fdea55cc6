//! One request to the service: bounded in time and size, no redirect is followed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_model::protocol::Refusal;
use gristmill_model::protocol::wire::ErrorBody;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use super::refusal::{Asked, refusal, retry_after};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection that nobody uses is kept: longer than the pause between two beats.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an answer that says why something was not taken; what is longer is cut off and not read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It cannot be read.
    #[error("`{given}` is no address of a service: it looks like https://ci.example.org")]
    NotAnAddress {
        /// What was given.
        given: String,
    },
    /// The file with certificates cannot be used.
    #[error("cannot use the certificates in `{}`: {why}", path.display())]
    Certificates {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The system's certificates cannot be used, say.
    #[error(
        "cannot make a client for HTTP: {why}; is the package with the system's certificates installed, or --ca given?"
    )]
    NoClient {
        /// Why.
        why: String,
    },
}

/// Where the service is, and how it is reached.
#[derive(Debug, Clone)]
pub struct Address {
    client: Client,
    base: String,
    is_exposed: bool,
}

/// What is sent.
pub(super) struct Request<'a> {
    pub(super) asked: Asked,
    /// With its query.
    pub(super) path: &'a str,
    pub(super) bearer: &'a str,
    pub(super) headers: &'a [(&'static str, String)],
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) timeout: Duration,
    /// Bytes of a good answer.
    pub(super) answer_bytes_max: usize,
}

/// Why a request was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// `None` if there was no answer.
    pub(super) status: Option<u16>,
    pub(super) refusal: Refusal,
    /// How many seconds the service wants to be left alone.
    pub(super) retry_after: Option<u64>,
}

impl Address {
    /// Reads an address. `ca` names a file with the certificates (PEM) that alone are trusted then; without it the
    /// system's are. Proxies are taken from the environment, but never for this machine itself.
    ///
    /// # Errors
    /// If it is none, or the certificates cannot be used.
    pub fn new(given: &str, ca: Option<&Path>) -> Result<Self, AddressError> {
        let bad = || AddressError::NotAnAddress { given: given.to_owned() };
        let url = Url::parse(given).map_err(|_| bad())?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !is_plain {
            return Err(bad());
        }
        let mut client = Client::builder()
            .user_agent(concat!("gristmill-worker/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true);
        let is_here = is_loopback(&url);
        if is_here {
            client = client.no_proxy();
        }
        if let Some(path) = ca {
            client = client.tls_certs_only(certificates(path)?);
        }
        let client = client.build().map_err(|error| AddressError::NoClient { why: chain(&error) })?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, base, is_exposed: url.scheme() == "http" && !is_here })
    }

    /// Says whether the token goes over a network in clear text.
    pub fn is_exposed(&self) -> bool {
        self.is_exposed
    }

    /// Sends a request, and gives the body of a good answer.
    pub(super) async fn post(&self, request: Request<'_>) -> Result<Vec<u8>, Refused> {
        let asked = request.asked;
        let lost = |why: String| Refused {
            status: None,
            refusal: Refusal::Unavailable { why: format!("{} does not answer: {why}", self.base) },
            retry_after: None,
        };
        let mut builder = self
            .client
            .post(format!("{}{}", self.base, request.path))
            .timeout(request.timeout)
            .header(AUTHORIZATION, format!("Bearer {}", request.bearer))
            .header(CONTENT_TYPE, request.kind)
            .body(request.body);
        for (name, value) in request.headers {
            builder = builder.header(*name, value);
        }
        let response = builder.send().await.map_err(|error| lost(chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return read(response, request.answer_bytes_max).await.map_err(lost);
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after(header);
        // Whatever the body is, the status is said.
        let body = read(response, ERROR_BYTES_MAX).await.unwrap_or_default();
        let body: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
        let status = status.as_u16();
        Err(Refused { status: Some(status), refusal: refusal(asked, status, &body), retry_after })
    }
}

async fn read(mut response: reqwest::Response, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(format!("its answer is longer than {bytes_max} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, AddressError> {
    let failed = |why: String| AddressError::Certificates { path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&bytes).map_err(|error| failed(chain(&error)))?;
    if certificates.is_empty() {
        return Err(failed("there is none; they are text that begins with `-----BEGIN CERTIFICATE-----`".to_owned()));
    }
    Ok(certificates)
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Gives an error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() {
        // Another test may have been first.
        rustls::crypto::ring::default_provider().install_default().ok();
    }

    #[test]
    fn an_address_is_an_address() {
        ready();
        for bad in ["", "ci.example.org", "ftp://ci", "https://", "https://me:pw@ci.example.org", "http://ci?x=1"] {
            assert!(matches!(Address::new(bad, None), Err(AddressError::NotAnAddress { .. })), "{bad}");
        }
        let exposed = |given| Address::new(given, None).unwrap().is_exposed();
        assert!(exposed("http://ci.example.org"));
        assert!(!exposed("https://ci.example.org") && !exposed("http://[::1]:8020/") && !exposed("http://localhost"));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        ready();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "hello").unwrap();
        let error = Address::new("https://ci.example.org", Some(&path)).unwrap_err().to_string();
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}
