//! Messages: templates, texts, mails, IRC.

use std::cell::OnceCell;

use gristmill_model::{
    Catalog, Cause, ChangeId, IncidentId, Message, MessageId, Outcome, Person, Seq, Timestamp, Transition,
};
use gristmill_notifiers::happening::{ExcerptLine, FailedStep, Happening, Suspect};
use gristmill_notifiers::render::{BODY_BYTES_MAX, IRC_LINE_BYTES_MAX, SUBJECT_BYTES_MAX, TEMPLATE_BYTES_MAX};
use gristmill_notifiers::{Addressed, Renderer, check_template, route, seams, text};

use super::{blind_seeds, catalog, files_of_repository, texts};
use crate::Target;
use crate::source::Source;

const CATALOG: &str = r##"
repositories: {core: {git: /srv/core.git}}
projects: {core: {repositories: [core], owners: [ops@example.org]}}
builders: {test: {project: core, source: core, steps: [{run: "true"}]}}
schedulers: {all: {kind: any-branch, when: {repository: core}, build: [test]}}
notifiers:
  mail: {kind: mail, from: "CI <ci@example.org>", smtp: "smtp://localhost:25"}
  irc: {kind: irc, server: "localhost:6667", tls: false, nick: gristmill, channels: ["#ci"]}
routes:
  - {when: {transition: [broke, fixed, still-failing]}, to: [irc, {mail: [culprits, ops@example.org]}]}
"##;

thread_local! {
    static RENDERER: OnceCell<(Renderer, Catalog)> = const { OnceCell::new() };
}

fn with_renderer<T>(work: impl FnOnce(&Renderer, &Catalog) -> T) -> T {
    RENDERER.with(|cell| {
        let (renderer, catalog) = cell.get_or_init(|| (Renderer::new(), catalog(CATALOG)));
        work(renderer, catalog)
    })
}

const WORDS: [&str; 40] = [
    "{{ ",
    " }}",
    "{% for a in range(1000000) %}",
    "{% for s in suspects %}",
    "{% endfor %}",
    "{% if ",
    "{% endif %}",
    "{% set x = ",
    "{% macro m() %}",
    "{% include \"mail.html\" %}",
    "{{ self }}",
    "{{ loop.index }}",
    "branch",
    "builders",
    "suspects",
    "|length",
    "|clip(20)",
    "|upper",
    "|tojson",
    "|safe",
    "|replace('a', 'aaaaaaaa')",
    "|join(',')",
    "|list",
    "|sort",
    "*1000000",
    "~",
    "\"x\" * 99999999",
    "'%999999999d'|format(1)",
    "range(0, 1000000, 1)|list",
    "**99999",
    "[0] * 9999999",
    "\\r\\n",
    "{#",
    "#}",
    "{%- raw -%}",
    "{%- endraw -%}",
    "\r\nBcc: x@y.org",
    "\u{1}",
    "namespace()",
    "dict()",
];

pub(super) const TEMPLATE: Target = Target {
    seeds: || {
        let mut seeds = files_of_repository("notifiers/src/templates", "");
        seeds.extend(texts(&[
            "{{ transition }}: {{ builders|join(', ') }} on {{ branch }}",
            "{% for s in suspects %}{{ s.author }}\n{% endfor %}",
        ]));
        seeds
    },
    words: &WORDS,
    size_max: TEMPLATE_BYTES_MAX + 100,
    short: 250,
    millis_max: 300,
    ..Target::new(
        "template",
        "a template of a route's own is refused with a line that it has, or takes bounded effort and memory for any happening; what it writes is a \
         subject without control characters",
        run_template,
    )
};

