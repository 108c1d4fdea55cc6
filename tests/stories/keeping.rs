//! Backups of a running service, what is restored from them, and what retention leaves.

use std::path::Path;
use std::process::{Command, Output};

use gristmill::service::{Options, Service};
use gristmill::store::Database;
use gristmill_model::protocol::{Held, Hello, Report, ReportBody};
use gristmill_model::{BuildId, EventBody, Outcome, Seq, Timestamp};
use gristmill_schedulers::input::Denial;
use gristmill_schedulers::{Input, Reply};
use serde_json::Value;

use super::crash::{CONFIG, Yard};
use super::push::SMALLEST;
use crate::support::postgres::Postgres;
use crate::support::process::Served;
use crate::support::{Repository, World, set_up_process, soon};

/// Runs the program in a folder, perhaps under another command.
fn gristmill(folder: &Path, prefix: &[&str], arguments: &[&str]) -> Output {
    let mut words = prefix.to_vec();
    words.push(env!("CARGO_BIN_EXE_gristmill"));
    words.extend(arguments);
    Command::new(words[0]).args(&words[1..]).current_dir(folder).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|problem| panic!("{problem}: {output:?}"))
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(said.contains(words), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_service_is_restored_and_goes_on() {
    is_restored_and_goes_on("sqlite:", "sqlite:").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_service_on_a_server_is_restored_into_another_database_and_goes_on() {
    let server = Postgres::shared();
    is_restored_and_goes_on(&server.database(), &server.database()).await;
}

async fn is_restored_and_goes_on(before: &str, after: &str) {
    let yard = Yard::make(CONFIG);
    let folder = yard.folder.path();
    let file = folder.join("gristmill.yaml");
    let served = Served::start_with(&[("GRISTMILL_DATABASE", before)], &file, &folder.join("data")).await;
    served.until("first sight", |event| event["kind"] == "repository.seen").await;
    yard.app.push("main", "before the backup", &[("a", "1")]);
    let is_waiting = |event: &Value| event["kind"] == "step.started" && event["body"]["name"] == "wait";
    served.until("the waiting step", is_waiting).await;

    let taken =
        json_of(&gristmill(folder, &[], &["backup", "backup", "--data", "data", "--database", before, "--json"]));
    assert_eq!(taken["open_builds"], serde_json::json!([1]), "{taken}");
    yard.app.push("main", "after the backup", &[("a", "2")]);
    served
        .until("what the backup does not have", |event| {
            event["kind"] == "change.seen" && event["body"]["change"]["id"] == 2
        })
        .await;
    served.kill().await;

    let checked = json_of(&gristmill(folder, &[], &["backup", "--check", "backup", "--json"]));
    assert_eq!((&checked["head"], &checked["instance"]), (&taken["head"], &taken["instance"]));
    let restore = ["restore", "backup", "--data", "restored", "--database", after, "--json"];
    let restored = json_of(&gristmill(folder, &[], &restore));
    assert_eq!(restored["from_event"], taken["head"]);
    assert!(folder.join("restored/restored-gristmill.yaml").is_file());

    let served = Served::start_with(&[("GRISTMILL_DATABASE", after)], &file, &folder.join("restored")).await;
    let told = served.until("the restore", |event| event["kind"] == "instance.restored").await;
    assert_eq!(told["body"]["head"], taken["head"]);
    let is_retry = |event: &Value| event["kind"] == "build.finished" && event["body"]["retry"] == true;
    let lost = served.until("the lost lease", is_retry).await;
    assert_eq!(lost["body"]["build"], 1);
    // Two steps that outlive the killed service may each take one.
    for _ in 0..4 {
        yard.let_one_pass();
    }
    // The push that the backup does not have is seen again, under a number of its own.
    let again = served
        .until("the repaired push", |event| event["kind"] == "change.seen" && event["body"]["change"]["id"] != 1)
        .await;
    assert!(again["body"]["change"]["id"].as_i64().unwrap() > 10_000, "{again}");
    let mut done = 0;
    while done < 2 {
        done = 0;
        for buildset in served.get("/api/v1/buildsets").await["items"].as_array().unwrap() {
            done += i32::from(buildset["outcome"] == "success");
        }
        tokio::task::yield_now().await;
    }
    assert!(served.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_still_reports_under_a_lease_of_before_a_restore_is_fenced() {
    leases_of_before_are_fenced([Database::Embedded, Database::Embedded]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_before_a_restore_on_a_server_is_fenced() {
    let database = || Database::Server(Postgres::shared().database());
    leases_of_before_are_fenced([database(), database()]).await;
}

async fn leases_of_before_are_fenced([before, after]: [Database; 2]) {
    set_up_process();
    let folder = tempfile::tempdir().unwrap();
    let app = Repository::make(folder.path(), "app");
    let file = folder.path().join("gristmill.yaml");
    std::fs::write(&file, SMALLEST.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    let start = async |data: &str, database: &Database| {
        let data = folder.path().join(data);
        let database = database.clone();
        let options =
            Options { worker: false, database, ..Options::new(file.clone(), data, ([127, 0, 0, 1], 0).into()) };
        let service = soon("the start", Service::start(options)).await.unwrap();
        soon("the lead", service.engine().leads().wait_for(|leads| *leads)).await.unwrap();
        soon("a look", service.sweep(&"app".into())).await.unwrap();
        service
    };
    let hello = |builds: Vec<Held>| Hello {
        worker: "far".into(),
        labels: Default::default(),
        slots: 4,
        builds,
        ..Hello::default()
    };
    let held = |build: i64| Held { build: BuildId(build), epoch: 1 };

    let service = start("data", &before).await;
    service.engine().submit(Input::Hello(hello(vec![]))).await.unwrap();
    app.push("main", "leased before", &[("a", "1")]);
    soon("a look", service.sweep(&"app".into())).await.unwrap();
    let (data, configuration) = (folder.path().join("data"), file.clone());
    let source = gristmill::keeping::backup::Source { data, database: before.clone(), configuration, logs: None };
    let now = Timestamp::from_seconds(1_795_518_131);
    let backup = folder.path().join("backup");
    let manifest = gristmill::keeping::take(&source, &backup, now, &mut |_| ()).await.unwrap();
    assert_eq!(manifest.open_builds, [BuildId(1)]);
    app.push("main", "leased after", &[("a", "2")]);
    soon("a look", service.sweep(&"app".into())).await.unwrap();
    soon("the stop", service.stop()).await;

    let data = folder.path().join("restored");
    gristmill::keeping::restore(&backup, &data, &after, now, &mut |_| ()).await.unwrap();
    let service = start("restored", &after).await;
    let welcome = service.engine().submit(Input::Hello(hello(vec![held(1), held(2)]))).await.unwrap();
    let Reply::Welcome(welcome) = welcome else { panic!("{welcome:?}") };
    assert_eq!(welcome.stop, [held(1), held(2)], "both leases are over");
    for build in [1, 2] {
        let body = ReportBody::Finished { outcome: Outcome::Success, cause: None, summary: String::new() };
        let report = Report { build: BuildId(build), epoch: 1, seq: 9, body };
        let answer = service.engine().submit(Input::Report { worker: "far".into(), report }).await.unwrap();
        assert_eq!(answer, Reply::Refused(Denial::Fenced { build: BuildId(build), epoch: 1 }));
    }
    let events = service.reader().events_after(manifest.head, 1_000).await.unwrap();
    let refused = events.iter().filter(|event| matches!(event.body, EventBody::ReportRefused { .. })).count();
    assert_eq!(refused, 2, "what is refused is recorded");
    let leased: Vec<BuildId> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::BuildLeased { build } => Some(build.id),
            _ => None,
        })
        .collect();
    assert_eq!(leased.len(), 2, "the request of before, and the push of after the backup: {leased:?}");
    assert!(leased.iter().all(|build| build.0 > 10_000), "{leased:?}");
    service.verify().await.unwrap();
    soon("the stop", service.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_finds_no_room_leaves_nothing_behind() {
    let (mut world, repositories) = World::start(SMALLEST, &["app"]).await;
    repositories[0].push("main", "go", &[("Makefile", "check:\n\t@echo well\n")]);
    world.notice("app").await;
    world.stop().await;
    let folder = world.folder.path();
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "limited"];
    refused(&gristmill(folder, &limited, &["backup", "backup", "--data", "data"]), 7, "cannot copy the database");
    let left: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("backup"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_server_needs_the_servers_programs_and_an_empty_database() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let url = Postgres::shared().database();
    let (run, database) = (|prefix: &[&str], words: &[&str]| gristmill(folder, prefix, words), ["--database", &url]);
    let words = |words: &[&'static str]| [words, &database].concat();
    refused(&run(&[], &words(&["backup", "to", "--data", "data"])), 8, "there is no folder of logs data/logs");
    std::fs::create_dir_all(folder.join("data/logs")).unwrap();
    refused(&run(&[], &words(&["backup", "to", "--data", "data"])), 7, "has schema 0");
    let store = gristmill::store::Store::open_database(&folder.join("data"), &Database::Server(url.clone())).await;
    store.unwrap().close().await;
    let without = ["/usr/bin/env", "PATH=/nowhere"];
    let said = "pg_dump is not on the path";
    refused(&run(&without, &words(&["backup", "to", "--data", "data"])), 7, said);
    assert!(!folder.join("to").exists());
    assert!(run(&[], &words(&["backup", "to", "--data", "data"])).status.success());
    refused(&run(&[], &words(&["restore", "to", "--data", "new"])), 2, "has tables, and nothing is overwritten");
    let embedded = ["restore", "to", "--data", "new", "--database", "sqlite:"];
    refused(&run(&[], &embedded), 2, "it is of a database on a PostgreSQL server");
    assert!(!folder.join("new").exists());
}

#[test]
fn what_is_typed_wrong_gets_clear_words() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| gristmill(folder.path(), &[], arguments);
    refused(&run(&["backup"]), 2, "<FOLDER>");
    refused(&run(&["backup", "to"]), 8, "there is no database in gristmill-data");
    refused(&run(&["backup", "--check", "nowhere"]), 8, "nowhere is no backup: it has no manifest.json");
    refused(&run(&["backup", "to", "--check", "from"]), 2, "cannot be used with");
    refused(&run(&["restore", "from"]), 2, "--data <DIR>");
    refused(&run(&["restore", "from", "--data", "."]), 8, "from is no backup");
    std::fs::write(folder.path().join("something"), "").unwrap();
    refused(&run(&["restore", "from", "--data", "."]), 2, "is there already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_restore_deletes_none_of_the_logs_of_the_installation_that_goes_on() {
    let (mut world, repositories) = World::start(SMALLEST, &["app"]).await;
    for message in ["one", "two"] {
        repositories[0].push("main", message, &[("Makefile", "check:\n\t@echo well\n"), ("a", message)]);
        world.notice("app").await;
    }
    let folder = world.folder.path().to_owned();
    let (backup, trial, logs) = (folder.join("backup"), folder.join("trial"), folder.join("data/logs"));
    let configuration = folder.join("trial.yaml");
    std::fs::write(&configuration, SHORT.replace("FOLDER", folder.to_str().unwrap())).unwrap();
    let source = gristmill::keeping::backup::Source {
        data: folder.join("data"),
        configuration: configuration.clone(),
        ..Default::default()
    };
    let now = Timestamp::from_seconds(1_795_518_131);
    gristmill::keeping::take(&source, &backup, now, &mut |_| ()).await.unwrap();
    gristmill::keeping::restore(&backup, &trial, &Database::Embedded, now, &mut |_| ()).await.unwrap();
    assert!(!trial.join("logs/installation").exists(), "a restored folder is its own");

    // Under its rules build 1 goes, and so would its logs.
    let start = async |logs: std::path::PathBuf| {
        let options = Options::new(configuration.clone(), trial.clone(), ([127, 0, 0, 1], 0).into());
        let options = Options { worker: false, logs: Some(logs), forget_logs: true, ..options };
        soon("the start", Service::start(options)).await.unwrap()
    };
    let service = start(logs.clone()).await;
    let refused = service.retire().await.unwrap_err().to_string();
    assert!(refused.contains("says that these are the logs of installation"), "{refused}");
    assert!(refused.contains("delete that file once no service of the other one runs any more"), "{refused}");
    assert!(service.reader().find_build(BuildId(1)).await.unwrap().is_none(), "all else was deleted");
    soon("the stop", service.stop()).await;
    assert!(logs.join("0/1").is_dir() && logs.join("0/2").is_dir());

    // In the folder that was restored with it they go.
    let service = start(trial.join("logs")).await;
    assert_eq!(service.retire().await.unwrap()["log folders"], 1);
    soon("the stop", service.stop()).await;
    world.restart().await;
    assert!(world.log(BuildId(1), 1).await.contains("well"));
}

const SHORT: &str = "
gristmill: {retention: {builds: 0s, logs: 0s, changes: 0s, last: 0, keep: [{branch: release/*}]}}
repositories: {app: {git: FOLDER/app.git}}
builders: {check: {source: app, steps: [{run: 'echo turning', name: turn}]}}
schedulers: {push: {kind: any-branch, when: {repository: app}, build: [check]}}
";

#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_what_is_old_and_keeps_what_is_referred_to() {
    let (mut world, repositories) = World::start(SHORT, &["app"]).await;
    for (branch, message) in [("main", "one"), ("release/1", "two"), ("main", "three"), ("main", "four")] {
        repositories[0].push(branch, message, &[("a", message)]);
        world.notice("app").await;
    }
    assert_eq!(world.builds().await.len(), 4);
    let logs = world.folder.path().join("data/logs/0");
    assert!(logs.join("1").is_dir() && logs.join("3").is_dir());

    let arguments = ["retention", "--dry-run", "--data", "data", "--json"];
    let expected = json_of(&gristmill(world.folder.path(), &[], &arguments));
    assert_eq!(expected["would_delete"]["deleted"]["builds"], 2, "{expected}");
    let said = gristmill(world.folder.path(), &[], &["retention", "--data", "data"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("never full"), "{said:?}");

    let deleted = world.service().retire().await.unwrap();
    world.settle().await;
    assert_eq!((deleted["builds"], deleted["log folders"]), (2, 2), "{deleted:?}");
    // The release is kept by a rule, the last one because the next is compared with it.
    let list = world.get("/api/v1/builds").await;
    let left: Vec<i64> = list["items"].as_array().unwrap().iter().map(|build| build["id"].as_i64().unwrap()).collect();
    assert_eq!(left, [4, 2]);
    assert!(!logs.join("1").exists() && !logs.join("3").exists() && logs.join("2").is_dir());
    let (status, _) = world.ask(world.http().get(world.url("/api/v1/builds/1"))).await;
    assert_eq!(status.as_u16(), 404);
    let events = world.service().reader().events_after(Seq(0), 1_000).await.unwrap();
    let ran = events.iter().filter(|event| matches!(event.body, EventBody::RetentionRan { .. })).count();
    assert_eq!(ran, 1);
    assert!(world.service().retire().await.unwrap().is_empty(), "the second run has nothing to do");

    // What a kill between rows and files leaves is found by the next run; and numbers go on.
    std::fs::create_dir_all(logs.join("3")).unwrap();
    std::fs::write(logs.join("3/1-0.log"), "").unwrap();
    world.restart().await;
    assert_eq!(world.service().retire().await.unwrap()["log folders"], 1);
    assert!(!logs.join("3").exists());
    repositories[0].push("main", "five", &[("a", "five")]);
    world.notice("app").await;
    assert_eq!(world.get("/api/v1/builds").await["items"][0]["id"], 5);
    assert!(world.log(BuildId(5), 0).await.contains("turning"));
}
