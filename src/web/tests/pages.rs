//! What people see, over the same history.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt;

use super::world::{Answer, HOST, World};
use crate::store::tests::{Kind, on_both};

/// Every page of a service with a history.
const PAGES: [&str; 22] = [
    "/",
    "/changes",
    "/changes?repository=core&branch=main",
    "/changes/1",
    "/changes/2",
    "/buildsets",
    "/buildsets?scheduler=push",
    "/buildsets/1",
    "/buildsets/2",
    "/builds",
    "/builds?outcome=failure",
    "/builds/1",
    "/builds/1?step=0",
    "/builds/2",
    "/builds/1/steps/1/log?q=error",
    "/requests/1",
    "/requests/2",
    "/queue",
    "/schedulers",
    "/schedulers/by-hand/force",
    "/workers",
    "/messages",
];

/// Bytes that a page may have before it is compressed.
const PAGE_BYTES_MAX: usize = 40 * 1024;

async fn page(world: &World, path: &str) -> String {
    let answer = world.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.text()
}

fn header_of(answer: &Answer, name: header::HeaderName) -> &str {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

async fn post_form(world: &World, path: &str, form: &str) -> Answer {
    let request = Request::post(path)
        .header(header::HOST, HOST)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()));
    world.send(request.unwrap()).await
}

async fn every_page_is_whole_without_scripts_and_obeys_the_policy(kind: Kind) {
    let world = World::lived(kind).await;
    for path in PAGES {
        let html = page(&world, path).await;
        assert!(html.len() <= PAGE_BYTES_MAX, "{path} has {} bytes", html.len());
        assert!(html.contains("<h1") && html.trim_end().ends_with("</html>"), "{path}");
        assert!(html.contains("<html lang=\"en\" data-seq=\""), "{path}");
        for inline in [" style=", "<style", " onclick=", " onload=", "javascript:", "<script>"] {
            assert!(!html.contains(inline), "{path} has {inline}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/static/"), "{path}: {script:.80}");
        }
        assert!(!html.contains("=\"http"), "{path} names another origin");
        let control = html.chars().find(|glyph| glyph.is_control() && *glyph != '\n');
        assert_eq!(control, None, "{path}");
    }
}

async fn what_strangers_write_is_shown_and_does_nothing(kind: Kind) {
    let world = World::lived(kind).await;
    for path in ["/", "/changes", "/changes/2", "/buildsets/2", "/builds", "/builds/2", "/requests/3"] {
        let html = page(&world, path).await;
        assert!(!html.contains("<script>alert") && !html.contains("Eve <b>"), "{path}");
        assert!(!html.contains('\u{1b}') && !html.contains('\u{202e}'), "{path}");
    }
    let change = page(&world, "/changes/2").await;
    assert!(change.contains("&#60;script&#62;alert(&#39;x&#39;)&#60;/script&#62;"), "{change}");
    assert!(change.contains("red⟨U+202E⟩ &#38; &#34;sharp&#34;"), "{change}");
    assert!(change.contains("Eve &#60;b&#62;"), "{change}");
    let build = page(&world, "/builds/1").await;
    assert!(build.contains("<i class=\"f1\">error: &lt;b&gt;left&lt;/b&gt;</i> != right"), "{build}");
}

async fn one_link_leads_from_red_to_the_line_that_is_red(kind: Kind) {
    let world = World::lived(kind).await;
    let overview = page(&world, "/").await;
    assert!(overview.contains("href=\"/builds/1?step=1#L2\""), "{overview}");
    assert!(overview.contains("error: &#60;b&#62;left&#60;/b&#62; != right"), "{overview}");
    let build = page(&world, "/builds/1").await;
    let (excerpt, log) = (build.find("id=\"excerpt\"").unwrap(), build.find("id=\"log\"").unwrap());
    assert!(excerpt < log);
    assert!(build.contains("<div class=\"l err\" id=\"L2\">"), "{build}");
    assert!(build.contains("data-errors=\"2,3\""), "{build}");
    assert!(page(&world, "/buildsets/1").await.contains("href=\"/builds/1?step=1#L2\""));
}

async fn a_graph_is_drawn_and_listed_with_the_same_states(kind: Kind) {
    let world = World::lived(kind).await;
    let html = page(&world, "/buildsets/1").await;
    assert!(html.contains("aria-label=\"test, failed, failed, 7 s\""), "{html}");
    assert!(html.contains("class=\"node o-failure\"") && html.contains("class=\"node o-skipped\""), "{html}");
    let (test, package) = (html.rfind(">test</a>").unwrap(), html.rfind(">package</a>").unwrap());
    assert!(test < package, "what is needed comes first in the list");
}

