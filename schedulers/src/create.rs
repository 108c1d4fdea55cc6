//! Buildsets: a graph and frozen stamps become requests and edges.

use std::collections::BTreeMap;

use gristmill_model::RepositoryName;
use gristmill_model::{
    Build, Buildset, BuildsetId, Catalog, Change, ChangeId, CodebaseName, Digest, Edge, EventBody, Graph, NodeName,
    Reason, Recipe, RefName, Request, RequestId, RequestState, Revision, Scheduler, SchedulerName, SourceStamp,
    SourceUse, StampSet, Trigger,
};

use crate::turn::Turn;

/// The codebase that set something off, at its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// Its repository.
    pub repository: RepositoryName,
    /// The branch or tag.
    pub branch: String,
    /// The revision.
    pub revision: Revision,
    /// The change that brought it.
    pub change: Option<ChangeId>,
}

impl Primary {
    /// Takes where a change left its ref.
    pub fn of_change(change: &Change) -> Self {
        Self {
            repository: change.repository.clone(),
            branch: change.reference.short().to_owned(),
            revision: change.new.clone().expect("a deleted ref is refused before"),
            change: Some(change.id),
        }
    }
}

/// Everything that a buildset is made of besides its graph.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Stamps that are taken as they are, from an upstream buildset or a parent build.
    pub stamps: StampSet,
    /// The branch that the outcome counts for, if no primary says it.
    pub branch: Option<String>,
    /// How many buildsets set each other off before.
    pub depth: u32,
    /// Properties.
    pub properties: BTreeMap<String, String>,
}

/// Lists the codebases that a graph's builders use.
pub fn codebases(catalog: &Catalog, graph: &Graph) -> BTreeMap<CodebaseName, SourceUse> {
    let mut all = BTreeMap::new();
    for node in graph.values() {
        if let Some(builder) = catalog.builders.get(&node.builder) {
            all.extend(builder.recipe.sources.iter().map(|(name, source)| (name.clone(), source.clone())));
        }
    }
    all
}

/// Makes a buildset whose other codebases are frozen at their branches' tips.
///
/// # Errors
/// The reason to wait, if a tip is not known yet.
pub fn create(
    turn: &mut Turn<'_>,
    name: &SchedulerName,
    scheduler: &Scheduler,
    primary: Option<&Primary>,
    trigger: Trigger,
) -> Result<BuildsetId, Reason> {
    create_given(turn, name, scheduler, primary, trigger, Given::default())
}

/// Makes a buildset with given stamps and properties.
///
/// # Errors
/// The reason to wait, if a tip is not known yet.
pub fn create_given(
    turn: &mut Turn<'_>,
    name: &SchedulerName,
    scheduler: &Scheduler,
    primary: Option<&Primary>,
    trigger: Trigger,
    given: Given,
) -> Result<BuildsetId, Reason> {
    let stamps = freeze(turn, &scheduler.graph, primary, &given.stamps)?;
    let branch =
        primary.map(|primary| primary.branch.clone()).or(given.branch).unwrap_or_else(|| first_branch(&stamps));
    let buildset = Buildset {
        id: turn.next_buildset(),
        scheduler: name.clone(),
        project: scheduler.project.clone(),
        trigger,
        stamps,
        branch,
        properties: given.properties,
        priority: scheduler.priority,
        depth: given.depth,
        catalog: turn.catalog.hash.clone(),
        created_at: turn.now,
        outcome: None,
        completed_at: None,
    };
    record_recipes(turn, &scheduler.graph);
    let (requests, edges) = expand(turn, &buildset, &scheduler.graph);
    let id = buildset.id;
    turn.emit(EventBody::BuildsetCreated { buildset, requests, edges });
    Ok(id)
}

fn first_branch(stamps: &StampSet) -> String {
    stamps.values().next().map(|stamp| stamp.branch.clone()).unwrap_or_default()
}

/// Freezes one stamp per codebase: given ones first, then the primary, then the tip of the branch that is configured.
pub(crate) fn freeze(
    turn: &Turn<'_>,
    graph: &Graph,
    primary: Option<&Primary>,
    given: &StampSet,
) -> Result<StampSet, Reason> {
    codebases(turn.catalog, graph)
        .into_iter()
        .map(|(codebase, source)| {
            let stamp = given_stamp(given, &codebase, &source)
                .or_else(|| primary.and_then(|primary| primary_stamp(primary, &source)))
                .map_or_else(|| tip_stamp(turn, &source), Ok)?;
            Ok((codebase, stamp))
        })
        .collect()
}

