//! Who is told of a happening, by which notifier, and why.
//!
//! Pure. The same target hears of a happening once, however many routes match; the first route in the order of the
//! configuration is the one whose words are used. Whoever is meant but cannot be reached is listed with the reason.

use std::collections::BTreeSet;

use gristmill_model::matching::Field;
use gristmill_model::{
    Catalog, IrcConfig, NotifierKind, NotifierName, Place, Recipient, Route, RouteTarget, Transition,
};

use crate::happening::Happening;
use crate::text;

/// Recipients of one happening over all routes; more are passed over, and it is said.
pub const RECIPIENTS_MAX: usize = 100;

/// One target that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// The route that says so, as an index into [`Catalog::routes`].
    pub route: usize,
    /// The notifier.
    pub notifier: NotifierName,
    /// A mail address or a channel.
    pub target: String,
    /// Why this target: `author of a1b2c3d4, gristmill.yaml:52`.
    pub because: String,
    /// Unique for happening and target, the same whenever it is computed: [`gristmill_model::Message::key`].
    pub key: String,
}

/// Who is told, and who is not although a route means them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routing {
    /// Who is told.
    pub addressed: Vec<Addressed>,
    /// One sentence for each one who is meant and cannot be told.
    pub passed_over: Vec<String>,
}

/// Says who is told of `happening` under the routes of `catalog`.
pub fn route(catalog: &Catalog, happening: &Happening) -> Routing {
    let mut hall = Hall { catalog, happening, routing: Routing::default(), seen: BTreeSet::new() };
    for (index, route) in catalog.routes.iter().enumerate() {
        if wants(route, happening) {
            for target in &route.to {
                hall.call(index, &route.place, target);
            }
        }
    }
    hall.routing
}

/// Says whether a route wants to hear of a happening. A route that names neither a transition nor an event means what
/// broke and what was fixed.
pub fn wants(route: &Route, happening: &Happening) -> bool {
    let is_open = route.when.patterns(Field::Transition).is_none() && route.when.patterns(Field::Event).is_none();
    let is_usual = matches!(happening.transition, Some(Transition::Broke | Transition::Fixed));
    (is_usual || !is_open) && route.when.check(happening).is_ok()
}

/// The list as it grows.
struct Hall<'a> {
    catalog: &'a Catalog,
    happening: &'a Happening,
    routing: Routing,
    seen: BTreeSet<String>,
}

impl Hall<'_> {
    fn call(&mut self, index: usize, place: &Place, target: &RouteTarget) {
        if self.happening.notifier.as_ref() == Some(&target.notifier) {
            return self.pass_over(format!("{}: it cannot tell of its own silence ({place})", target.notifier));
        }
        match self.catalog.notifiers.get(&target.notifier) {
            Some(NotifierKind::Mail(_)) => self.call_by_mail(index, place, target),
            Some(NotifierKind::Irc(config)) => self.call_on_irc(index, place, target, config),
            None => self.pass_over(format!("{}: there is no such notifier ({place})", target.notifier)),
        }
    }

    fn call_by_mail(&mut self, index: usize, place: &Place, target: &RouteTarget) {
        for recipient in &target.recipients {
            match recipient {
                Recipient::Culprits => self.call_culprits(index, place, target),
                Recipient::Owners => self.call_owners(index, place, target),
                Recipient::Address(address) => match bare_address(address) {
                    Ok(bare) => self.add(index, target, bare, place.to_string()),
                    Err(why) => self.pass_over(format!("{}: {why} ({place})", shown(address))),
                },
            }
        }
    }

    fn call_culprits(&mut self, index: usize, place: &Place, target: &RouteTarget) {
        if !self.happening.concerns_authors() {
            return;
        }
        let happening = self.happening;
        for suspect in &happening.suspects {
            let email = &suspect.author.email;
            match author_address(email) {
                Ok(bare) => {
                    let because = format!("author of {}, {place}", text::one_line(suspect.revision.short(), 16));
                    self.add(index, target, bare, because);
                }
                Err(why) => self.pass_over(format!("author {}: {why}", shown(email))),
            }
        }
    }

    fn call_owners(&mut self, index: usize, place: &Place, target: &RouteTarget) {
        let (catalog, happening) = (self.catalog, self.happening);
        for name in &happening.projects {
            for owner in catalog.projects.get(name).into_iter().flat_map(|project| &project.owners) {
                match bare_address(owner) {
                    Ok(bare) => self.add(index, target, bare, format!("owner of {name}, {place}")),
                    Err(why) => self.pass_over(format!("owner {} of {name}: {why}", shown(owner))),
                }
            }
        }
    }

    fn call_on_irc(&mut self, index: usize, place: &Place, target: &RouteTarget, config: &IrcConfig) {
        if target.recipients.is_empty() {
            for channel in &config.channels {
                self.add(index, target, channel.clone(), place.to_string());
            }
        }
        for recipient in &target.recipients {
            match recipient {
                Recipient::Address(channel) => self.add(index, target, channel.clone(), place.to_string()),
                Recipient::Culprits | Recipient::Owners => {
                    self.pass_over(format!(
                        "{}: IRC reaches channels, not culprits or owners ({place})",
                        target.notifier
                    ));
                }
            }
        }
    }

    fn add(&mut self, index: usize, target: &RouteTarget, address: String, because: String) {
        let notifier = target.notifier.clone();
        let folded = address.to_lowercase();
        let key = format!("{}:{}:{notifier}:{folded}", self.happening.identity(), self.happening.kind);
        if !self.seen.insert(key.clone()) {
            return;
        }
        if self.routing.addressed.len() >= RECIPIENTS_MAX {
            self.pass_over(format!("{}: more than {RECIPIENTS_MAX} recipients", shown(&address)));
            return;
        }
        self.routing.addressed.push(Addressed { route: index, notifier, target: address, because, key });
    }

    fn pass_over(&mut self, sentence: String) {
        if !self.routing.passed_over.contains(&sentence) && self.routing.passed_over.len() < RECIPIENTS_MAX {
            self.routing.passed_over.push(sentence);
        }
    }
}

