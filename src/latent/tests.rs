//! Providers against programs that stand in for clouds and container engines.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gristmill_model::WorkerName;

use super::container::Containers;
use super::exec::Exec;
use super::source::{New, Source};
use super::{is_of, process};

/// A cloud of one folder: a file for each of its machines.
const CLOUD: &str = r#"#!/bin/sh
read -r request
field() { printf '%s' "$request" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
case $(field action) in
    list) printf '{"workers":[%s]}' "$(ls machines | sed 's/.*/"&"/' | paste -sd, -)" ;;
    start) printf '%s' "$request" > "machines/$(field worker)"; echo '{}' ;;
    stop) rm -f "machines/$(field worker)" ;;
    *) echo 'the cloud is closed' >&2; exit 3 ;;
esac
"#;

/// A container engine that notes how it is called, and keeps names.
const ENGINE: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> calls
case $1 in
    run) printf '%s %s %s' "$GRISTMILL_WORKER_TOKEN" "$GRISTMILL_WORKER_SLOTS" "$GRISTMILL_WORKER_LABELS" > environment
         printf 'linux-0badcafe\n' > names ;;
    ps) cat names ;;
    rm) grep -q . names || { echo 'Error: No such container: x' >&2; exit 1; }; : > names ;;
esac
"#;

fn program(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("program");
    // It works in its own folder, whoever calls it.
    let text = text.replacen('\n', &format!("\ncd '{}' || exit 9\n", folder.display()), 1);
    // Written by another process: a file that this one has open while it starts a third cannot be run ("text file busy").
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(&path).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("there is a shell");
    shell.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("the shell reads");
    assert!(shell.wait().expect("it ends").success());
    path
}

fn new(worker: &str) -> New {
    New {
        worker: worker.into(),
        server: "https://ci.example.org".to_owned(),
        token: "gmw_3f2a9c01_secret".to_owned(),
        slots: 2,
        labels: [("os".to_owned(), "linux".to_owned())].into(),
    }
}

#[tokio::test]
async fn a_program_starts_lists_and_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("machines")).expect("a folder");
    let program = program(folder.path(), CLOUD);
    let cloud = Exec { pool: "cloud".into(), command: vec![program.to_string_lossy().into_owned()] };
    assert_eq!(cloud.list().await, Ok(vec![]));
    cloud.start(&new("cloud-0badcafe")).await.expect("it starts");
    assert_eq!(cloud.list().await, Ok(vec![WorkerName::from("cloud-0badcafe")]));
    let said = fs::read_to_string(folder.path().join("machines/cloud-0badcafe")).expect("it was asked");
    let said: serde_json::Value = serde_json::from_str(&said).expect("it was asked in JSON");
    assert_eq!((said["slots"].as_u64(), said["pool"].as_str()), (Some(2), Some("cloud")));
    cloud.stop(&"cloud-0badcafe".into()).await.expect("it stops");
    cloud.stop(&"cloud-0badcafe".into()).await.expect("what is stopped is stopped");
    assert_eq!(cloud.list().await, Ok(vec![]));
}

#[tokio::test]
async fn a_program_that_fails_is_told_by_its_last_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = program(folder.path(), "#!/bin/sh\nread -r line; echo 'quota exceeded' >&2; exit 3\n");
    let cloud = Exec { pool: "cloud".into(), command: vec![broken.to_string_lossy().into_owned()] };
    let why = cloud.list().await.expect_err("it failed");
    assert!(why.contains("quota exceeded") && why.contains('3'), "{why}");
    let absent = Exec { pool: "cloud".into(), command: vec!["/nowhere/at/all".to_owned()] };
    assert!(absent.list().await.is_err());
}

#[tokio::test]
async fn a_containers_secret_is_not_in_its_engines_arguments() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("names"), "").expect("the folder is ours");
    let containers = Containers {
        pool: "linux".into(),
        engine: program(folder.path(), ENGINE).to_string_lossy().into_owned(),
        image: "worker:1".to_owned(),
        installation: "00ff".to_owned(),
    };
    containers.start(&new("linux-0badcafe")).await.expect("it starts");
    assert_eq!(containers.list().await, Ok(vec![WorkerName::from("linux-0badcafe")]));
    containers.stop(&"linux-0badcafe".into()).await.expect("it stops");
    containers.stop(&"linux-0badcafe".into()).await.expect("what does not exist is stopped");
    let read = |name| fs::read_to_string(folder.path().join(name)).expect("it was called");
    assert_eq!(read("environment"), "gmw_3f2a9c01_secret 2 os=linux");
    let calls = read("calls");
    assert!(!calls.contains("secret"), "{calls}");
    assert!(calls.contains("--label gristmill.pool=linux --label gristmill.installation=00ff"), "{calls}");
    assert!(calls.contains("-- worker:1"), "{calls}");
}

#[tokio::test]
async fn a_folder_whose_process_is_gone_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = folder.path().join("vm-0badcafe");
    fs::create_dir(&worker).expect("the folder is ours");
    // A number that is taken, by a process that began at another time.
    fs::write(worker.join("pid"), "1 18446744073709551615\n").expect("the folder is ours");
    let processes = process::Processes { folder: folder.path().to_owned() };
    assert_eq!(processes.list().await, Ok(vec![]));
    assert!(!worker.exists());
    let absent = process::Processes { folder: folder.path().join("none") };
    assert_eq!(absent.list().await, Ok(vec![]));
}

#[test]
fn names_of_other_providers_are_not_touched() {
    let is = |worker: &str, pool: &str| is_of(&worker.into(), &pool.into());
    assert!(is("cloud-0badcafe", "cloud"));
    assert!(!is("cloud-gpu-0badcafe", "cloud") && is("cloud-gpu-0badcafe", "cloud-gpu"));
    assert!(!is("cloud-1", "cloud") && !is("cloud", "cloud") && !is("cloudy-0badcafe", "cloud"));
}
