//! Why: sentences made of what is recorded.

use axum::http::StatusCode;
use expect_test::{Expect, expect};

use super::world::{World, sentences};
use crate::store::tests::{Kind, on_both};

async fn check_why(world: &World, about: &str, expected: Expect) {
    let answer = world.get(&format!("/api/v1/why?about={about}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{about}: {}", answer.text());
    expected.assert_eq(&sentences(&answer));
}

async fn why_answers_in_sentences(kind: Kind) {
    let world = World::lived(kind).await;
    let body = serde_json::json!({"parameters": {"size": 3}, "reason": "to see", "by": "ada"});
    assert_eq!(world.post("/api/v1/schedulers/by-hand/force", &body).await.status, StatusCode::CREATED);
    world.pass(7_800).await;
    check_why(
        &world,
        "build:1",
        expect![[r#"
        build 1 of linux-x64 on main ended with failure (code) after 7 s: step test: exit code 2
        it is attempt 1 of request 2 (node test of buildset 1), on worker local
        buildset 1 was made by scheduler push for change 1 (core main a1a1a1a1 "Make the queue bounded" by Ada)
          push took change 1: every field of the rule matches   gristmill.yaml:13
        it was made from core a1a1a1a1 (main, change 1)"#]],
    )
    .await;
    check_why(&world, "build:2", expect![[r#"
        build 2 of linux-x64 on <script>alert('x')</script> is running (step 1 of 2: checkout), since 11:03:19 UTC (2 h 10 m)
        it is attempt 1 of request 4 (node test of buildset 2), on worker local
        buildset 2 was made by scheduler push for change 2 (core <script>alert('x')</script> e2e2e2e2 "�[31mred� & "sharp"" by Eve <b>)
          push took change 2: every field of the rule matches   gristmill.yaml:13
        it was made from core e2e2e2e2 (<script>alert('x')</script>, change 2)"#]]).await;
    check_why(
        &world,
        "request:1",
        expect![[r#"
        request 1 (package, node package of buildset 1) was skipped
          it needs test to end with success, and that ended with failure
        it was made by scheduler push for change 1 (core main a1a1a1a1 "Make the queue bounded" by Ada)"#]],
    )
    .await;
    check_why(&world, "request:3", expect![[r#"
        request 3 (package, node package of buildset 2) waits since 11:03:19 UTC (2 h 10 m)
          waits for test (running)
        it was made by scheduler push for change 2 (core <script>alert('x')</script> e2e2e2e2 "�[31mred� & "sharp"" by Eve <b>)"#]]).await;
    check_why(&world, "request:4", expect![[r#"
        request 4 (linux-x64, node test of buildset 2) is being built: build 2, since 11:03:19 UTC (2 h 10 m)
          build 2 runs on local
        it was made by scheduler push for change 2 (core <script>alert('x')</script> e2e2e2e2 "�[31mred� & "sharp"" by Eve <b>)
        it is needed by package"#]]).await;
    check_why(
        &world,
        "request:5",
        expect![[r#"
        request 5 (train, node train of buildset 3) waits since 11:03:24 UTC (2 h 10 m)
          no worker can ever run this: needs gpu=yes; local has no gpu
        it was made by scheduler by-hand because ada asked for it: "to see""#]],
    )
    .await;
    check_why(&world, "change:a1a1a1", expect![[r#"
        change 1 (core main a1a1a1a1) met 4 schedulers; 1 built it, 1 holds it
          by-hand: nothing: a force scheduler is not woken by changes   gristmill.yaml:21
          docs: nothing: files: `src/queue.rs` does not match docs/**   gristmill.yaml:19
          nightly: held: every field of the rule matches; kept for the next firing at 2026-11-25 02:00 UTC   gristmill.yaml:20
          push: built buildset 1: every field of the rule matches   gristmill.yaml:13
        buildset 1 (push) ended with failure"#]]).await;
    check_why(
        &world,
        "buildset:1",
        expect![[r#"
        buildset 1 of push on main ended with failure after 7 s
        it was made by scheduler push for change 1 (core main a1a1a1a1 "Make the queue bounded" by Ada)
          push took change 1: every field of the rule matches   gristmill.yaml:13
        it was made from core a1a1a1a1 (main, change 1)
          package (request 1) was skipped: it needs test to end with success, and that ended with failure
          test (request 2, linux-x64) ended with failure (code) in build 1: step test: exit code 2"#]],
    )
    .await;
    check_why(&world, "buildset:3", expect![[r#"
        buildset 3 of by-hand on main is not complete: 0 good, 0 bad, 0 running, 1 waiting, since 11:03:24 UTC (2 h 10 m)
        it was made by scheduler by-hand because ada asked for it: "to see"
        it was made from core a1a1a1a1 (main, change 1)
          train (request 5) no worker can ever run this: needs gpu=yes; local has no gpu"#]]).await;
    check_why(&world, "not:manual@1", expect![[r#"
        change 1 (core main a1a1a1a1) did not start manual:
          docs: nothing: files: `src/queue.rs` does not match docs/**   gristmill.yaml:19
          nightly: held: every field of the rule matches; kept for the next firing at 2026-11-25 02:00 UTC   gristmill.yaml:20
          by-hand, push do not build manual
        would have started it: a change with files docs/** (docs), or the next moment of nightly"#]]).await;
    check_why(
        &world,
        "not:train@a1a1a1",
        expect![[r#"
        change 1 (core main a1a1a1a1) did not start train:
          by-hand: nothing: a force scheduler is not woken by changes   gristmill.yaml:21
          docs, nightly, push do not build train
        would have started it: gristmill force by-hand"#]],
    )
    .await;
    check_why(
        &world,
        "not:linux-x64@1",
        expect!["change 1 (core main a1a1a1a1) did start linux-x64: build 1 in buildset 1 of push"],
    )
    .await;
}

on_both! {
    why_answers_in_sentences,
}
