//! Requests to the API and the pages, through the real router.

use std::cell::RefCell;

use axum::body::Body;
use axum::http::{Method, Request, Uri};

use super::blind_seeds;
use super::world::{Answer, HOST, World};
use crate::Target;
use crate::source::Source;

pub(super) const REQUESTS: Target = Target {
    seeds: blind_seeds,
    words: &[
        "branch",
        "limit",
        "before",
        "kind",
        "q",
        "since",
        "\"parameters\":",
        "\"reason\":",
        "\"by\":",
        "{\"parameters\":{\"size\":\"3\"}}",
        "%00",
        "%2f",
        "%ff",
        "&",
        "=",
        "+",
        "../",
    ],
    size_max: 1024,
    short: 600,
    millis_max: 1_000,
    ..Target::new(
        "api",
        "whatever is asked, the answer is not the service's fault (never 5xx), carries the headers that keep it harmless, is the JSON that it says it \
         is, and a page has no script that is not ours",
        |bytes| with_world(|world| run_request(world, bytes)),
    )
};

/// Inputs after which a world is replaced: it grows with every build that is forced.
const WORLD_INPUTS_MAX: usize = 400;

thread_local! {
    static WORLD: RefCell<Option<(World, usize)>> = const { RefCell::new(None) };
}

fn with_world(work: impl FnOnce(&World)) {
    WORLD.with_borrow_mut(|slot| {
        let used = slot.as_ref().map_or(WORLD_INPUTS_MAX, |(_, used)| *used);
        if used >= WORLD_INPUTS_MAX {
            *slot = Some((World::lived(), 0));
        }
        let (world, used) = slot.as_mut().unwrap();
        *used += 1;
        work(world);
    });
}

const PATHS: [&str; 52] = [
    "/",
    "/changes",
    "/changes/{}",
    "/buildsets",
    "/buildsets/{}",
    "/buildsets/{}/cancel",
    "/builds",
    "/builds/{}",
    "/builds/{}/cancel",
    "/builds/{}/steps/{}/log",
    "/builds/{}/steps/{}/lines",
    "/builds/{}/steps/{}/lines/search",
    "/requests/{}",
    "/requests/{}/cancel",
    "/queue",
    "/schedulers",
    "/schedulers/{}/force",
    "/workers",
    "/messages",
    "/search",
    "/b/{}",
    "/bs/{}",
    "/c/{}",
    "/r/{}",
    "/healthz",
    "/api/v1/",
    "/api/v1/status",
    "/api/v1/changes",
    "/api/v1/changes/{}",
    "/api/v1/buildsets",
    "/api/v1/buildsets/{}",
    "/api/v1/buildsets/{}/cancel",
    "/api/v1/builds",
    "/api/v1/builds/{}",
    "/api/v1/builds/{}/cancel",
    "/api/v1/builds/{}/log",
    "/api/v1/builds/{}/suspects",
    "/api/v1/builds/{}/steps/{}/lines",
    "/api/v1/builds/{}/steps/{}/errors",
    "/api/v1/requests",
    "/api/v1/requests/{}",
    "/api/v1/requests/{}/cancel",
    "/api/v1/incidents/{}",
    "/api/v1/schedulers/{}",
    "/api/v1/schedulers/{}/force",
    "/api/v1/repositories/{}",
    "/api/v1/repositories/{}/sweep",
    "/api/v1/deliveries",
    "/api/v1/deliveries/{}/replay",
    "/api/v1/messages",
    "/api/v1/why",
    "/api/v1/events",
];
const NAMES: [&str; 10] = ["1", "2", "3", "0", "-1", "by-hand", "core", "push", "a1a1a1", "9223372036854775807"];
const KEYS: [&str; 24] = [
    "limit",
    "before",
    "after",
    "since",
    "kind",
    "build",
    "buildset",
    "request",
    "change",
    "scheduler",
    "branch",
    "repository",
    "project",
    "builder",
    "outcome",
    "state",
    "q",
    "from",
    "count",
    "step",
    "epoch",
    "offset",
    "tail",
    "author",
];
const VALUES: [&str; 12] =
    ["1", "2", "0", "-1", "main", "failure", "core", "build.*", "9223372036854775807", "a1a1", "x,y,z", "%00"];

fn run_request(world: &World, bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut uri = String::new();
    for (number, part) in source.pick(&PATHS).split("{}").enumerate() {
        if number > 0 {
            uri.push_str(&escaped(&source.name(&NAMES)));
        }
        uri.push_str(part);
    }
    for number in 0..source.below(4) {
        let (key, value) = (source.name(&KEYS), source.name(&VALUES));
        uri.push(if number == 0 { '?' } else { '&' });
        uri.push_str(&format!("{}={}", escaped(&key), if source.flag() { value } else { escaped(&value) }));
    }
    let Ok(uri) = uri.parse::<Uri>() else { return };
    let method =
        source.pick(&[Method::GET, Method::POST, Method::GET, Method::HEAD, Method::PUT, Method::DELETE]).clone();
    let mut request = Request::builder().method(method.clone()).uri(uri.clone());
    request = request.header("host", if source.once_in(12) { "evil.example.org" } else { HOST });
    let kind = *source.pick(&[
        "application/json",
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=latin1",
    ]);
    request = request.header("content-type", kind);
    let optional = [
        "idempotency-key",
        "last-event-id",
        "if-none-match",
        "range",
        "authorization",
        "cookie",
        "origin",
        "accept",
        "accept-encoding",
        "sec-fetch-site",
        "accept-language",
        "x-forwarded-for",
    ];
    for _ in 0..source.below(4) {
        let value = source.name(&[
            "1",
            "abc",
            "bytes=0-10",
            "bytes=-1",
            "Bearer x",
            "gzip",
            "application/json",
            "text/html",
            "same-origin",
            "cross-site",
            "null",
            "http://127.0.0.1:8020",
        ]);
        if let Ok(value) = axum::http::HeaderValue::from_bytes(value.as_bytes()) {
            request = request.header(*source.pick(&optional), value);
        }
    }
    let body = body(&mut source);
    let answer = world.ask(request.body(Body::from(body)).unwrap());
    check_answer(&format!("{method} {uri}"), &answer, method == Method::HEAD);
}

