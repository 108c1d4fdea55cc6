//! Looking whether kept logs are whole and belong to builds. Only reads: a log whose end was lost in a crash is put right
//! when it is next opened, never here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::index::{Ends, Files, RECORD_BYTES, sound_records};

/// Builds whose logs share a folder.
pub const BUILDS_IN_FOLDER: i64 = 1_000;

/// What is known of a build otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The epoch that its logs are named by.
    pub epoch: i64,
    /// Its last step; `None` if it never began one.
    pub last_step: Option<i64>,
    /// Whether everything that it printed must be there. Of others the end may be missing.
    pub is_whole: bool,
    /// Whether its logs may be deleted at any moment.
    pub is_retired: bool,
}

/// A log that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whose it is.
    pub build: i64,
    /// What is wrong, in a sentence.
    pub what: String,
}

/// The logs of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    folder: PathBuf,
    build: i64,
    /// Epoch and step of each log, and which of the step's logs it is.
    logs: Vec<(i64, i64, u32)>,
}

/// Lists the numbers of the folders that logs are in, newest first: the builds of a folder are `1000 × number` and on.
///
/// # Errors
/// If they cannot be read.
pub fn list_folders(logs: &Path) -> io::Result<Vec<i64>> {
    let mut numbers: Vec<i64> = entries(logs)?.into_iter().filter_map(|(_, name)| name.parse().ok()).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    Ok(numbers)
}

/// Lists what one folder has. A build must be asked about after this: it is there before its first log.
///
/// # Errors
/// If it cannot be read.
pub fn list_kept(logs: &Path, folder: i64) -> io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for (path, name) in entries(&logs.join(folder.to_string()))? {
        let Ok(build) = name.parse() else { continue };
        let names = entries(&path)?;
        let logs = names.iter().filter_map(|(_, name)| {
            let (epoch, rest) = name.strip_suffix(".log")?.split_once('-')?;
            let (step, log) = rest.split_once('-').unwrap_or((rest, "0"));
            Some((epoch.parse().ok()?, step.parse().ok()?, log.parse().ok()?))
        });
        kept.push(Kept { build, logs: logs.collect(), folder: path });
    }
    Ok(kept)
}

fn entries(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let read = match std::fs::read_dir(folder) {
        Ok(read) => read,
        // Nothing was printed yet, or it was retired meanwhile.
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(problem),
    };
    read.map(|entry| entry.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))).collect()
}

/// How closely logs are looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Closely {
    /// Whether all of a log is unpacked, and not only its last piece.
    pub every_byte: bool,
    /// Whether builds may have been retired: their logs go a moment later.
    pub may_be_retired: bool,
}

/// Says which logs are not as they should be. Some may have been deleted while they were looked at: [`still`] tells once the
/// builds were asked about again.
///
/// # Errors
/// If a file cannot be read.
pub fn look(kept: &[Kept], known: &BTreeMap<i64, Known>, closely: Closely) -> io::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for Kept { folder, build, logs } in kept {
        let mut say = |what: String| problems.push(Problem { build: *build, what });
        let Some(known) = known.get(build) else {
            if !closely.may_be_retired {
                say(format!("there are logs of build {build}, and no such build"));
            }
            continue;
        };
        if known.is_retired {
            continue;
        }
        for (epoch, step, log) in logs {
            let (which, suffix) = match log {
                0 => ("the log".to_owned(), String::new()),
                log => (format!("log {log}"), format!("-{log}")),
            };
            let called = format!("{which} of step {step} of build {build}");
            if *epoch != known.epoch {
                say(format!("{called} is of epoch {epoch}, and the build is of epoch {}", known.epoch));
            } else if !known.is_whole {
                // Its end comes yet, or never will.
            } else if known.last_step.is_none_or(|last| *step > last) {
                say(format!("{called} is there, and the build began no such step"));
            } else if let Some(problem) = look_at(&folder.join(format!("{epoch}-{step}{suffix}")), closely.every_byte)?
            {
                say(format!("{called} {problem}"));
            }
        }
    }
    Ok(problems)
}

/// Gives what is wrong still, by what is known of the builds now: their logs may have been deleted meanwhile.
pub fn still(problems: Vec<Problem>, known: &BTreeMap<i64, Known>, closely: Closely) -> Vec<String> {
    let stays = |problem: &Problem| match known.get(&problem.build) {
        Some(known) => !known.is_retired,
        None => !closely.may_be_retired,
    };
    problems.into_iter().filter(stays).map(|problem| problem.what).collect()
}

