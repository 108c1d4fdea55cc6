//! What lies beside the database: logs, mirrors, and room on the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::{Finding, Outcome};
use crate::artifacts::ArtifactStore;
use crate::artifacts::inspect::Named;
use crate::chain::chain;
use crate::logs::UnsafeLogs;
use crate::logs::inspect::{self, BUILDS_IN_FOLDER, Closely, Known};
use crate::store::inspect::Inspector;

/// Folders of logs that are looked at where not all are: the newest, with a thousand builds each.
const LOG_FOLDERS_USUAL: usize = 2;
/// Problems that are named.
const NAMED_MAX: usize = 5;
/// Bytes that must be free, however large the disk is.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// Part of a disk that must be free, of bytes and of inodes, in percent…
const FREE_PERCENT_MIN: u64 = 5;
/// … unless so much is free anyhow.
const FREE_BYTES_ENOUGH: u64 = 20 * 1024 * 1024 * 1024;
/// Inodes that must be free: logs are two files each.
const FREE_INODES_MIN: u64 = 10_000;

const LOGS_MEAN: &str = "what a step printed is lost or cannot be shown";
const LOGS_MEND: &str = "restore the named files from a backup; the builds themselves are not harmed";
const UNSAFE_MEANS: &str = "what these steps printed may be lost with the next power cut, and the disk may lose more";
const UNSAFE_MEND: &str =
    "look at the disk, and take a backup to another one; this is said until the service starts again";
const ARTIFACTS_MEAN: &str = "a file that a build left cannot be downloaded, or takes room for nothing";
const ARTIFACTS_MEND: &str = "restore the named files from a backup; a file that belongs to no build may be deleted";
const MIRRORS_MEAN: &str = "builds cannot be checked out from the mirror";
const MIRRORS_MEND: &str = "stop the service and remove the named folder: the mirror is made again at the next look";
const SPACE_MEANS: &str = "when the disk is full nothing is accepted any more, and builds fail";
const SPACE_MEND: &str = "free some space, or keep less";

fn finding(problems: Vec<String>, means: &str, mend: &str) -> Outcome {
    let count = u64::try_from(problems.len()).unwrap_or(u64::MAX);
    finding_of(problems, count, means, mend)
}

/// The same where only some of `count` problems are named.
fn finding_of(problems: Vec<String>, count: u64, means: &str, mend: &str) -> Outcome {
    if problems.is_empty() {
        return Outcome::Sound { note: None };
    }
    let rows: Vec<String> = problems.into_iter().take(NAMED_MAX).collect();
    let more = count - u64::try_from(rows.len()).unwrap_or(count);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let detail = format!("{}{more}: {means}", rows.join("; "));
    Outcome::Found(Finding { rows, count, is_more: false, means: means.to_owned(), mend: mend.to_owned(), detail })
}

fn not_looked(what: &Path, problem: &io::Error) -> Outcome {
    Outcome::NotLooked { why: format!("cannot read {}: {problem}", what.display()) }
}

/// Runs what waits for files where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("looking at files does not panic")
}

/// Looks whether logs are whole and belong to builds: at all of them to the last byte, or at the newest ones' ends.
pub(super) async fn look_at_logs(inspector: &mut Inspector, logs: PathBuf, is_deep: bool) -> Outcome {
    let listed = blocking({
        let logs = logs.clone();
        move || inspect::list_folders(&logs)
    });
    let all = match listed.await {
        Ok(all) => all,
        Err(problem) => return not_looked(&logs, &problem),
    };
    let looked_at = if is_deep { all.len() } else { LOG_FOLDERS_USUAL };
    let may_be_retired = match inspector.is_nothing_retired().await {
        Ok(nothing_retired) => !nothing_retired,
        Err(problem) => return Outcome::NotLooked { why: chain(&problem) },
    };
    let closely = Closely { every_byte: is_deep, may_be_retired };
    let mut problems = Vec::new();
    for folder in all.iter().copied().take(looked_at) {
        match look_at_folder(inspector, &logs, folder, closely).await {
            Ok(found) => problems.extend(found),
            Err(outcome) => return outcome,
        }
    }
    match finding(problems, LOGS_MEAN, LOGS_MEND) {
        Outcome::Sound { .. } if all.len() > looked_at => {
            let builds = BUILDS_IN_FOLDER * i64::try_from(LOG_FOLDERS_USUAL).unwrap_or(1);
            Outcome::Sound { note: Some(format!("of the newest {builds} builds; `--deep` looks at all")) }
        }
        outcome => outcome,
    }
}