fn shown(address: &str) -> String {
    format!("`{}`", text::one_line(address, 100))
}

/// Takes the address out of `Name <address>` and checks that it can be one.
fn bare_address(text: &str) -> Result<String, &'static str> {
    let bare = match (text.rfind('<'), text.trim_end().strip_suffix('>')) {
        (Some(start), Some(inside)) => inside.get(start + 1..).unwrap_or(""),
        _ => text,
    };
    let bare = bare.trim();
    let Some((local, domain)) = bare.rsplit_once('@') else { return Err("it is no mail address") };
    let is_plain = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|character| character.is_ascii_alphanumeric() || more.contains(character))
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..")
    };
    // The local part's letters are RFC 5321's `atext`; quoted local parts are never written by people we know.
    if !is_plain(local, "!#$%&'*+-/=?^_`{|}~.") || local.len() > 64 {
        return Err("it is no mail address");
    }
    if !is_plain(domain, "-.") || domain.starts_with('-') || bare.len() > 254 {
        return Err("it is no mail address");
    }
    Ok(bare.to_owned())
}

/// Checks the address of an author, which anybody can write into a commit: one that nobody reads is passed over.
fn author_address(text: &str) -> Result<String, &'static str> {
    let bare = bare_address(text)?;
    let lower = bare.to_ascii_lowercase();
    let (local, domain) = lower.rsplit_once('@').unwrap_or((&lower, ""));
    let squeezed: String = local.chars().filter(char::is_ascii_alphanumeric).collect();
    if squeezed.contains("noreply")
        || squeezed.contains("donotreply")
        || domain.split('.').any(|part| part == "noreply")
    {
        return Err("nobody reads that address");
    }
    let last = domain.rsplit('.').next().unwrap_or("");
    let is_unreachable = !domain.contains('.')
        || matches!(last, "local" | "localdomain" | "localhost" | "invalid" | "internal" | "lan" | "home")
        || last.chars().all(|character| character.is_ascii_digit());
    if is_unreachable { Err("it cannot be reached from outside its machine") } else { Ok(bare) }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use gristmill_model::matching::Matcher;
    use gristmill_model::{MailConfig, Project};
    #[cfg(feature = "mail")]
    use proptest::prelude::*;

    use super::*;
    use crate::sample;

    fn catalog(routes: Vec<Route>) -> Catalog {
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
            channels: vec!["#shop".to_owned(), "#core".to_owned()],
            sasl_user: None,
            sasl_password: None,
        };
        let owners = vec!["Olga <olga@example.org>".to_owned(), "ada@example.org".to_owned()];
        Catalog {
            projects: [("core".into(), Project { owners, ..Project::default() })].into(),
            notifiers: [("mail".into(), NotifierKind::Mail(mail)), ("irc".into(), NotifierKind::Irc(irc))].into(),
            routes,
            ..Catalog::default()
        }
    }

    fn mail(recipients: &[&str]) -> RouteTarget {
        let recipients = recipients.iter().map(|&word| match word {
            "culprits" => Recipient::Culprits,
            "owners" => Recipient::Owners,
            address => Recipient::Address(address.to_owned()),
        });
        RouteTarget { notifier: "mail".into(), recipients: recipients.collect() }
    }

    fn irc() -> RouteTarget {
        RouteTarget { notifier: "irc".into(), recipients: Vec::new() }
    }

    fn line(line: u32, when: &[(Field, &str)], to: Vec<RouteTarget>) -> Route {
        let when = when.iter().fold(Matcher::any(), |matcher, (field, pattern)| {
            matcher.with(*field, [*pattern]).expect("pattern is good")
        });
        Route { when, to, subject: None, body: None, place: Place { file: "gristmill.yaml".to_owned(), line } }
    }

    fn check(routes: Vec<Route>, happening: &Happening, wanted: Expect) {
        let routing = route(&catalog(routes), happening);
        let mut said = String::new();
        for one in &routing.addressed {
            said += &format!("{} {} ({}) {}\n", one.notifier, one.target, one.because, one.key);
        }
        for sentence in &routing.passed_over {
            said += &format!("not {sentence}\n");
        }
        wanted.assert_eq(&said);
    }

    #[test]
    fn culprits_owners_addresses_and_channels_are_told_once() {
        let routes = vec![
            line(52, &[(Field::Branch, "main")], vec![irc(), mail(&["culprits", "shop@example.org"])]),
            line(
                53,
                &[(Field::Builder, "lib-*")],
                vec![mail(&["owners", "Shop <SHOP@example.org>", "lin@example.org"])],
            ),
            line(54, &[(Field::Branch, "other")], vec![mail(&["never@example.org"])]),
        ];
        check(
            routes,
            &sample::broke(),
            expect![[r#"
                irc #shop (gristmill.yaml:52) incident-3:broke:irc:#shop
                irc #core (gristmill.yaml:52) incident-3:broke:irc:#core
                mail ada@example.org (author of a1b2c3d4, gristmill.yaml:52) incident-3:broke:mail:ada@example.org
                mail lin@example.org (author of 9f8e7d0c, gristmill.yaml:52) incident-3:broke:mail:lin@example.org
                mail shop@example.org (gristmill.yaml:52) incident-3:broke:mail:shop@example.org
                mail olga@example.org (owner of core, gristmill.yaml:53) incident-3:broke:mail:olga@example.org
            "#]],
        );
    }

    #[test]
    fn a_route_that_names_no_transition_means_broke_and_fixed() {
        let open = line(1, &[], vec![irc()]);
        let told = |route: &Route, transition: Transition| {
            let happening = Happening { kind: transition.to_string(), transition: Some(transition), ..sample::broke() };
            wants(route, &happening)
        };
        let said: Vec<bool> = Transition::ALL.iter().map(|&transition| told(&open, transition)).collect();
        assert_eq!(said, [true, false, true, false], "broke, still-failing, fixed, passing");
        assert!(!wants(&open, &sample::source_failing()));

        let asked = line(1, &[(Field::Transition, "still-failing")], vec![irc()]);
        assert!(told(&asked, Transition::StillFailing) && !told(&asked, Transition::Broke));
        let system = line(1, &[(Field::Event, "source.*")], vec![irc()]);
        assert!(wants(&system, &sample::source_failing()) && !told(&system, Transition::Broke));
    }

    #[test]
    fn still_failing_is_told_each_time_and_broke_once_an_incident() {
        let routes = || vec![line(1, &[(Field::Transition, "{still-failing,broke}")], vec![irc()])];
        let again = Happening {
            kind: "still-failing".to_owned(),
            transition: Some(Transition::StillFailing),
            ..sample::broke()
        };
        check(
            routes(),
            &again,
            expect![[r#"
                irc #shop (gristmill.yaml:1) event-41:still-failing:irc:#shop
                irc #core (gristmill.yaml:1) event-41:still-failing:irc:#core
            "#]],
        );
    }

    #[test]
    fn who_cannot_be_reached_is_passed_over_and_named() {
        let mut happening = sample::broke();
        happening.suspects = [
            "noreply@github.com",
            "123+ada@users.noreply.github.com",
            "root@build-7",
            "me@laptop.local",
            "me@10.0.0.7",
            "",
            "a@b@c.org\r\nBcc: x@y.org",
            "Ada <ada@example.org>",
        ]
        .iter()
        .map(|email| sample::suspect(1, "a1b2c3d4", "Ada", email, "x"))
        .collect();
        let odd = RouteTarget { notifier: "irc".into(), recipients: vec![Recipient::Culprits] };
        check(
            vec![line(9, &[], vec![mail(&["culprits", "not an address"]), odd])],
            &happening,
            expect![[r#"
                mail ada@example.org (author of a1b2c3d4, gristmill.yaml:9) incident-3:broke:mail:ada@example.org
                not author `noreply@github.com`: nobody reads that address
                not author `123+ada@users.noreply.github.com`: nobody reads that address
                not author `root@build-7`: it cannot be reached from outside its machine
                not author `me@laptop.local`: it cannot be reached from outside its machine
                not author `me@10.0.0.7`: it cannot be reached from outside its machine
                not author ``: it is no mail address
                not author `a@b@c.org Bcc: x@y.org`: it is no mail address
                not `not an address`: it is no mail address (gristmill.yaml:9)
                not irc: IRC reaches channels, not culprits or owners (gristmill.yaml:9)
            "#]],
        );
    }

    #[test]
    fn infrastructure_troubles_owners_not_culprits() {
        let happening = Happening { cause: Some(gristmill_model::Cause::Infrastructure), ..sample::broke() };
        check(
            vec![line(9, &[], vec![mail(&["culprits", "owners"])])],
            &happening,
            expect![[r#"
                mail olga@example.org (owner of core, gristmill.yaml:9) incident-3:broke:mail:olga@example.org
                mail ada@example.org (owner of core, gristmill.yaml:9) incident-3:broke:mail:ada@example.org
            "#]],
        );
    }

    #[test]
    fn a_dead_notifier_is_told_of_by_others() {
        let dead = Happening {
            kind: "message.dead".to_owned(),
            transition: None,
            incident: None,
            notifier: Some("mail".into()),
            ..sample::broke()
        };
        check(
            vec![line(9, &[(Field::Event, "message.dead")], vec![mail(&["owners"]), irc()])],
            &dead,
            expect![[r#"
                irc #shop (gristmill.yaml:9) event-41:message.dead:irc:#shop
                irc #core (gristmill.yaml:9) event-41:message.dead:irc:#core
                not mail: it cannot tell of its own silence (gristmill.yaml:9)
            "#]],
        );
    }

    #[test]
    fn a_push_of_a_thousand_authors_is_bounded() {
        let mut happening = sample::broke();
        happening.suspects = (0..1000)
            .map(|number| sample::suspect(1, "a1b2c3d4", "x", &format!("a{number}@example.org"), "x"))
            .collect();
        let routing = route(&catalog(vec![line(9, &[], vec![mail(&["culprits"])])]), &happening);
        assert_eq!(routing.addressed.len(), RECIPIENTS_MAX);
        assert_eq!(
            routing.passed_over.first().map(String::as_str),
            Some("`a100@example.org`: more than 100 recipients")
        );
    }

    #[cfg(feature = "mail")]
    proptest! {
        #[test]
        fn any_author_gives_a_clean_address_or_none(email in any::<String>(), local in "[a-z.<>@ \r\n]{0,12}") {
            for text in [email.clone(), format!("{local}@example.org"), format!("{email} <{local}@example.org>")] {
                if let Ok(address) = author_address(&text) {
                    prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic()));
                    prop_assert_eq!(address.matches('@').count(), 1);
                    prop_assert!(address.parse::<lettre::Address>().is_ok(), "{}", address);
                }
            }
        }
    }
}
