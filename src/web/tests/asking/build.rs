//! What is read of builds.

use expect_test::expect;

use super::check;
use crate::store::tests::{Kind, on_both};
use crate::web::tests::world::World;

async fn a_build_shows_its_steps(kind: Kind) {
    let world = World::lived(kind).await;
    check(
        &world,
        "/api/v1/builds/1",
        expect![[r#"
        {
          "attempt": 1,
          "attempts": [
            {
              "build": 1,
              "outcome": "failure"
            }
          ],
          "branch": "main",
          "builder": "linux-x64",
          "buildset": 1,
          "cancel": null,
          "cause": "code",
          "changes": [
            {
              "at": "2026-11-24T11:02:12.000000Z",
              "author": "Ada",
              "branch": "main",
              "id": 1,
              "movement": "created",
              "new": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
              "old": null,
              "reference": "refs/heads/main",
              "repository": "core",
              "title": "Make the queue bounded"
            }
          ],
          "finished_at": "2026-11-24T11:02:19.000000Z",
          "id": 1,
          "leased_at": "2026-11-24T11:02:12.000000Z",
          "neighbours": {
            "last_good": null,
            "next": null,
            "previous": null
          },
          "node": "test",
          "outcome": "failure",
          "project": "core",
          "properties": {},
          "recipe": "30aa55af4bbba5eab1a7847c9b741182c467080e40596f742910cec90519a848",
          "request": 2,
          "requires": {},
          "scheduler": "push",
          "sources": {
            "core": {
              "branch": "main",
              "change": 1,
              "repository": "core",
              "revision": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
            }
          },
          "stamps": {
            "core": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
          },
          "started_at": "2026-11-24T11:02:12.000000Z",
          "state": "finished",
          "step": {
            "name": "test",
            "number": 1
          },
          "steps": [
            {
              "cause": null,
              "finished_at": "2026-11-24T11:02:12.000000Z",
              "log": {
                "bytes": 0,
                "complete": true,
                "lines": 0
              },
              "name": "checkout",
              "number": 0,
              "outcome": "success",
              "started_at": "2026-11-24T11:02:12.000000Z",
              "summary": "",
              "triggered": null,
              "warnings": 0
            },
            {
              "cause": "code",
              "finished_at": "2026-11-24T11:02:19.000000Z",
              "log": {
                "bytes": 71,
                "complete": true,
                "lines": 3
              },
              "name": "test",
              "number": 1,
              "outcome": "failure",
              "started_at": "2026-11-24T11:02:12.000000Z",
              "summary": "exit code 2",
              "triggered": null,
              "warnings": 0
            }
          ],
          "steps_ahead": [],
          "steps_total": 2,
          "summary": "step test: exit code 2",
          "worker": "local"
        }"#]],
    )
    .await;
}

on_both! {
    a_build_shows_its_steps,
}