fn run_template(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    let checked = check_template(&source);
    if let Err(problem) = &checked {
        let lines = source.lines().count().max(1) + 1;
        assert!((1..=lines).contains(&problem.line), "{problem} of {lines} lines");
        assert!(!problem.message.is_empty() && !problem.message.chars().any(char::is_control), "{problem}");
        return;
    }
    with_renderer(|renderer, catalog| {
        let mut catalog = catalog.clone();
        catalog.routes[0].subject = Some(source.clone().into_owned());
        catalog.routes[0].body = Some(source.clone().into_owned());
        let happening = happening(&mut Source::new(bytes));
        for notifier in ["mail", "irc"] {
            check_message(&renderer.render(&catalog, &addressed(notifier), &happening), notifier);
        }
    });
}

fn addressed(notifier: &str) -> Addressed {
    Addressed {
        route: 0,
        notifier: notifier.into(),
        target: if notifier == "irc" { "#ci" } else { "ada@example.org" }.to_owned(),
        because: "gristmill.yaml:9".to_owned(),
        key: "key".to_owned(),
    }
}

/// A happening in which strangers say whatever they like.
fn happening(source: &mut Source<'_>) -> Happening {
    let suspects = (0..source.below(4)).map(|number| Suspect {
        change: ChangeId(i64::try_from(number).unwrap()),
        repository: source.name(&["core"]).as_str().into(),
        revision: source.name(&["a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"]).as_str().into(),
        author: Person { name: source.text(), email: source.name(&["ada@example.org", "bo@example.org"]) },
        subject: source.text(),
    });
    let suspects = suspects.collect();
    let excerpt = (0..source.below(4)).map(|_| ExcerptLine {
        number: source.number().unsigned_abs(),
        text: source.text(),
        is_error: source.flag(),
    });
    let excerpt = excerpt.collect();
    let transition = *source.pick(&Transition::ALL);
    let happening = Happening {
        projects: vec!["core".into()],
        branch: source.flag().then(|| source.text()),
        outcome: Some(*source.pick(&Outcome::ALL)),
        cause: source.flag().then_some(Cause::Code),
        incident: source.flag().then_some(IncidentId(3)),
        url: source.flag().then(|| "http://ci.example.org".to_owned()),
        suspects,
        suspects_more: source.below(300),
        step: source.flag().then(|| FailedStep { number: 1, name: source.text(), summary: source.text() }),
        excerpt,
        since: Some(Timestamp(source.number())),
        worker: Some(source.text().as_str().into()),
        ..Happening::turned(
            Seq(41),
            Timestamp(source.number()),
            transition,
            vec![source.name(&["test"]).as_str().into()],
        )
    };
    match source.below(4) {
        0 => Happening {
            detail: Some(source.text()),
            ..Happening::of_system(Seq(1), Timestamp(source.number()), "source.failing", source.text())
        },
        _ => happening,
    }
}

pub(super) const MESSAGE: Target = Target {
    seeds: blind_seeds,
    words: &["<b>", "</pre>", "\r\n", "=?utf-8?q?x?=", "\u{1b}[31m", "\u{202e}", "\u{1}"],
    size_max: 2048,
    short: 300,
    ..Target::new(
        "message",
        "whatever strangers wrote: subject and IRC line are one line without control characters and within their limits, the page has no tag that the \
         template has not, and who is told is told once",
        run_message,
    )
};

fn run_message(bytes: &[u8]) {
    let happening = happening(&mut Source::new(bytes));
    with_renderer(|renderer, catalog| {
        let routing = route(catalog, &happening);
        for addressed in &routing.addressed {
            let notifier = addressed.notifier.as_str().to_owned();
            let message = renderer.render(catalog, addressed, &happening);
            check_message(&message, &notifier);
            if notifier == "mail"
                && let Ok(mail) = seams::mail("CI <ci@example.org>", "ci.example.org", &message)
            {
                check_mail(&mail, &message);
            }
        }
        let mut keys: Vec<(&str, &str)> =
            routing.addressed.iter().map(|it| (it.notifier.as_str(), it.target.as_str())).collect();
        let told = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), told, "somebody is told twice");
    });
}

