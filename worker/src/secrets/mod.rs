//! Secrets of a step: asked for when it is about to run, kept out of everything that it prints, gone when it ends.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use gristmill_model::protocol::{Refusal, Secrets};
use gristmill_model::{BuildId, SecretForm, SecretUse, WorkerName};

use crate::{Backoff, Master};

pub(crate) mod mask;

pub(crate) use mask::{Masker, PATTERN_BYTES_MIN};

/// Why a step has no secrets.
#[derive(Debug)]
pub(crate) enum NoSecrets {
    /// It may not have them, or they are no good.
    Denied(String),
    /// The lease is gone.
    Fenced,
}

/// Asks for the secrets of a step, until the service answers.
pub(crate) async fn ask(
    master: &dyn Master,
    worker: &WorkerName,
    (build, epoch, step): (BuildId, i64, u32),
    wanted: &BTreeMap<String, SecretUse>,
) -> Result<BTreeMap<String, String>, NoSecrets> {
    let mut waits = Backoff::default().begin();
    loop {
        match master.secrets(worker, build, epoch, step).await {
            Ok(Secrets::Given { values }) => return check(values, wanted).map_err(NoSecrets::Denied),
            Ok(Secrets::Denied { why }) | Err(Refusal::Rejected { why }) => return Err(NoSecrets::Denied(why)),
            Err(Refusal::Fenced { .. }) => return Err(NoSecrets::Fenced),
            Err(refusal) => {
                tracing::debug!(build.id = %build, %refusal, "secrets are asked for again later");
                tokio::time::sleep(waits.next()).await;
            }
        }
    }
}

/// Says whether all are there, and long enough to be found again in what the step prints.
fn check(
    values: BTreeMap<String, String>,
    wanted: &BTreeMap<String, SecretUse>,
) -> Result<BTreeMap<String, String>, String> {
    for name in wanted.keys() {
        match values.get(name) {
            None => return Err(format!("the service gave no secret for {name}")),
            Some(value) if value.trim().len() < PATTERN_BYTES_MIN => {
                return Err(format!(
                    "the secret for {name} is shorter than {PATTERN_BYTES_MIN} bytes, and could not be masked"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(values)
}

/// Gives the variables that a command sees; those that want a file get one in the step's own folder.
pub(crate) fn place(
    values: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, SecretUse>,
    scratch: Option<&Path>,
) -> io::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (name, used) in wanted {
        let Some(value) = values.get(name) else { continue };
        let seen = match (used.form, scratch) {
            (SecretForm::Env, _) => value.replace('\0', ""),
            (SecretForm::File, Some(scratch)) => {
                let path = scratch.join(format!("secret-{name}"));
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                file.write_all(value.as_bytes())?;
                // Keys are read by tools that want a whole last line.
                if !value.ends_with('\n') {
                    file.write_all(b"\n")?;
                }
                path.display().to_string()
            }
            (SecretForm::File, None) => return Err(io::Error::other("the step has no folder of its own")),
        };
        variables.insert(name.clone(), seen);
    }
    Ok(variables)
}
