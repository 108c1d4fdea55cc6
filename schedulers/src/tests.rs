//! Decisions, as text in and text out.

use expect_test::expect;
use proptest::prelude::*;

use crate::fixture::{check, play};

mod workers;

#[test]
fn a_push_is_judged_by_every_scheduler_and_built() {
    check(
        "
        repository app
        builder test of app
        scheduler quick: any-branch app/*; test
        scheduler docs: branch app/main files docs/**; test
        scheduler hand: force; test
        worker w1 1
        00:00 app main a1 by ada: src/lib.rs
        00:01 test succeeds
        ",
        &expect![[r#"
            00:00 docs on change 1: nothing: files: `src/lib.rs` does not match docs/**
            00:00 hand on change 1: nothing: a force scheduler is not woken by changes
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 success (step step: succeeds)
            00:01 buildset 1 success
        "#]],
    );
}

#[test]
fn a_quiet_period_builds_the_newest_change_once() {
    check(
        "
        repository app
        builder linux of app
        scheduler quick: branch app/main; quiet 2m at-most 10m; linux
        00:00 app main a1 by ada: src/lib.rs
        00:01 app main a2 by bob: src/main.rs
        00:09 nothing
        ",
        &expect![[r#"
            00:00 quick on change 1: held: every field of the rule matches; held until 00:02:00 UTC for more pushes (quiet 120 s, at most 600 s)
            00:01 quick on change 2: held: every field of the rule matches; held until 00:03:00 UTC for more pushes (quiet 120 s, at most 600 s)
            00:03 buildset 1 app@a2 [linux]
            00:03 quick on change 1: built buildset 1: built together with the newer change 2
            00:03 quick on change 2: built buildset 1: the branch was quiet since change 2
        "#]],
    );
}

#[test]
fn a_quiet_period_is_bounded() {
    check(
        "
        repository app
        builder linux of app
        scheduler quick: branch app/main; quiet 2m at-most 3m; linux
        00:00 app main a1 by ada: a
        00:01 app main a2 by ada: a
        00:02 app main a3 by ada: a
        00:09 nothing
        ",
        &expect![[r#"
            00:00 quick on change 1: held: every field of the rule matches; held until 00:02:00 UTC for more pushes (quiet 120 s, at most 180 s)
            00:01 quick on change 2: held: every field of the rule matches; held until 00:03:00 UTC for more pushes (quiet 120 s, at most 180 s)
            00:02 quick on change 3: held: every field of the rule matches; held until 00:03:00 UTC for more pushes (quiet 120 s, at most 180 s)
            00:03 buildset 1 app@a3 [linux]
            00:03 quick on change 1: built buildset 1: built together with the newer change 3
            00:03 quick on change 2: built buildset 1: built together with the newer change 3
            00:03 quick on change 3: built buildset 1: change 1 had waited as long as allowed
        "#]],
    );
}

#[test]
fn a_graph_releases_skips_and_combines() {
    check(
        "
        repository app
        builder test of app
        builder package of app
        builder bisect of app
        builder tidy of app
        scheduler quick: branch app/main; test, package needs test, bisect needs test failed, tidy needs package ended
        worker w1 4
        00:00 app main a1 by ada: a
        00:01 test fails
        00:02 bisect succeeds
        00:03 tidy succeeds
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [bisect package test tidy]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 failure (step step: fails)
            00:01 incident 1: test broke, suspects app 0..1
            00:01 bisect is ready
            00:01 package skipped: it needs test to end with success, and that ended with failure
            00:01 tidy is ready
            00:01 build 2 bisect on w1 (attempt 1)
            00:01 build 3 tidy on w1 (attempt 1)
            00:02 build 2 success (step step: succeeds)
            00:03 build 3 success (step step: succeeds)
            00:03 buildset 1 failure
        "#]],
    );
}

#[test]
fn one_need_of_several_is_enough_if_asked_for() {
    check(
        "
        repository app
        builder a of app
        builder b of app
        builder c of app
        scheduler quick: branch app/main; a, b, c needs a+b any
        worker w1 4
        00:00 app main a1 by ada: a
        00:01 a fails
        00:02 b succeeds
        00:03 c succeeds
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [a b c]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 a on w1 (attempt 1)
            00:00 build 2 b on w1 (attempt 1)
            00:01 build 1 failure (step step: fails)
            00:01 incident 1: a broke, suspects app 0..1
            00:02 build 2 success (step step: succeeds)
            00:02 c is ready
            00:02 build 3 c on w1 (attempt 1)
            00:03 build 3 success (step step: succeeds)
            00:03 buildset 1 failure
        "#]],
    );
}

#[test]
fn a_dependent_scheduler_freezes_what_its_upstream_passed_with() {
    check(
        "
        repository lib
        repository app
        builder lib-test of lib
        builder app-test of app, lib
        scheduler lib: branch lib/main; lib-test
        scheduler app: dependent lib; app-test
        worker w1 1
        00:00 app main p1 by bob: a
        00:01 lib main l1 by ada: a
        00:02 lib main l2 by ada: a
        00:03 lib-test succeeds
        00:04 lib-test fails
        ",
        &expect![[r#"
            00:00 app on change 1: nothing: a dependent scheduler is not woken by changes
            00:00 lib on change 1: nothing: repository: `app` does not match lib
            00:01 app on change 2: nothing: a dependent scheduler is not woken by changes
            00:01 buildset 1 lib@l1 [lib-test]
            00:01 lib on change 2: built buildset 1: every field of the rule matches
            00:01 build 1 lib-test on w1 (attempt 1)
            00:02 app on change 3: nothing: a dependent scheduler is not woken by changes
            00:02 buildset 2 lib@l2 [lib-test]
            00:02 lib on change 3: built buildset 2: every field of the rule matches
            00:03 build 1 success (step step: succeeds)
            00:03 buildset 1 success
            00:03 app notes buildset 1: built
            00:03 buildset 3 app@p1 lib@l1 [app-test] after [(1)]
            00:03 build 2 lib-test on w1 (attempt 1)
            00:04 build 2 failure (step step: fails)
            00:04 incident 1: lib-test broke, suspects lib 2..3
            00:04 buildset 2 failure
            00:04 app notes buildset 2: nothing: it ended with failure, and success is wanted
            00:04 build 3 app-test on w1 (attempt 1)
        "#]],
    );
}

#[test]
fn several_upstreams_must_agree_on_what_they_passed_with() {
    check(
        "
        repository lib
        builder linux of lib
        builder mac of lib
        builder app of lib
        scheduler linux: branch lib/main; linux
        scheduler mac: branch lib/main; mac
        scheduler app: dependent linux mac; app
        worker w1 9
        00:00 lib main l1 by ada: a
        00:01 linux succeeds
        00:02 lib main l2 by ada: a
        00:03 linux succeeds
        00:04 mac succeeds
        00:05 mac succeeds
        00:06 app succeeds
        ",
        &expect![[r#"
            00:00 app on change 1: nothing: a dependent scheduler is not woken by changes
            00:00 buildset 1 lib@l1 [linux]
            00:00 linux on change 1: built buildset 1: every field of the rule matches
            00:00 buildset 2 lib@l1 [mac]
            00:00 mac on change 1: built buildset 2: every field of the rule matches
            00:00 build 1 linux on w1 (attempt 1)
            00:00 build 2 mac on w1 (attempt 1)
            00:01 build 1 success (step step: succeeds)
            00:01 buildset 1 success
            00:01 app notes buildset 1: nothing: waits for mac
            00:02 app on change 2: nothing: a dependent scheduler is not woken by changes
            00:02 buildset 3 lib@l2 [linux]
            00:02 linux on change 2: built buildset 3: every field of the rule matches
            00:02 buildset 4 lib@l2 [mac]
            00:02 mac on change 2: built buildset 4: every field of the rule matches
            00:02 build 3 linux on w1 (attempt 1)
            00:02 build 4 mac on w1 (attempt 1)
            00:03 build 3 success (step step: succeeds)
            00:03 buildset 3 success
            00:03 app notes buildset 3: nothing: waits for mac
            00:04 build 2 success (step step: succeeds)
            00:04 buildset 2 success
            00:04 app notes buildset 2: nothing: waits until its upstreams agree on lib: l2 and l1
            00:05 build 4 success (step step: succeeds)
            00:05 buildset 4 success
            00:05 app notes buildset 4: built
            00:05 buildset 5 lib@l2 [app] after [(3), (4)]
            00:05 build 5 app on w1 (attempt 1)
            00:06 build 5 success (step step: succeeds)
            00:06 buildset 5 success
        "#]],
    );
}

#[test]
fn what_broke_together_is_one_incident_until_all_is_fixed() {
    check(
        "
        repository app
        builder linux of app
        builder mac of app
        scheduler quick: branch app/main; linux, mac
        worker w1 9
        00:00 app main a1 by ada: a
        00:01 linux succeeds
        00:01 mac succeeds
        00:02 app main a2 by bob: a
        00:03 linux fails
        00:03 mac fails
        00:04 app main a3 by bob: a
        00:05 linux succeeds
        00:05 mac fails
        00:06 app main a4 by bob: a
        00:07 linux succeeds
        00:07 mac succeeds
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [linux mac]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 linux on w1 (attempt 1)
            00:00 build 2 mac on w1 (attempt 1)
            00:01 build 1 success (step step: succeeds)
            00:01 build 2 success (step step: succeeds)
            00:01 buildset 1 success
            00:02 buildset 2 app@a2 [linux mac]
            00:02 quick on change 2: built buildset 2: every field of the rule matches
            00:02 build 3 linux on w1 (attempt 1)
            00:02 build 4 mac on w1 (attempt 1)
            00:03 build 3 failure (step step: fails)
            00:03 incident 1: linux broke, suspects app 1..2
            00:03 build 4 failure (step step: fails)
            00:03 incident 1: mac too, suspects app 1..2
            00:03 buildset 2 failure
            00:04 buildset 3 app@a3 [linux mac]
            00:04 quick on change 3: built buildset 3: every field of the rule matches
            00:04 build 5 linux on w1 (attempt 1)
            00:04 build 6 mac on w1 (attempt 1)
            00:05 build 5 success (step step: succeeds)
            00:05 incident 1: linux fixed
            00:05 build 6 failure (step step: fails)
            00:05 buildset 3 failure
            00:06 buildset 4 app@a4 [linux mac]
            00:06 quick on change 4: built buildset 4: every field of the rule matches
            00:06 build 7 linux on w1 (attempt 1)
            00:06 build 8 mac on w1 (attempt 1)
            00:07 build 7 success (step step: succeeds)
            00:07 build 8 success (step step: succeeds)
            00:07 incident 1: mac fixed
            00:07 incident 1 closed
            00:07 buildset 4 success
        "#]],
    );
}

#[test]
fn the_same_suspect_on_two_branches_is_two_incidents() {
    check(
        "
        repository app
        repository lib
        builder test of app, lib
        scheduler quick: any-branch app/*; test
        worker w1 9
        00:00 lib main l1 by bob: a
        00:00 app main p1 by ada: a
        00:01 test succeeds
        00:01 app fix f1 by ada: a
        00:02 test succeeds
        00:03 lib main l2 by bob: a
        00:04 app main p2 by ada: a
        00:05 test fails
        00:06 app fix f2 by ada: a
        00:07 test fails
        00:08 app main p3 by ada: a
        00:09 test succeeds
        ",
        &expect![[r#"
            00:00 quick on change 1: nothing: repository: `lib` does not match app
            00:00 buildset 1 app@p1 lib@l1 [test]
            00:00 quick on change 2: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 success (step step: succeeds)
            00:01 buildset 1 success
            00:01 buildset 2 app@f1 lib@l1 [test]
            00:01 quick on change 3: built buildset 2: every field of the rule matches
            00:01 build 2 test on w1 (attempt 1)
            00:02 build 2 success (step step: succeeds)
            00:02 buildset 2 success
            00:03 quick on change 4: nothing: repository: `lib` does not match app
            00:04 buildset 3 app@p2 lib@l2 [test]
            00:04 quick on change 5: built buildset 3: every field of the rule matches
            00:04 build 3 test on w1 (attempt 1)
            00:05 build 3 failure (step step: fails)
            00:05 incident 1: test broke, suspects app 2..5, lib 1..4
            00:05 buildset 3 failure
            00:06 buildset 4 app@f2 lib@l2 [test]
            00:06 quick on change 6: built buildset 4: every field of the rule matches
            00:06 build 4 test on w1 (attempt 1)
            00:07 build 4 failure (step step: fails)
            00:07 incident 2: test broke, suspects app 3..6, lib 1..4
            00:07 buildset 4 failure
            00:08 buildset 5 app@p3 lib@l2 [test]
            00:08 quick on change 7: built buildset 5: every field of the rule matches
            00:08 build 5 test on w1 (attempt 1)
            00:09 build 5 success (step step: succeeds)
            00:09 incident 1: test fixed
            00:09 incident 1 closed
            00:09 buildset 5 success
        "#]],
    );
}

#[test]
fn a_moment_fires_once_also_when_nothing_can_be_built() {
    check(
        "
        repository app
        repository lib
        builder test of app, lib
        scheduler night: daily-at 03:00 app/main; test
        00:00 app main p1 by ada: a
        03:30 nothing
        27:30 nothing
        ",
        &expect![[r#"
            00:00 night on change 1: held: every field of the rule matches; kept for the next firing at 2026-11-24 03:00 UTC
            03:00 night fires for nothing: waits until branch `main` of lib has been seen (meant 03:00:00)
            27:00 night fires for nothing: waits until branch `main` of lib has been seen (meant 03:00:00)
        "#]],
    );
}

#[test]
fn what_a_changed_rule_will_never_build_is_let_go() {
    check(
        "
        repository app
        builder test of app
        scheduler quick: branch app/main; quiet 10m at-most 20m; test
        scheduler night: daily-at 03:00 app/main if-changed; test
        00:00 app main p1 by ada: a
        scheduler quick: force; test
        scheduler night: daily-at 03:00 app/other if-changed; test
        00:30 nothing
        scheduler night: force; test
        03:30 nothing
        ",
        &expect![[r#"
            00:00 night on change 1: held: every field of the rule matches; kept for the next firing at 2026-11-24 03:00 UTC
            00:00 quick on change 1: held: every field of the rule matches; held until 00:10:00 UTC for more pushes (quiet 600 s, at most 1200 s)
            00:00 quick on change 1: nothing: a force scheduler is not woken by changes
            00:00 night on change 1: nothing: the scheduler is for branch `other` of app
        "#]],
    );
}

#[test]
fn an_infrastructure_failure_is_tried_again_within_its_budget() {
    check(
        "
        repository app
        builder test of app retries 1
        scheduler quick: branch app/main; test
        worker w1 1
        00:00 app main a1 by ada: a
        00:01 test vanishes
        00:02 test vanishes
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 retry, again (step step: vanishes)
            00:01 build 2 test on w1 (attempt 2)
            00:02 build 2 exception (step step: vanishes; all 2 attempts ended so)
            00:02 incident 1: test broke, suspects app 0..1
            00:02 buildset 1 exception
        "#]],
    );
}

#[test]
fn a_waiting_trigger_step_gives_its_slot_away() {
    check(
        "
        repository app
        builder calls-docs of app
        builder docs of app
        scheduler quick: branch app/main; calls-docs
        scheduler docs: triggerable; docs
        worker w1 1
        00:00 app main a1 by ada: a
        00:01 calls-docs reaches
        00:02 why 1
        00:03 docs fails
        00:04 calls-docs fails
        ",
        &expect![[r#"
            00:00 docs on change 1: nothing: a triggerable scheduler is not woken by changes
            00:00 buildset 1 app@a1 [calls-docs]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 calls-docs on w1 (attempt 1)
            00:01 buildset 2 app@a1 [docs] for build 1
            00:01 build 1 waits for buildset 2
            00:01 build 2 docs on w1 (attempt 1)
            00:02 request 1: a step waits for buildset 2
            00:03 build 2 failure (step step: fails)
            00:03 incident 1: docs broke, suspects app 0..1
            00:03 buildset 2 failure
            00:03 build 1 goes on after failure
            00:04 build 1 failure (step step: fails)
            00:04 incident 1: calls-docs too, suspects app 0..1
            00:04 buildset 1 failure
        "#]],
    );
}

#[test]
fn what_a_worker_must_know_can_be_said_again() {
    check(
        "
        repository app
        builder calls-docs of app
        builder docs of app
        scheduler quick: branch app/main; calls-docs
        scheduler docs: triggerable; docs
        worker w1 1
        00:00 app main a1 by ada: a
        00:00 told w1
        00:01 calls-docs reaches
        00:01 told w2
        00:03 docs succeeds
        00:03 told w1
        00:04 cancel buildset 1
        00:04 told w1
        ",
        &expect![[r#"
            00:00 docs on change 1: nothing: a triggerable scheduler is not woken by changes
            00:00 buildset 1 app@a1 [calls-docs]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 calls-docs on w1 (attempt 1)
            00:00 w1 must know: start build 1 epoch 1
            00:01 buildset 2 app@a1 [docs] for build 1
            00:01 build 1 waits for buildset 2
            00:01 build 2 docs on w1 (attempt 1)
            00:03 build 2 success (step step: succeeds)
            00:03 buildset 2 success
            00:03 build 1 goes on after success
            00:03 w1 must know: resume build 1 after step 0: success
            00:04 build 1 is to end for ada
            00:04 w1 must know: resume build 1 after step 0: success
            00:04 w1 must know: cancel build 1 for ada
        "#]],
    );
}

#[test]
fn nightly_builds_what_came_since_the_last_time() {
    check(
        "
        repository app
        builder test of app
        scheduler night: daily-at 03:00 app/main if-changed; test
        worker w1 1
        00:30 app main a1 by ada: a
        01:00 app main a2 by ada: a
        01:10 app other b1 by ada: a
        03:30 test succeeds
        27:30 nothing
        ",
        &expect![[r#"
            00:30 night on change 1: held: every field of the rule matches; kept for the next firing at 2026-11-24 03:00 UTC
            01:00 night on change 2: held: every field of the rule matches; kept for the next firing at 2026-11-24 03:00 UTC
            01:10 night on change 3: nothing: the scheduler is for branch `main` of app
            03:00 buildset 1 app@a2 [test]
            03:00 night fires (meant 03:00:00)
            03:00 night on change 1: built buildset 1: built together with the newer change 2
            03:00 night on change 2: built buildset 1: the moment 2026-11-24 03:00 UTC came
            03:00 build 1 test on w1 (attempt 1)
            03:30 build 1 success (step step: succeeds)
            03:30 buildset 1 success
            27:00 night fires for nothing: nothing that matches came since the last time (meant 03:00:00)
        "#]],
    );
}

#[test]
fn waiting_requests_say_what_they_wait_for() {
    check(
        "
        repository app
        builder test of app
        builder train of app requires gpu=yes
        builder ship of app
        scheduler quick: branch app/main; test, train, ship needs test
        00:00 app main a1 by ada: a
        00:01 why 2
        worker w1 1 os=linux
        00:02 why 1
        00:02 why 2
        00:02 why 3
        00:03 app main a2 by ada: a
        00:04 why 5
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [ship test train]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:01 request 2: no worker has joined yet
            00:01 build 1 test on w1 (attempt 1)
            00:02 request 1: waits for test (running)
            00:02 request 2: build 1 runs on w1
            00:02 request 3: no worker can ever run this: needs gpu=yes; w1 has no gpu
            00:03 buildset 2 app@a2 [ship test train]
            00:03 quick on change 2: built buildset 2: every field of the rule matches
            00:04 request 5: the workers that can are busy (builds 1), 2. in line
        "#]],
    );
}

#[test]
fn cancelling_settles_what_waits_and_tells_what_runs() {
    check(
        "
        repository app
        builder test of app
        builder ship of app
        scheduler quick: branch app/main; test, ship needs test
        worker w1 1
        00:00 app main a1 by ada: a
        00:01 cancel buildset 1
        00:02 test fails
        00:03 cancel buildset 1
        00:03 cancel buildset 9
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [ship test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 is to end for ada
            00:01 ship cancelled: cancelled by ada
            00:02 build 1 cancelled (cancelled by ada)
            00:02 buildset 1 cancelled
            00:03 refused: there is no buildset 9
        "#]],
    );
}

#[test]
fn tags_and_deletions_build_nothing_unless_asked() {
    check(
        "
        repository app
        builder test of app
        scheduler any: any-branch app/*; test
        scheduler release: any-branch app/* tag v*; test
        00:00 app tag:v1 t1 by ada: a
        00:01 app old o1 by ada: a
        00:02 app old deleted
        00:03 app main m1 by ada: …
        ",
        &expect![[r#"
            00:00 any on change 1: nothing: tag: the rule names no tag, and this is one
            00:00 buildset 1 app@t1 [test]
            00:00 release on change 1: built buildset 1: every field of the rule matches
            00:01 buildset 2 app@o1 [test]
            00:01 any on change 2: built buildset 2: every field of the rule matches
            00:01 release on change 2: nothing: tag: there is none, and the rule wants v*
            00:02 any on change 3: nothing: the branch was deleted, so there is nothing to build
            00:02 release on change 3: nothing: tag: there is none, and the rule wants v*
            00:03 buildset 3 app@m1 [test]
            00:03 any on change 4: built buildset 3: every field of the rule matches
            00:03 release on change 4: nothing: tag: there is none, and the rule wants v*
        "#]],
    );
}

#[test]
fn a_force_scheduler_takes_the_branch_that_is_said() {
    check(
        "
        repository lib
        repository app
        builder test of app, lib
        scheduler hand: force; test
        00:00 lib main l1 by ada: a
        00:00 app main p1 by ada: a
        00:00 app fix p2 by ada: a
        00:01 force hand
        00:01 force hand branch=fix
        00:01 force hand branch=none
        00:01 force hand depth=3
        00:01 force hand revision=abc
        00:01 force other
        ",
        &expect![[r#"
            00:00 hand on change 1: nothing: a force scheduler is not woken by changes
            00:00 hand on change 2: nothing: a force scheduler is not woken by changes
            00:00 hand on change 3: nothing: a force scheduler is not woken by changes
            00:01 buildset 1 app@p1 lib@l1 [test] by ada
            00:01 buildset 2 app@p2 lib@l1 [test] by ada
            00:01 refused: branch: none of its repositories has a branch `none` that has been seen
            00:01 refused: depth: there is no such parameter; there are branch, revision
            00:01 refused: revision: `abc` is not a full object id (40 or 64 hexadecimal digits)
            00:01 refused: there is no scheduler `other`
        "#]],
    );
}

#[test]
fn a_codebase_that_was_never_seen_is_waited_for() {
    check(
        "
        repository lib
        repository app
        builder test of app, lib
        scheduler quick: branch app/main; test
        00:00 app main p1 by ada: a
        00:05 lib main l1 by bob: a
        ",
        &expect![[r#"
            00:00 quick on change 1: held: waits until branch `main` of lib has been seen
            00:05 quick on change 2: nothing: repository: `lib` does not match app
            00:05 buildset 1 app@p1 lib@l1 [test]
            00:05 quick on change 1: built buildset 1: every field of the rule matches
        "#]],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever order builds end in, the graph comes to the same end.
    #[test]
    fn a_graph_ends_the_same_in_every_order(ends in prop::collection::vec((0usize..4, prop::bool::ANY), 4..5), seed in any::<u64>()) {
        let names = ["a", "b", "c", "d"];
        let mut orders = vec![(0..4).collect::<Vec<usize>>(), (0..4).rev().collect()];
        let mut mixed: Vec<usize> = (0..4).collect();
        mixed.rotate_left(usize::try_from(seed % 4).expect("small"));
        orders.push(mixed);
        let ends: Vec<String> = orders.iter().map(|order| {
            let mut script = String::from("
                repository app
                builder a of app\nbuilder b of app\nbuilder c of app\nbuilder d of app\nbuilder z of app
                scheduler quick: branch app/main; a, b, c, d, z needs a+b failed
                worker w1 9
                00:00 app main a1 by ada: a\n");
            for index in order {
                let verb = if ends[*index].1 { "succeeds" } else { "fails" };
                script.push_str(&format!("00:01 {} {verb}\n", names[*index]));
            }
            let said = play(&script);
            let z = if said.contains("z is ready") { "runs" } else { "skipped" };
            let done = said.lines().find(|line| line.contains("buildset 1 ") && !line.contains('@') && !line.contains("built"));
            format!("{z} {}", done.unwrap_or("").split_whitespace().last().unwrap_or(""))
        }).collect();
        prop_assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    }
}

#[test]
fn after_a_restore_no_lease_of_before_counts_and_its_requests_are_tried_again() {
    check(
        "
        repository app
        builder test of app retries 1
        scheduler quick: any-branch app/main; test
        worker w1 1
        00:00 app main a1 by ada: src/lib.rs
        00:01 restored
        00:02 stale w1 1 1
        00:02 stale w1 102 1
        00:03 told w1
        00:04 test succeeds
        00:05 app main a2 by ada: src/lib.rs
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 retry, again (its lease ended when the installation was restored from a backup)
            00:01 build 102 test on w1 (attempt 2)
            00:02 report on build 1 epoch 1 refused
            00:02 refused: the lease of build 1 under epoch 1 is over
            00:02 report on build 102 epoch 1 refused
            00:02 refused: the lease of build 102 under epoch 1 is over
            00:03 w1 must know: start build 102 epoch 1048577
            00:04 build 102 success (step step: succeeds)
            00:04 buildset 1 success
            00:05 buildset 2 app@a2 [test]
            00:05 quick on change 2: built buildset 2: every field of the rule matches
            00:05 build 103 test on w1 (attempt 1)
        "#]],
    );
}

#[test]
fn after_a_restore_an_attempt_that_was_the_last_one_ends_its_build() {
    check(
        "
        repository app
        builder test of app retries 0
        scheduler quick: any-branch app/main; test
        worker w1 1
        00:00 app main a1 by ada: src/lib.rs
        00:01 restored
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 exception (its lease ended when the installation was restored from a backup; all 1 attempts ended so)
            00:01 incident 1: test broke, suspects app 0..1
            00:01 buildset 1 exception
        "#]],
    );
}
