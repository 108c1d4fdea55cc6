//! What is read of requests.

use expect_test::expect;

use super::check;
use crate::store::tests::{Kind, on_both};
use crate::web::tests::world::World;

async fn a_request_shows_what_it_waits_for(kind: Kind) {
    let world = World::lived(kind).await;
    check(
        &world,
        "/api/v1/requests/3",
        expect![[r#"
        {
          "attempts": 0,
          "branch": "<script>alert('x')</script>",
          "build": null,
          "builder": "package",
          "buildset": 2,
          "cause": null,
          "created_at": "2026-11-24T11:03:19.000000Z",
          "digest": "37cf85d4a30bc0dabfe5e1daae970983534ea6992c15e068347277df6cfd5237",
          "id": 3,
          "needed_by": [],
          "needs": [
            {
              "builder": "linux-x64",
              "node": "test",
              "on": "success",
              "outcome": null,
              "request": 4,
              "state": "leased"
            }
          ],
          "node": "package",
          "outcome": null,
          "project": "core",
          "reason": null,
          "reasons": [
            {
              "code": "needs",
              "needs": [
                {
                  "builder": "linux-x64",
                  "node": "test",
                  "on": "success",
                  "request": 4,
                  "state": "running"
                }
              ],
              "text": "waits for test (running)"
            }
          ],
          "recipe": "46f5a31a2e5f04e95036ffa605f6b606d7e582e7029338090ba868a34cd049ce",
          "scheduler": "push",
          "settled_at": null,
          "started_at": null,
          "state": "waiting"
        }"#]],
    )
    .await;
}

on_both! {
    a_request_shows_what_it_waits_for,
}