fn check_message(message: &Message, notifier: &str) {
    let most = if notifier == "irc" { IRC_LINE_BYTES_MAX } else { SUBJECT_BYTES_MAX };
    assert!(message.subject.len() <= most, "{} bytes", message.subject.len());
    assert!(!message.subject.chars().any(char::is_control), "{:?}", message.subject);
    assert!(!message.text.chars().any(|glyph| glyph.is_control() && !"\n\t".contains(glyph)), "{:?}", message.text);
    assert!(message.text.len() <= BODY_BYTES_MAX);
    if let Some(html) = &message.html {
        assert!(html.len() <= BODY_BYTES_MAX);
        check_tags(html);
    }
}

/// Every tag is one of the template's, and every bracket belongs to a tag.
fn check_tags(html: &str) {
    let template = std::fs::read_to_string(crate::corpus::repository().join("notifiers/src/templates/mail.html"));
    static KNOWN: std::sync::OnceLock<std::collections::BTreeSet<String>> = std::sync::OnceLock::new();
    let tags = |html: &str| -> std::collections::BTreeSet<String> {
        html.split('<')
            .skip(1)
            .map(|part| {
                part.chars().take_while(|glyph| glyph.is_ascii_alphanumeric() || "!/".contains(*glyph)).collect()
            })
            .collect()
    };
    let known = KNOWN.get_or_init(|| tags(&template.unwrap()));
    assert!(tags(html).is_subset(known), "{:?} in {html}", tags(html).difference(known).collect::<Vec<_>>());
    assert_eq!(html.matches('<').count(), html.matches('>').count(), "{html}");
}

pub(super) const TEXT: Target = Target {
    seeds: || {
        texts(&[
            "one\r\nBcc: x@y.org",
            "\u{1b}[31;1mred\u{1b}[0m alert",
            "\u{1b}]8;;http://x/\u{1b}\\link",
            "\u{e4}\u{e4}\u{e4}",
            "\tif x:\r\n",
        ])
    },
    words: &[
        "\u{1b}[",
        "\u{1b}]",
        "\u{9c}",
        "\u{7}",
        "\u{85}",
        "\u{2028}",
        "\u{202e}",
        "\u{feff}",
        "\u{e0041}",
        "\u{10ffff}",
    ],
    size_max: 2048,
    short: 10_000,
    ..Target::new(
        "text",
        "what strangers wrote becomes one line, a log's line or a block within its limit and without anything active; doing it twice changes nothing",
        run_text,
    )
};

