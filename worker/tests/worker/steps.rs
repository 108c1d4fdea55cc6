//! What a step may do besides running its command.

use std::collections::BTreeMap;

use gristmill_model::protocol::{LogAddress, ReportBody};
use gristmill_model::{BuildId, Cause, OnFailure, Outcome, SoFar, StepCondition, TestOutcome};

use crate::world::{StepExt, World, script};

fn condition(outcome: SoFar) -> Option<StepCondition> {
    Some(StepCondition { outcome, ..StepCondition::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_runs_only_where_its_condition_holds_and_says_why_not() {
    let world = World::start().await;
    let on_main = StepCondition { branch: vec!["release/*".to_owned()], ..StepCondition::default() };
    let steps = vec![
        script("release", "true").but(|step| step.condition = Some(on_main)),
        script("alarm", "true").but(|step| step.condition = condition(SoFar::Failure)),
        script("lint", "exit 1").but(|step| step.rules.on_failure = OnFailure::Continue),
        script("publish", "true").but(|step| step.condition = condition(SoFar::Success)),
        script("compile", "exit 2"),
        script("package", "true"),
        script("tell", "true").but(|step| step.condition = condition(SoFar::Failure)),
        script("clean", "true").but(|step| step.condition = condition(SoFar::Always)),
    ];
    let ended = world.run(steps).await;
    let told: Vec<(u32, Outcome, String)> = ended.steps();
    let told: Vec<String> =
        told.iter().map(|(step, outcome, summary)| format!("{step} {outcome}: {summary}")).collect();
    assert_eq!(
        told,
        [
            "0 skipped: branch `main` does not match release/*",
            "1 skipped: only after a failure",
            "2 failure: exit code 1",
            "3 skipped: not after failure",
            "4 failure: exit code 2",
            "6 success: exit code 0",
            "7 success: exit code 0",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_reported_and_seen_by_later_steps_alone() {
    let world = World::start().await;
    let declared = || vec!["version".to_owned(), "log-level".to_owned()];
    let first = script("version", "echo version=1.2 >> $GRISTMILL_OUTPUT; echo other=x >> $GRISTMILL_OUTPUT; echo log-level=a=b >> $GRISTMILL_OUTPUT")
        .but(|step| step.outputs = declared());
    let only =
        StepCondition { outputs: [("version".to_owned(), vec!["1.*".to_owned()])].into(), ..StepCondition::default() };
    let second =
        script("use", "echo \"<$GRISTMILL_OUTPUT_VERSION> <$GRISTMILL_OUTPUT_LOG_LEVEL> <${GRISTMILL_OUTPUT-none}>\"")
            .but(|step| step.condition = Some(only));
    let ended = world.run(vec![first, second]).await;
    assert_eq!(ended.end(), "success: 2 steps");
    assert!(ended.log(1).ends_with("<1.2> <a=b> <none>\n"), "{}", ended.log(1));
    assert!(ended.log(0).contains("line 2 of the outputs is left out: the step declares no output `other`"));
    let outputs =
        BTreeMap::from([("version".to_owned(), "1.2".to_owned()), ("log-level".to_owned(), "a=b".to_owned())]);
    assert!(ended.seen.reports.contains(&ReportBody::StepOutputs { step: 0, outputs }));
    let left = std::fs::read_dir(world.path("worker/steps")).unwrap().count();
    assert_eq!(left, 0, "a step's own folder goes with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_counted_and_make_the_outcome() {
    let world = World::start().await;
    let patterns = || vec!["warning: ".to_owned()];
    let compile = script("compile", "echo 'a.c:1: warning: x'; echo fine; printf 'b.c:2: warning: y'")
        .but(|step| step.warnings = patterns());
    let ended = world.run(vec![compile]).await;
    assert_eq!(ended.end(), "warnings: step compile: exit code 0; 2 warnings");
    assert!(ended.seen.reports.iter().any(|body| matches!(body, ReportBody::StepFinished { warnings: 2, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_followed_as_a_log_of_its_own() {
    let world = World::start().await;
    let text = "mkdir -p build; echo one > build/config.log; echo printed; seq 100000 >> build/config.log; echo last >> build/config.log";
    let step = script("configure", text).but(|step| {
        step.logs =
            [("config.log".to_owned(), "build/config.log".to_owned()), ("none".to_owned(), "nothing.log".to_owned())]
                .into();
    });
    let ended = world.run(vec![step]).await;
    assert_eq!(ended.end(), "success: 1 step");
    assert!(ended.log(0).ends_with("printed\n"), "{}", ended.log(0));
    let address = LogAddress { log: 1, ..LogAddress::output(BuildId(1), 1, 0) };
    let followed = world.service.state().logs.get(&address).cloned().unwrap();
    let wanted: String = std::iter::once("one\n".to_owned())
        .chain((1..=100_000).map(|number| format!("{number}\n")))
        .chain(std::iter::once("last\n".to_owned()))
        .collect();
    assert!(followed == wanted.as_bytes(), "{} bytes, and {} were written", followed.len(), wanted.len());
    assert_eq!(world.service.state().logs.len(), 2, "what is not there has no log");
}

#[tokio::test(flavor = "multi_thread")]
async fn test_reports_are_read_and_say_whose_fault_a_failure_is() {
    let world = World::start().await;
    let text = "mkdir reports; cat > reports/a.xml <<'X'\n<testsuite name=\"core\"><testcase name=\"good\" time=\"1.5\"/>\
        <testcase name=\"bad\"><failure message=\"1 != 2\"/></testcase></testsuite>\nX\necho '<!DOCTYPE x>' > reports/b.xml; \
        ln -s /etc/passwd reports/c.xml; exit 1";
    let step = script("check", text).but(|step| step.junit = vec!["reports/*.xml".to_owned()]);
    let ended = world.run(vec![step]).await;
    assert_eq!(ended.end(), "failure (test): step check: exit code 1; 1 of 2 tests failed");
    let tests = ended.seen.reports.iter().find_map(|body| match body {
        ReportBody::StepTests { step: 0, first: 0, tests } => Some(tests.clone()),
        _ => None,
    });
    let tests = tests.unwrap();
    assert_eq!(
        (tests[0].name.as_str(), tests[0].outcome, tests[0].message.as_str()),
        ("bad", TestOutcome::Failed, "1 != 2")
    );
    assert_eq!((tests[1].outcome, tests[1].micros), (TestOutcome::Passed, 1_500_000));
    let log = ended.log(0);
    assert!(log.contains("the test report reports/b.xml is left out: it has a document type"), "{log}");
    assert!(log.contains("1 symbolic links are left out"), "{log}");
    assert!(
        ended.seen.reports.iter().any(|body| matches!(body, ReportBody::Finished { cause: Some(Cause::Test), .. }))
    );
}
