//! Random configurations, made through the model. Each seed has a few that are put in force one after the other.
//!
//! Beside a catalog stands what its rules mean in plain words ([`Wish`]), so that the checker need not ask the match
//! language whether the match language was right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::matching::{Field, Matcher};
use gristmill_model::{
    Builder, BuilderName, Care, Catalog, CatalogHash, Change, Condition, Graph, IrcConfig, MailConfig, Need, NeedMode,
    Node, NotifierKind, Parameter, ParameterKind, Place, Project, Quarantine, Quiet, Recipe, Recipient, Repository,
    Route, RouteTarget, Scheduler, SchedulerKind, SchedulerName, SourceUse, StepAction, StepRecipe, Target, Window,
};

use crate::profile::Size;
use crate::rng::Rng;

/// The notifier whose messages may be repeated.
pub(crate) const MAIL: &str = "mail";
/// The notifier whose messages may not.
pub(crate) const IRC: &str = "irc";
/// The channel that hears of everything that broke and was fixed.
pub(crate) const CHANNEL: &str = "#all";

/// Which changes a scheduler asks for, in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Of this repository.
    pub(crate) repository: Option<String>,
    /// Of branches (or tags) that begin so.
    pub(crate) branch: Option<&'static str>,
    /// With a file in this folder.
    pub(crate) folder: Option<&'static str>,
    /// Of tags.
    pub(crate) tags: bool,
}

impl Wish {
    fn matcher(&self) -> Matcher {
        let with = |matcher: Matcher, field, pattern: String| {
            matcher.with(field, [pattern.as_str()]).expect("the generated patterns are good")
        };
        let mut matcher = Matcher::any();
        if let Some(repository) = &self.repository {
            matcher = with(matcher, Field::Repository, repository.clone());
        }
        if let Some(branch) = self.branch {
            matcher = with(matcher, Field::Branch, if branch == "main" { branch.into() } else { format!("{branch}*") });
        }
        if let Some(folder) = self.folder {
            matcher = with(matcher, Field::Files, format!("{folder}/**"));
        }
        if self.tags {
            matcher = with(matcher, Field::Tag, "*".to_owned());
        }
        matcher
    }

    /// Says whether a change is asked for.
    pub(crate) fn wants(&self, change: &Change) -> bool {
        let name = change.reference.short();
        let is_tag = change.reference.tag().is_some();
        let in_folder = |folder: &str| {
            let inside = |file: &String| file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            change.incomplete || change.commits.iter().any(|commit| commit.files.iter().any(inside))
        };
        self.repository.as_ref().is_none_or(|repository| change.repository.0 == *repository)
            && self.branch.is_none_or(|branch| {
                !is_tag && if branch == "main" { name == branch } else { name.starts_with(branch) }
            })
            && self.folder.is_none_or(in_folder)
            && (self.tags == is_tag)
            && change.new.is_some()
    }
}

/// A catalog and what its rules mean.
#[derive(Debug)]
pub(crate) struct Config {
    /// The catalog.
    pub(crate) catalog: Arc<Catalog>,
    /// What each scheduler asks for.
    pub(crate) wishes: BTreeMap<SchedulerName, Wish>,
}

/// Makes a seed's configurations, and after them each once more without what the clock sets off: those are put in force
/// for the second phase, so that an overloaded world comes to its end.
pub(crate) fn generate(rng: &Rng, size: &Size) -> Vec<Arc<Config>> {
    let mut rng = rng.fork("config");
    let count = rng.between(1, 4);
    let mut configs = Vec::new();
    let whole = Draft::new(&mut rng, size);
    for version in 0..count {
        let mut draft = whole.clone();
        if version > 0 {
            draft.vary(&mut rng);
        }
        configs.push(draft);
    }
    let calm = configs.iter().map(Draft::calm).collect::<Vec<_>>();
    configs.into_iter().chain(calm).enumerate().map(|(version, draft)| Arc::new(draft.finish(version))).collect()
}

/// A configuration in the making.
#[derive(Clone)]
struct Draft {
    /// What workers are, so that nothing is required that none of them has.
    systems: &'static [&'static str],
    repositories: Vec<String>,
    builders: BTreeMap<BuilderName, Recipe>,
    schedulers: BTreeMap<SchedulerName, (Scheduler, Wish)>,
}