fn body(source: &mut Source<'_>) -> Vec<u8> {
    match source.below(5) {
        0 => Vec::new(),
        1 => source.rest().to_vec(),
        2 => {
            let pairs: Vec<String> = (0..source.below(5))
                .map(|_| {
                    format!(
                        "{}={}",
                        escaped(&source.name(&["size", "branch", "reason", "by", "parameter.size"])),
                        escaped(&source.text())
                    )
                })
                .collect();
            pairs.join("&").into_bytes()
        }
        _ => {
            let parameters = source.pairs(&["size", "branch"]);
            let mut value = serde_json::json!({"parameters": parameters, "reason": source.text(), "by": source.text()});
            if source.once_in(3) {
                value[source.text()] = serde_json::json!(source.number());
            }
            if source.once_in(4) {
                value["parameters"]["size"] = serde_json::json!([source.number()]);
            }
            value.to_string().into_bytes()
        }
    }
}

/// Encodes what cannot stand in an address.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b',' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn check_answer(what: &str, answer: &Answer, is_head: bool) {
    assert!(!answer.status.is_server_error(), "{what}: {} {}", answer.status, String::from_utf8_lossy(&answer.bytes));
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    // What steps printed may run nothing at all.
    let policy = header("content-security-policy");
    let is_strict = ["default-src 'self'", "default-src 'none'"].iter().any(|rule| policy.contains(rule));
    assert!(is_strict, "{what}: {:?}", answer.headers);
    if header("content-encoding") == "gzip" || is_head {
        return;
    }
    if header("content-type").starts_with("application/json") {
        serde_json::from_slice::<serde_json::Value>(&answer.bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    if header("content-type").starts_with("text/html") {
        let page = std::str::from_utf8(&answer.bytes).unwrap();
        assert!(
            page.match_indices("<script")
                .all(|(at, _)| page[at..].starts_with("<script type=\"module\" src=\"/static/")
                    || page[at..].starts_with("<script src=\"/static/")
                    || page[at..].starts_with("<script defer src=\"/static/")),
            "{what}: a foreign script in {page}"
        );
        assert!(
            !page.contains("<img") && !page.contains("onerror=\"") && !page.contains("javascript:alert"),
            "{what}: {page}"
        );
        assert!(
            !page.chars().any(|glyph| glyph.is_control() && !"\n\t\r".contains(glyph)),
            "{what}: controls in {page:?}"
        );
    }
}

pub(super) const EVENTS: Target = Target {
    seeds: || super::texts(&["\0\0\u{1}1", "\0\0\0", "\u{1}\0\u{2}-1", "\u{1}\u{1}\u{1}9223372036854775807"]),
    words: &[
        "0",
        "1",
        "12",
        "-1",
        " ",
        "+",
        "0x",
        "1e3",
        "9223372036854775807",
        "9223372036854775808",
        "1\r\n",
        "\u{e9}",
        "build.*",
        "*",
        ",",
        "kind=",
    ],
    size_max: 256,
    short: 600,
    millis_max: 1_000,
    ..Target::new(
        "last-event-id",
        "a stream begins right after the event that was named, in the journal's order and with nothing left out, or says that it cannot; what is no \
         number is refused",
        |bytes| with_world(|world| run_events(world, bytes)),
    )
};

fn run_events(world: &World, bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (has_kind, has_since) = (source.once_in(4), source.once_in(4));
    let count = 1 + source.below(2);
    let id = source.rest();
    let Ok(value) = axum::http::HeaderValue::from_bytes(id) else { return };
    let mut query = Vec::new();
    if has_kind {
        query.push("kind=build.*".to_owned());
    }
    if has_since {
        query.push(format!("since={}", escaped(&String::from_utf8_lossy(id))));
    }
    let uri = format!("/api/v1/events/stream?{}", query.join("&"));
    let mut request = Request::get(uri).header("host", HOST);
    for _ in 0..count {
        request = request.header("last-event-id", value.clone());
    }
    let answer = world.ask(request.body(Body::empty()).unwrap());
    check_answer("the stream", &answer, false);
    let number = value.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok()).filter(|number| *number >= 0);
    if let Some(number) = number.filter(|_| answer.status.is_success() && !has_kind) {
        check_stream(number, &String::from_utf8_lossy(&answer.bytes));
    }
    assert!(!answer.status.is_success() || number.is_some(), "{value:?} is taken as a number");
}

fn check_stream(after: i64, text: &str) {
    let first = after + i64::from(after < i64::MAX);
    let is_reset = text.contains("event: reset") || text.contains("event:reset");
    let records = text.split("\n\n").filter(|record| record.contains("data:") && !record.contains("event:"));
    for (next, record) in (first..=i64::MAX).zip(records) {
        let id = record.lines().find_map(|line| line.strip_prefix("id:")).and_then(|id| id.trim().parse::<i64>().ok());
        assert!(id == Some(next) || is_reset, "event {id:?} comes and {next} was to: {text}");
    }
}
