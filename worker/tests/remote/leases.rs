//! When a build may begin, and when its worker ends it by itself.

use std::time::Duration;

use gristmill_worker::SpoolLimits;

use crate::world::{World, until};

#[tokio::test(flavor = "multi_thread")]
async fn no_step_runs_before_the_service_has_heard_that_the_build_began() {
    let world = World::start().await;
    world.service.change(|state| state.refuses_reports = true);
    let worker = world.worker(|_| {}).await;
    let note = world.path("note");
    let lease = world.order(7, &[("work", &format!("echo x >> {}", note.display()))]);
    world.service.until("reports", |state| (state.counts.get("reports")? >= &5).then_some(())).await;
    assert!(!note.exists());
    world.service.change(|state| state.refuses_reports = false);
    assert_eq!(world.ended(lease).await, "success: 1 step");
    assert_eq!(std::fs::read_to_string(note).unwrap(), "x\n");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_hear_its_service_ends_the_build_and_says_so_later() {
    let world = World::start().await;
    let worker = world.worker(|_| {}).await;
    let (over, text) = (world.path("over"), "echo begun; sleep 600 & echo $! > over; mv over OVER; wait");
    let text = text.replace("OVER", &over.display().to_string());
    let lease = world.order_with(7, &[("work", &text)], |recipe| {
        recipe.orphan_window = Some(Duration::from_millis(2500));
    });
    world.until_log(lease, 0, "\nbegun\n").await;
    until("it runs", || over.exists()).await;
    let pid = std::fs::read_to_string(&over).unwrap().trim().to_owned();
    world.service.change(|state| state.is_away = true);
    let proc = std::path::PathBuf::from(format!("/proc/{pid}/cmdline"));
    until("it is ended", || std::fs::read(&proc).unwrap_or_default().is_empty()).await;
    world.service.change(|state| state.is_away = false);
    let end = "retry (infrastructure): the service was not heard of for 2 s: the lease is over";
    assert_eq!(world.ended(lease).await, end);
    let log = world.log(lease, 0);
    assert!(log.ends_with("gristmill: the service was not heard of for 2 s: the lease is over\n"), "{log}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beats_keep_a_lease_that_is_shorter_than_a_poll() {
    let world = World::start().await;
    let worker = world.worker(|_| {}).await;
    let go = world.fifo("go");
    let text = format!("echo begun; cat {}", go.display());
    let lease = world.order_with(7, &[("work", &text)], |recipe| {
        recipe.orphan_window = Some(Duration::from_secs(5));
    });
    world.until_log(lease, 0, "begun").await;
    let before = world.service.state().beats;
    world.service.until("beats", |state| (state.beats >= before + 6).then_some(())).await;
    crate::world::release(&go).await;
    assert_eq!(world.ended(lease).await, "success: 1 step");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_prints_more_than_may_be_spooled_waits_and_nothing_is_lost() {
    const LIMITS: SpoolLimits = SpoolLimits {
        build_bytes_max: 400_000,
        worker_bytes_max: 1_000_000,
        kept_bytes_max: 100_000,
        segment_bytes_max: 50_000,
    };
    let world = World::start().await;
    let worker = world.worker(|options| options.spool = Some(LIMITS)).await;
    let (go, note) = (world.fifo("go"), world.path("note"));
    // What does not compress: 4 MiB of it is more than the spool takes.
    let text = format!(
        "echo begun; cat {}; head -c 3000000 /dev/urandom | od -An -v -tx1 -w64 | tee all; cp all {}",
        go.display(),
        note.display()
    );
    let lease = world.order(7, &[("print", &text)]);
    world.until_log(lease, 0, "\nbegun\n").await;
    world.service.change(|state| state.is_away = true);
    crate::world::release(&go).await;
    let spool = world.data().join("spool/7-1");
    until("the spool is full", || bytes_in(&spool) >= 400_000).await;
    let full = bytes_in(&spool);
    assert!(full < 600_000, "{full} bytes are spooled");
    assert!(!note.exists(), "the step waits in its write");
    world.service.change(|state| state.is_away = false);
    assert_eq!(world.ended(lease).await, "success: 1 step");
    let printed = format!("$ {text}\nbegun\ngo\n{}", std::fs::read_to_string(&note).unwrap());
    assert!(world.log(lease, 0) == printed);
    world.until_spool_is_empty().await;
    worker.stop().await;
}

fn bytes_in(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_disk_refuses_ends_the_build_and_still_says_so() {
    let world = World::start().await;
    let worker = world.worker(|_| {}).await;
    world.service.until("the hello", |state| (!state.hellos.is_empty()).then_some(())).await;
    let spool = world.data().join("spool");
    std::fs::remove_dir(&spool).unwrap();
    std::fs::write(&spool, "").unwrap();
    let lease = world.order(7, &[("work", "echo begun; sleep 600")]);
    let end = world.ended(lease).await;
    let expected = "retry (infrastructure): the worker cannot keep what the build says, its disk refuses: ";
    assert!(end.starts_with(expected), "{end}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_a_full_disk_is_whole_as_far_as_it_goes() {
    let world = World::start().await;
    let small = world.data().join("spool");
    std::fs::create_dir_all(&small).unwrap();
    // Where nobody may mount, the test before this one has said what there is to say.
    let Some(_small) = SmallDisk::mount(small) else { return };
    let worker = world.worker(|_| {}).await;
    let text = "head -c 3000000 /dev/urandom | od -An -v -tx1 -w64 | tee ../all";
    let lease = world.order(7, &[("print", &format!("{text}; sleep 600"))]);
    world.service.until("reports", |state| state.reports.contains_key(&lease).then_some(())).await;
    world.service.change(|state| state.is_away = true);
    until("the build is ended", || worker.handle.status().builds.len() == 1 && is_full(&world)).await;
    world.service.change(|state| state.is_away = false);
    let end = world.ended(lease).await;
    assert!(end.starts_with("retry (infrastructure): the worker cannot keep what the build says"), "{end}");
    let log = world.log(lease, 0);
    let begin = log.find('\n').unwrap() + 1;
    let kept = log[begin..].rsplit_once("gristmill: ").map_or(&log[begin..], |(kept, _)| kept).trim_end();
    let all = std::fs::read_to_string(world.data().join("workspaces/check/all")).unwrap();
    // `tee` is killed too, between its two writes perhaps: either may be ahead of the other.
    let common = kept.len().min(all.len());
    assert!(common > 100_000 && all[..common] == kept[..common], "{} of {} bytes", kept.len(), all.len());
    worker.stop().await;
}

/// Says whether the small disk has no room for another piece.
fn is_full(world: &World) -> bool {
    nix::sys::statvfs::statvfs(&world.data().join("spool"))
        .is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() < 40_000)
}

/// A disk of a megabyte.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: std::path::PathBuf) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", "size=1m", "gristmill-test"];
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
