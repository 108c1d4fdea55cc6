//! A service that is away, loses answers, repeats itself, or has given a build to somebody else.

use std::time::Duration;

use gristmill_model::protocol::{ReportBody, WorkerCommand};
use gristmill_worker::WorkerError;
use tokio_util::sync::CancellationToken;

use crate::service::Service;
use crate::world::{StepExt, World, options, pids, script, until_dead};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_on_while_the_service_is_away_and_everything_is_said_afterwards() {
    let world = World::start().await;
    let (go, over) = (world.path("go"), world.path("over"));
    for fifo in [&go, &over] {
        std::process::Command::new("mkfifo").arg(fifo).status().unwrap();
    }
    let text = format!("echo begun; cat {}; seq 1 1000; echo > {}", go.display(), over.display());
    let order = world.order(vec![script("one", &text), script("two", "echo two; exit 3")]);
    let (build, lease) = (order.build, (order.build, order.epoch));
    world.service.command(WorkerCommand::Start { order });
    world.service.until_log(build, 0, "\nbegun\n").await;
    world.service.change(|state| state.is_away = true);
    tokio::fs::write(&go, "gone\n").await.unwrap();
    assert_eq!(tokio::fs::read_to_string(&over).await.unwrap(), "\n");
    let hellos = world.service.change(|state| {
        state.is_away = false;
        state.polls_refused = 1;
        state.hellos.len()
    });
    let ended = world.service.ended(lease).await;
    assert_eq!(ended.end(), "failure (code): step two: exit code 3");
    let numbers: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    assert!(ended.log(0).ends_with(&format!("begun\ngone\n{numbers}")));
    // The service may be another one now, and is told what is still held.
    world.service.until("another hello", |state| (state.hellos.len() > hellos).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_prints_more_than_can_be_said_waits_but_not_beyond_its_limit() {
    let world = World::start().await;
    let (go, note) = (world.path("go"), world.path("note"));
    std::process::Command::new("mkfifo").arg(&go).status().unwrap();
    // Noise, which no compression makes small.
    let text = format!(
        "echo pid $$; echo begun; cat {}; head -c 8000000 /dev/urandom; echo > {}",
        go.display(),
        note.display()
    );
    let step = script("work", &text).but(|step| step.timeouts.total = Duration::from_secs(4));
    let order = world.order(vec![step]);
    let (build, lease) = (order.build, (order.build, order.epoch));
    world.service.command(WorkerCommand::Start { order });
    let log = world.service.until_log(build, 0, "\nbegun\n").await;
    world.service.change(|state| state.is_away = true);
    tokio::fs::write(&go, "gone\n").await.unwrap();
    // The worker looks after the step all the same.
    until_dead(&pids(&log)).await;
    assert!(!note.exists(), "the step waited in its write");
    world.service.change(|state| state.is_away = false);
    let ended = world.service.ended(lease).await;
    assert_eq!(ended.end(), "failure (limit): step work: took longer than 4 s");
    let kept = ended.logs[&0].len();
    assert!(kept > 1_000_000 && kept < 8_000_000, "{kept} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_cost_nothing_and_repeat_nothing() {
    let world = World::start().await;
    world.service.change(|state| state.answers_lost = 5);
    let ended = world.run(vec![script("count", "seq 1 50000"), script("test", "echo bad; exit 1")]).await;
    assert_eq!(ended.end(), "failure (test): step test: exit code 1");
    let numbers: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    assert!(ended.log(0) == format!("$ seq 1 50000\n{numbers}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_given_again_is_not_run_again() {
    let world = World::start().await;
    let order = world.order(vec![script("note", &format!("echo x >> {}", world.path("note").display()))]);
    let again = WorkerCommand::Start { order: order.clone() };
    world.service.run(order.clone()).await;
    // The service has forgotten that it was acknowledged; the other order shows that the poll was obeyed.
    let mut other = world.order(vec![script("check", "true")]);
    other.epoch = 2;
    let lease = (other.build, other.epoch);
    let seen = world.service.change(|state| {
        state.commands = vec![again, WorkerCommand::Start { order: other }];
        state.builds.remove(&(order.build, order.epoch)).unwrap()
    });
    world.service.ended(lease).await;
    world.service.change(|state| state.builds.insert((order.build, order.epoch), seen));
    assert_eq!(std::fs::read_to_string(world.path("note")).unwrap(), "x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_no_longer_the_workers_is_ended_and_forgotten() {
    let world = World::start().await;
    let order = world.order(vec![script("work", "echo pid $$; while :; do echo on; sleep 0.05; done")]);
    let (build, lease) = (order.build, (order.build, order.epoch));
    world.service.command(WorkerCommand::Start { order });
    let log = world.service.until_log(build, 0, "\non\n").await;
    let reports = world.service.change(|state| {
        let seen = state.builds.get_mut(&lease).unwrap();
        seen.is_fenced = true;
        seen.reports.len()
    });
    until_dead(&pids(&log)).await;
    // It is forgotten: after each failed poll the worker names what it has.
    let hellos = world.service.change(|state| {
        state.polls_refused = u32::MAX;
        state.hellos.len()
    });
    world
        .service
        .until("a hello without it", |state| {
            state.hellos[hellos..].iter().any(|hello| hello.builds.is_empty()).then_some(())
        })
        .await;
    assert_eq!(world.service.state().builds[&lease].reports.len(), reports);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_that_never_came_is_reported_as_over() {
    let world = World::start().await;
    let order = world.order(vec![]);
    let (build, epoch) = (order.build, order.epoch);
    world.service.command(WorkerCommand::Cancel { build, epoch, by: "bob".to_owned() });
    let ended = world.service.ended((build, epoch)).await;
    assert_eq!(ended.end(), "cancelled (person): cancelled by bob");
    assert_eq!(ended.seen.reports.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_builds_at_once_do_not_disturb_each_other() {
    let world = World::start().await;
    let orders: Vec<_> =
        (0..40).map(|code| world.order(vec![script("work", &format!("echo {code}; exit {code}"))])).collect();
    let leases: Vec<_> = orders.iter().map(|order| (order.build, order.epoch)).collect();
    world.service.change(|state| state.commands.extend(orders.into_iter().map(|order| WorkerCommand::Start { order })));
    for (code, lease) in leases.into_iter().enumerate() {
        let ended = world.service.ended(lease).await;
        let summary = ended.steps()[0].2.clone();
        assert_eq!(summary, format!("exit code {code}"));
        if code > 0 {
            assert!(ended.log(0).ends_with(&format!("\n{code}\n")), "{}", ended.log(0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_with_the_same_folder_is_refused() {
    let world = World::start().await;
    let (service, stop) = (std::sync::Arc::new(Service::default()), CancellationToken::new());
    let second = gristmill_worker::run(options(world.folder.path()), service, stop).await;
    assert!(matches!(second, Err(WorkerError::InUse { .. })), "{second:?}");
}

/// A disk of two megabytes, as long as it is needed. Only the superuser can have one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir(&folder).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=2m", "tmpfs"];
        let mounted = std::process::Command::new("mount").args(mount).arg(&folder).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that fails leaves its worker running for a moment.
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Fills a disk, and gives what was reported. `set` says where the disk is.
async fn filled(set: impl FnOnce(&mut gristmill_worker::Options), onto: &str) -> crate::service::Ended {
    let mut full = World::start_with(set).await;
    let ended = full.run(vec![script("fill", &format!("cat /dev/zero > {onto}"))]).await;
    full.stop().await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_not_the_codes_fault() {
    const END: &str = "retry (infrastructure): step fill: exit code 1; the disk is full";
    // For everybody: a write that fails as on a full disk, where so much must be free that no disk has it.
    let ended = filled(|options| options.disk_bytes_min = u64::MAX, "/dev/full").await;
    assert_eq!(ended.end(), END);
    assert!(ended.log(0).to_lowercase().contains("no space left"), "{}", ended.log(0));
    let ended = filled(|_| {}, "/dev/full").await;
    assert_eq!(ended.end(), "failure (code): step fill: exit code 1", "the worker's disk has room");
    // Besides, where it may be had: a disk that is full in truth, also for what the worker itself writes.
    let folder = tempfile::tempdir().unwrap();
    if let Some(small) = SmallDisk::mount(folder.path().join("small")) {
        let ended = filled(|options| options.data = small.0.join("worker"), "zeros").await;
        assert_eq!(ended.end(), END);
        assert!(matches!(ended.seen.reports[0], ReportBody::Started));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_deletes_its_folder_is_told_so() {
    let world = World::start().await;
    let ended = world.run(vec![script("tidy", "rm -rf \"$PWD\""), script("test", "true")]).await;
    assert_eq!(
        ended.end(),
        "retry (infrastructure): step test: the build's folder is gone: did an earlier step delete it?"
    );
}
