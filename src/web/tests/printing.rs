//! What steps printed.

use expect_test::expect;

use super::asking::check;
use super::world::World;
use crate::store::tests::{Kind, on_both};

async fn a_log_is_given_as_bytes_as_lines_and_by_its_errors(kind: Kind) {
    let world = World::lived(kind).await;
    let raw = world.get("/api/v1/builds/1/log").await;
    assert_eq!(raw.text(), "running\n\u{1b}[31merror: <b>left</b>\u{1b}[0m != right\nmake: *** [check] Error 2\n");
    assert_eq!(raw.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(raw.headers["cache-control"], "private, max-age=31536000, immutable");
    assert_eq!(raw.headers["content-security-policy"], "sandbox; default-src 'none'");
    assert_eq!(raw.headers["x-gristmill-step"], "1", "the step that failed");
    let rest = world.get("/api/v1/builds/1/log?step=1&offset=45").await;
    assert_eq!(rest.text(), "make: *** [check] Error 2\n");
    assert_eq!(world.get("/api/v1/builds/1/log?step=1&offset=99999").await.text(), "");
    assert_eq!(world.get("/api/v1/builds/2/log").await.text(), "", "nothing was printed yet");
    check(
        &world,
        "/api/v1/builds/1/steps/1/lines?from=2&count=1",
        expect![[r#"
        {
          "complete": true,
          "items": [
            {
              "cut": 0,
              "html": "<i class=\"f1\">error: &lt;b&gt;left&lt;/b&gt;</i> != right",
              "n": 2,
              "text": "error: <b>left</b> != right"
            }
          ],
          "lines": 3,
          "next": 3
        }"#]],
    )
    .await;
    check(
        &world,
        "/api/v1/builds/1/steps/1/errors",
        expect![[r#"
        {
          "complete": true,
          "excerpt": {
            "error": 2,
            "lines": [
              {
                "cut": 0,
                "html": "running",
                "n": 1,
                "text": "running"
              },
              {
                "cut": 0,
                "html": "<i class=\"f1\">error: &lt;b&gt;left&lt;/b&gt;</i> != right",
                "n": 2,
                "text": "error: <b>left</b> != right"
              },
              {
                "cut": 0,
                "html": "make: *** [check] Error 2",
                "n": 3,
                "text": "make: *** [check] Error 2"
              }
            ]
          },
          "items": [
            {
              "n": 2,
              "text": "error: <b>left</b> != right"
            },
            {
              "n": 3,
              "text": "make: *** [check] Error 2"
            }
          ],
          "next": null
        }"#]],
    )
    .await;
    expect!["404 not-found: there is no such step of build 1 (its steps so far: 0 checkout, 1 test)"]
        .assert_eq(&world.get("/api/v1/builds/1/log?step=7").await.error());
}

on_both! {
    a_log_is_given_as_bytes_as_lines_and_by_its_errors,
}
