//! Who may change something, and which names this service answers to.
//!
//! Reading is open to whoever reaches the port. Changing is not: a page on the internet that a person has open beside
//! Gristmill must not be able to start builds (cross-site requests), nor by pointing a name of its own at 127.0.0.1
//! (DNS rebinding), which would let it read logs, too. Where the service listens beyond this machine, a token is asked
//! for, and without one configured nothing can be changed.

use std::net::{IpAddr, SocketAddr};
use std::sync::{PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::App;
use super::api::error::ApiError;
use super::api::is_api_path;

/// Decides who may change something.
#[derive(Debug)]
pub struct Guard {
    listen: SocketAddr,
    /// The origin of the address that people reach the pages by, such as `https://ci.example.org`.
    public_origin: Option<String>,
    /// SHA-256 of the token.
    token: RwLock<Option<[u8; 32]>>,
}

/// What a request says about itself, as far as the guard looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims<'a> {
    /// Whether it would change something.
    pub changes: bool,
    /// The name it was sent to.
    pub host: Option<&'a str>,
    /// The site whose page sent it.
    pub origin: Option<&'a str>,
    /// How the browser says that site is related.
    pub fetch_site: Option<&'a str>,
    /// The credentials it carries.
    pub authorization: Option<&'a str>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It was sent to a name that is not this service's.
    Host,
    /// It was sent to this machine under another port than is listened on.
    Port,
    /// A page of another site sent it.
    CrossSite,
    /// A token is needed, and none was sent.
    TokenMissing,
    /// The token sent is not the one configured.
    TokenWrong,
    /// A token is needed, and none is configured.
    TokenNotConfigured,
}

impl Guard {
    /// Makes a guard for a service that listens on `listen` and that people reach by `public_url`.
    ///
    /// An empty token counts as none.
    pub fn new(listen: SocketAddr, public_url: Option<&str>, token: Option<&str>) -> Self {
        let guard = Self { listen, public_origin: public_url.and_then(origin_of_url), token: RwLock::new(None) };
        guard.set_token(token);
        guard
    }

    /// Changes the token, when a changed configuration comes into force.
    pub fn set_token(&self, token: Option<&str>) {
        let hash = token.map(str::trim).filter(|token| !token.is_empty()).map(sha256);
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = hash;
    }

    /// Says whether a token is configured.
    pub fn has_token(&self) -> bool {
        self.token.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decide(&self, claims: Claims<'_>) -> Result<(), Refused> {
        let is_local = self.listen.ip().is_loopback();
        if is_local && !self.is_own_name(claims.host) {
            return Err(Refused::Host);
        }
        if !claims.changes {
            return Ok(());
        }
        let token = *self.token.read().unwrap_or_else(PoisonError::into_inner);
        match token {
            Some(token) => self.decide_by_token(token, claims),
            None if !is_local => Err(Refused::TokenNotConfigured),
            None if !self.is_own_port(claims.host) => Err(Refused::Port),
            None => self.same_site(claims),
        }
    }

    fn decide_by_token(&self, token: [u8; 32], claims: Claims<'_>) -> Result<(), Refused> {
        let authorization = claims.authorization.ok_or(Refused::TokenMissing)?;
        let (scheme, rest) = authorization.split_once(' ').ok_or(Refused::TokenMissing)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            // No browser adds this by itself, so no page of another site can send it.
            return if is_equal(token, sha256(rest.trim())) { Ok(()) } else { Err(Refused::TokenWrong) };
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Refused::TokenMissing);
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).map_err(|_| Refused::TokenWrong)?;
        let decoded = String::from_utf8(decoded).map_err(|_| Refused::TokenWrong)?;
        let (_, password) = decoded.split_once(':').ok_or(Refused::TokenWrong)?;
        if !is_equal(token, sha256(password)) {
            return Err(Refused::TokenWrong);
        }
        self.same_site(claims)
    }

    /// A browser says which site's page sent a request; a program says nothing.
    fn same_site(&self, claims: Claims<'_>) -> Result<(), Refused> {
        if claims.fetch_site.is_some_and(|site| site != "same-origin" && site != "none") {
            return Err(Refused::CrossSite);
        }
        let Some(origin) = claims.origin else { return Ok(()) };
        let is_public = self.public_origin.as_deref() == Some(origin);
        let is_host = claims.host.is_some_and(|host| {
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(host)
        });
        if is_public || is_host { Ok(()) } else { Err(Refused::CrossSite) }
    }

    fn is_own_name(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return false };
        let public = self.public_origin.as_deref().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        if public == Some(host) {
            return true;
        }
        let (name, _) = split_port(host);
        name.eq_ignore_ascii_case("localhost")
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn is_own_port(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return false };
        let (name, port) = split_port(host);
        let is_loopback_name = name.eq_ignore_ascii_case("localhost")
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback_name && port.unwrap_or("80").parse() == Ok(self.listen.port())
    }
}

