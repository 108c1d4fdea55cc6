//! Bubblewrap: namespaces of a step's own, made by the `bwrap` program.
//!
//! The step sees the system read-only, a `/tmp` of its own, its build's folder, and nothing else of the worker's. It is the
//! first process's child in a process namespace of its own, so nothing that it starts outlives it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::executor::StepOrder;

/// Puts `bwrap` in front of a command.
pub(super) fn wrap(program: &Path, arguments: Vec<String>, step: &StepOrder, network: bool) -> (PathBuf, Vec<String>) {
    let text = |path: &Path| path.display().to_string();
    let mut words: Vec<String> =
        ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"].map(str::to_owned).into();
    if !network {
        words.push("--unshare-net".to_owned());
    }
    // The order counts: what comes later lies on top.
    words.extend(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"].map(str::to_owned));
    let apart = &step.apart;
    words.extend(["--tmpfs".to_owned(), text(&apart.data)]);
    for folder in [Some(&apart.workspace), apart.scratch.as_ref()].into_iter().flatten() {
        words.extend(["--bind".to_owned(), text(folder), text(folder)]);
    }
    words.extend(["--chdir".to_owned(), text(&step.folder), "--".to_owned(), text(program)]);
    words.extend(arguments);
    ("bwrap".into(), words)
}

/// Says whether this user may make namespaces. Blocks for a few milliseconds.
pub(super) fn works() -> bool {
    let mut probe = Command::new("bwrap");
    probe.args(["--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]);
    probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gristmill_model::{Isolation, Limits, Timeouts};

    use super::*;
    use crate::executor::Apart;

    #[test]
    fn a_step_sees_its_folder_and_no_other_one_of_the_worker() {
        let apart = Apart {
            isolation: Isolation::Bubblewrap { network: false },
            workspace: "/srv/w/workspaces/a/0".into(),
            scratch: Some("/srv/w/steps/x-0".into()),
            data: "/srv/w".into(),
            ..Apart::default()
        };
        let step = StepOrder {
            command: gristmill_model::Command::Arguments(Vec::new()),
            folder: "/srv/w/workspaces/a/0/sub".into(),
            environment: BTreeMap::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            apart,
        };
        let (program, words) = wrap(Path::new("/usr/bin/make"), vec!["all".to_owned()], &step, false);
        assert_eq!(program, PathBuf::from("bwrap"));
        assert_eq!(
            words.join(" "),
            "--die-with-parent --unshare-pid --unshare-ipc --unshare-uts --unshare-net --ro-bind / / --dev /dev \
             --proc /proc --tmpfs /tmp --tmpfs /srv/w --bind /srv/w/workspaces/a/0 /srv/w/workspaces/a/0 \
             --bind /srv/w/steps/x-0 /srv/w/steps/x-0 --chdir /srv/w/workspaces/a/0/sub -- /usr/bin/make all"
        );
        let (_, words) = wrap(Path::new("true"), Vec::new(), &step, true);
        assert!(!words.contains(&"--unshare-net".to_owned()));
    }
}
