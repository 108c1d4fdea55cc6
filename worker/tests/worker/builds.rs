//! What a build does when nothing goes wrong around it.

use std::time::Duration;

use gristmill_model::protocol::{ReportBody, WorkerCommand};
use gristmill_model::{Cause, OnFailure, Outcome};

use crate::world::{StepExt, World, arguments, script, trigger};

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_silent_step_is_reported_in_few_words_and_has_no_log() {
    let world = World::start().await;
    let ended = world.run(vec![script("check", "true")]).await;
    let expected = [
        ReportBody::Started,
        ReportBody::StepStarted { step: 0 },
        ReportBody::StepFinished {
            step: 0,
            outcome: Outcome::Success,
            cause: None,
            summary: "exit code 0".to_owned(),
            warnings: 0,
        },
        ReportBody::Finished { outcome: Outcome::Success, cause: None, summary: "1 step".to_owned() },
    ];
    assert_eq!(ended.seen.reports, expected);
    assert!(ended.seen.calls <= 2, "{} calls", ended.seen.calls);
    assert!(ended.logs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_outputs_are_in_the_log_in_the_order_they_were_written() {
    let world = World::start().await;
    let ended = world.run(vec![script("check", "echo one; echo two >&2; echo three; printf four; exit 2")]).await;
    assert_eq!(ended.end(), "failure (code): step check: exit code 2");
    let heading = "$ echo one; echo two >&2; echo three; printf four; exit 2\n";
    assert_eq!(ended.log(0), format!("{heading}one\ntwo\nthree\nfour"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_stops_at_its_first_failing_command_and_halts_the_build() {
    let world = World::start().await;
    let always = script("clean", "echo cleaned").but(|step| step.rules.always = true);
    let steps = vec![script("test", "echo a\nfalse\necho b"), script("package", "echo never"), always];
    let ended = world.run(steps).await;
    assert_eq!(ended.end(), "failure (test): step test: exit code 1");
    assert!(ended.log(0).ends_with("\na\n"), "{}", ended.log(0));
    let ran: Vec<u32> = ended.steps().iter().map(|(step, ..)| *step).collect();
    assert_eq!(ran, [0, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_fail_without_halting() {
    let world = World::start().await;
    let lint = script("lint", "exit 3").but(|step| step.rules.on_failure = OnFailure::Warn);
    let odd = script("odd", "exit 77").but(|step| step.rules.exit.extend([(77, Outcome::Skipped)]));
    let ended = world.run(vec![lint, odd, script("compile", "true")]).await;
    assert_eq!(ended.end(), "warnings: step lint: exit code 3");
    let outcomes: Vec<Outcome> = ended.steps().iter().map(|(_, outcome, _)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Failure, Outcome::Skipped, Outcome::Success]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_list_meets_no_shell() {
    let world = World::start().await;
    let ended = world.run(vec![arguments("say", &["printf", "%s|", "$(id)", "; echo x", "--", "*"])]).await;
    assert_eq!(ended.end(), "success: 1 step");
    assert!(ended.log(0).ends_with("\n$(id)|; echo x|--|*|"), "{}", ended.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_what_it_would_be_in_a_script() {
    let world = World::start().await;
    let ended = world.run(vec![arguments("lint", &["no-such-linter"])]).await;
    assert_eq!(ended.end(), "failure (code): step lint: cannot run `no-such-linter`: it is not in PATH");
    let ended = world.run(vec![arguments("lint", &[])]).await;
    assert!(ended.end().starts_with("exception (policy): step lint: there is no program to run"), "{}", ended.end());
    let too_long = "x".repeat(3 * 1024 * 1024);
    let ended = world.run(vec![arguments("lint", &["true", &too_long])]).await;
    assert!(ended.end().contains("too long for this system"), "{}", ended.end());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_script_runs_as_well_as_a_short_one() {
    let world = World::start().await;
    let text = format!("# {}\necho done; exit 4", "x".repeat(300 * 1024));
    let ended = world.run(vec![script("long", &text)]).await;
    assert_eq!(ended.end(), "failure (code): step long: exit code 4");
    assert!(ended.log(0).ends_with("done\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_small_and_says_what_is_built() {
    let world = World::start_with(|options| {
        options.environment.insert("HOME".to_owned(), "/home/ci".to_owned());
    })
    .await;
    let mut order = world.order(vec![
        script("env", "env").but(|step| step.environment.extend([("COLOR".to_owned(), "step".to_owned())])),
    ]);
    order.branch = "$(id) --upload-pack=x".to_owned();
    order.recipe.environment.insert("COLOR".to_owned(), "builder".to_owned());
    order.recipe.environment.insert("CI".to_owned(), "no".to_owned());
    order.recipe.environment.insert("A=B".to_owned(), "odd".to_owned());
    order.properties.insert("release-name".to_owned(), "a\nb\0c".to_owned());
    let revision = "0123456789".repeat(4);
    crate::world::with_source(&mut order, "my-app", "", "/nowhere", &revision);
    let ended = world.service.run(order).await;
    let log = ended.log(0);
    for line in [
        "CI=true",
        "COLOR=step",
        "HOME=/home/ci",
        "GRISTMILL_BUILD=1",
        "GRISTMILL_ATTEMPT=1",
        "GRISTMILL_EPOCH=1",
        "GRISTMILL_BUILDER=check",
        "GRISTMILL_PROJECT=shop",
        "GRISTMILL_SCHEDULER=push",
        "GRISTMILL_BRANCH=$(id) --upload-pack=x",
        &format!("GRISTMILL_REVISION={revision}"),
        &format!("GRISTMILL_REVISION_MY_APP={revision}"),
        "GRISTMILL_PROPERTY_RELEASE_NAME=a",
        "bc",
    ] {
        assert!(log.lines().any(|logged| logged == line), "{line} is not in\n{log}");
    }
    assert!(!log.contains("CARGO"), "the worker's own variables stay with it:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_runs_in_its_folder_which_is_kept_for_the_next_build() {
    let world = World::start().await;
    let inside = |text: &str| script("work", text).but(|step| step.folder = "sub/deep".to_owned());
    let ended = world.run(vec![inside("pwd; echo kept > file")]).await;
    assert!(ended.log(0).ends_with("/workspaces/check/0/sub/deep\n"), "{}", ended.log(0));
    assert!(world.run(vec![inside("cat file")]).await.log(0).ends_with("kept\n"));
    let outside = script("work", "pwd").but(|step| step.folder = "../other".to_owned());
    let ended = world.run(vec![outside]).await;
    assert!(
        ended.end().starts_with("exception (policy): step work: `../other` is not a path inside"),
        "{}",
        ended.end()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_output_arrives_whole() {
    let world = World::start().await;
    let ended = world.run(vec![script("count", "seq 1 400000")]).await;
    let expected: String = (1..=400_000).map(|number| format!("{number}\n")).collect();
    let log = ended.log(0);
    let log = log.strip_prefix("$ seq 1 400000\n").unwrap();
    assert!(log == expected, "{} bytes instead of {}", log.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_seen_while_the_step_runs() {
    let world = World::start().await;
    let go = world.path("go");
    std::process::Command::new("mkfifo").arg(&go).status().unwrap();
    let order = world.order(vec![script("wait", &format!("echo begun; read word < {}; echo $word", go.display()))]);
    let (build, lease) = (order.build, (order.build, order.epoch));
    world.service.command(WorkerCommand::Start { order });
    world.service.until_log(build, 0, "\nbegun\n").await;
    tokio::fs::write(&go, "ended\n").await.unwrap();
    assert!(world.service.ended(lease).await.log(0).ends_with("begun\nended\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_waits_goes_on_with_what_it_is_told() {
    let world = World::start().await;
    let order = world.order(vec![trigger("docs", true), trigger("docs", true), script("after", "true")]);
    let (build, epoch) = (order.build, order.epoch);
    world.service.command(WorkerCommand::Start { order });
    for (step, outcome) in [(0, Outcome::Success), (1, Outcome::Warnings)] {
        let reached = ReportBody::TriggerReached { step };
        world
            .service
            .until("the trigger", |state| state.builds.get(&(build, epoch))?.reports.contains(&reached).then_some(()))
            .await;
        let summary = format!("docs {step}");
        // The answer to the first one is given again and again; it must not be taken for the second one's.
        world.service.command(WorkerCommand::Resume { build, epoch, step: Some(step), outcome, summary });
    }
    let ended = world.service.ended((build, epoch)).await;
    assert_eq!(ended.end(), "warnings: step trigger: docs 1");
    assert_eq!(ended.steps()[0], (0, Outcome::Success, "docs 0".to_owned()));
    assert_eq!(ended.steps().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_triggered_failure_is_a_dependencys_and_one_that_is_not_waited_for_is_none() {
    let world = World::start().await;
    let ended = world.run(vec![trigger("docs", false)]).await;
    assert_eq!(ended.end(), "success: 1 step");
    assert_eq!(ended.steps(), [(0, Outcome::Success, "triggered docs".to_owned())]);

    let order = world.order(vec![trigger("docs", true)]);
    let (build, epoch) = (order.build, order.epoch);
    world.service.command(WorkerCommand::Start { order });
    let (outcome, summary) = (Outcome::Failure, "docs failed".to_owned());
    world.service.command(WorkerCommand::Resume { build, epoch, step: None, outcome, summary });
    let ended = world.service.ended((build, epoch)).await;
    assert_eq!(ended.end(), "failure (dependency): step trigger: docs failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_a_step_and_says_so() {
    let world = World::start().await;
    let short = |text: &str, idle, total| {
        script("work", text).but(|step| {
            step.timeouts.idle = Duration::from_millis(idle);
            step.timeouts.total = Duration::from_millis(total);
        })
    };
    let ended = world.run(vec![short("echo begun; sleep 1000", 1000, 60_000)]).await;
    assert_eq!(ended.end(), "failure (limit): step work: no output for 1 s");
    assert!(ended.log(0).ends_with("begun\ngristmill: no output for 1 s: ended\n"), "{}", ended.log(0));

    let ended = world.run(vec![short("while :; do echo on; sleep 0.05; done", 2_000, 600)]).await;
    assert_eq!(ended.end(), "failure (limit): step work: took longer than 600 ms");
    let causes: Vec<Option<Cause>> = ended
        .seen
        .reports
        .iter()
        .filter_map(|body| match body {
            ReportBody::StepFinished { cause, .. } => Some(*cause),
            _ => None,
        })
        .collect();
    assert_eq!(causes, [Some(Cause::Limit)]);
}