async fn every_scheduler_says_what_it_made_of_a_change(kind: Kind) {
    let world = World::lived(kind).await;
    let html = page(&world, "/changes/1").await;
    for words in ["buildset 1", "files:", "a force scheduler is not woken by changes", "gristmill.yaml:"] {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert!(page(&world, "/requests/3").await.contains("waits for test"), "{}", page(&world, "/requests/3").await);
    assert!(page(&world, "/queue").await.contains("Waits for other builds"));
}

async fn the_viewer_gets_lines_and_hears_when_there_are_more(kind: Kind) {
    let mut world = World::lived(kind).await;
    let chunk = world.get("/builds/1/steps/1/lines?from=2&count=1").await;
    assert_eq!(
        chunk.json(),
        serde_json::json!({
            "from": 2, "total": 3, "bytes": 71, "complete": true,
            "lines": [["error: <b>left</b>", "f1", " != right", ""]],
        })
    );
    assert!(header_of(&chunk, header::CACHE_CONTROL).contains("immutable"));
    let found = world.get("/builds/1/steps/1/lines/search?q=ERROR").await;
    assert_eq!(found.json(), serde_json::json!({"hits": [2, 3], "next": null}));
    world.print(2, 0, 0, "one\n");
    let grown = world.get("/builds/2/steps/0/lines?after=0").await;
    assert_eq!(grown.json(), serde_json::json!({"total": 1, "bytes": 4, "complete": false, "errors": []}));
    let router = world.router.clone();
    let question = Request::get("/builds/2/steps/0/lines?after=4").header(header::HOST, HOST);
    let waits = tokio::spawn(router.oneshot(question.body(Body::empty()).unwrap()));
    let body = gristmill_model::protocol::ReportBody::StepFinished {
        step: 0,
        outcome: gristmill_model::Outcome::Success,
        cause: None,
        summary: String::new(),
        warnings: 0,
    };
    world.report(2, 1, body).await;
    let answer = tokio::time::timeout(std::time::Duration::from_secs(15), waits).await.unwrap().unwrap().unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("\"complete\":true"), "{bytes:?}");
}

async fn a_long_log_is_shown_in_parts(kind: Kind) {
    let world = World::lived(kind).await;
    let lines: String = (1..=3000).map(|line| format!("line {line}\n")).collect();
    let mut offset = 0;
    for part in lines.as_bytes().chunks(50_000) {
        world.print(2, 0, offset, std::str::from_utf8(part).unwrap());
        offset += part.len() as u64;
    }
    let newest = page(&world, "/builds/2").await;
    assert!(
        newest.contains("id=\"L3000\"") && !newest.contains("id=\"L2750\""),
        "a log that grows is shown at its end"
    );
    assert_eq!(newest.matches("class=\"l\"").count(), 250);
    let middle = page(&world, "/builds/2?step=0&from=1001").await;
    assert!(middle.contains("id=\"L1001\"") && middle.contains("from=1251") && middle.contains("from=751"), "{middle}");
    let plain = page(&world, "/builds/2/steps/0/log?from=2990").await;
    assert!(plain.contains("id=\"L3000\"") && plain.contains(">before</a>"), "{plain}");
}

async fn what_is_not_there_is_answered_with_what_may_be_meant(kind: Kind) {
    let world = World::lived(kind).await;
    for (path, words) in [
        ("/builds/999", "There is no build 999"),
        ("/builds/x%1b%5b31m", "There is no build x"),
        ("/buildsets/18446744073709551616", "There is no buildset 18446744073709551616"),
        ("/changes/abcdef0", "No change brought abcdef0"),
        ("/builds/1/steps/9/log", "Build 1 has no step 9"),
        ("/schedulers/by-hnd/force", "scheduler by-hand"),
        ("/schedulers/push/force", "push is not started by people"),
        ("/no/such/page", "There is no such page"),
        ("/search?q=%3Cb%3E", "Nothing is called &#60;b&#62;"),
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
}

async fn short_addresses_and_the_search_box_lead_there(kind: Kind) {
    let world = World::lived(kind).await;
    for (path, place) in [
        ("/b/1", "/builds/1"),
        ("/bs/2", "/buildsets/2"),
        ("/c/2", "/changes/2"),
        ("/r/3", "/requests/3"),
        ("/changes/a1a1a1a1", "/changes/1"),
        ("/search?q=a1a1a1", "/changes/1"),
        ("/search?q=linux", "/builds?builder=linux-x64"),
    ] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, header_of(&answer, header::LOCATION)), (StatusCode::SEE_OTHER, place), "{path}");
    }
    let several = page(&world, "/search?q=1").await;
    for words in ["build 1: linux-x64", "buildset 1: push", "change 1: Make the queue bounded", "request 1: "] {
        assert!(several.contains(words), "{words}: {several}");
    }
}