impl Draft {
    fn new(rng: &mut Rng, size: &Size) -> Self {
        let repositories = (0..size.repositories).map(|index| format!("r{index}")).collect();
        let systems: &[&str] = if size.workers > 1 { &["linux", "mac"] } else { &["linux"] };
        let mut draft = Self { systems, repositories, builders: BTreeMap::new(), schedulers: BTreeMap::new() };
        // The last of the schedulers may be triggerable; builders that trigger one are made after it.
        let triggerable: Option<SchedulerName> = rng.chance(0.5).then(|| "called".into());
        for index in 0..size.builders {
            let calls = triggerable.as_ref().filter(|_| index > 1 && rng.chance(0.3));
            let recipe = draft.recipe(rng, index, calls);
            draft.builders.insert(format!("b{index}").as_str().into(), recipe);
        }
        if let Some(name) = &triggerable {
            let graph = draft.graph(rng, 2);
            draft.add(name.clone(), SchedulerKind::Triggerable, Wish::default(), graph, 0);
        }
        for index in 0..size.schedulers {
            draft.scheduler(rng, index);
        }
        draft
    }

    fn recipe(&self, rng: &mut Rng, index: usize, calls: Option<&SchedulerName>) -> Recipe {
        let mut sources = BTreeMap::new();
        for _ in 0..rng.between(1, 2) {
            let repository = rng.pick(&self.repositories).clone();
            let branch = rng.chance(0.2).then(|| "main".to_owned());
            let source = SourceUse { repository: repository.as_str().into(), into: String::new(), branch };
            sources.insert(repository.as_str().into(), source);
        }
        let run = |number: usize| StepAction::Run {
            command: gristmill_model::Command::Script(format!("make {index} {number}")),
        };
        let mut actions: Vec<StepAction> = (0..rng.between(1, 3)).map(run).collect();
        if let Some(scheduler) = calls {
            let wait = rng.chance(0.7);
            let trigger = StepAction::Trigger { scheduler: scheduler.clone(), wait, properties: BTreeMap::new() };
            actions.insert(rng.below(actions.len() + 1), trigger);
        }
        let step = |(number, action)| StepRecipe::new(format!("step-{number}"), action);
        let requires = rng.chance(0.25).then(|| ("os".to_owned(), (*rng.pick(self.systems)).to_owned()));
        Recipe {
            sources,
            requires: requires.into_iter().collect(),
            environment: BTreeMap::new(),
            matrix: BTreeMap::new(),
            steps: actions.into_iter().enumerate().map(step).collect(),
            retries_max: u32::try_from(rng.below(3)).expect("a small number"),
            orphan_window: (*rng.pick(&[None, Some(90), Some(600)])).map(Duration::from_secs),
            ..Recipe::default()
        }
    }

    /// A graph over the first `builders` of the builders, or fewer; nodes need only nodes before them.
    fn graph(&self, rng: &mut Rng, builders: usize) -> Graph {
        let names: Vec<&BuilderName> = self.builders.keys().take(builders).collect();
        let mut graph = Graph::new();
        let mut nodes: Vec<String> = Vec::new();
        for index in 0..rng.between(1, 5) {
            let mut needs = Vec::new();
            for node in &nodes {
                if rng.chance(0.4) {
                    let on =
                        *rng.pick(&[Condition::Success, Condition::Success, Condition::Failure, Condition::Finished]);
                    needs.push(Need { node: node.as_str().into(), on });
                }
            }
            let mode = if rng.chance(0.25) { NeedMode::Any } else { NeedMode::All };
            // A group of rows, as a matrix is expanded.
            let rows = if rng.chance(0.15) { 3 } else { 1 };
            for row in 0..rows {
                let name = if rows == 1 { format!("n{index}") } else { format!("n{index}[{row}]") };
                let node = Node {
                    builder: (*rng.pick(&names)).clone(),
                    group: format!("n{index}"),
                    needs: needs.clone(),
                    mode,
                };
                graph.insert(name.as_str().into(), node);
                nodes.push(name);
            }
        }
        graph
    }

    fn add(&mut self, name: SchedulerName, kind: SchedulerKind, wish: Wish, graph: Graph, priority: i32) {
        let place = Place { file: "gristmill.yaml".to_owned(), line: 1 };
        let project = Some("p".into());
        let scheduler = Scheduler { kind, when: wish.matcher(), graph, project, priority, place };
        self.schedulers.insert(name, (scheduler, wish));
    }

