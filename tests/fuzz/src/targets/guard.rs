//! Who may change something, whatever a request says of itself.

use std::net::{IpAddr, SocketAddr};

use gristmill::web::Guard;
use gristmill::web::guard::{Claims, Refused};

use super::texts;
use crate::Target;
use crate::source::Source;

pub(super) const GUARD: Target = Target {
    seeds: || {
        texts(&[
            "\0\0\0\u{1}\u{f}\n127.0.0.1:8020\nhttp://127.0.0.1:8020\nsame-origin\nBearer a token",
            "\u{1}\u{1}\u{1}\u{1}\u{f}\nci.example.org\nhttps://ci.example.org\ncross-site\nBasic eDphIHRva2Vu",
            "\0\u{1}\0\u{1}\u{3}\n[::1]:8020\nhttp://evil.example.org\n\n",
        ])
    },
    words: &[
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "::1",
        "::ffff:127.0.0.1",
        "127.1",
        "0.0.0.0",
        ":8020",
        ":80",
        ":",
        "evil.example.org",
        "ci.example.org",
        "http://",
        "https://",
        "null",
        "same-origin",
        "same-site",
        "cross-site",
        "none",
        "Bearer ",
        "bearer",
        "Basic ",
        "a token",
        "eDphIHRva2Vu",
        "@",
        ".",
        "\n",
        "//",
    ],
    size_max: 256,
    short: 10_000,
    ..Target::new(
        "guard",
        "nothing is changed without the token where one is configured, nor from beyond this machine where none is, nor for a page of another site, and \
         a service on loopback answers to no foreign name",
        run,
    )
};

const TOKEN: &str = "a token";
const PUBLIC: &str = "https://ci.example.org";

fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (is_local, has_token, has_public, changes) = (!source.flag(), source.flag(), source.flag(), source.flag());
    let there = source.byte();
    let text = String::from_utf8_lossy(source.rest()).into_owned();
    let lines: Vec<&str> = text.split('\n').collect();
    let line = |number: usize| lines.get(number + 1).copied().filter(|_| there & (1 << number) != 0);
    let claims = Claims { changes, host: line(0), origin: line(1), fetch_site: line(2), authorization: line(3) };
    let listen: SocketAddr = if is_local { "127.0.0.1:8020" } else { "0.0.0.0:8020" }.parse().unwrap();
    let guard = Guard::new(listen, has_public.then_some(PUBLIC), has_token.then_some(TOKEN));
    match guard.decide(claims) {
        Ok(()) => check_allowed(claims, is_local, has_token, has_public),
        Err(refused) => {
            assert!(matches!(refused.status().as_u16(), 401 | 403) && !refused.words().2.is_empty());
            assert!(changes || refused == Refused::Host, "reading is refused: {refused:?} {claims:?}");
        }
    }
}

fn check_allowed(claims: Claims<'_>, is_local: bool, has_token: bool, has_public: bool) {
    let host = claims.host.unwrap_or("");
    let is_own = is_loopback(host) || (has_public && format!("https://{host}") == PUBLIC);
    assert!(!is_local || is_own, "a foreign name is answered: {claims:?}");
    if !claims.changes {
        return;
    }
    assert!(has_token || is_local, "changed from beyond this machine without a token: {claims:?}");
    let authorization = claims.authorization.unwrap_or("");
    let is_bearer = authorization.to_ascii_lowercase().starts_with("bearer ");
    if has_token {
        let said = authorization.split_once(' ').map_or("", |(_, rest)| rest.trim());
        let is_right = if is_bearer { said == TOKEN } else { authorization.to_ascii_lowercase().starts_with("basic ") };
        assert!(is_right, "changed without the token: {claims:?}");
    }
    if !is_bearer || !has_token {
        assert!(!matches!(claims.fetch_site, Some("cross-site" | "same-site")), "changed for another site: {claims:?}");
        let is_same = |origin: &str| {
            let name = origin.split_once("://").map_or("", |(_, name)| name);
            (has_public && origin == PUBLIC) || (!name.is_empty() && name == host)
        };
        assert!(claims.origin.is_none_or(is_same), "changed for a page of another site: {claims:?}");
    }
}

/// Says whether a name and port mean this machine, read in another way than the product does.
fn is_loopback(host: &str) -> bool {
    let name = match host.rfind(':') {
        Some(colon) if host[colon + 1..].chars().all(|digit| digit.is_ascii_digit()) => &host[..colon],
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