async fn a_person_starts_a_scheduler_and_ends_what_it_made(kind: Kind) {
    let world = World::lived(kind).await;
    let form = page(&world, "/schedulers/by-hand/force?branch=release%2F%22").await;
    assert!(form.contains("name=\"p.branch\" value=\"release/&#34;\""), "{form}");
    let wrong = post_form(&world, "/schedulers/by-hand/force", "p.branch=main&p.size=many&by=Ada").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("value=\"many\"") && wrong.text().contains("class=\"wrong\""), "{}", wrong.text());
    let right = post_form(&world, "/schedulers/by-hand/force", "p.branch=main&p.size=3&by=Ada&reason=To+see").await;
    let place = header_of(&right, header::LOCATION).to_owned();
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{}", right.text());
    let buildset = page(&world, &place).await;
    assert!(buildset.contains("Ada: To see") && buildset.contains("no worker can ever run this"), "{buildset}");
    let ended = post_form(&world, &format!("{place}/cancel"), "").await;
    assert_eq!((ended.status, header_of(&ended, header::LOCATION)), (StatusCode::SEE_OTHER, place.as_str()));
    assert!(page(&world, &place).await.contains("<span class=\"word o-cancelled\">cancelled</span>"));
}

async fn files_are_kept_for_ever_and_pages_are_asked_for_again(kind: Kind) {
    let world = World::lived(kind).await;
    let home = world.get("/workers").await;
    let html = home.text();
    let (_, rest) = html.split_once("href=\"/static/").unwrap();
    let (hash, _) = rest.split_once('/').unwrap();
    for name in ["style.css", "live.js", "morph.js", "log.js", "icons.svg", "mark.svg"] {
        let file = world.get(&format!("/static/{hash}/{name}")).await;
        assert_eq!(
            (file.status, header_of(&file, header::CACHE_CONTROL)),
            (StatusCode::OK, "public, max-age=31536000, immutable")
        );
        let older = world.get(&format!("/static/000000000000/{name}")).await;
        assert_eq!(header_of(&older, header::CACHE_CONTROL), "no-cache");
    }
    assert_eq!(world.get(&format!("/static/{hash}/..%2f..%2fCargo.toml")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(header_of(&home, header::CACHE_CONTROL), "private, no-cache");
    let etag = header_of(&home, header::ETAG).to_owned();
    let again = Request::get("/workers").header(header::HOST, HOST).header(header::IF_NONE_MATCH, etag);
    assert_eq!(world.send(again.body(Body::empty()).unwrap()).await.status, StatusCode::NOT_MODIFIED);
}

async fn pages_are_compressed_and_streams_are_not(kind: Kind) {
    let world = World::lived(kind).await;
    for (path, encoding) in [("/", Some("gzip")), ("/api/v1/events/stream", None)] {
        let request = Request::get(path).header(header::HOST, HOST).header(header::ACCEPT_ENCODING, "gzip");
        let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let sent = response.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        assert_eq!(sent, encoding, "{path}");
    }
}

on_both! {
    every_page_is_whole_without_scripts_and_obeys_the_policy,
    what_strangers_write_is_shown_and_does_nothing,
    one_link_leads_from_red_to_the_line_that_is_red,
    a_graph_is_drawn_and_listed_with_the_same_states,
    every_scheduler_says_what_it_made_of_a_change,
    the_viewer_gets_lines_and_hears_when_there_are_more,
    a_long_log_is_shown_in_parts,
    what_is_not_there_is_answered_with_what_may_be_meant,
    short_addresses_and_the_search_box_lead_there,
    a_person_starts_a_scheduler_and_ends_what_it_made,
    files_are_kept_for_ever_and_pages_are_asked_for_again,
    pages_are_compressed_and_streams_are_not,
}