    fn scheduler(&mut self, rng: &mut Rng, index: usize) {
        let graph = self.graph(rng, usize::MAX);
        let name: SchedulerName = format!("s{index}").as_str().into();
        let (kind, wish) = self.kind(rng, index);
        let priority = *rng.pick(&[0, 0, 0, 5, -5]);
        self.add(name, kind, wish, graph, priority);
    }

    fn kind(&self, rng: &mut Rng, index: usize) -> (SchedulerKind, Wish) {
        let repository = rng.pick(&self.repositories).clone();
        let mut wish = Wish {
            repository: rng.chance(0.6).then(|| repository.clone()),
            folder: rng.chance(0.3).then_some("src"),
            ..Wish::default()
        };
        let quiet = rng.chance(0.5).then(|| {
            let span = rng.span(Duration::from_secs(5), Duration::from_secs(120));
            Quiet { span, at_most: span.mul_f64(1.0 + 3.0 * rng.unit()) }
        });
        let target = Target {
            repository: repository.as_str().into(),
            branch: "main".to_owned(),
            only_if_changed: rng.chance(0.5),
        };
        let kind = match if index == 0 { 0 } else { rng.below(10) } {
            0..=2 => {
                wish.branch = Some("main");
                SchedulerKind::Branch { quiet }
            }
            3..=4 => {
                match rng.below(4) {
                    0 => wish.branch = Some("rel-"),
                    1 => wish.tags = true,
                    _ => {}
                }
                SchedulerKind::AnyBranch { quiet }
            }
            5 => {
                SchedulerKind::Periodic { every: rng.span(Duration::from_secs(120), Duration::from_secs(1800)), target }
            }
            6 => {
                let cron = rng.pick(&["30 2 * * *", "30 2 * * *", "*/20 * * * *", "0 1,2,3 * * *"]).to_string();
                let timezone = rng.pick(&["UTC", "Europe/Berlin", "Europe/Berlin"]).to_string();
                SchedulerKind::Nightly { cron, timezone, target }
            }
            7 => {
                let parameters = [("level".to_owned(), parameter())].into();
                return (SchedulerKind::Force { parameters }, Wish::default());
            }
            _ => {
                // Not the one that steps trigger: whoever depends on it and triggers it goes on for ever.
                let known: Vec<&SchedulerName> =
                    self.schedulers.keys().filter(|name| name.as_str() != "called").collect();
                let mut upstream: Vec<SchedulerName> = Vec::new();
                for _ in 0..rng.between(1, 2) {
                    let name = (*rng.pick(&known)).clone();
                    if !upstream.contains(&name) {
                        upstream.push(name);
                    }
                }
                let on = *rng.pick(&[Condition::Success, Condition::Success, Condition::Failure, Condition::Finished]);
                let branch = rng.chance(0.3).then_some("main");
                return (SchedulerKind::Dependent { upstream, on }, Wish { branch, ..Wish::default() });
            }
        };
        (kind, wish)
    }

    /// Makes another version: a scheduler goes or changes, a recipe changes.
    fn vary(&mut self, rng: &mut Rng) {
        let names: Vec<SchedulerName> =
            self.schedulers.keys().filter(|name| name.as_str() != "called").cloned().collect();
        for name in names.iter().skip(1) {
            if rng.chance(0.2) {
                self.remove(name);
            } else if rng.chance(0.15)
                && let Some((scheduler, _)) = self.schedulers.get_mut(name)
                && let SchedulerKind::Branch { quiet } | SchedulerKind::AnyBranch { quiet } = &mut scheduler.kind
            {
                *quiet = None;
            }
        }
        for recipe in self.builders.values_mut() {
            if rng.chance(0.3) {
                recipe.environment.insert("LEVEL".to_owned(), rng.below(3).to_string());
            }
        }
    }

    /// Makes the same without what the clock sets off.
    fn calm(&self) -> Self {
        let mut calm = self.clone();
        let is_timed =
            |kind: &SchedulerKind| matches!(kind, SchedulerKind::Periodic { .. } | SchedulerKind::Nightly { .. });
        let timed: Vec<SchedulerName> =
            self.schedulers.iter().filter(|(_, (one, _))| is_timed(&one.kind)).map(|(name, _)| name.clone()).collect();
        for name in timed {
            calm.remove(&name);
        }
        calm
    }

    /// Removes a scheduler and what depends on it.
    fn remove(&mut self, name: &SchedulerName) {
        self.schedulers.remove(name);
        let depends = |(scheduler, _): &(Scheduler, Wish)| matches!(&scheduler.kind, SchedulerKind::Dependent { upstream, .. } if upstream.contains(name));
        while let Some(orphan) = self.schedulers.iter().find(|(_, one)| depends(one)).map(|(name, _)| name.clone()) {
            self.remove(&orphan);
        }
    }

