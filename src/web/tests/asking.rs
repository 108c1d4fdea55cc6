//! What is read, as it is written.

use axum::http::StatusCode;
use expect_test::{Expect, expect};
use serde_json::Value;

use super::world::{HOSTILE_BRANCH, World, pretty, sentences};
use crate::store::tests::{Kind, on_both};

pub(super) async fn check(world: &World, path: &str, expected: Expect) {
    let answer = world.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    expected.assert_eq(&pretty(&answer.json()));
}

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
              "head": 33,
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
              "triggered": null
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
              "triggered": null
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

async fn lists_are_filtered_and_paged(kind: Kind) {
    let world = World::lived(kind).await;
    let ids = |value: Value| -> Vec<i64> {
        value["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    for (path, wanted) in [
        ("/builds", vec![2, 1]),
        ("/builds?builder=linux-x64", vec![2, 1]),
        ("/builds?builder=package", vec![]),
        ("/builds?outcome=failure", vec![1]),
        ("/builds?state=running", vec![2]),
        ("/builds?branch=main&state=finished", vec![1]),
        ("/builds?builder=linux-x64&branch=main&outcome=success", vec![]),
        ("/builds?builder=linux-x64&branch=%3Cscript%3Ealert(%27x%27)%3C/script%3E", vec![2]),
        ("/changes?repository=core", vec![2, 1]),
        ("/changes?repository=core&branch=main", vec![1]),
        ("/changes?branch=main", vec![1]),
        ("/changes?repository=site", vec![]),
        ("/buildsets?scheduler=push", vec![2, 1]),
        ("/buildsets?project=core&branch=main", vec![1]),
        ("/buildsets?project=core&scheduler=docs", vec![]),
        ("/incidents?state=open", vec![1]),
        ("/incidents?state=closed", vec![]),
        ("/requests", vec![3]),
        ("/messages", vec![]),
    ] {
        assert_eq!(ids(world.get(&format!("/api/v1{path}")).await.json()), wanted, "{path}");
    }
    let first = world.get("/api/v1/builds?limit=1").await.json();
    assert_eq!((first["next"].clone(), ids(first)), (2.into(), vec![2]));
    let second = world.get("/api/v1/builds?limit=1&before=2").await.json();
    assert_eq!((second["next"].clone(), ids(second)), (Value::Null, vec![1]));
}

async fn strangers_words_come_out_as_they_are_and_only_as_text(kind: Kind) {
    let world = World::lived(kind).await;
    let answer = world.get("/api/v1/changes/2").await;
    let change = answer.json();
    assert_eq!(change["branch"], HOSTILE_BRANCH);
    assert_eq!(change["author"], "Eve <b>");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let text = answer.text();
    assert!(!text.contains('\u{1b}'), "control characters are escaped in JSON");
    // A sentence may be printed on a terminal as it is.
    let why = sentences(&world.get("/api/v1/why?about=change:2").await)
        + &sentences(&world.get("/api/v1/why?about=build:2").await);
    assert!(!why.contains(['\u{1b}', '\u{202e}', '\r']), "{why}");
    assert!(why.contains(HOSTILE_BRANCH), "{why}");
}

async fn every_path_that_is_listed_is_there(kind: Kind) {
    let world = World::lived(kind).await;
    let listed = world.get("/api/v1").await.json();
    for path in listed["paths"].as_array().unwrap() {
        let (method, path) = (path["method"].as_str().unwrap(), path["path"].as_str().unwrap());
        if path.ends_with("/stream") {
            continue;
        }
        let path = path.replace("{id or revision}", "1").replace("{id}", "1").replace("{step}", "1");
        let path = if path.contains("/repositories/") {
            path.replace("{name}", "core")
        } else if path.contains("/workers/") {
            path.replace("{name}", "local")
        } else {
            path.replace("{name}", "push")
        };
        let path = if path.ends_with("/why") { format!("{path}?about=build:1") } else { path };
        let answer = match method {
            "GET" => world.get(&path).await,
            _ => world.post(&path, &serde_json::json!({})).await,
        };
        let known = if method == "GET" {
            answer.status == StatusCode::OK
        } else {
            ![StatusCode::METHOD_NOT_ALLOWED, StatusCode::FORBIDDEN].contains(&answer.status)
                && !answer.text().contains("no path")
        };
        assert!(known, "{method} {path}: {} {}", answer.status, answer.text());
    }
}

async fn what_the_browser_has_is_not_sent_again(kind: Kind) {
    let world = World::lived(kind).await;
    let answer = world.get("/api/v1/builds").await;
    let etag = answer.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers["cache-control"], "private, no-cache");
    let request = axum::http::Request::get("/api/v1/builds").header("host", super::world::HOST);
    let request = request.header("if-none-match", format!("\"other\", {etag}")).body(axum::body::Body::empty());
    let again = world.send(request.unwrap()).await;
    assert_eq!((again.status, again.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let request = axum::http::Request::get("/api/v1/builds").header("host", super::world::HOST);
    let packed = world.send(request.header("accept-encoding", "gzip").body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert_eq!(packed.headers["etag"], etag.as_str());
    assert!(packed.bytes.len() < answer.bytes.len());
}

async fn health_is_the_databases_and_the_engines(kind: Kind) {
    let mut world = World::lived(kind).await;
    let answer = world.get("/healthz").await;
    assert_eq!((answer.status, answer.json()["status"].clone()), (StatusCode::OK, "ok".into()));
    let by_any_name = axum::http::Request::get("/healthz").header("host", "10.0.0.7").body(axum::body::Body::empty());
    assert_eq!(world.send(by_any_name.unwrap()).await.status, StatusCode::OK);
    world.stop_engine.cancel();
    (&mut world.engine_task).await.unwrap();
    let answer = world.get("/healthz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["why"], "the engine has stopped");
}

on_both! {
    the_status_says_what_is_broken_what_runs_and_what_waits,
    an_empty_service_says_so,
    a_change_shows_every_schedulers_verdict,
    a_change_is_found_by_its_revision,
    a_buildset_shows_its_graph,
    a_build_shows_its_steps,
    a_request_shows_what_it_waits_for,
    schedulers_and_repositories_are_shown_as_configured,
    lists_are_filtered_and_paged,
    strangers_words_come_out_as_they_are_and_only_as_text,
    every_path_that_is_listed_is_there,
    what_the_browser_has_is_not_sent_again,
    health_is_the_databases_and_the_engines,
}