/// Splits `name:port`, and `[::1]:port`.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    }
}

/// Gives `https://name:port` of a URL.
fn origin_of_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    Some(format!("{}://{}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase()))
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares in the same time wherever they differ. Both are hashes, so nothing is learned from a prefix either.
fn is_equal(left: [u8; 32], right: [u8; 32]) -> bool {
    left.iter().zip(right).fold(0_u8, |different, (left, right)| different | (left ^ right)) == 0
}

impl Refused {
    /// Gives the status that says it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::Host | Self::Port | Self::CrossSite | Self::TokenNotConfigured => StatusCode::FORBIDDEN,
        }
    }

    /// Gives the code for programs, what is wrong, and what would be right.
    pub fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Host => (
                "host-not-allowed",
                "this service listens on this machine only and does not answer to the name in the request",
                "open it as http://127.0.0.1 or http://localhost with its port; if a proxy stands in front of it, \
                 write the proxy's address as `url` in the configuration's `settings`",
            ),
            Self::Port => (
                "host-not-allowed",
                "nothing can be changed under this address",
                "use the address and port that the service printed when it started, or configure a token: \
                 `token` in the configuration's `settings` names the secret that holds it",
            ),
            Self::CrossSite => (
                "cross-site",
                "a page of another site sent this request, so nothing was changed",
                "do it from Gristmill's own pages, or by a program that sends no `Origin`",
            ),
            Self::TokenMissing => (
                "token-missing",
                "changing something needs the token",
                "send `Authorization: Bearer TOKEN`; `gristmill` takes it from --token or GRISTMILL_TOKEN",
            ),
            Self::TokenWrong => (
                "token-wrong",
                "this is not the token",
                "its secret is named by `token` in the configuration's `settings`",
            ),
            Self::TokenNotConfigured => (
                "token-not-configured",
                "this service listens beyond its own machine and has no token, so nothing can be changed",
                "write `settings: {token: NAME}` and `secrets: {NAME: {file: PATH}}` in the configuration, \
                 and send `Authorization: Bearer TOKEN`",
            ),
        }
    }
}