    fn finish(self, version: usize) -> Config {
        let owners = vec!["olga@example.org".to_owned()];
        let repositories = self.repositories.iter().map(|name| name.as_str().into()).collect();
        let project = Project { repositories, title: None, owners };
        let builder = |(name, recipe): (&BuilderName, &Recipe)| {
            let builder = Builder {
                family: name.0.clone(),
                project: Some("p".into()),
                recipe: recipe.clone(),
                digest: recipe.digest(),
                place: Place::default(),
            };
            (name.clone(), builder)
        };
        let catalog = Catalog {
            hash: CatalogHash(format!("catalog-{version}")),
            repositories: self.repositories.iter().map(|name| (name.as_str().into(), repository(name))).collect(),
            projects: [("p".into(), project)].into(),
            builders: self.builders.iter().map(builder).collect(),
            schedulers: self
                .schedulers
                .iter()
                .map(|(name, (scheduler, _))| (name.clone(), scheduler.clone()))
                .collect(),
            care: care(),
            notifiers: notifiers(),
            routes: routes(),
            ..Catalog::default()
        };
        let wishes = self.schedulers.into_iter().map(|(name, (_, wish))| (name, wish)).collect();
        Config { catalog: Arc::new(catalog), wishes }
    }
}

/// The worker whose owner lends it for the first minutes of each hour alone.
pub(crate) const LENT: &str = "w3";
/// For how many minutes.
pub(crate) const LENT_MINUTES: u16 = 45;

/// Workers that fail are out of service for minutes, so that they come back within a run.
fn care() -> Vec<Care> {
    let quarantine = Quarantine { in_a_row: 3, of_recent: 6, first: Duration::from_secs(120) };
    let window = |hour: u16| {
        let from = hour * 60;
        Window { days: [true; 7], from, to: from + LENT_MINUTES, timezone: "UTC".to_owned() }
    };
    let windows = (0..24).map(window).collect();
    let lent = Care { workers: LENT.to_owned(), quarantine, windows, ..Care::default() };
    vec![lent, Care { workers: "*".to_owned(), quarantine, ..Care::default() }]
}

fn parameter() -> Parameter {
    Parameter { kind: ParameterKind::Integer, default: Some("1".to_owned()), required: false, label: None }
}

fn repository(name: &str) -> Repository {
    Repository {
        url: format!("/srv/{name}.git"),
        branches: None,
        tags: true,
        default_branch: "main".to_owned(),
        poll: Duration::from_secs(60),
        webhook: None,
        credentials: None,
        build_first_sight: name == "r0",
        place: Place::default(),
    }
}

fn notifiers() -> BTreeMap<gristmill_model::NotifierName, NotifierKind> {
    let mail = MailConfig {
        smtp: "smtp://mail.example.org".to_owned(),
        username: None,
        password: None,
        from: "CI <ci@example.org>".to_owned(),
    };
    let irc = IrcConfig {
        server: "irc.example.org:6697".to_owned(),
        tls: true,
        nick: "gristmill".to_owned(),
        channels: vec![CHANNEL.to_owned()],
        sasl_user: None,
        sasl_password: None,
    };
    [(MAIL.into(), NotifierKind::Mail(mail)), (IRC.into(), NotifierKind::Irc(irc))].into()
}

fn routes() -> Vec<Route> {
    let to = |notifier: &str, recipients: Vec<Recipient>| vec![RouteTarget { notifier: notifier.into(), recipients }];
    let route = |when, to| Route { when, to, subject: None, body: None, place: Place::default() };
    let when = |field, pattern: &str| Matcher::any().with(field, [pattern]).expect("the pattern is good");
    vec![
        route(Matcher::any(), to(IRC, Vec::new())),
        route(
            when(Field::Branch, "main"),
            to(MAIL, vec![Recipient::Culprits, Recipient::Address("list@example.org".to_owned())]),
        ),
        route(
            when(Field::Transition, "still-failing"),
            to(MAIL, vec![Recipient::Address("still@example.org".to_owned())]),
        ),
        route(when(Field::Event, "source.*"), to(MAIL, vec![Recipient::Owners])),
        route(when(Field::Event, "message.dead"), to(MAIL, vec![Recipient::Owners])),
    ]
}