fn given_stamp(given: &StampSet, codebase: &CodebaseName, source: &SourceUse) -> Option<SourceStamp> {
    let of_repository = || given.values().find(|stamp| stamp.repository == source.repository);
    given.get(codebase).filter(|stamp| stamp.repository == source.repository).or_else(of_repository).cloned()
}

fn primary_stamp(primary: &Primary, source: &SourceUse) -> Option<SourceStamp> {
    (primary.repository == source.repository).then(|| SourceStamp {
        repository: primary.repository.clone(),
        branch: primary.branch.clone(),
        revision: primary.revision.clone(),
        change: primary.change,
    })
}

fn tip_stamp(turn: &Turn<'_>, source: &SourceUse) -> Result<SourceStamp, Reason> {
    let default = turn.catalog.repositories.get(&source.repository).map(|repository| repository.default_branch.clone());
    let branch = source.branch.clone().or(default).unwrap_or_else(|| "main".to_owned());
    tip_of(turn, &source.repository, &branch)
        .ok_or(Reason::TipUnknown { repository: source.repository.clone(), branch })
}

/// Freezes the tip of a branch, if it is known.
pub fn tip_of(turn: &Turn<'_>, repository: &RepositoryName, branch: &str) -> Option<SourceStamp> {
    let tip = turn.state.tips.get(repository)?.get(&RefName::of_branch(branch))?;
    Some(SourceStamp {
        repository: repository.clone(),
        branch: branch.to_owned(),
        revision: tip.revision.clone()?,
        change: tip.change,
    })
}

fn record_recipes(turn: &mut Turn<'_>, graph: &Graph) {
    for node in graph.values() {
        let builder = turn.catalog.builders.get(&node.builder).expect("the catalog has every builder of its graphs");
        if !turn.state.recipes.contains_key(&builder.digest) {
            let (digest, recipe) = (builder.digest.clone(), builder.recipe.clone());
            turn.emit(EventBody::RecipeRecorded { digest, recipe });
        }
    }
}

fn expand(turn: &Turn<'_>, buildset: &Buildset, graph: &Graph) -> (Vec<Request>, Vec<Edge>) {
    let mut id = turn.next_request();
    let mut ids: BTreeMap<&NodeName, RequestId> = BTreeMap::new();
    for node in graph.keys() {
        ids.insert(node, id);
        id = id.next();
    }
    let mut requests = Vec::new();
    let mut edges = Vec::new();
    for (name, node) in graph {
        let builder = turn.catalog.builders.get(&node.builder).expect("the catalog has every builder of its graphs");
        edges.extend(node.needs.iter().map(|need| Edge { request: ids[name], needs: ids[&need.node], on: need.on }));
        requests.push(Request {
            id: ids[name],
            buildset: buildset.id,
            node: name.clone(),
            builder: node.builder.clone(),
            recipe: builder.digest.clone(),
            digest: request_digest(&builder.recipe, &builder.digest, buildset),
            mode: node.mode,
            state: if node.needs.is_empty() { RequestState::Ready } else { RequestState::Waiting },
            attempts: 0,
            epoch: 0,
            outcome: None,
            cause: None,
            created_at: buildset.created_at,
            settled_at: None,
        });
    }
    (requests, edges)
}

/// Recipe, stamps used and parameters together.
fn request_digest(recipe: &Recipe, recipe_digest: &Digest, buildset: &Buildset) -> Digest {
    let revisions: BTreeMap<&str, &str> = recipe
        .sources
        .keys()
        .filter_map(|codebase| buildset.stamps.get(codebase).map(|stamp| (codebase.as_str(), stamp.revision.as_str())))
        .collect();
    let inputs = serde_json::json!({
        "recipe": recipe_digest.as_str(),
        "stamps": revisions,
        "properties": buildset.properties,
    });
    Digest::of(inputs.to_string().as_bytes())
}

/// Gives what a build used of its buildset's stamps: per repository the newest change.
pub fn contained(recipe: &Recipe, buildset: &Buildset) -> BTreeMap<RepositoryName, (String, ChangeId)> {
    recipe
        .sources
        .keys()
        .filter_map(|codebase| buildset.stamps.get(codebase))
        .filter_map(|stamp| Some((stamp.repository.clone(), (stamp.branch.clone(), stamp.change?))))
        .collect()
}

/// Gives the buildset and recipe of an open build.
pub fn of_build<'s>(turn: &'s Turn<'_>, build: &Build) -> Option<(&'s Buildset, &'s Recipe)> {
    let request = turn.state.requests.get(&build.request)?;
    Some((turn.state.buildsets.get(&build.buildset)?, turn.state.recipes.get(&request.recipe)?))
}
