//! The service looks at itself, and people look at it: beside a service that runs, after one was killed, and later.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::support::mail::{MailServer, header};
use crate::support::process::Served;
use crate::support::{Repository, World, set_up_process, soon};

/// Changes rows behind the service's back, as a damaged disk or a curious person does.
async fn damage(data: &Path, text: &'static str) {
    let options = SqliteConnectOptions::new().filename(data.join("gristmill.db")).foreign_keys(false);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_finds_of_itself_is_told_once_and_so_is_its_mending() {
    let mut mail = MailServer::start().await;
    let config = format!(
        "
repositories: {{app: {{git: FOLDER/app.git}}}}
builders: {{check: {{source: app, steps: [checkout, {{run: 'true'}}]}}}}
schedulers: {{push: {{kind: any-branch, when: {{repository: app}}, build: [check]}}}}
notifiers: {{mail: {{kind: mail, smtp: 'smtp://127.0.0.1:{}', from: 'CI <ci@example.org>'}}}}
routes: [{{when: {{event: 'doctor.*'}}, to: [{{mail: [ops@example.org]}}]}}]
",
        mail.port
    );
    let (world, repositories) = World::start(&config, &["app"]).await;
    repositories[0].push("main", "go", &[("a", "1")]);
    world.notice("app").await;
    let data = world.folder.path().join("data");
    damage(&data, "UPDATE buildset SET remaining = 1, outcome = NULL, completed_at = NULL WHERE id = 1").await;

    for _ in 0..2 {
        world.service().examine().await;
        soon("rest", world.service().settle()).await;
    }
    let complete = "buildset-complete: buildset 1 is open, and all its requests are settled";
    let remaining = "buildset-remaining: buildset 1 counts 1 open requests and has 0";
    for said in [remaining, complete] {
        let told = mail_with(&mut mail, said).await;
        assert!(header(&told, "Subject").contains("the service found something wrong with its own data"), "{told}");
    }
    let found = found_events(&world, "doctor.found").await;
    let all = ["buildset-complete", "buildset-remaining", "memory"];
    assert_eq!(found, all, "each once, however often it is seen");
    let status = world.get("/api/v1/status").await;
    assert!(status["findings"].to_string().contains("buildset 1 counts 1 open requests and has 0"), "{status}");
    let page = soon("the page", world.http().get(world.url("/")).send()).await.unwrap().text().await.unwrap();
    assert!(page.contains("(buildset-complete)"), "{page}");

    damage(
        &data,
        "UPDATE buildset SET remaining = 0, outcome = 'success', completed_at = (SELECT MAX(at) FROM event \
                   WHERE kind = 'buildset.completed') WHERE id = 1",
    )
    .await;
    world.service().examine().await;
    world.settle().await;
    assert_eq!(found_events(&world, "doctor.cleared").await, all);
    let mended = mail_with(&mut mail, "buildset-complete: as it should be again").await;
    assert!(header(&mended, "Subject").contains("is mended"), "{mended}");
    assert_eq!(other_findings(&world.get("/api/v1/status").await["findings"]), Vec::<String>::new());
}

/// Waits for a mail that says something, and passes over those that come before it.
async fn mail_with(mail: &mut MailServer, said: &str) -> Value {
    loop {
        let told = mail.next().await;
        if told["text"].as_str().unwrap().contains(said) {
            return told;
        }
    }
}

/// Gives the checks of events of a kind, the machine's own disk aside.
async fn found_events(world: &World, kind: &str) -> Vec<String> {
    let events = world.get(&format!("/api/v1/events?limit=200&kind={kind}")).await;
    let bodies: Vec<Value> = events["items"].as_array().unwrap().iter().map(|event| event["body"].clone()).collect();
    let mut names = other_findings(&Value::Array(bodies));
    names.sort();
    names
}

/// Gives the names of checks in a list, but for the disk of the machine that runs the tests.
fn other_findings(list: &Value) -> Vec<String> {
    let names = list.as_array().unwrap().iter().map(|one| one["check"].as_str().unwrap().to_owned());
    names.filter(|name| name != "space").collect()
}

fn run_doctor(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gristmill"))
        .arg("doctor")
        .arg("--data")
        .arg(data)
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs the command to the last row, and gives what it found.
fn doctor(data: &Path) -> Vec<String> {
    let output = run_doctor(data, &["--deep", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.len() > 30 && report["not_looked"] == 0, "{report}");
    let found: Vec<Value> = checks.iter().filter(|check| check["result"] == "found").cloned().collect();
    assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{report}");
    other_findings(&Value::Array(found))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_looks_at_a_service_that_runs_that_was_killed_and_that_was_stopped() {
    set_up_process();
    let folder = tempfile::tempdir().unwrap();
    let app = Repository::make(folder.path(), "app");
    let config = "
repositories: {app: {git: FOLDER/app.git}}
builders: {check: {source: app, steps: [checkout, {run: 'echo hello'}]}}
schedulers: {push: {kind: any-branch, when: {repository: app}, build: [check]}}
";
    let (file, data) = (folder.path().join("gristmill.yaml"), folder.path().join("data"));
    std::fs::write(&file, config.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    assert_eq!(run_doctor(&data, &[]).status.code(), Some(8), "there is nothing yet");
    assert!(!data.exists(), "and nothing was made");

    let served = Served::start(&file, &data).await;
    served.until("first sight", |event| event["kind"] == "repository.seen").await;
    app.push("main", "go", &[("a", "1")]);
    served.until("the end", |event| event["kind"] == "buildset.completed").await;
    assert_eq!(doctor(&data), Vec::<String>::new(), "beside a service that runs");
    served.kill().await;
    assert_eq!(doctor(&data), Vec::<String>::new(), "after it was killed");
    let served = Served::start(&file, &data).await;
    assert!(served.terminate().await.success());
    let before = std::fs::read(data.join("gristmill.db")).unwrap();
    assert_eq!(doctor(&data), Vec::<String>::new(), "after it was stopped");
    assert!(before == std::fs::read(data.join("gristmill.db")).unwrap(), "nothing was written");

    damage(&data, "UPDATE request SET attempts = 4 WHERE id = 1").await;
    assert_eq!(doctor(&data), ["attempts", "fold-rows"]);
    let said = run_doctor(&data, &["-q"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains("request 1 counts 4 attempts, epoch 1, and its last build is attempt 0"), "{text}");
    assert!(text.contains("what to do: "), "{text}");
    assert_eq!(said.status.code(), Some(1));
    for (arguments, exit, words) in [
        (&["--database", "mysql://x"][..], 2, "postgres://"),
        (&["--deeper"], 2, "--deep"),
        (&["--database", "postgres://nobody@127.0.0.1:1/none"], 7, "cannot reach the database"),
    ] {
        let refused = run_doctor(&data, arguments);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(exit) && text.contains(words), "{arguments:?}: {text}");
    }
}
