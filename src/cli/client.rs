//! Speaking with a running service over its JSON API.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::args::Global;
use super::exit::{Exit, Failure};
use super::terminal::clean;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an ordinary answer may take; streams have no such limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an answer that are read at the most, where it is held in memory.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Characters of a foreign error page that are shown.
const FOREIGN_TEXT_WIDTH: usize = 200;

/// A running service, as the client sees it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

impl Client {
    /// Makes one for the service that the flags name. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If the address is none.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let bad = |why: String| {
            Failure::new(Exit::Usage, format!("`{}` is no address of a service: {why}", clean(&global.server)))
                .hint("an address looks like http://127.0.0.1:8020; it comes from --server or GRISTMILL_SERVER")
        };
        let server = Url::parse(&global.server).map_err(|error| bad(error.to_string()))?;
        if !matches!(server.scheme(), "http" | "https") || server.host_str().is_none() {
            return Err(bad("it must begin with http:// or https://".to_owned()));
        }
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if is_loopback(&server) {
            // A proxy can never reach what listens on this machine only.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| Failure::broken(format!("no HTTP client: {error}")))?;
        Ok(Self { http, server, token: global.token.clone() })
    }

    /// Makes one for a service of this very process.
    ///
    /// # Errors
    ///
    /// If no HTTP client can be made.
    pub fn to(address: std::net::SocketAddr) -> Result<Self, Failure> {
        let server = Url::parse(&format!("http://{address}")).map_err(Failure::broken)?;
        let http = reqwest::Client::builder().no_proxy().build().map_err(Failure::broken)?;
        Ok(Self { http, server, token: None })
    }

    /// Gives the address of a page that people open.
    pub fn page(&self, path: &str) -> String {
        format!("{}{path}", self.server.as_str().trim_end_matches('/'))
    }

    /// Reads something. The path's parts follow `/api/v1`.
    ///
    /// # Errors
    ///
    /// If the service is not reached, refuses, or answers something else.
    pub async fn read<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, Failure> {
        let request = self.request(Method::GET, path, query).timeout(ANSWER_TIMEOUT);
        self.value_of(self.send(request).await?).await
    }

    /// Asks for something to be done. `key` makes a repeat of the same wish harmless.
    ///
    /// # Errors
    ///
    /// If the service is not reached, refuses, or answers something else.
    pub async fn act<T: DeserializeOwned>(&self, path: &[&str], key: &str, body: &Value) -> Result<T, Failure> {
        let request =
            self.request(Method::POST, path, &[]).header("Idempotency-Key", key).timeout(ANSWER_TIMEOUT).json(body);
        self.value_of(self.send(request).await?).await
    }

    /// Begins to read something that is passed on as it comes.
    ///
    /// # Errors
    ///
    /// If the service is not reached or refuses.
    pub async fn stream(&self, path: &[&str], query: &[(&str, &str)], since: Option<i64>) -> Result<Response, Failure> {
        let mut request = self.request(Method::GET, path, query);
        if let Some(since) = since {
            request = request.header("Last-Event-ID", since.to_string());
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each part is encoded by itself: a scheduler's name cannot become a path of its own.
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.not_reached(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        Err(refusal(status, &text))
    }

    async fn value_of<T: DeserializeOwned>(&self, mut response: Response) -> Result<T, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.not_reached(&error))? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(Failure::broken(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|error| {
            Failure::broken(format!("{} answered something that is not Gristmill's API: {error}", self.server))
                .hint("is it an older version, or another program?")
        })
    }

    fn not_reached(&self, error: &reqwest::Error) -> Failure {
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            why = inner.to_string();
            cause = inner.source();
        }
        if error.is_timeout() {
            why = "no answer in time".to_owned();
        }
        let hint = if is_loopback(&self.server) {
            "start it with `gristmill serve`, or `gristmill serve --demo` to see one at work; \
             --server or GRISTMILL_SERVER names another"
        } else {
            "is the address right? It comes from --server or GRISTMILL_SERVER"
        };
        Failure::new(Exit::NotReached, format!("no service at {}: {}", self.page(""), clean(&why))).hint(hint)
    }
}

fn is_loopback(server: &Url) -> bool {
    match server.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// What the service answers when it does not do as asked.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    message: String,
    #[serde(default)]
    hint: Option<String>,
}

/// Puts a refusal into words and an exit code.
fn refusal(status: StatusCode, text: &str) -> Failure {
    let exit = match status.as_u16() {
        401 | 403 => Exit::NotPermitted,
        404 | 410 => Exit::NotFound,
        400 | 405 | 409 | 413 | 415 | 422 => Exit::Usage,
        502..=504 => Exit::NotReached,
        _ => Exit::Broken,
    };
    let Ok(ErrorBody { error }) = serde_json::from_str(text) else {
        let text = super::terminal::clip(text.trim(), FOREIGN_TEXT_WIDTH);
        return Failure::new(exit, format!("the service answered {status}: {text}"));
    };
    let failure = Failure::new(exit, clean(&error.message));
    match (error.hint, exit) {
        (Some(hint), _) => failure.hint(clean(&hint)),
        (None, Exit::NotPermitted) => failure.hint("give the token with --token or GRISTMILL_TOKEN"),
        (None, _) => failure,
    }
}

/// Makes a key under which a repeat of this very wish is recognised: unlike any other call's.
pub fn idempotency_key() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Two random states, which the system seeds: enough to tell wishes apart, and no secret.
    let half = || RandomState::new().build_hasher().finish();
    format!("cli-{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_refusal_says_what_and_how_to_mend_it() {
        let with_hint = refusal(
            StatusCode::NOT_FOUND,
            r#"{"error": {"code": "not-found", "message": "there is no scheduler `nigth`", "hint": "did you mean `night`?"}}"#,
        );
        assert_eq!(with_hint.exit, Exit::NotFound);
        expect![[r"
            there is no scheduler `nigth`
              help: did you mean `night`?"]]
        .assert_eq(&with_hint.to_string());
        let forbidden =
            refusal(StatusCode::UNAUTHORIZED, r#"{"error": {"code": "token", "message": "a token is needed"}}"#);
        assert_eq!(forbidden.exit, Exit::NotPermitted);
        let foreign = refusal(StatusCode::BAD_GATEWAY, "<html>\x1b[31mbad gateway</html>");
        assert_eq!(foreign.exit, Exit::NotReached);
        expect!["the service answered 502 Bad Gateway: <html>bad gateway</html>"].assert_eq(&foreign.to_string());
    }

    #[test]
    fn loopback_is_recognised() {
        for (url, is) in [
            ("http://127.0.0.1:8020", true),
            ("http://[::1]:8020", true),
            ("http://localhost", true),
            ("http://127.0.0.1.example.org", false),
            ("https://ci.example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is, "{url}");
        }
    }

    #[test]
    fn two_wishes_have_two_keys() {
        assert_ne!(idempotency_key(), idempotency_key());
    }
}
