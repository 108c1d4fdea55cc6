//! The whole of the sources, on real repositories, with an engine that only compares and sets tips.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_model::catalog::{Catalog, Credentials, Repository};
use gristmill_model::{Movement, RefName, RepositoryName, Revision, Sighting, Via};
use gristmill_schedulers::input::Input;
use tokio_util::sync::CancellationToken;

use super::fixture::{DEADLINE, Git, Inputs, Judge, catalog_of, configured, expect_input, expect_sight};
use super::git::Limits;
use super::keeper::LOOK_AGAIN_MAX;
use super::{Handle, Options, Sources};

/// Sources that run until dropped.
struct Running {
    judge: Arc<Judge>,
    inputs: Inputs,
    handle: Handle,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Nobody looks unless something makes them.
fn rarely(git: &Git) -> Repository {
    Repository { poll: Duration::from_secs(3600), ..configured(&git.path("app.git").display().to_string()) }
}

fn start_with(git: &Git, catalog: Arc<Catalog>, limits: Limits) -> Running {
    let (judge, inputs) = Judge::new(catalog);
    let stop = CancellationToken::new();
    let options = Options {
        engine: Arc::<Judge>::clone(&judge),
        mirrors: git.path("data/git"),
        secrets: Arc::new(|name| Err(format!("nothing is called {name}"))),
        limits,
        ssh: PathBuf::from("ssh"),
        seed: 1,
        stop: stop.clone(),
    };
    let handle = Sources::start(options).expect("it starts");
    Running { judge, inputs, handle, stop }
}

fn start(git: &Git) -> Running {
    start_with(git, catalog_of(&[("app", rarely(git))]), Limits::default())
}

fn app() -> RepositoryName {
    RepositoryName::from("app")
}

/// A repository with one commit, watched and seen once.
async fn started() -> (Git, Running) {
    let git = Git::new();
    git.commit("README", "begin");
    git.push(&["main"]);
    let mut running = start(&git);
    assert!(expect_sight(&mut running.inputs).await.first_sight);
    (git, running)
}

fn said(sighting: &Sighting) -> Vec<(&str, Movement)> {
    sighting.updates.iter().map(|update| (update.reference.short(), update.movement)).collect()
}

#[tokio::test]
async fn a_push_to_a_repository_on_this_machine_is_seen_as_it_happens() {
    let (git, mut running) = started().await;
    git.commit("a", "one");
    git.push(&["main"]);
    let sighting = expect_sight(&mut running.inputs).await;
    assert_eq!((said(&sighting), sighting.via), (vec![("main", Movement::Moved)], Via::Watch));
    git.push(&["main:feature/deep/er"]);
    assert_eq!(said(&expect_sight(&mut running.inputs).await), [("feature/deep/er", Movement::Created)]);
    git.at("app.git", &["pack-refs", "--all"]);
    git.push(&[":feature/deep/er"]);
    assert_eq!(said(&expect_sight(&mut running.inputs).await), [("feature/deep/er", Movement::Deleted)]);
    let status = running.handle.status();
    assert_eq!((status[&app()].refs, &status[&app()].unwatched, &status[&app()].error), (1, &None, &None));
}

#[tokio::test]
async fn a_working_copy_is_watched_too() {
    let git = Git::new();
    git.commit("README", "begin");
    git.at("work", &["worktree", "add", "-q", "../linked", "-b", "side"]);
    let config = Repository { url: git.path("linked").display().to_string(), ..rarely(&git) };
    let mut running = start_with(&git, catalog_of(&[("app", config)]), Limits::default());
    expect_sight(&mut running.inputs).await;
    git.at("linked", &["commit", "-q", "--allow-empty", "-m", "more"]);
    assert_eq!(said(&expect_sight(&mut running.inputs).await), [("side", Movement::Moved)]);
}

#[tokio::test]
async fn many_pushes_lose_none() {
    let (git, mut running) = started().await;
    for number in 0..20 {
        git.commit("a", &format!("number {number}"));
        git.push(&["main", &format!("main:refs/heads/b{number}")]);
    }
    let last = Revision(git.at("work", &["rev-parse", "main"]));
    let mut brought = Vec::new();
    while running.judge.state().tips[&app()].get(&RefName::of_branch("b19")) != Some(&Some(last.clone()))
        || running.judge.state().tips[&app()][&RefName::of_branch("main")] != Some(last.clone())
    {
        for update in expect_sight(&mut running.inputs).await.updates {
            if update.reference.short() == "main" {
                brought.extend(update.commits.into_iter().map(|commit| commit.message));
            }
        }
    }
    while let Ok(input) = running.inputs.try_recv() {
        if let Input::Sight(sighting) = input {
            let main = sighting.updates.into_iter().filter(|update| update.reference.short() == "main");
            brought.extend(main.flat_map(|update| update.commits).map(|commit| commit.message));
        }
    }
    let wanted: Vec<String> = (0..20).map(|number| format!("number {number}\n")).collect();
    assert_eq!(brought, wanted, "each commit comes once, in order");
}

#[tokio::test]
async fn a_repository_that_vanishes_is_told_and_seen_again_when_it_is_back() {
    let (git, mut running) = started().await;
    std::fs::rename(git.path("app.git"), git.path("away")).expect("it is ours");
    running.handle.hint(&app(), Via::Api);
    let error = expect_input(&mut running.inputs, |input| match input {
        Input::SightFailed { error, .. } => Some(error),
        _ => None,
    })
    .await;
    assert!(error.starts_with("there is no git repository at `") && error.contains("check the path"), "{error}");
    let error = running.handle.sweep_now(&app()).await.expect_err("it is away");
    assert!(error.starts_with("there is no git repository at `"), "{error}");
    assert!(running.handle.status()[&app()].failures >= 2);
    // Another one in its place: the watch must follow it.
    git.run(&["clone", "-q", "--bare", "away", "app.git"]);
    assert_eq!(running.handle.sweep_now(&app()).await.expect("it is back").refs, 1);
    git.commit("a", "one");
    git.push(&["main"]);
    assert_eq!(said(&expect_sight(&mut running.inputs).await), [("main", Movement::Moved)]);
}

#[tokio::test]
async fn a_look_on_demand_answers_when_it_was_judged() {
    let (git, running) = started().await;
    git.commit("a", "one");
    git.push(&["main"]);
    let looks = futures_util::future::join_all((0..50).map(|_| {
        let handle = running.handle.clone();
        async move { handle.sweep_now(&app()).await.expect("it works") }
    }));
    let reports = tokio::time::timeout(DEADLINE, looks).await.expect("they end");
    assert!(reports.iter().all(|report| report.refs == 1 && !report.first_sight));
    let last = Revision(git.at("work", &["rev-parse", "main"]));
    assert_eq!(running.judge.state().tips[&app()][&RefName::of_branch("main")], Some(last));
    assert!(running.handle.status()[&app()].looks < 50, "those who ask at once are served at once");
    let error = running.handle.sweep_now(&RepositoryName::from("none")).await.expect_err("there is none");
    assert_eq!(error, "there is no repository `none`");
}

#[tokio::test]
async fn a_look_is_repeated_when_what_was_accepted_has_moved_but_not_for_ever() {
    let (_git, running) = started().await;
    running.judge.state().conflicts = 2;
    running.handle.sweep_now(&app()).await.expect("the third look fits");
    running.judge.state().conflicts = 1_000;
    let error = running.handle.sweep_now(&app()).await.expect_err("it never fits");
    assert_eq!(error, format!("its refs kept moving during {} looks", LOOK_AGAIN_MAX + 1));
    assert_eq!(running.judge.state().conflicts, 1_000 - LOOK_AGAIN_MAX - 1);
}

#[tokio::test]
async fn what_the_engine_does_not_take_is_seen_again() {
    let (git, mut running) = started().await;
    running.judge.state().refusals = vec!["the disk is full".to_owned(); 3];
    git.commit("a", "one");
    git.push(&["main"]);
    while !running.judge.state().refusals.is_empty() {
        running.handle.sweep_now(&app()).await.ok();
    }
    running.handle.hint(&app(), Via::Poll);
    assert_eq!(said(&expect_sight(&mut running.inputs).await), [("main", Movement::Moved)]);
}

#[tokio::test]
async fn the_configuration_is_followed() {
    let (git, mut running) = started().await;
    let lib = Git::new();
    lib.commit("README", "lib");
    lib.push(&["main", "main:dev"]);
    let with_lib = catalog_of(&[("app", rarely(&git)), ("lib", rarely(&lib))]);
    running.judge.configure(Arc::clone(&with_lib));
    running.handle.reconfigure(&with_lib);
    let sighting = expect_sight(&mut running.inputs).await;
    assert_eq!((sighting.repository.as_str(), sighting.updates.len()), ("lib", 2));
    running.handle.reconfigure(&catalog_of(&[("app", rarely(&git))]));
    assert!(running.handle.sweep_now(&RepositoryName::from("lib")).await.is_err());
    lib.commit("a", "while nobody looks");
    lib.push(&["main"]);
    running.handle.reconfigure(&with_lib);
    assert_eq!(said(&expect_sight(&mut running.inputs).await), [("main", Movement::Moved)]);
    let moved = Repository { url: lib.path("app.git").display().to_string(), ..rarely(&git) };
    running.handle.reconfigure(&catalog_of(&[("app", moved), ("lib", rarely(&lib))]));
    let sighting = expect_sight(&mut running.inputs).await;
    assert_eq!(sighting.repository, app(), "another address is looked at at once");
    assert_eq!(said(&sighting), [("dev", Movement::Created), ("main", Movement::Forced)]);
}

#[tokio::test]
async fn a_server_that_hangs_is_told_and_holds_nobody_up() {
    let git = Git::new();
    git.commit("README", "begin");
    git.push(&["main"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut repositories = vec![("app", rarely(&git))];
    for name in ["h1", "h2", "h3", "h4", "h5"] {
        repositories.push((name, configured(&format!("git://{address}/{name}"))));
    }
    let limits = Limits { silence: Duration::from_secs(2), ..Limits::default() };
    let mut running = start_with(&git, catalog_of(&repositories), limits);
    expect_sight(&mut running.inputs).await;
    git.commit("a", "one");
    git.push(&["main"]);
    // Before any of those that hang was given up.
    let seen = expect_input(&mut running.inputs, |input| match input {
        Input::SightFailed { error, .. } => Some(Err(error)),
        Input::Sight(sighting) if !sighting.updates.is_empty() => Some(Ok(sighting.repository)),
        _ => None,
    });
    assert_eq!(seen.await, Ok(app()));
    for _ in 0..5 {
        let error = expect_input(&mut running.inputs, |input| match input {
            Input::SightFailed { error, .. } => Some(error),
            _ => None,
        });
        assert_eq!(error.await, "the server said nothing for 2 s; check that it is well and reachable");
    }
    running.handle.hint(&RepositoryName::from("h1"), Via::Api);
    running.stop.cancel();
    tokio::time::timeout(DEADLINE, running.handle.closed()).await.expect("it ends");
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_named() {
    let git = Git::new();
    let password = Credentials::Password { username: "ci".to_owned(), password: "token".into() };
    let config = Repository { credentials: Some(password), ..configured("https://127.0.0.1:1/app") };
    let running = start_with(&git, catalog_of(&[("app", config)]), Limits::default());
    let error = running.handle.sweep_now(&app()).await.expect_err("there is no secret");
    assert_eq!(error, "the secret `token` cannot be had: nothing is called token");
}

/// Prints how long it takes from a ref's move to its sighting; what is asserted is only that it is no matter of polling.
#[tokio::test]
async fn a_move_is_handed_over_within_milliseconds() {
    const MOVES: usize = 100;
    let (git, mut running) = started().await;
    let begin = Revision(git.at("work", &["rev-parse", "main"]));
    git.many_commits("elsewhere", &begin, MOVES);
    expect_sight(&mut running.inputs).await;
    let list = git.at("app.git", &["rev-list", "--reverse", &format!("{begin}..elsewhere")]);
    let mut spans = Vec::new();
    for revision in list.lines() {
        let (lock, place) = (git.path("app.git/refs/heads/main.lock"), git.path("app.git/refs/heads/main"));
        std::fs::write(&lock, format!("{revision}\n")).expect("files can be written");
        let began = Instant::now();
        std::fs::rename(lock, place).expect("it is ours");
        let sighting = expect_sight(&mut running.inputs).await;
        spans.push(began.elapsed());
        assert_eq!(sighting.updates[0].new.as_ref().map(Revision::as_str), Some(revision));
    }
    spans.sort_unstable();
    println!("move to sighting accepted: p50 {:?}, p95 {:?} of {MOVES}", spans[MOVES / 2], spans[MOVES * 95 / 100]);
    assert!(spans[MOVES / 2] < Duration::from_secs(1));
}
