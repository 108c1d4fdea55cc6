//! What is read of the service as a whole.

use expect_test::expect;

use super::check;
use crate::store::tests::{Kind, on_both};
use crate::web::tests::world::World;

async fn the_status_says_what_is_broken_what_runs_and_what_waits(kind: Kind) {
    let world = World::lived(kind).await;
    check(
        &world,
        "/api/v1/status",
        expect![[r#"
            {
              "catalog": "9102cacee6b9018383a43cd77d01ab423e7dbf48944ffa65672cf3d463a8f4e3",
              "catalog_file": "gristmill.yaml",
              "catalog_problem": null,
              "catalog_since": "2026-11-24T11:02:11.000000Z",
              "counts": {
                "incidents": 1,
                "running": 1,
                "waiting": 1
              },
              "demo": false,
              "findings": [],
              "head": 34,
              "incidents": [
                {
                  "branch": "main",
                  "builders": [
                    {
                      "broke_build": 1,
                      "builder": "linux-x64",
                      "fixed_build": null
                    }
                  ],
                  "closed_at": null,
                  "first_build": 1,
                  "first_builder": "linux-x64",
                  "id": 1,
                  "opened_at": "2026-11-24T11:02:19.000000Z",
                  "project": "core",
                  "step": "test",
                  "summary": "step test: exit code 2",
                  "suspects": [
                    {
                      "at": "2026-11-24T11:02:12.000000Z",
                      "authors": [
                        {
                          "email": "someone@example.org",
                          "name": "Ada"
                        }
                      ],
                      "branch": "main",
                      "change": 1,
                      "repository": "core",
                      "revision": "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
                      "title": "Make the queue bounded"
                    }
                  ]
                }
              ],
              "now": "2026-11-24T11:03:24.000000Z",
              "running": [
                {
                  "attempt": 1,
                  "branch": "<script>alert('x')</script>",
                  "builder": "linux-x64",
                  "buildset": 2,
                  "cancel": null,
                  "cause": null,
                  "finished_at": null,
                  "id": 2,
                  "leased_at": "2026-11-24T11:03:19.000000Z",
                  "outcome": null,
                  "project": "core",
                  "request": 4,
                  "scheduler": "push",
                  "stamps": {
                    "core": "e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2"
                  },
                  "started_at": "2026-11-24T11:03:19.000000Z",
                  "state": "running",
                  "step": {
                    "name": "checkout",
                    "number": 0
                  },
                  "steps_total": 2,
                  "summary": null,
                  "worker": "local"
                }
              ],
              "silent_notifiers": [],
              "sources": [
                {
                  "at": "2026-11-24T11:02:12.000000Z",
                  "error": null,
                  "failures": 0,
                  "repository": "core",
                  "seen": true
                },
                {
                  "at": "2026-11-24T11:02:11.000000Z",
                  "error": "no such host",
                  "failures": 1,
                  "repository": "site",
                  "seen": false
                }
              ],
              "url": "http://127.0.0.1:8020",
              "version": "0.1.0",
              "waiting": [
                {
                  "attempts": 0,
                  "branch": "<script>alert('x')</script>",
                  "build": null,
                  "builder": "package",
                  "buildset": 2,
                  "cause": null,
                  "created_at": "2026-11-24T11:03:19.000000Z",
                  "id": 3,
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
                  "scheduler": "push",
                  "settled_at": null,
                  "started_at": null,
                  "state": "waiting"
                }
              ],
              "workers": [
                {
                  "about": {
                    "host": "",
                    "protocol": 0,
                    "version": ""
                  },
                  "builds": [
                    2
                  ],
                  "connected": true,
                  "holds": [],
                  "labels": {
                    "os": "linux"
                  },
                  "name": "local",
                  "owner": null,
                  "since": "2026-11-24T11:02:11.000000Z",
                  "slots": 1,
                  "token": null
                }
              ]
            }"#]],
    )
    .await;
}

async fn an_empty_service_says_so(kind: Kind) {
    let world = World::empty(kind).await;
    check(
        &world,
        "/api/v1/changes",
        expect![[r#"
        {
          "items": [],
          "next": null
        }"#]],
    )
    .await;
    let status = world.get("/api/v1/status").await.json();
    assert_eq!(status["counts"], serde_json::json!({"incidents": 0, "running": 0, "waiting": 0}));
}

on_both! {
    the_status_says_what_is_broken_what_runs_and_what_waits,
    an_empty_service_says_so,
}
