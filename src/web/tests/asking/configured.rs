//! What is read of schedulers and repositories.

use expect_test::expect;

use super::check;
use crate::store::tests::{Kind, on_both};
use crate::web::tests::world::World;

async fn schedulers_and_repositories_are_shown_as_configured(kind: Kind) {
    let world = World::lived(kind).await;
    check(
        &world,
        "/api/v1/schedulers/by-hand",
        expect![[r#"
        {
          "held": [],
          "kind": "force",
          "name": "by-hand",
          "nodes": {
            "train": {
              "builder": "train",
              "mode": "all",
              "needs": []
            }
          },
          "parameters": {
            "branch": {
              "choices": null,
              "default": "main",
              "label": null,
              "required": false,
              "type": "string"
            },
            "size": {
              "choices": null,
              "default": null,
              "label": null,
              "required": true,
              "type": "integer"
            }
          },
          "place": "gristmill.yaml:21",
          "priority": 0,
          "project": "core",
          "timer": null,
          "upstream": null,
          "verdicts": [
            {
              "at": "2026-11-24T11:03:19.000000Z",
              "buildset": null,
              "change": 2,
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
            }
          ],
          "when": {}
        }"#]],
    )
    .await;
    check(
        &world,
        "/api/v1/repositories/core",
        expect![[r#"
        {
          "at": "2026-11-24T11:02:12.000000Z",
          "branches": null,
          "default_branch": "main",
          "error": null,
          "failures": 0,
          "name": "core",
          "place": "gristmill.yaml:3",
          "poll_seconds": 60,
          "seen": true,
          "tags": false,
          "tips": [
            {
              "change": 2,
              "reference": "refs/heads/<script>alert('x')</script>",
              "revision": "e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2",
              "seq": 1
            },
            {
              "change": 1,
              "reference": "refs/heads/main",
              "revision": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
              "seq": 1
            }
          ],
          "url": "/srv/git/core.git",
          "webhook": null
        }"#]],
    )
    .await;
}

on_both! {
    schedulers_and_repositories_are_shown_as_configured,
}