/// Looks at one log: its index, its length, and what is in it.
fn look_at(path: &Path, every_byte: bool) -> io::Result<Option<String>> {
    let index = match File::open(path.with_extension("idx")) {
        Ok(index) => index,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Some("has no index".to_owned())),
        Err(problem) => return Err(problem),
    };
    let log = match File::open(path.with_extension("log")) {
        Ok(log) => log,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Some("is gone".to_owned())),
        Err(problem) => return Err(problem),
    };
    let files = Files { log, index };
    let (log_bytes, index_bytes) = (files.log.metadata()?.len(), files.index.metadata()?.len());
    let frames = index_bytes / RECORD_BYTES;
    if index_bytes % RECORD_BYTES != 0 || sound_records(&files, log_bytes)? != frames {
        return Ok(Some("has an index that does not fit it".to_owned()));
    }
    let mut ends = Ends::EMPTY;
    let first = if every_byte { 0 } else { frames.saturating_sub(1) };
    for number in first..frames {
        let record = files.record(number)?;
        let text = match files.text(&record) {
            Ok(text) => text,
            Err(problem) if problem.kind() == io::ErrorKind::InvalidData => {
                return Ok(Some(format!("cannot be unpacked from byte {} on", record.raw)));
            }
            Err(problem) => return Err(problem),
        };
        if every_byte && record.lines != ends.lines {
            return Ok(Some(format!("counts its lines wrongly from byte {} on", record.raw)));
        }
        let start = Ends { frames: number, raw: record.raw, stored: record.stored, lines: record.lines, ..Ends::EMPTY };
        ends = start.after(&text, record.stored_bytes as usize);
    }
    let is_too_long = log_bytes != ends.stored;
    Ok(is_too_long.then(|| format!("has {log_bytes} bytes, and its index speaks of {}", ends.stored)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use gristmill_model::BuildId;
    use gristmill_model::protocol::{LogAddress, LogAppend};

    use super::*;
    use crate::logs::LogStore;

    const KNOWN: Known = Known { epoch: 1, last_step: Some(0), is_whole: true, is_retired: false };

    /// Keeps two pieces of one log, damages its folder, and gives what is said of it.
    fn check(known: &[(i64, Known)], damage: impl FnOnce(&Path), wanted: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let logs = LogStore::new(folder.path());
        let log = LogAddress::output(BuildId(2007), 1, 0);
        let mut offset = 0;
        for text in ["one\ntwo\n", "three\n"] {
            let frame = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
            let length = u32::try_from(text.len()).unwrap();
            offset = logs.append(&LogAppend { log, offset, length, frame }).unwrap();
        }
        logs.seal(log).unwrap();
        damage(&folder.path().join("2/2007"));
        assert_eq!(list_folders(folder.path()).unwrap(), [2]);
        let kept = list_kept(folder.path(), 2).unwrap();
        let known: BTreeMap<i64, Known> = known.iter().copied().collect();
        let closely = Closely { every_byte: true, may_be_retired: false };
        let problems = look(&kept, &known, closely).unwrap();
        assert_eq!(still(problems, &known, closely), wanted);
    }

    fn write(file: &Path, bytes: &[u8], at: u64) {
        File::options().write(true).open(file).unwrap().write_all_at(bytes, at).unwrap();
    }

    #[test]
    fn a_whole_log_is_whole() {
        check(&[(2007, KNOWN)], |_| {}, &[]);
    }

    #[test]
    fn a_log_belongs_to_a_step_of_a_build() {
        check(&[], |_| {}, &["there are logs of build 2007, and no such build"]);
        let no_step = Known { last_step: None, ..KNOWN };
        check(
            &[(2007, no_step)],
            |_| {},
            &["the log of step 0 of build 2007 is there, and the build began no such step"],
        );
        let other = Known { epoch: 2, ..KNOWN };
        let said = "the log of step 0 of build 2007 is of epoch 1, and the build is of epoch 2";
        check(&[(2007, other)], |_| {}, &[said]);
    }

    #[test]
    fn what_retention_deletes_at_this_moment_is_no_problem() {
        let index_gone = |folder: &Path| std::fs::remove_file(folder.join("1-0.idx")).unwrap();
        check(&[(2007, Known { is_retired: true, ..KNOWN })], index_gone, &[]);
        check(&[(2007, KNOWN)], index_gone, &["the log of step 0 of build 2007 has no index"]);
        // Marked, or gone with its build, between the look and the word.
        let problems = || vec![Problem { build: 7, what: "the log of step 0 of build 7 is gone".to_owned() }];
        let may = |may_be_retired| Closely { every_byte: false, may_be_retired };
        let retired = BTreeMap::from([(7, Known { is_retired: true, ..KNOWN })]);
        assert!(still(problems(), &retired, may(true)).is_empty());
        assert!(still(problems(), &BTreeMap::new(), may(true)).is_empty());
        assert_eq!(still(problems(), &BTreeMap::new(), may(false)).len(), 1);
        assert_eq!(still(problems(), &BTreeMap::from([(7, KNOWN)]), may(true)).len(), 1);
    }

    #[test]
    fn what_was_damaged_is_said() {
        let known = [(2007, KNOWN)];
        let cut =
            |folder: &Path| File::options().write(true).open(folder.join("1-0.log")).unwrap().set_len(20).unwrap();
        check(&known, cut, &["the log of step 0 of build 2007 has an index that does not fit it"]);
        let zero = |folder: &Path| write(&folder.join("1-0.log"), &[0; 8], 0);
        check(&known, zero, &["the log of step 0 of build 2007 cannot be unpacked from byte 0 on"]);
        let count = |folder: &Path| write(&folder.join("1-0.idx"), &1_u64.to_le_bytes(), RECORD_BYTES + 16);
        check(&known, count, &["the log of step 0 of build 2007 counts its lines wrongly from byte 8 on"]);
        let gone = |folder: &Path| std::fs::remove_file(folder.join("1-0.idx")).unwrap();
        check(&known, gone, &["the log of step 0 of build 2007 has no index"]);
        // Of a build that was lost the end may be missing.
        check(&[(2007, Known { is_whole: false, ..KNOWN })], cut, &[]);
    }
}
