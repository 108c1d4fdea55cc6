//! What is read of buildsets.

use expect_test::expect;

use super::check;
use crate::store::tests::{Kind, on_both};
use crate::web::tests::world::World;

async fn a_buildset_shows_its_graph(kind: Kind) {
    let world = World::lived(kind).await;
    check(
        &world,
        "/api/v1/buildsets/1",
        expect![[r#"
        {
          "branch": "main",
          "catalog": "9102cacee6b9018383a43cd77d01ab423e7dbf48944ffa65672cf3d463a8f4e3",
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
          "completed_at": "2026-11-24T11:02:19.000000Z",
          "counts": {
            "bad": 1,
            "good": 1,
            "running": 0,
            "total": 2,
            "waiting": 0
          },
          "created_at": "2026-11-24T11:02:12.000000Z",
          "downstream": [],
          "edges": [
            {
              "needs": 2,
              "on": "success",
              "request": 1
            }
          ],
          "id": 1,
          "outcome": "failure",
          "priority": 0,
          "project": "core",
          "properties": {},
          "requests": [
            {
              "attempts": 0,
              "branch": "main",
              "build": null,
              "builder": "package",
              "buildset": 1,
              "cause": "dependency",
              "created_at": "2026-11-24T11:02:12.000000Z",
              "id": 1,
              "node": "package",
              "outcome": "skipped",
              "project": "core",
              "reason": "it needs test to end with success, and that ended with failure",
              "reasons": [],
              "scheduler": "push",
              "settled_at": "2026-11-24T11:02:19.000000Z",
              "started_at": null,
              "state": "settled"
            },
            {
              "attempts": 1,
              "branch": "main",
              "build": 1,
              "builder": "linux-x64",
              "buildset": 1,
              "cause": "code",
              "created_at": "2026-11-24T11:02:12.000000Z",
              "id": 2,
              "node": "test",
              "outcome": "failure",
              "project": "core",
              "reason": "step test: exit code 2",
              "reasons": [],
              "scheduler": "push",
              "settled_at": "2026-11-24T11:02:19.000000Z",
              "started_at": "2026-11-24T11:02:12.000000Z",
              "state": "settled"
            }
          ],
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
          "state": "completed",
          "trigger": {
            "changes": [
              1
            ],
            "kind": "changes"
          },
          "verdicts": [
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
          ]
        }"#]],
    )
    .await;
}

on_both! {
    a_buildset_shows_its_graph,
}
