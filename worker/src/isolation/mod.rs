//! Keeping steps apart from the rest of the machine: limits, bubblewrap, containers.
//!
//! Limits and bubblewrap are put in front of a step's own command ([`wrap`]), so that the processes are watched and ended
//! as always. A container's processes are not the worker's children: [`container`] asks the engine to end them.

use std::path::{Path, PathBuf};

use gristmill_model::Isolation;

use crate::executor::StepOrder;

mod bubblewrap;
pub(crate) mod container;
mod limits;

pub(crate) use container::Isolated;

/// Puts what keeps a step apart in front of its command.
pub(crate) fn wrap(program: PathBuf, arguments: Vec<String>, step: &StepOrder) -> (PathBuf, Vec<String>) {
    let (program, arguments) = match &step.apart.isolation {
        Isolation::Bubblewrap { network } => bubblewrap::wrap(&program, arguments, step, *network),
        Isolation::None | Isolation::Container { .. } => (program, arguments),
    };
    limits::wrap(program, arguments, &step.limits)
}

/// Finds out by what steps can be kept apart on this machine: labels with the value `true`.
pub(crate) fn detect() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)));
    let engines = [("docker", "isolation.docker"), ("podman", "isolation.podman")];
    let mut labels: Vec<&'static str> =
        engines.into_iter().filter(|(program, _)| is_there(program)).map(|(_, label)| label).collect();
    // That it is there does not mean that the system lets this user make namespaces.
    if is_there("bwrap") && bubblewrap::works() {
        labels.push("isolation.bubblewrap");
    }
    labels
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
