//! Workers, as text in and text out: admission, silence, holds, quarantine, windows.

use expect_test::expect;

use crate::fixture::check;

#[test]
fn a_hello_that_says_too_much_or_is_not_admitted_is_refused() {
    check(
        "
        00:00 pool p1 1
        00:01 hello a p1 10
        00:02 hello b p1 10
        00:03 hello c - 1025
        00:04 hello d p9 10
        00:05 gone a
        00:06 hello b p1 10
        00:07 revoke p1
        00:08 hello b p1 10
        ",
        &expect![[r#"
            00:01 a joins
            00:02 refused: pool pool is full: it has 1 workers
            00:03 refused: labels.note: it is longer than 1024 bytes
            00:04 refused: there is no token p9
            00:05 a leaves (silent)
            00:06 b joins
            00:07 b leaves (token p1 was revoked)
            00:08 refused: token p1 was revoked by ada
        "#]],
    );
}

#[test]
fn a_build_is_lost_after_its_window_and_not_before() {
    check(
        "
        repository app
        builder test of app retries 1
        scheduler quick: branch app/main; test
        worker w1 1
        worker w2 1
        00:00 app main a1 by ada: a
        00:01 gone w1
        00:04 unheard w1 299
        00:05 unheard w1 300
        00:06 stale w1 1 1
        00:07 forget w1
        00:08 test succeeds
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 w1 leaves (silent)
            00:05 build 1 retry, again (w1 was not heard of for 300 s)
            00:05 build 2 test on w2 (attempt 2)
            00:06 report on build 1 epoch 1 refused
            00:06 refused: the lease of build 1 under epoch 1 is over
            00:07 w1 is forgotten by ada
            00:08 build 2 success (step step: succeeds)
            00:08 buildset 1 success
        "#]],
    );
}

#[test]
fn a_pause_lapses_and_a_drain_hands_over_at_its_deadline() {
    check(
        "
        repository app
        builder test of app
        scheduler quick: branch app/main; test
        worker w1 1
        00:00 hold w1 pause until 00:10
        00:01 app main a1 by ada: a
        00:02 why 1
        00:03 hold w2 pause
        00:10 nothing
        00:11 hold w1 drain until 00:12
        00:13 told w1
        00:14 test vanishes
        00:15 why 1
        00:16 free w1
        00:17 test succeeds
        ",
        &expect![[r#"
            00:00 w1 is held: pause by ada until 00:10:00
            00:01 buildset 1 app@a1 [test]
            00:01 quick on change 1: built buildset 1: every field of the rule matches
            00:02 request 1: the workers that can are held: w1 (pause by ada until 2026-11-24 00:10 UTC)
            00:03 refused: there is no worker w2
            00:10 w1 is freed: pause by the clock
            00:10 build 1 test on w1 (attempt 1)
            00:11 w1 is held: drain by ada until 00:12:00
            00:12 build 1 is to end for the drain's deadline
            00:13 w1 must know: start build 1 epoch 1
            00:13 w1 must know: cancel build 1 for the drain's deadline
            00:14 build 1 retry, again (handed over, because w1 is drained (step step: vanishes))
            00:15 request 1: the workers that can are held: w1 (drain by ada)
            00:16 w1 is freed: drain by ada
            00:16 build 2 test on w1 (attempt 2)
            00:17 build 2 success (step step: succeeds)
            00:17 buildset 1 success
        "#]],
    );
}

#[test]
fn a_worker_that_fails_again_and_again_is_quarantined_unless_it_is_the_last() {
    check(
        "
        repository app
        builder test of app retries 9
        scheduler quick: branch app/main; test
        worker w1 1
        worker w2 1
        00:00 app main a1 by ada: a
        00:01 test vanishes
        00:02 test vanishes
        00:03 test vanishes
        00:04 test vanishes
        00:05 test vanishes
        00:06 test vanishes
        00:07 test succeeds
        01:30 nothing
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 retry, again (step step: vanishes)
            00:01 build 2 test on w1 (attempt 2)
            00:02 build 2 retry, again (step step: vanishes)
            00:02 build 3 test on w1 (attempt 3)
            00:03 build 3 retry, again (step step: vanishes)
            00:03 w1 is held: quarantine by the service until 01:03:00: 3 builds in a row ended for infrastructure's sake: 1, 2, 3
            00:03 build 4 test on w2 (attempt 4)
            00:04 build 4 retry, again (step step: vanishes)
            00:04 build 5 test on w2 (attempt 5)
            00:05 build 5 retry, again (step step: vanishes)
            00:05 build 6 test on w2 (attempt 6)
            00:06 build 6 retry, again (step step: vanishes)
            00:06 w2 ails: 3 builds in a row ended for infrastructure's sake: 4, 5, 6; it goes on, because no other worker can run test now
            00:06 build 7 test on w2 (attempt 7)
            00:07 build 7 success (step step: succeeds)
            00:07 buildset 1 success
            01:03 w1 is freed: quarantine by the clock
        "#]],
    );
}

#[test]
fn nothing_begins_that_a_window_leaves_no_time_for() {
    check(
        "
        repository app
        builder test of app
        scheduler quick: branch app/main; test
        lend w1 00:00 01:00
        worker w1 1
        00:00 app main a1 by ada: a
        00:00 test starts
        00:30 test succeeds
        00:35 app main a2 by ada: a
        00:36 why 2
        01:10 why 2
        24:01 test succeeds
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:30 build 1 success (step step: succeeds)
            00:30 buildset 1 success
            00:35 buildset 2 app@a2 [test]
            00:35 quick on change 2: built buildset 2: every field of the rule matches
            00:36 request 2: the windows of the workers that can leave no time for it: w1; it takes about 30 m; the next one opens at 2026-11-25 00:00 UTC
            01:10 request 2: the windows of the workers that can leave no time for it: w1; it takes about 30 m; the next one opens at 2026-11-25 00:00 UTC
            24:00 build 2 test on w1 (attempt 1)
            24:01 build 2 success (step step: succeeds)
            24:01 buildset 2 success
        "#]],
    );
}

#[test]
fn a_builder_goes_back_to_its_warm_checkout() {
    check(
        "
        repository app
        builder test of app
        scheduler quick: branch app/main; test
        worker w1 1
        00:00 app main a1 by ada: a
        00:00 test starts
        00:01 test succeeds
        00:02 hello w0 - 1
        00:03 app main a2 by ada: a
        00:04 test succeeds
        ",
        &expect![[r#"
            00:00 buildset 1 app@a1 [test]
            00:00 quick on change 1: built buildset 1: every field of the rule matches
            00:00 build 1 test on w1 (attempt 1)
            00:01 build 1 success (step step: succeeds)
            00:01 buildset 1 success
            00:03 buildset 2 app@a2 [test]
            00:03 quick on change 2: built buildset 2: every field of the rule matches
            00:03 build 2 test on w1 (attempt 1)
            00:04 build 2 success (step step: succeeds)
            00:04 buildset 2 success
        "#]],
    );
}