async fn look_at_folder(
    inspector: &mut Inspector,
    logs: &Path,
    folder: i64,
    closely: Closely,
) -> Result<Vec<String>, Outcome> {
    let place = logs.to_owned();
    let kept =
        blocking(move || inspect::list_kept(&place, folder)).await.map_err(|problem| not_looked(logs, &problem))?;
    let known = known_of(inspector, folder).await?;
    let looked = blocking(move || inspect::look(&kept, &known, closely)).await;
    let problems = looked.map_err(|problem| not_looked(logs, &problem))?;
    if problems.is_empty() {
        return Ok(Vec::new());
    }
    // Retention may have deleted what was looked at, for the first time ever.
    let nothing_retired = inspector.is_nothing_retired().await;
    let nothing_retired = nothing_retired.map_err(|problem| Outcome::NotLooked { why: chain(&problem) })?;
    let closely = Closely { may_be_retired: !nothing_retired, ..closely };
    Ok(inspect::still(problems, &known_of(inspector, folder).await?, closely))
}

/// Asks what is known of the builds whose logs share a folder.
async fn known_of(inspector: &mut Inspector, folder: i64) -> Result<BTreeMap<i64, Known>, Outcome> {
    let first = folder.saturating_mul(BUILDS_IN_FOLDER);
    let builds = inspector.builds(first, first.saturating_add(BUILDS_IN_FOLDER - 1)).await;
    let builds = builds.map_err(|problem| Outcome::NotLooked { why: chain(&problem) })?;
    let known = builds.into_iter().map(|one| {
        let (epoch, last_step) = (one.epoch, one.last_step);
        (one.build, Known { epoch, last_step, is_whole: one.is_told, is_retired: one.is_retired })
    });
    Ok(known.collect())
}

/// Tells which logs the disk did not take.
pub(super) fn tell_unsafe_logs(UnsafeLogs { count, named }: UnsafeLogs) -> Outcome {
    finding_of(named, count, UNSAFE_MEANS, UNSAFE_MEND)
}

/// Looks whether the files that builds left are there, and belong to builds: at their sizes, or at every byte.
pub(super) async fn look_at_artifacts(inspector: &mut Inspector, logs: PathBuf, is_deep: bool) -> Outcome {
    let named = match inspector.artifacts().await {
        Ok(named) => named,
        Err(problem) => return Outcome::NotLooked { why: chain(&problem) },
    };
    let named = named.into_iter().map(|(digest, (bytes, build))| (digest, Named { build, bytes })).collect();
    blocking(move || match ArtifactStore::beside(&logs).look(&named, is_deep) {
        Ok(problems) => finding(problems, ARTIFACTS_MEAN, ARTIFACTS_MEND),
        Err(problem) => not_looked(&logs, &problem),
    })
    .await
}

/// Looks whether each mirror can be opened and has what its names point to.
pub(super) async fn look_at_mirrors(mirrors: PathBuf) -> Outcome {
    blocking(move || {
        let problems = match list(&mirrors) {
            Ok(folders) => folders.iter().filter_map(|folder| mirror_problem(folder)).collect(),
            Err(problem) => return not_looked(&mirrors, &problem),
        };
        finding(problems, MIRRORS_MEAN, MIRRORS_MEND)
    })
    .await
}

fn list(mirrors: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(mirrors) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        // No repository elsewhere was looked at yet.
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(problem) => Err(problem),
    }
}

/// Gives what is wrong with a mirror, found twice: a fetch may be under way.
fn mirror_problem(folder: &Path) -> Option<String> {
    if !folder.is_dir() || folder.extension().is_none_or(|extension| extension != "git") {
        return None;
    }
    read_mirror(folder).err()?;
    let problem = read_mirror(folder).err()?;
    Some(format!("{} cannot be read: {problem}", folder.display()))
}

fn read_mirror(folder: &Path) -> Result<(), String> {
    let words = |problem: git2::Error| problem.message().to_owned();
    let repository = git2::Repository::open_bare(folder).map_err(words)?;
    let objects = repository.odb().map_err(words)?;
    for reference in repository.references().map_err(words)? {
        let reference = reference.map_err(words)?;
        let Some(target) = reference.target() else { continue };
        if !objects.exists(target) {
            return Err(format!("commit {target} is missing"));
        }
    }
    Ok(())
}