fn run_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let is_active = |glyph: char| {
        glyph.is_control()
            || matches!(glyph, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    for most in [3, 4, 17, 200, 4096] {
        let (line, log, block) = (text::one_line(&text, most), text::log_line(&text, most), text::block(&text, most));
        for made in [&line, &log, &block] {
            assert!(made.len() <= most, "{} bytes of {most}", made.len());
        }
        assert!(!line.chars().any(is_active) && !log.chars().any(is_active), "{line:?} {log:?}");
        assert!(!block.chars().any(|glyph| is_active(glyph) && !"\n\t".contains(glyph)), "{block:?}");
        assert_eq!(text::one_line(&line, most), line);
        assert_eq!(text::log_line(&log, most), log);
        assert_eq!(text::block(&block, most), block);
        assert!(text::cut(text.clone().into_owned(), most).len() <= most);
    }
}

pub(super) const MAIL: Target = Target {
    seeds: || {
        let mut seeds = blind_seeds();
        seeds.extend(texts(&["\0ada@example.org", "\u{2}\u{7}x\r\nBcc: all@example.org"]));
        seeds
    },
    words: &[
        "\r\n",
        "\n.\n",
        "\r\n.\r\n",
        "Bcc: x@y.org",
        "=?utf-8?b?",
        "?=",
        "@",
        "<",
        ">",
        ",",
        "\"",
        "\u{e9}",
        "\u{85}",
        "\u{2028}",
    ],
    size_max: 4096,
    short: 1_000,
    ..Target::new(
        "mail",
        "a mail read again has just the headers that were meant, the subject that was said, one recipient, and the text line by line; no line is longer \
         than a server takes",
        run_mail,
    )
};

fn run_mail(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let message = Message {
        id: MessageId(1),
        event: Seq(1),
        notifier: "mail".into(),
        target: source.name(&["ada@example.org", "ada@example.org", "bo+ci@sub.example.org"]),
        because: String::new(),
        key: source.text(),
        incident: source.flag().then_some(IncidentId(source.number())),
        subject: source.text(),
        html: source.flag().then(|| source.text()),
        at: Timestamp(source.number()),
        text: String::from_utf8_lossy(source.rest()).into_owned(),
    };
    match seams::mail("CI <ci@example.org>", "ci.example.org", &message) {
        Ok(mail) => {
            check_mail(&mail, &message);
            assert_eq!(
                seams::mail("CI <ci@example.org>", "ci.example.org", &message).ok(),
                Some(mail),
                "another attempt is another mail"
            );
        }
        Err(error) => assert!(!error.is_transient() && !error.to_string().chars().any(char::is_control), "{error}"),
    }
}

fn check_mail(mail: &[u8], message: &Message) {
    let mail = std::str::from_utf8(mail).expect("a mail is text");
    let (head, body) = mail.split_once("\r\n\r\n").expect("a head and a body");
    assert!(!mail.replace("\r\n", "").contains(['\r', '\n']), "{mail:?}");
    assert!(mail.split("\r\n").all(|line| line.len() <= 998), "a line is too long");
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers: Vec<(&str, &str)> =
        unfolded.split("\r\n").map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    names.retain(|name| {
        !matches!(*name, "In-Reply-To" | "References" | "MIME-Version" | "Content-Type" | "Content-Transfer-Encoding")
    });
    assert_eq!(names, ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"], "{head}");
    let value = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value.trim());
    assert!(head.is_ascii(), "{head}");
    assert!(value("To").is_ascii() && !value("To").contains(','), "{head}");
    let subject = text::one_line(&message.subject, SUBJECT_BYTES_MAX).replace("=?", "= ?");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !value("Subject").contains("=?") {
        assert_eq!(words(value("Subject")), words(&subject));
    }
    if message.html.is_none() {
        let read = unquote(body);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        // One line end more or less at the end is nothing that anybody sees.
        let (read, said) = (lines(&read), lines(&message.text));
        let is_end = |more: &[String]| more.iter().all(String::is_empty) && more.len() <= 1;
        assert!(read.starts_with(&said) && is_end(&read[said.len()..]), "{read:?} and not {said:?}: {body:?}");
    }
}

/// Undoes quoted-printable.
fn unquote(body: &str) -> String {
    let joined = body.replace("=\r\n", "");
    let (mut bytes, mut rest) = (Vec::new(), joined.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail.get(..2)) {
            (b'=', Some(digits)) => {
                let digits = std::str::from_utf8(digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("={digits} is no byte")));
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).expect("it was text")
}

pub(super) const IRC_SAYS: Target = Target {
    seeds: || texts(&["#ci\nbroke: core/test on main", "#ci\nx\r\nQUIT :bye\0\u{1}ACTION\u{1}", "#a b\n:x"]),
    words: &["\r\n", "\n", "\0", "\u{1}", "QUIT", "PRIVMSG", ":", " ", "#", ",", "\u{2}", "\u{3}04", "\u{e9}"],
    size_max: 2048,
    short: 10_000,
    ..Target::new(
        "irc-says",
        "whatever is said in whatever channel is one line of one command, at most 512 bytes, without control characters",
        run_irc_says,
    )
};

fn run_irc_says(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (channel, words) = text.split_once('\n').unwrap_or(("#ci", &text));
    let line = seams::say(channel, words);
    check_line(&line);
    assert!(line.starts_with(b"PRIVMSG "), "{line:?}");
    let shown = String::from_utf8_lossy(&line);
    let is_channel = channel.starts_with('#')
        && channel.len() <= 64
        && channel.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#');
    assert!(!is_channel || shown.starts_with(&format!("PRIVMSG {channel} :")), "{shown:?}");
}

fn check_line(line: &[u8]) {
    let text = line.strip_suffix(b"\r\n").expect("a line has an end");
    assert!(line.len() <= 512, "{} bytes", line.len());
    let shown = std::str::from_utf8(text).expect("a line is text");
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    let command = shown.split(' ').next().unwrap_or("");
    assert!(
        ["PRIVMSG", "NICK", "USER", "CAP", "JOIN", "PONG", "AUTHENTICATE", "PART", "QUIT", "PING"].contains(&command),
        "{shown:?}"
    );
}

pub(super) const IRC_HEARS: Target = Target {
    seeds: || {
        texts(&[
            "\0\0\0:irc 001 gristmill :Welcome\r\n:gristmill!g@h JOIN #ci\r\nPING :a\r\n:irc 404 gristmill #ci :Cannot send\r\n",
            "\u{1}\0\0:irc CAP * LS :sasl=PLAIN\r\n:irc CAP * ACK :sasl\r\nAUTHENTICATE +\r\n:irc 903 gristmill :ok\r\n:irc 001 gristmill :hi\r\n",
            "\0\0\0:irc 001 gristmill :W\r\n:irc 433 * gristmill :in use\r\n:op!o@h KICK #ci gristmill :bye\r\n:irc 473 gristmill #ci :invite only\r\n:op INVITE gristmill #ci\r\nERROR :Closing\r\n",
            "\0\0\0@time=x;a=b :irc 005 g NICKLEN=5 CHANTYPES=#\r\n:irc 432 * g :bad nick\r\n",
        ])
    },
    words: &[
        "PING :",
        "PONG",
        "001",
        "005",
        "401",
        "403",
        "404",
        "405",
        "432",
        "433",
        "437",
        "471",
        "473",
        "474",
        "475",
        "477",
        "902",
        "903",
        "904",
        "906",
        "JOIN",
        "PART",
        "KICK",
        "INVITE",
        "NICK",
        "ERROR",
        "CAP * LS",
        "CAP * LS *",
        "CAP * ACK :sasl",
        "CAP * NAK",
        "CAP * NEW",
        "CAP * DEL",
        "AUTHENTICATE +",
        "#ci",
        "#ops",
        "gristmill",
        ":irc ",
        "@a=b ",
        "\r\n",
        "\n",
        "\0",
        "\u{1}",
        "sasl=PLAIN,EXTERNAL",
        "NICKLEN=1",
    ],
    short: 2_000,
    ..Target::new(
        "irc-hears",
        "whatever a server says, wherever it is cut, the bot writes short single lines of its own commands, knows no more channels than it may, holds no \
         more of a line than it reads, and the same words make it do the same",
        run_irc_hears,
    )
};

fn run_irc_hears(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let login = source.flag().then_some(("ci", "geheim"));
    let mut cuts = source.clone();
    source.bytes(2);
    let said = source.rest();
    let channels = ["#ci".to_owned(), "#ops".to_owned()];
    let whole = seams::hear("gristmill", login, &channels, [said]);
    let pieces = seams::hear("gristmill", login, &channels, cuts.cut(said));
    assert_eq!(whole.written, pieces.written, "cut otherwise it answers otherwise");
    assert!(whole.waiting <= 8191 + 512);
    assert!(whole.channels.len() <= 100);
    for line in &whole.written {
        check_line(line);
    }
    assert!(
        whole.shown.iter().all(|words| words.len() < 2_000 && !words.chars().any(char::is_control)),
        "{:?}",
        whole.shown
    );
    let secret = "Y2kAY2kAZ2VoZWlt";
    let is_secret = |line: &Vec<u8>| {
        let text = String::from_utf8_lossy(line).into_owned();
        text.contains("geheim") || (text.contains(secret) && !text.starts_with("AUTHENTICATE "))
    };
    assert!(!whole.written.iter().any(is_secret), "the password is said aloud");
}