/// Says whether the percent signs of a path stand for text.
fn is_text(path: &str) -> bool {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.split_at_checked(2).filter(|_| first == b'%').and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// Lets a request through, or answers why not.
pub async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let claims = Claims {
        changes: !request.method().is_safe(),
        host: text(headers, header::HOST.as_str()).or_else(|| request.uri().authority().map(|host| host.as_str())),
        origin: text(headers, header::ORIGIN.as_str()),
        fetch_site: text(headers, "sec-fetch-site"),
        authorization: text(headers, header::AUTHORIZATION.as_str()),
    };
    let is_api = is_api_path(request.uri().path());
    let Err(refused) = app.guard.decide(claims) else {
        if is_api && !is_text(request.uri().path()) {
            return ApiError::bad_request("the path is not text in UTF-8").into_response();
        }
        return next.run(request).await;
    };
    let (code, message, hint) = refused.words();
    let mut response = if is_api {
        ApiError::new(refused.status(), code, message).hint(hint).into_response()
    } else {
        (refused.status(), format!("{message}\n{hint}\n")).into_response()
    };
    if refused.status() == StatusCode::UNAUTHORIZED {
        // Browsers ask the person for a name and a password; the password is the token.
        let challenge = if is_api { "Bearer" } else { "Basic realm=\"Gristmill\", charset=\"UTF-8\"" };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// Gives a header's text; a header that is there twice or is no text counts as wrong, not as missing.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some("");
    }
    Some(first.to_str().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1:8020";
    const BEYOND: &str = "0.0.0.0:8020";

    fn guard(listen: &str, token: Option<&str>) -> Guard {
        Guard::new(listen.parse().unwrap(), Some("https://ci.example.org/"), token)
    }

    fn post(host: &'static str) -> Claims<'static> {
        Claims { changes: true, host: Some(host), ..Claims::default() }
    }

    #[test]
    fn on_loopback_without_a_token_only_this_machines_own_pages_and_programs_may_change_something() {
        let guard = guard(LOCAL, None);
        let by = |origin, fetch_site| Claims { origin, fetch_site, ..post("localhost:8020") };
        for (claims, decision) in [
            (post("127.0.0.1:8020"), Ok(())),
            (post("localhost:8020"), Ok(())),
            (post("[::1]:8020"), Ok(())),
            (post("127.0.0.1"), Err(Refused::Port)),
            (post("localhost:9999"), Err(Refused::Port)),
            (post("evil.example:8020"), Err(Refused::Host)),
            (post("127.0.0.1.evil.example:8020"), Err(Refused::Host)),
            (post("localhost.evil.example:8020"), Err(Refused::Host)),
            (post(""), Err(Refused::Host)),
            (post("127.0.0.1:8020@evil.example"), Err(Refused::Host)),
            (post("localhost:8020.evil.example"), Err(Refused::Host)),
            (post("evil.example@127.0.0.1:8020"), Err(Refused::Host)),
            // A proxy on this machine brings people from elsewhere: they need a token.
            (post("ci.example.org"), Err(Refused::Port)),
            (Claims { changes: true, ..Claims::default() }, Err(Refused::Host)),
            (by(Some("http://localhost:8020"), None), Ok(())),
            (by(Some("http://localhost:8020"), Some("same-origin")), Ok(())),
            (by(None, Some("none")), Ok(())),
            (by(None, Some("cross-site")), Err(Refused::CrossSite)),
            (by(None, Some("same-site")), Err(Refused::CrossSite)),
            (by(Some("http://localhost:3000"), None), Err(Refused::CrossSite)),
            (by(Some("null"), None), Err(Refused::CrossSite)),
            (by(Some(""), None), Err(Refused::CrossSite)),
            (by(Some("http://evil.example"), Some("same-origin")), Err(Refused::CrossSite)),
        ] {
            assert_eq!(guard.decide(claims), decision, "{claims:?}");
        }
    }

    #[test]
    fn a_configured_token_is_asked_for_everywhere() {
        let basic = "Basic YWRhOnMzY3JldA=="; // ada:s3cret
        for listen in [LOCAL, BEYOND] {
            let guard = guard(listen, Some("s3cret\n"));
            let with = |authorization, origin| Claims { authorization, origin, ..post("127.0.0.1:8020") };
            for (claims, decision) in [
                (with(None, None), Err(Refused::TokenMissing)),
                (with(Some("Bearer s3cret"), None), Ok(())),
                (with(Some("bearer s3cret"), None), Ok(())),
                (with(Some("Bearer s3cre"), None), Err(Refused::TokenWrong)),
                (with(Some("Bearer "), None), Err(Refused::TokenWrong)),
                (with(Some("s3cret"), None), Err(Refused::TokenMissing)),
                (with(Some("Digest s3cret"), None), Err(Refused::TokenMissing)),
                (with(Some(basic), Some("http://127.0.0.1:8020")), Ok(())),
                (with(Some(basic), Some("https://ci.example.org")), Ok(())),
                (with(Some(basic), Some("http://evil.example")), Err(Refused::CrossSite)),
                (with(Some("Basic !!"), None), Err(Refused::TokenWrong)),
            ] {
                assert_eq!(guard.decide(claims), decision, "{listen} {claims:?}");
            }
        }
    }

    #[test]
    fn beyond_loopback_without_a_token_nothing_can_be_changed() {
        for token in [None, Some(""), Some("  ")] {
            let guard = guard(BEYOND, token);
            assert_eq!(guard.decide(post("127.0.0.1:8020")), Err(Refused::TokenNotConfigured));
            let with = Claims { authorization: Some("Bearer "), ..post("ci.example.org") };
            assert_eq!(guard.decide(with), Err(Refused::TokenNotConfigured));
        }
    }

    #[test]
    fn reading_is_open_but_a_rebound_name_is_refused_on_loopback() {
        let read = |host| Claims { host: Some(host), ..Claims::default() };
        let local = guard(LOCAL, None);
        assert_eq!(local.decide(read("localhost:1234")), Ok(()));
        assert_eq!(local.decide(read("ci.example.org")), Ok(()));
        assert_eq!(local.decide(read("evil.example:8020")), Err(Refused::Host));
        assert_eq!(guard(BEYOND, None).decide(read("whatever.example")), Ok(()));
    }
}
