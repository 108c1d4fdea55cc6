//! The program: what it says, what it ends with, and how people speak with it.

use gristmill_model::protocol::wire::HoldWish;

use crate::world::{World, release, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_at_the_machine_holds_the_worker_and_asks_what_it_does() {
    let world = World::start().await;
    let say = |arguments: &[&str]| {
        let output = world.command(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = say(&["status"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("does it run"), "{text}");

    let _process = world.process(&["--label", "gpu=yes"]);
    let hello = world.service.until("the hello", |state| state.hellos.first().cloned()).await;
    assert_eq!((hello.labels["gpu"].as_str(), hello.about.protocol), ("yes", 1));
    assert_eq!(say(&["pause", "--for", "2h", "--reason", "I need it"]).0, Some(0));
    assert_eq!(say(&["resume"]).0, Some(0));
    assert_eq!(say(&["drain"]).0, Some(0));
    let holds = world.service.state().holds.clone();
    let kinds: Vec<HoldWish> = holds.iter().map(|wish| wish.kind).collect();
    assert_eq!(kinds, [HoldWish::Pause, HoldWish::Resume, HoldWish::Drain]);
    assert!(holds[0].until.is_some() && holds[0].reason.as_deref() == Some("I need it"));
    assert_eq!(say(&["status"]), (Some(0), "speaks with its service\nno build\n".to_owned()));
    let (code, text) = say(&[]);
    assert_eq!(code, Some(7), "{text}");
    assert!(text.contains("another worker uses"), "{text}");
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gristmill-worker"));
        let output = command.args(arguments).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    for (arguments, code, word) in [
        (&["--help"][..], 0, "Exit codes:"),
        (&["--version"], 0, "gristmill-worker 0"),
        (&["--nonsense"], 2, "--nonsense"),
        (&[], 2, "--server"),
        (&["--server", "https://ci"], 2, "--token-file"),
        (&["--server", "https://ci", "--token-file", "/nonexistent"], 2, "/nonexistent"),
        (&["pause", "--for", "soon"], 2, "2h"),
    ] {
        let (found, text) = run(arguments);
        assert!(found == Some(code) && text.contains(word), "{arguments:?}: {found:?} {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_at_term_ends_with_its_last_build_and_is_free_when_it_starts_again() {
    let world = World::start().await;
    let process = world.process(&["--drain-on-term"]);
    let go = world.fifo("go");
    let lease = world.order(7, &[("work", &format!("echo begun; cat {}", go.display()))]);
    world.until_log(lease, 0, "begun").await;
    process.term();
    world.service.until("the drain", |state| (state.holds.last()?.kind == HoldWish::Drain).then_some(())).await;
    release(&go).await;
    assert_eq!(world.ended(lease).await, "success: 1 step");
    assert_eq!(process.ended().await, 0);
    let _again = world.process(&[]);
    world.service.until("it is free", |state| (state.holds.last()?.kind == HoldWish::Resume).then_some(())).await;
    until("it is noted", || !world.data().join("drained").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_ends_its_builds_which_are_reported_at_its_next_start() {
    let world = World::start().await;
    let process = world.process(&[]);
    let lease = world.order(7, &[("work", "echo begun; sleep 600")]);
    world.until_log(lease, 0, "\nbegun\n").await;
    process.term();
    assert_eq!(process.ended().await, 0);
    let _again = world.process(&[]);
    assert_eq!(world.ended(lease).await, "retry (infrastructure): the worker was restarted while step work ran");
}
