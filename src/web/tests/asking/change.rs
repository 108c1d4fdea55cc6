//! What is read of changes.

use axum::http::StatusCode;
use expect_test::expect;

use super::check;
use crate::store::tests::{Kind, on_both};
use crate::web::tests::world::World;

async fn a_change_shows_every_schedulers_verdict(kind: Kind) {
    let world = World::lived(kind).await;
    check(
        &world,
        "/api/v1/changes/1",
        expect![[r#"
        {
          "at": "2026-11-24T11:02:12.000000Z",
          "author": "Ada",
          "branch": "main",
          "buildsets": [
            {
              "branch": "main",
              "completed_at": "2026-11-24T11:02:19.000000Z",
              "counts": {
                "bad": 1,
                "good": 1,
                "running": 0,
                "total": 2,
                "waiting": 0
              },
              "created_at": "2026-11-24T11:02:12.000000Z",
              "id": 1,
              "outcome": "failure",
              "project": "core",
              "scheduler": "push",
              "stamps": {
                "core": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
              },
              "state": "completed",
              "trigger": {
                "changes": [
                  1
                ],
                "kind": "changes"
              }
            }
          ],
          "commits": [
            {
              "at": "2026-11-24T11:02:12.000000Z",
              "author": {
                "email": "someone@example.org",
                "name": "Ada"
              },
              "files": [
                "src/queue.rs"
              ],
              "message": "Make the queue bounded\n\nIt grew.",
              "revision": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
            }
          ],
          "id": 1,
          "incomplete": false,
          "movement": "created",
          "new": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
          "old": null,
          "reference": "refs/heads/main",
          "repository": "core",
          "seq": 1,
          "title": "Make the queue bounded",
          "verdicts": [
            {
              "at": "2026-11-24T11:02:12.000000Z",
              "buildset": null,
              "change": 1,
              "place": "gristmill.yaml:21",
              "reasons": [
                {
                  "code": "not-woken-by-changes",
                  "kind": "force",
                  "text": "a force scheduler is not woken by changes"
                }
              ],
              "scheduler": "by-hand",
              "until": null,
              "verdict": "nothing"
            },
            {
              "at": "2026-11-24T11:02:12.000000Z",
              "buildset": null,
              "change": 1,
              "place": "gristmill.yaml:19",
              "reasons": [
                {
                  "code": "mismatch",
                  "field": "files",
                  "seen": [
                    "src/queue.rs"
                  ],
                  "seen_count": 1,
                  "text": "files: `src/queue.rs` does not match docs/**",
                  "wanted": [
                    "docs/**"
                  ]
                }
              ],
              "scheduler": "docs",
              "until": null,
              "verdict": "nothing"
            },
            {
              "at": "2026-11-24T11:02:12.000000Z",
              "buildset": null,
              "change": 1,
              "place": "gristmill.yaml:20",
              "reasons": [
                {
                  "code": "matches",
                  "text": "every field of the rule matches"
                },
                {
                  "code": "until-firing",
                  "next": "2026-11-25T02:00:00.000000Z",
                  "text": "kept for the next firing at 2026-11-25 02:00 UTC"
                }
              ],
              "scheduler": "nightly",
              "until": "2026-11-25T02:00:00.000000Z",
              "verdict": "held"
            },
            {
              "at": "2026-11-24T11:02:12.000000Z",
              "buildset": 1,
              "change": 1,
              "place": "gristmill.yaml:13",
              "reasons": [
                {
                  "code": "matches",
                  "text": "every field of the rule matches"
                }
              ],
              "scheduler": "push",
              "until": null,
              "verdict": "built"
            }
          ],
          "via": "poll"
        }"#]],
    )
    .await;
}

async fn a_change_is_found_by_its_revision(kind: Kind) {
    let world = World::lived(kind).await;
    for which in ["1", "a1a1a1", "A1A1A1A1", "@a1a1a1", &"a1".repeat(20)] {
        assert_eq!(world.get(&format!("/api/v1/changes/{which}")).await.json()["id"], 1, "{which}");
    }
    for which in ["a1a1a", "@1", "3", "zzzzzz", "%2e%2e", "a1a1a2"] {
        assert_eq!(world.get(&format!("/api/v1/changes/{which}")).await.status, StatusCode::NOT_FOUND, "{which}");
    }
}

on_both! {
    a_change_shows_every_schedulers_verdict,
    a_change_is_found_by_its_revision,
}
