//! What a file defines, in words: for `gristmill check`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gristmill_model::matching::Patterns;
use gristmill_model::requirement::Said;
use gristmill_model::time::say_span;
use gristmill_model::{
    Builder, Catalog, Condition, Graph, NeedMode, Node, NodeName, NotifierKind, Recipient, Repository, Route,
    Scheduler, SchedulerKind,
};

/// Says it in some lines.
pub(super) fn summary(catalog: &Catalog) -> String {
    let mut text = String::new();
    section(&mut text, "repositories", catalog.repositories.iter().map(|(name, it)| (name.0.clone(), repository(it))));
    section(&mut text, "builders", families(catalog).into_iter());
    section(&mut text, "schedulers", catalog.schedulers.iter().map(|(name, it)| (name.0.clone(), scheduler(it))));
    section(&mut text, "notifiers", catalog.notifiers.iter().map(|(name, it)| (name.0.clone(), vec![notifier(it)])));
    section(&mut text, "routes", catalog.routes.iter().map(|it| (format!("line {}", it.place.line), vec![route(it)])));
    text
}

fn section(text: &mut String, title: &str, items: impl Iterator<Item = (String, Vec<String>)>) {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return;
    }
    let width = items.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(30);
    put(text, format_args!("{title}\n"));
    for (name, lines) in items {
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 { name.as_str() } else { "" };
            put(text, format_args!("  {name:width$}  {line}\n"));
        }
    }
}

fn repository(repository: &Repository) -> Vec<String> {
    let mut line = without_password(&repository.url);
    if let Some(branches) = &repository.branches {
        put(&mut line, format_args!(", branches {}", said(branches)));
    }
    if repository.tags {
        line.push_str(", tags");
    }
    put(&mut line, format_args!(", looked at every {}", say_span(repository.poll)));
    if repository.webhook.is_some() {
        line.push_str(" and on its webhook");
    }
    vec![line]
}

/// Takes the password out of an address.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) =
        rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user.to_owned(), |(name, _)| format!("{name}:…"));
            format!("{scheme}://{user}@{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// Writes patterns as they were meant: names of rows are escaped in them.
fn said(patterns: &Patterns) -> String {
    patterns.texts().join(" ").replace("\\[", "[").replace("\\]", "]")
}

/// Says each builder once, with the number of its rows.
fn families(catalog: &Catalog) -> Vec<(String, Vec<String>)> {
    let mut families: BTreeMap<&str, Vec<&Builder>> = BTreeMap::new();
    for builder in catalog.builders.values() {
        families.entry(&builder.family).or_default().push(builder);
    }
    families.into_iter().map(|(family, rows)| (family.to_owned(), family_lines(&rows))).collect()
}

fn family_lines(rows: &[&Builder]) -> Vec<String> {
    let Some(builder) = rows.first() else { return Vec::new() };
    let sources: Vec<_> = builder.recipe.sources.keys().map(|codebase| codebase.as_str()).collect();
    let steps: Vec<_> = builder.recipe.steps.iter().map(|step| step.name.as_str()).collect();
    let project = builder.project.as_ref().map_or_else(String::new, |project| format!(" of project {project}"));
    let requires: Vec<_> =
        builder.recipe.requires.iter().map(|(label, wanted)| Said(label, wanted).to_string()).collect();
    let requires =
        if requires.is_empty() { String::new() } else { format!(", on workers with {}", requires.join(" ")) };
    let mut lines = vec![format!("{}{project}: {}{requires}", sources.join(" + "), steps.join(", "))];
    if !builder.recipe.matrix.is_empty() {
        let names: Vec<_> =
            rows.iter().map(|row| row.recipe.matrix.values().cloned().collect::<Vec<_>>().join(",")).collect();
        lines.push(format!("{}: {}", plural(rows.len(), "row"), shorten(&names)));
    }
    lines
}

fn scheduler(scheduler: &Scheduler) -> Vec<String> {
    let wakes = match &scheduler.kind {
        SchedulerKind::Branch { quiet } | SchedulerKind::AnyBranch { quiet } => {
            let when = matches(scheduler);
            let quiet = quiet.map_or_else(String::new, |quiet| {
                format!(", after {} of quiet, {} at the most", say_span(quiet.span), say_span(quiet.at_most))
            });
            format!("each change{when}{quiet}")
        }
        SchedulerKind::Dependent { upstream, on } => {
            let names: Vec<_> = upstream.iter().map(|name| name.as_str()).collect();
            format!("after {}{}", names.join(" and "), on_words(*on))
        }
        SchedulerKind::Triggerable => "when a step triggers it".to_owned(),
        SchedulerKind::Periodic { every, target } => {
            format!(
                "every {}, {} {}{}",
                say_span(*every),
                target.repository,
                target.branch,
                changed(target.only_if_changed)
            )
        }
        SchedulerKind::Nightly { cron, timezone, target } => format!(
            "at `{cron}` ({timezone}), {} {}{}",
            target.repository,
            target.branch,
            changed(target.only_if_changed)
        ),
        SchedulerKind::Force { parameters } => {
            let names: Vec<_> = parameters.keys().map(String::as_str).collect();
            let asking = if names.is_empty() { String::new() } else { format!(", asking for {}", names.join(", ")) };
            format!("when somebody asks{asking}")
        }
    };
    let mut lines = vec![wakes];
    lines.extend(graph(&scheduler.graph));
    lines
}

fn matches(scheduler: &Scheduler) -> String {
    let fields = scheduler.when.fields().filter_map(|field| {
        let patterns = scheduler.when.patterns(field)?;
        Some(format!("{field} {}", said(patterns)))
    });
    let fields: Vec<_> = fields.collect();
    if fields.is_empty() { String::new() } else { format!(" of {}", fields.join(", ")) }
}

fn changed(only_if_changed: bool) -> &'static str {
    if only_if_changed { ", if it has changed" } else { "" }
}

