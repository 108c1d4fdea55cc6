//! Secrets, files that are kept, limits, containers.

use std::os::unix::fs::PermissionsExt;

use gristmill_model::protocol::ReportBody;
use gristmill_model::{Digest, Engine, Isolation, Limits, SecretForm, SecretUse};

use crate::world::{StepExt, World, script};

fn secret(form: SecretForm) -> SecretUse {
    SecretUse { from: "deploy-key".to_owned(), form }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_the_command_and_never_its_log() {
    let world = World::start().await;
    world.service.change(|state| {
        let values = [("KEY", "hunter22-first\nsecond-line"), ("TOKEN", "s3cr3t-value")];
        state.secrets = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    });
    let text = "test \"$TOKEN\" = s3cr3t-value && grep -c . \"$KEY\" && stat -c %a \"$KEY\"; echo \"<$TOKEN>\"; printf s3cr; sleep 0.3; echo 3t-value; \
        cat \"$KEY\"; printf 'ab%s' \"$TOKEN\" | base64; echo \"v=$TOKEN\" > $GRISTMILL_OUTPUT; echo $TOKEN > out.log";
    let step = script("deploy", text).but(|step| {
        step.outputs = vec!["v".to_owned()];
        step.logs = [("out".to_owned(), "out.log".to_owned())].into();
    });
    let mut order = world.order(vec![step]);
    order.recipe.secrets =
        [("KEY".to_owned(), secret(SecretForm::File)), ("TOKEN".to_owned(), secret(SecretForm::Env))].into();
    let ended = world.service.run(order).await;
    assert_eq!(ended.end(), "success: 1 step");
    let log = ended.log(0);
    assert!(log.contains("\n2\n600\n<***>\n***\n***\nYWJ***"), "{log}");
    for text in ["s3cr3t", "second-line", "first"] {
        let printed = log.split_once("v=$TOKEN").map_or("", |(_, printed)| printed);
        assert!(!printed.contains(text), "{text} is in {printed}");
    }
    assert!(!log.contains("M2NyM3Q"), "{log}");
    let state = world.service.state();
    assert!(state.logs.values().all(|log| !String::from_utf8_lossy(log).contains("<s3cr")));
    let reports = format!("{:?}", ended.seen.reports);
    assert!(reports.contains("***") && !reports.contains("s3cr3t"), "{reports}");
    assert_eq!(std::fs::read_dir(world.path("worker/steps")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_secrets_are_denied_does_not_run() {
    let world = World::start().await;
    let mut order = world.order(vec![script("deploy", "echo ran")]);
    order.recipe.secrets = [("KEY".to_owned(), secret(SecretForm::Env))].into();
    let ended = world.service.run(order).await;
    assert_eq!(ended.end(), "exception (policy): step deploy: not for this branch");
    assert!(!ended.log(0).contains("\nran"), "{}", ended.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_by_their_digests_and_links_are_not() {
    let world = World::start().await;
    let text = "mkdir dist; echo hello > dist/a.txt; : > dist/empty.txt; head -c 3000000 /dev/zero > dist/big.txt; \
        ln -s /etc/passwd dist/link.txt; ln -s /etc dist/etc";
    let step =
        script("package", text).but(|step| step.artifacts = vec!["dist/**/*.txt".to_owned(), "none/*".to_owned()]);
    let ended = world.run(vec![step]).await;
    assert_eq!(ended.end(), "success: 1 step");
    let kept: Vec<(String, u64, String)> = ended
        .seen
        .reports
        .iter()
        .filter_map(|body| match body {
            ReportBody::ArtifactStored { step: 0, path, bytes, digest } => {
                Some((path.clone(), *bytes, digest.0.clone()))
            }
            _ => None,
        })
        .collect();
    let digest = |bytes: &[u8]| Digest::of(bytes).0;
    let big = vec![0; 3_000_000];
    let wanted = [
        ("dist/a.txt", 6, digest(b"hello\n")),
        ("dist/big.txt", 3_000_000, digest(&big)),
        ("dist/empty.txt", 0, digest(b"")),
    ];
    assert_eq!(kept, wanted.map(|(path, bytes, digest)| (path.to_owned(), bytes, digest)));
    assert_eq!(world.service.state().files[&digest(&big)], big);
    assert!(ended.log(0).contains("1 symbolic links are left out"), "{}", ended.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_the_command() {
    let world = World::start().await;
    let text = "head -c 4000000 /dev/zero > big; echo not reached";
    let step = script("fill", text)
        .but(|step| step.limits = Limits { file_size: Some(1 << 20), nice: Some(5), ..Limits::default() });
    let ended = world.run(vec![step]).await;
    assert!(ended.end().starts_with("failure"), "{}", ended.end());
    assert!(!ended.log(0).ends_with("not reached\n"), "{}", ended.log(0));
    let looked = script("look", "ulimit -v; nice")
        .but(|step| step.limits = Limits { memory: Some(1 << 30), nice: Some(5), ..Limits::default() });
    let ended = world.run(vec![looked]).await;
    assert!(ended.log(0).ends_with("1048576\n5\n"), "{}", ended.log(0));
}

/// A program that does as docker does, as far as the worker can tell.
const FAKE_DOCKER: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> "$FAKE_LOG_FOLDER/argv"
if [ "$1" != run ]; then exit 0; fi
while [ "$1" != --entrypoint ]; do shift; done
program=$2; shift 3
exec "$program" "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_run_by_the_engines_program_and_removed_when_its_step_is_ended() {
    let world = World::start_with(|options| {
        let bin = options.data.parent().unwrap().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let text = FAKE_DOCKER.replace("$FAKE_LOG_FOLDER", &bin.display().to_string());
        std::fs::write(bin.join("podman"), text).unwrap();
        std::fs::set_permissions(bin.join("podman"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = options.environment.entry("PATH".to_owned()).or_default();
        *path = format!("{}:{path}", bin.display());
    })
    .await;
    world.service.change(|state| state.secrets = [("KEY".to_owned(), "hunter22".to_owned())].into());
    let slow =
        script("slow", "echo slow; sleep 600").but(|step| step.timeouts.total = std::time::Duration::from_millis(300));
    let mut order = world.order(vec![
        script("make", "echo \"in $KEY\"; pwd")
            .but(|step| step.environment = [("A".to_owned(), "b c".to_owned())].into()),
        slow,
    ]);
    order.recipe.isolation =
        Isolation::Container { image: "debian:12".to_owned(), engine: Engine::Podman, network: false };
    order.recipe.secrets = [("KEY".to_owned(), secret(SecretForm::Env))].into();
    let ended = world.service.run(order).await;
    assert_eq!(ended.end(), "failure (limit): step slow: took longer than 300 ms");
    assert!(ended.log(0).contains("\nin ***\n"), "{}", ended.log(0));
    let argv = std::fs::read_to_string(world.path("bin/argv")).unwrap();
    let runs: Vec<&str> = argv.lines().filter(|line| line.starts_with("run ")).collect();
    assert_eq!(runs.len(), 2, "{argv}");
    for piece in ["--network none", "--env A=b c", "--env KEY ", "--entrypoint /bin/sh debian:12 -e -c echo"] {
        assert!(runs[0].contains(piece), "{piece} is not in {}", runs[0]);
    }
    assert!(!argv.contains("hunter22") && !argv.contains("PATH="), "{argv}");
}
