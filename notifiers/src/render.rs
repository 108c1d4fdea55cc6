//! Writing messages: a happening, a recipient and templates make a [`Message`].
//!
//! The built-in templates are the files under `templates/`. A route may bring a `subject` and a `body` of its own;
//! they are checked when the configuration is loaded ([`check_template`]) and see the same names. Rendering cannot
//! fail: should a template of a route's own do so all the same, the built-in one is used and the message says why.

use gristmill_model::{Catalog, Message, MessageId, NotifierKind, Route};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};

use crate::happening::Happening;
use crate::route::Addressed;
use crate::view::View;
use crate::{sample, text};

/// Bytes of an IRC line's text; with the rest of the line it stays below the protocol's 512.
pub const IRC_LINE_BYTES_MAX: usize = 400;
/// Bytes of a mail's subject.
pub const SUBJECT_BYTES_MAX: usize = 200;
/// Bytes of a mail's text, and of its HTML.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Instructions that one template may take.
pub const TEMPLATE_FUEL: u64 = 100_000;
/// Bytes that a template of one's own may have.
pub const TEMPLATE_BYTES_MAX: usize = 16 * 1024;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template line {line}: {message}")]
pub struct TemplateProblem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// Checks a template that a route brings, by rendering it for made-up happenings: syntax, unknown names, and effort.
///
/// # Errors
/// The first problem found.
pub fn check_template(source: &str) -> Result<(), TemplateProblem> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(TemplateProblem { line: 1, message: format!("it is longer than {TEMPLATE_BYTES_MAX} bytes") });
    }
    let renderer = Renderer::new();
    for happening in [sample::broke(), sample::source_failing()] {
        renderer.own(source, &View::of(&happening, "gristmill.yaml:1"))?;
    }
    Ok(())
}

/// Writes messages. Cheap to share; makes nothing but text.
#[derive(Debug)]
pub struct Renderer {
    environment: Environment<'static>,
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}

impl Renderer {
    /// Reads the built-in templates.
    ///
    /// # Panics
    /// Never: the built-in templates are part of the program and tested.
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(TEMPLATE_FUEL));
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
        environment.set_syntax(syntax.expect("the usual delimiters are valid"));
        environment.add_filter("clip", |value: String, bytes: usize| text::one_line(&value, bytes.max(4)));
        for (name, source) in [
            ("irc.line.txt", include_str!("templates/irc.line.txt")),
            ("mail.subject.txt", include_str!("templates/mail.subject.txt")),
            ("mail.text.txt", include_str!("templates/mail.text.txt")),
            ("mail.html", include_str!("templates/mail.html")),
        ] {
            environment.add_template(name, source).expect("built-in templates are valid");
        }
        Self { environment }
    }

    /// Writes the message of a happening for one recipient. Its number is left 0 for the engine to give.
    pub fn render(&self, catalog: &Catalog, addressed: &Addressed, happening: &Happening) -> Message {
        let view = View::of(happening, &addressed.because);
        let route = catalog.routes.get(addressed.route);
        let written = match catalog.notifiers.get(&addressed.notifier) {
            Some(NotifierKind::Irc(_)) => self.irc(route, &view),
            Some(NotifierKind::Mail(_)) | None => self.mail(route, &view),
        };
        Message {
            id: MessageId(0),
            event: happening.event,
            notifier: addressed.notifier.clone(),
            target: addressed.target.clone(),
            because: addressed.because.clone(),
            key: addressed.key.clone(),
            incident: happening.incident,
            subject: written.subject,
            text: written.text,
            html: written.html,
            at: happening.at,
        }
    }

    fn irc(&self, route: Option<&Route>, view: &View) -> Written {
        let own = route.and_then(|route| route.subject.as_deref()).map(|source| self.own(source, view));
        let line = match own {
            Some(Ok(line)) => line,
            Some(Err(_)) | None => self.built_in("irc.line.txt", view),
        };
        let subject = text::one_line(&line, IRC_LINE_BYTES_MAX);
        Written { text: subject.clone(), subject, html: None }
    }

    fn mail(&self, route: Option<&Route>, view: &View) -> Written {
        let own_subject = route.and_then(|route| route.subject.as_deref()).map(|source| self.own(source, view));
        let own_body = route.and_then(|route| route.body.as_deref()).map(|source| self.own(source, view));
        let problems: Vec<String> = [own_subject.as_ref(), own_body.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|result| result.as_ref().err())
            .map(|problem| format!("\n(The route's own template could not be used: {problem}.)\n"))
            .collect();
        let subject = own_subject.and_then(Result::ok).unwrap_or_else(|| self.built_in("mail.subject.txt", view));
        let (text, html) = match own_body.and_then(Result::ok) {
            Some(body) => (body, None),
            None => (self.built_in("mail.text.txt", view), Some(self.built_in("mail.html", view))),
        };
        Written {
            subject: text::one_line(&subject, SUBJECT_BYTES_MAX),
            text: text::block(&(text + &problems.concat()), BODY_BYTES_MAX),
            // HTML that is cut is no HTML: who cannot have all of it gets the text.
            html: html.filter(|html| html.len() <= BODY_BYTES_MAX),
        }
    }

    fn own(&self, source: &str, view: &View) -> Result<String, TemplateProblem> {
        let rendered = self
            .environment
            .template_from_named_str("own.txt", source)
            .and_then(|template| template.render(Value::from(Serde(view))));
        rendered.map_err(|error| problem(&error))
    }

    fn built_in(&self, name: &str, view: &View) -> String {
        let rendered =
            self.environment.get_template(name).and_then(|template| template.render(Value::from(Serde(view))));
        // The bounds of the view keep the built-in templates far below their fuel; tests render hostile happenings.
        rendered.unwrap_or_else(|error| format!("{} ({error})", view.headline()))
    }
}

