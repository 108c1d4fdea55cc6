//! Which secrets a step is given: decided at the moment when its worker asks, by the configuration in force.
//!
//! A value goes from where it is kept to the worker that asked, and nowhere else.

use std::collections::BTreeMap;

use gristmill_model::protocol::Secrets;
use gristmill_model::{BuildId, Catalog, ProjectName, Recipe, SecretName, WorkerName, is_trusted};
use gristmill_schedulers::State;

use crate::chain::chain;
use crate::config::resolve_secret;
use crate::engine::{Engine, EngineError};

/// What must be known of a build.
#[derive(Debug)]
struct Asked {
    recipe: Recipe,
    project: Option<ProjectName>,
    branch: String,
    is_trusted: bool,
}

/// Gives the secrets of step `step` of a build to the worker that holds it; `None` if it does not hold it under this epoch.
///
/// # Errors
/// If the engine does not lead.
pub async fn of_step(
    engine: &Engine,
    worker: &WorkerName,
    build: BuildId,
    epoch: i64,
    step: u32,
) -> Result<Option<Secrets>, EngineError> {
    let by = worker.clone();
    let asked = engine.look(move |_, state| find(state, &by, build, epoch, step)).await;
    let Some(asked) = asked? else { return Ok(None) };
    let catalog = engine.catalog();
    // Secrets are files, and files may be slow.
    let given = tokio::task::spawn_blocking(move || give(&catalog, &asked)).await;
    match given.unwrap_or_else(|_| Err("the secrets cannot be read".to_owned())) {
        Ok(values) => {
            tracing::info!(build.id = %build, step, worker.name = %worker, names = ?values.keys().collect::<Vec<_>>(), "gave secrets to a step");
            Ok(Some(Secrets::Given { values }))
        }
        Err(why) => {
            tracing::warn!(build.id = %build, step, worker.name = %worker, why, "denied secrets to a step");
            Ok(Some(Secrets::Denied { why }))
        }
    }
}

/// Finds the build, if the worker holds it and the step runs or may begin.
fn find(state: &State, worker: &WorkerName, build: BuildId, epoch: i64, step: u32) -> Option<Asked> {
    let open = state.builds.get(&build).filter(|open| open.build.worker == *worker && open.build.epoch == epoch)?;
    let is_over = open.steps.get(&step).is_some_and(Option::is_some);
    let buildset = state.buildsets.get(&open.build.buildset)?;
    let recipe = state.recipes.get(&state.requests.get(&open.build.request)?.recipe)?;
    (!is_over).then(|| Asked {
        recipe: recipe.as_ref().clone(),
        project: buildset.project.clone(),
        branch: buildset.branch.clone(),
        is_trusted: is_trusted(buildset),
    })
}

/// Reads the values that a build may have; all of them, or none.
fn give(catalog: &Catalog, asked: &Asked) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    for (variable, used) in &asked.recipe.secrets {
        let name = SecretName(used.from.clone());
        let denied = |why: String| format!("secret `{name}`: {why}");
        if !asked.is_trusted {
            return Err(denied("builds of changes that are only proposed get none".to_owned()));
        }
        let scope = catalog.secret_scopes.get(&name).ok_or_else(|| denied("no build may have it".to_owned()))?;
        scope.admits(asked.project.as_ref(), &asked.branch).map_err(denied)?;
        let source = catalog.secrets.get(&name).ok_or_else(|| denied("it is not configured any more".to_owned()))?;
        values.insert(variable.clone(), resolve_secret(source).map_err(|problem| denied(chain(&problem)))?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use gristmill_model::matching::{Field, Patterns};
    use gristmill_model::{SecretForm, SecretScope, SecretSource, SecretUse};

    use super::*;

    fn said(scope: Option<SecretScope>, project: &str, branch: &str, is_trusted: bool) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "hunter22\n").unwrap();
        let name = SecretName("key".to_owned());
        let mut catalog = Catalog::default();
        catalog.secrets.insert(name.clone(), SecretSource::File(file.display().to_string()));
        catalog.secret_scopes.extend(scope.map(|scope| (name, scope)));
        let used = SecretUse { from: "key".to_owned(), form: SecretForm::Env };
        let recipe = Recipe { secrets: [("KEY".to_owned(), used)].into(), ..Recipe::default() };
        let project = (!project.is_empty()).then(|| ProjectName(project.to_owned()));
        let asked = Asked { recipe, project, branch: branch.to_owned(), is_trusted };
        match give(&catalog, &asked) {
            Ok(values) => format!("{values:?}"),
            Err(why) => why,
        }
    }

    #[test]
    fn a_secret_is_given_within_its_scope_alone() {
        let scope = || SecretScope {
            projects: Some(vec![ProjectName("shop".to_owned())]),
            branches: Patterns::parse(Field::Branch, ["main", "release/*"]).ok(),
        };
        assert_eq!(said(Some(scope()), "shop", "main", true), r#"{"KEY": "hunter22"}"#);
        assert_eq!(said(Some(scope()), "shop", "fix", true), "secret `key`: builds for `fix` may not have it");
        assert_eq!(said(Some(scope()), "core", "main", true), "secret `key`: builds of project core may not have it");
        assert_eq!(said(Some(scope()), "", "main", true), "secret `key`: builds of no project may not have it");
        assert_eq!(said(None, "shop", "main", true), "secret `key`: no build may have it");
        let proposed = said(Some(scope()), "shop", "main", false);
        assert_eq!(proposed, "secret `key`: builds of changes that are only proposed get none");
    }

    #[test]
    fn an_answer_that_is_written_somewhere_has_no_value_in_it() {
        let given = Secrets::Given { values: [("KEY".to_owned(), "hunter22".to_owned())].into() };
        assert_eq!(format!("{given:?}"), "Given { names: [\"KEY\"], .. }");
    }
}
