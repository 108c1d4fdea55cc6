//! The environment that a step finds: a small clean base, the builder's, the step's, and what Gristmill says.
//!
//! Pure. Values are passed on as they are, whatever they look like; only what cannot be an environment variable is left
//! out.

use std::collections::BTreeMap;
use std::ffi::OsString;

use gristmill_model::StepRecipe;
use gristmill_model::protocol::BuildOrder;

/// The variable by which processes of a lease are recognised: `<data folder's token>-<build>-<epoch>`.
pub(crate) const LEASE: &str = "GRISTMILL_LEASE";

/// Variables of the worker that steps see. Everything else of its environment is kept from them.
const INHERITED: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "TZ",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Picks the base from the worker's own environment.
pub(crate) fn base(own: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    let mut base: BTreeMap<String, String> = own
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| INHERITED.contains(&name.as_str()))
        .collect();
    for (name, value) in [("PATH", PATH_DEFAULT), ("HOME", "/"), ("LANG", "C.UTF-8"), ("SHELL", "/bin/sh")] {
        base.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    base
}

/// Composes the environment of one step. `lease` marks its processes.
pub(crate) fn of_step(
    base: &BTreeMap<String, String>,
    order: &BuildOrder,
    step: &StepRecipe,
    lease: &str,
) -> BTreeMap<String, String> {
    let mut environment = base.clone();
    let configured = order.recipe.environment.iter().chain(&step.environment);
    environment.extend(configured.map(|(name, value)| (name.clone(), value.clone())));
    environment.extend(said(order, lease));
    environment.retain(|name, _| !name.is_empty() && !name.contains(['=', '\0']));
    for value in environment.values_mut() {
        value.retain(|c| c != '\0');
    }
    environment
}

/// Says what earlier steps gave out.
pub(crate) fn of_outputs(outputs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let value = |(name, value): (&String, &String)| (format!("GRISTMILL_OUTPUT_{}", variable(name)), value.clone());
    outputs.iter().map(value).map(|(name, value)| (name, value.replace('\0', ""))).collect()
}

/// What Gristmill says about the build. It comes last: nobody can say otherwise.
fn said(order: &BuildOrder, lease: &str) -> BTreeMap<String, String> {
    let mut said = BTreeMap::from([
        ("CI".to_owned(), "true".to_owned()),
        (LEASE.to_owned(), lease.to_owned()),
        ("GRISTMILL_BUILD".to_owned(), order.build.to_string()),
        ("GRISTMILL_ATTEMPT".to_owned(), order.attempt.to_string()),
        ("GRISTMILL_EPOCH".to_owned(), order.epoch.to_string()),
        ("GRISTMILL_BUILDER".to_owned(), order.builder.to_string()),
        ("GRISTMILL_SCHEDULER".to_owned(), order.scheduler.to_string()),
        ("GRISTMILL_BRANCH".to_owned(), order.branch.clone()),
    ]);
    if let Some(project) = &order.project {
        said.insert("GRISTMILL_PROJECT".to_owned(), project.to_string());
    }
    let used = order.stamps.iter().filter(|(codebase, _)| order.recipe.sources.contains_key(*codebase));
    if let [(_, stamp)] = used.collect::<Vec<_>>()[..] {
        said.insert("GRISTMILL_REVISION".to_owned(), stamp.revision.to_string());
    }
    for (codebase, stamp) in &order.stamps {
        said.insert(format!("GRISTMILL_REVISION_{}", variable(codebase.as_str())), stamp.revision.to_string());
    }
    for (name, value) in &order.properties {
        said.insert(format!("GRISTMILL_PROPERTY_{}", variable(name)), value.clone());
    }
    said
}

/// Makes the part of a variable's name: upper case, `_` for what a shell does not allow.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_own_variables_stay_with_it() {
        let own = [("PATH", "/bin"), ("AWS_SECRET_ACCESS_KEY", "x"), ("GRISTMILL_LEASE", "other")];
        let base = base(own.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(base.get("PATH").map(String::as_str), Some("/bin"));
        assert_eq!(base.get("LANG").map(String::as_str), Some("C.UTF-8"));
        assert!(!base.contains_key("AWS_SECRET_ACCESS_KEY") && !base.contains_key("GRISTMILL_LEASE"));
    }

    #[test]
    fn names_become_what_a_shell_allows() {
        assert_eq!(variable("my-lib.v2"), "MY_LIB_V2");
    }
}
