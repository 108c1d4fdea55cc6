//! Finds and kills what a build left behind: processes that went out of their step's process group (daemons).
//!
//! They are recognised by a variable of their environment, which every descendant inherits unless it takes pains not to.
//! Linux only (`/proc`); elsewhere nothing is found.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::environment::LEASE;

/// Passes over the process table: what forks faster than it is killed is given up after these.
const PASSES_MAX: usize = 50;

/// The pause between passes that only find processes that are already dying.
const PAUSE: Duration = Duration::from_millis(2);

/// The pauses before what is still there is taken for left behind.
const PAUSES_BEFORE: usize = 5;

/// Bytes of one process's environment that are looked at.
const ENVIRONMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Which processes are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marked {
    /// Those of one lease.
    Lease(String),
    /// Those of any lease that was given to the worker with this data folder.
    Folder(String),
}

impl Marked {
    /// Says whether an environment, as `/proc` shows it, has the mark.
    fn is_in(&self, environment: &[u8]) -> bool {
        environment.split(|byte| *byte == 0).any(|variable| {
            let value = variable.strip_prefix(LEASE.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(|value| match self {
                Self::Lease(lease) => value == lease.as_bytes(),
                Self::Folder(token) => {
                    value.strip_prefix(token.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'-'))
                }
            })
        })
    }
}

/// Kills all marked processes, and gives how many there were. Blocks for about 10 µs per process looked at.
///
/// `from` saves time: where process ids are known not to have begun again, only those from this one on are looked at.
pub(crate) fn sweep(marked: &Marked, from: Option<i32>) -> usize {
    let from = from.unwrap_or(0);
    // What was killed with its group a moment ago is not left behind, only slow to go.
    for _ in 0..PAUSES_BEFORE {
        if find(marked, from).is_empty() {
            return 0;
        }
        pause();
    }
    let mut killed = BTreeSet::new();
    for _ in 0..PASSES_MAX {
        let found = find(marked, from);
        if found.is_empty() {
            break;
        }
        let mut fresh = false;
        for pid in found {
            fresh |= killed.insert(pid);
            if let Err(errno) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
                tracing::debug!(pid, %errno, "process {pid} ended by itself while it was swept up");
            }
        }
        if !fresh {
            // All have their signal; the kernel needs a moment to take them apart.
            pause();
        }
    }
    killed.len()
}

#[expect(clippy::disallowed_methods, reason = "nobody is told of the end of a process that is not a child")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Lists the marked processes.
fn find(marked: &Marked, from: i32) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut environment = Vec::new();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid >= from && *pid != own)
        .filter(|pid| {
            environment.clear();
            let Ok(file) = File::open(format!("/proc/{pid}/environ")) else { return false };
            file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut environment).is_ok() && marked.is_in(&environment)
        })
        .collect()
}

/// Gives the process id that was given out last, if the system says.
pub(crate) fn last_pid() -> Option<i32> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_whole_value() {
        let environment = b"PATH=/bin\0GRISTMILL_LEASE=abc-12-3\0HOME=/\0";
        assert!(Marked::Lease("abc-12-3".into()).is_in(environment));
        assert!(!Marked::Lease("abc-12".into()).is_in(environment));
        assert!(Marked::Folder("abc".into()).is_in(environment));
        assert!(!Marked::Folder("ab".into()).is_in(environment));
        assert!(!Marked::Lease("abc-12-3".into()).is_in(b"X=GRISTMILL_LEASE=abc-12-3\0"));
    }
}