/// Looks how much room is left.
pub(super) async fn look_at_space(data: PathBuf) -> Outcome {
    blocking(move || match statvfs(&data) {
        Ok(disk) => {
            // Their width depends on the system.
            #[expect(clippy::useless_conversion, reason = "these are narrower elsewhere")]
            let [fragment, free, all, free_files, files] = [
                u64::from(disk.fragment_size()),
                u64::from(disk.blocks_available()),
                u64::from(disk.blocks()),
                u64::from(disk.files_available()),
                u64::from(disk.files()),
            ];
            let bytes = (free.saturating_mul(fragment), all.saturating_mul(fragment));
            finding(space_problems(bytes, (free_files, files)), SPACE_MEANS, SPACE_MEND)
        }
        Err(problem) => not_looked(&data, &problem.into()),
    })
    .await
}

/// Says what is short, of bytes and inodes: how much is free, of how much.
fn space_problems((free, all): (u64, u64), (free_files, files): (u64, u64)) -> Vec<String> {
    let percent = |free: u64, all: u64| free.saturating_mul(100).checked_div(all).unwrap_or(100);
    let mut problems = Vec::new();
    let is_little = free < FREE_BYTES_ENOUGH && percent(free, all) < FREE_PERCENT_MIN;
    if free < FREE_BYTES_MIN || is_little {
        let mebibyte = 1024 * 1024;
        let (free_mib, all_mib) = (free / mebibyte, all / mebibyte);
        problems.push(format!("{free_mib} MiB of {all_mib} MiB are free ({} %)", percent(free, all)));
    }
    // A file system that makes inodes as it needs them says that it has none at all.
    if files > 0 && (free_files < FREE_INODES_MIN || percent(free_files, files) < FREE_PERCENT_MIN) {
        let percent = percent(free_files, files);
        problems.push(format!("{free_files} of {files} inodes are free ({percent} %)"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    #[test]
    fn a_disk_is_short_by_number_or_by_part() {
        let check = |free: u64, all: u64, files: (u64, u64), wanted: &[&str]| {
            assert_eq!(space_problems((free, all), files), wanted);
        };
        check(10 * GIB, 100 * GIB, (900_000, 1_000_000), &[]);
        check(GIB / 2, 2 * GIB, (0, 0), &["512 MiB of 2048 MiB are free (25 %)"]);
        check(4 * GIB, 100 * GIB, (0, 0), &["4096 MiB of 102400 MiB are free (4 %)"]);
        check(30 * GIB, 10_000 * GIB, (0, 0), &[]);
        check(10 * GIB, 100 * GIB, (9_000, 100_000), &["9000 of 100000 inodes are free (9 %)"]);
        check(10 * GIB, 100 * GIB, (40_000, 1_000_000), &["40000 of 1000000 inodes are free (4 %)"]);
    }

    #[tokio::test]
    async fn a_mirror_without_a_commit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mirrors = folder.path().join("git");
        assert_eq!(look_at_mirrors(mirrors.clone()).await, Outcome::Sound { note: None });
        let repository = git2::Repository::init_bare(mirrors.join("lib.git")).unwrap();
        let person = git2::Signature::new("Ada", "ada@example.org", &git2::Time::new(0, 0)).unwrap();
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let commit = repository.commit(Some("refs/heads/main"), &person, &person, "first", &tree, &[]).unwrap();
        assert_eq!(look_at_mirrors(mirrors.clone()).await, Outcome::Sound { note: None });
        let hex = commit.to_string();
        std::fs::remove_file(mirrors.join("lib.git/objects").join(&hex[..2]).join(&hex[2..])).unwrap();
        let Outcome::Found(found) = look_at_mirrors(mirrors.clone()).await else { panic!("it is missing") };
        assert!(found.rows[0].ends_with(&format!("lib.git cannot be read: commit {hex} is missing")), "{found:?}");
        std::fs::remove_file(mirrors.join("lib.git/HEAD")).unwrap();
        assert!(matches!(look_at_mirrors(mirrors).await, Outcome::Found(_)));
    }
}