fn on_words(on: Condition) -> &'static str {
    match on {
        Condition::Success => "",
        Condition::Failure => " (if it fails)",
        Condition::Finished => " (in any case)",
    }
}

/// Says a graph node by node, rows together: `package after test`.
fn graph(graph: &Graph) -> Vec<String> {
    let mut groups: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for node in graph.values() {
        groups.entry(&node.group).or_default().push(node);
    }
    let mut free = Vec::new();
    let mut bound = Vec::new();
    for (group, nodes) in &groups {
        let rows = if nodes.len() > 1 { format!(" ×{}", nodes.len()) } else { String::new() };
        let Some(node) = nodes.first() else { continue };
        let mut needs: Vec<String> = Vec::new();
        for need in &node.needs {
            let said = format!("{}{}", group_of(graph, &need.node), on_words(need.on));
            if !needs.contains(&said) {
                needs.push(said);
            }
        }
        let word = match node.mode {
            NeedMode::All => " and ",
            NeedMode::Any => " or ",
        };
        match needs.as_slice() {
            [] => free.push(format!("{group}{rows}")),
            _ => bound.push(format!("then {group}{rows} after {}", needs.join(word))),
        }
    }
    let mut lines = vec![format!("builds {}", free.join(", "))];
    lines.extend(bound);
    lines
}

fn group_of<'a>(graph: &'a Graph, name: &'a NodeName) -> &'a str {
    graph.get(name).map_or(name.as_str(), |node| node.group.as_str())
}

fn notifier(notifier: &NotifierKind) -> String {
    match notifier {
        NotifierKind::Mail(mail) => format!("mail by {} from {}", mail.smtp, mail.from),
        NotifierKind::Irc(irc) => format!("IRC on {} as {} in {}", irc.server, irc.nick, irc.channels.join(" ")),
    }
}

fn route(route: &Route) -> String {
    let fields: Vec<_> = route
        .when
        .fields()
        .filter_map(|field| Some(format!("{field} {}", said(route.when.patterns(field)?))))
        .collect();
    let targets: Vec<_> = route
        .to
        .iter()
        .map(|target| {
            let recipients: Vec<_> = target.recipients.iter().map(recipient).collect();
            if recipients.is_empty() {
                target.notifier.0.clone()
            } else {
                format!("{} ({})", target.notifier, recipients.join(", "))
            }
        })
        .collect();
    let what = if fields.is_empty() { "what broke or is fixed".to_owned() } else { fields.join(", ") };
    format!("{what}: tells {}", targets.join(", "))
}

fn recipient(recipient: &Recipient) -> &str {
    match recipient {
        Recipient::Culprits => "culprits",
        Recipient::Owners => "owners",
        Recipient::Address(address) => address,
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn shorten(names: &[String]) -> String {
    const SHOWN_MAX: usize = 8;
    let shown = names.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(" ");
    if names.len() > SHOWN_MAX { format!("{shown} …") } else { shown }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}