struct Written {
    subject: String,
    text: String,
    html: Option<String>,
}

fn problem(error: &minijinja::Error) -> TemplateProblem {
    let message = match error.kind() {
        minijinja::ErrorKind::OutOfFuel => format!("it takes more than {TEMPLATE_FUEL} instructions"),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    TemplateProblem { line: error.line().unwrap_or(1), message: text::one_line(&message, 300) }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, ExpectFile, expect, expect_file};
    use gristmill_model::matching::Matcher;
    use gristmill_model::{Cause, IrcConfig, MailConfig, Outcome, Place, Transition};
    use proptest::prelude::*;

    use super::*;
    use crate::happening::{ExcerptLine, FailedStep};

    fn catalog(subject: Option<&str>, body: Option<&str>) -> Catalog {
        let mail = MailConfig { smtp: String::new(), username: None, password: None, from: String::new() };
        let irc = IrcConfig {
            server: String::new(),
            tls: true,
            nick: "gristmill".to_owned(),
            channels: Vec::new(),
            sasl_user: None,
            sasl_password: None,
        };
        let own = |text: Option<&str>| text.map(str::to_owned);
        let route = Route {
            when: Matcher::any(),
            to: Vec::new(),
            subject: own(subject),
            body: own(body),
            place: Place::default(),
        };
        Catalog {
            notifiers: [("mail".into(), NotifierKind::Mail(mail)), ("irc".into(), NotifierKind::Irc(irc))].into(),
            routes: vec![route],
            ..Catalog::default()
        }
    }

    fn write(catalog: &Catalog, notifier: &str, happening: &Happening) -> Message {
        let addressed = Addressed {
            route: 0,
            notifier: notifier.into(),
            target: "x".to_owned(),
            because: "author of a1b2c3d4, gristmill.yaml:52".to_owned(),
            key: "key".to_owned(),
        };
        Renderer::new().render(catalog, &addressed, happening)
    }

    fn check_mail(happening: &Happening, text: ExpectFile, html: ExpectFile) {
        let message = write(&catalog(None, None), "mail", happening);
        text.assert_eq(&format!("Subject: {}\n\n{}", message.subject, message.text));
        html.assert_eq(&message.html.expect("built-in mails have HTML"));
    }

    #[test]
    fn a_mail_says_what_broke_since_when_and_who_may_have_done_it() {
        check_mail(
            &sample::broke(),
            expect_file!["../tests/golden/broke.txt"],
            expect_file!["../tests/golden/broke.html"],
        );
    }

    #[test]
    fn a_mail_says_that_it_is_fixed() {
        check_mail(
            &sample::fixed(),
            expect_file!["../tests/golden/fixed.txt"],
            expect_file!["../tests/golden/fixed.html"],
        );
    }

    #[test]
    fn a_mail_tells_of_the_system_itself() {
        check_mail(
            &sample::source_failing(),
            expect_file!["../tests/golden/source-failing.txt"],
            expect_file!["../tests/golden/source-failing.html"],
        );
    }

    #[test]
    fn a_hostile_push_makes_a_harmless_mail() {
        check_mail(
            &hostile(),
            expect_file!["../tests/golden/hostile.txt"],
            expect_file!["../tests/golden/hostile.html"],
        );
    }

    #[test]
    fn with_several_repositories_each_suspect_says_where() {
        let mut happening = sample::broke();
        let stamp = happening.stamps.values().next().expect("there is one").clone();
        happening.stamps.insert(gristmill_model::CodebaseName("app".to_owned()), stamp);
        happening.suspects[1].repository = "app".into();
        let message = write(&catalog(None, None), "mail", &happening);
        assert!(message.text.contains("  9f8e7d0c  app, Lin: Drop the old shim\n"), "{}", message.text);
        let html = message.html.expect("built-in mails have HTML");
        assert!(html.contains(">app</td>"), "{html}");
    }

    #[test]
    fn nothing_is_said_twice() {
        let plain = write(&catalog(None, None), "mail", &sample::broke());
        let again = Happening { detail: Some("step test: exit code 2\n".to_owned()), ..sample::broke() };
        assert_eq!(write(&catalog(None, None), "mail", &again), plain);
    }

    fn check_line(happening: &Happening, wanted: Expect) {
        wanted.assert_eq(&write(&catalog(None, None), "irc", happening).subject);
    }

    #[test]
    fn lines_are_short() {
        check_line(
            &sample::broke(),
            expect![[
                r#"broke: core/lib-test on main (Ada: "Make the queue bounded") step test: exit code 2 http://ci.example.org/b/12"#
            ]],
        );
        check_line(
            &sample::fixed(),
            expect![[
                r#"fixed: core/lib-test on main (Bo: "Wake the waiters") after 21 m 50 s http://ci.example.org/b/15"#
            ]],
        );
        check_line(
            &sample::source_failing(),
            expect![
                "repository core cannot be read: cannot connect to git.example.org: connection refused http://ci.example.org"
            ],
        );
        let mut many = sample::broke();
        many.builders = (1..=14).map(|number| format!("t[{number}]").into()).collect();
        many.url = Some("javascript:alert(1)//".to_owned());
        check_line(
            &many,
            expect![[r#"broke: core/t[1] and 13 more on main (Ada: "Make the queue bounded") step test: exit code 2"#]],
        );
    }

    #[test]
    fn templates_of_ones_own_are_used() {
        let own = catalog(
            Some("[{{ branch }}] {{ builder }} {{ word }}"),
            Some(
                "{% for suspect in suspects %}{{ suspect.author }}: {{ suspect.subject }}\n{% endfor %}{{ link.log }}\n",
            ),
        );
        let message = write(&own, "mail", &sample::broke());
        assert_eq!(message.subject, "[main] core/lib-test broke");
        assert_eq!(
            message.text,
            "Ada: Make the queue bounded\nLin: Drop the old shim\nhttp://ci.example.org/builds/12?step=1#L212\n"
        );
        assert_eq!(message.html, None);
        assert_eq!(write(&own, "irc", &sample::broke()).subject, "[main] core/lib-test broke");
    }

    #[test]
    fn a_template_that_fails_later_costs_its_words_not_the_message() {
        let bad = catalog(Some("{{ nonsense }}"), Some("{% for n in range(90000) %}{{ n }}{% endfor %}"));
        let message = write(&bad, "mail", &sample::broke());
        assert_eq!(message.subject, r#"broke: core/lib-test on main (Ada: "Make the queue bounded")"#);
        assert!(message.text.contains("could not be used: template line 1: undefined value"), "{}", message.text);
        assert!(message.text.contains("takes more than 100000 instructions"), "{}", message.text);
    }

    #[test]
    fn problems_of_templates_are_named_with_their_line() {
        let mut said = String::new();
        for source in [
            "{{ headline }} {{ step.name }} {{ culprit.author | clip(20) }}",
            "a\n{{ bulider }}",
            "{{ step.nmae }}",
            "{% if branch %}",
            "{{ branch | shout }}",
            "{% include '/etc/passwd' %}",
            "{% for a in range(99999) %}{{ a }}{% endfor %}",
        ] {
            let problem = check_template(source).map_or_else(|problem| problem.to_string(), |()| "good".to_owned());
            said += &format!("{source:?}\n    {problem}\n");
        }
        expect![[r#"
            "{{ headline }} {{ step.name }} {{ culprit.author | clip(20) }}"
                good
            "a\n{{ bulider }}"
                template line 2: undefined value: `bulider` is undefined
            "{{ step.nmae }}"
                template line 1: undefined value: `step.nmae` is undefined
            "{% if branch %}"
                template line 1: syntax error: unexpected end of input, expected end of block
            "{{ branch | shout }}"
                template line 1: unknown filter: filter shout is unknown
            "{% include '/etc/passwd' %}"
                template line 1: template not found: tried to include non-existing template '/etc/passwd'
            "{% for a in range(99999) %}{{ a }}{% endfor %}"
                template line 1: it takes more than 100000 instructions
        "#]]
        .assert_eq(&said);
        assert!(check_template(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
    }

    /// Writes `text` into every field that a stranger can write.
    fn filled_with(text: &str) -> Happening {
        let mut happening = sample::broke();
        happening.branch = Some(text.to_owned());
        happening.detail = Some(text.to_owned());
        happening.builders = vec![text.into(), text.into()];
        happening.worker = Some(text.into());
        happening.step = Some(FailedStep { number: 0, name: text.to_owned(), summary: text.to_owned() });
        for suspect in &mut happening.suspects {
            suspect.author.name = text.to_owned();
            suspect.author.email = text.to_owned();
            suspect.subject = text.to_owned();
            suspect.revision = text.into();
        }
        for stamp in happening.stamps.values_mut() {
            stamp.branch = text.to_owned();
            stamp.revision = text.into();
        }
        happening.excerpt =
            (1..=20).map(|number| ExcerptLine { number, text: text.to_owned(), is_error: number == 9 }).collect();
        happening
    }

    fn hostile() -> Happening {
        let mut happening = sample::broke();
        happening.branch = Some("--upload-pack=x;$(id)<script>".to_owned());
        happening.builders.push("docs[\"&<b>]".into());
        happening.step = Some(FailedStep {
            number: 3,
            name: "test\u{1}ACTION".to_owned(),
            summary: "</pre><script>alert(1)</script>".to_owned(),
        });
        happening.suspects[0].subject = "Fix\r\nBcc: everybody@example.org\r\n\r\nHello".to_owned();
        happening.suspects[0].author.name = "\u{1b}[31mEve\u{1b}[0m\u{202e} <eve>".to_owned();
        happening.suspects[1].subject = String::from_utf8_lossy(b"inv\xff\xfelid \xf0\x9f").into_owned();
        happening
            .suspects
            .extend((0..30).map(|n| sample::suspect(9, "00112233", "", "n@example.org", &"long ".repeat(n * 40))));
        happening.excerpt[2].text =
            format!("\u{1b}]0;title\u{7}<img src=x onerror=alert(1)>{{{{ 7*7 }}}}{}", "A".repeat(5_000));
        happening.excerpt[3].text = ".".to_owned();
        happening
    }

    fn assert_harmless(happening: &Happening) {
        for notifier in ["mail", "irc"] {
            let message = write(&catalog(None, None), notifier, happening);
            let max = if notifier == "irc" { IRC_LINE_BYTES_MAX } else { SUBJECT_BYTES_MAX };
            assert!(message.subject.len() <= max && !message.subject.is_empty(), "{:?}", message.subject);
            assert!(!message.subject.chars().any(char::is_control), "{:?}", message.subject);
            assert!(
                !message.text.chars().any(|character| character.is_control() && character != '\n' && character != '\t')
            );
            assert!(message.text.len() <= BODY_BYTES_MAX);
            if let Some(html) = message.html {
                assert_tags_are_ours(&html);
            }
        }
    }

    /// Every tag and attribute of the page is one that the template wrote.
    fn assert_tags_are_ours(html: &str) {
        let shape = |html: &str| {
            let mut tags: Vec<String> = html
                .split('<')
                .skip(1)
                .map(|part| {
                    part.split(|c: char| !c.is_ascii_alphanumeric() && !"!/".contains(c))
                        .next()
                        .unwrap_or("")
                        .to_owned()
                })
                .collect();
            tags.sort_unstable();
            tags.dedup();
            tags
        };
        let known = shape(include_str!("templates/mail.html"));
        for tag in shape(html) {
            assert!(known.contains(&tag), "<{tag} is not of the template: {html}");
        }
        assert_eq!(html.matches('<').count(), html.matches('>').count(), "{html}");
    }

    #[test]
    fn a_subject_of_a_megabyte_is_survived() {
        assert_harmless(&filled_with(&"<b>\r\n\u{1b}[1m".repeat(100_000)));
        assert_harmless(&hostile());
    }

    #[test]
    fn every_outcome_renders() {
        for outcome in Outcome::ALL {
            for transition in Transition::ALL {
                let kind = transition.as_str().to_owned();
                let cause = Some(Cause::Limit);
                let some =
                    Happening { outcome: Some(outcome), transition: Some(transition), kind, cause, ..sample::broke() };
                assert_harmless(&some);
                assert_harmless(&Happening { transition: Some(transition), ..Happening::default() });
            }
        }
        assert_harmless(&Happening { kind: "x".to_owned(), ..Happening::default() });
    }

    proptest! {
        #[test]
        fn any_text_in_any_field_is_harmless(text in any::<String>(), markup in "[<>&\"'a-z/={}%#\\x00-\\x1f\u{85}\u{2028}]{0,60}") {
            assert_harmless(&filled_with(&text));
            assert_harmless(&filled_with(&markup));
        }
    }
}
