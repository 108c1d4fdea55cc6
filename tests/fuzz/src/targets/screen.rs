//! What is shown: logs on pages and in terminals, events as lines, events on their way to `watch`, graphs.

use gristmill::cli::narrate::{Detail, Narrator};
use gristmill::cli::terminal::{LogText, Look, clean, clip};
use gristmill::seams::event_stream;
use gristmill::web::ansi::{Renderer, many_lines, one_line};
use gristmill::web::graph::lay_out;
use gristmill_model::{Event, EventBody, Seq, Timestamp};

use super::{blind_seeds, texts};
use crate::Target;
use crate::source::Source;

const CODES: [&str; 28] = [
    "\u{1b}[",
    "\u{1b}[0m",
    "\u{1b}[1;31m",
    "\u{1b}[38;5;196m",
    "\u{1b}[38;2;1;2;3m",
    "\u{1b}[4:3m",
    "\u{1b}[K",
    "\u{1b}[1K",
    "\u{1b}[2K",
    "\u{1b}[9999C",
    "\u{1b}[9D",
    "\u{1b}[5G",
    "\u{1b}]8;;https://example.org/\u{1b}\\",
    "\u{1b}]8;;javascript:x\u{7}",
    "\u{1b}]8;;\u{7}",
    "\u{1b}]0;t\u{7}",
    "\u{1b}P",
    "\u{1b}_",
    "\u{9b}",
    "\r",
    "\u{8}",
    "\t",
    "\u{202e}",
    "<script>",
    "\"onclick=\"",
    "&amp;",
    "http://a.b/c?d=\"e\"",
    "https://",
];

pub(super) const ANSI: Target = Target {
    seeds: || {
        texts(&[
            "\u{1b}[31merror:\u{1b}[0m left != right",
            "50%\r100%\u{1b}[K done",
            "see https://example.org/a?b=c&d.",
            "\u{1b}]8;;https://x.org\u{7}here\u{1b}]8;;\u{7}",
            "a\u{8}b\tc\u{202e}d\u{85}e",
        ])
    },
    words: &CODES,
    size_max: 2048,
    short: 3_000,
    ..Target::new(
        "ansi",
        "a line becomes text, `<i class>` and `<a href>` to http or https and nothing else; its text has no control character but tabs, is what the \
         plain form says, and without codes and controls it is the line itself",
        run_ansi,
    )
};

fn run_ansi(bytes: &[u8]) {
    let (mut html, mut plain, mut runs) = (Renderer::new(), Renderer::new(), Renderer::new());
    let whole: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for line in whole {
        let (html, text) = (html.html(line), plain.plain(line));
        assert_eq!(text_of(&html), text, "{html}");
        assert!(!text.chars().any(is_active), "{text:?}");
        for run in runs.runs(line) {
            assert!(run.class.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"- ".contains(&byte)), "{run:?}");
            assert!(run.href.is_none_or(|href| is_web(&href)));
        }
        let is_mere_text =
            std::str::from_utf8(line).is_ok_and(|line| !line.chars().any(is_active) && !line.contains('\t'));
        if is_mere_text && line.len() <= 16 * 1024 {
            assert_eq!(text.as_bytes(), line);
        }
    }
    let text = String::from_utf8_lossy(bytes);
    assert!(!one_line(&text).chars().any(is_active));
    assert!(!many_lines(&text).chars().any(|glyph| is_active(glyph) && glyph != '\n'));
}

/// Says whether a character does more than stand there.
fn is_active(glyph: char) -> bool {
    (glyph.is_control() && glyph != '\t')
        || matches!(
            glyph,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        )
        || matches!(glyph, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn is_web(href: &str) -> bool {
    (href.starts_with("http://") || href.starts_with("https://")) && href.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads the few tags that are allowed, and gives the text; panics at anything else.
fn text_of(html: &str) -> String {
    const LINK: &str = "<a rel=\"noopener noreferrer nofollow\" href=\"";
    let (mut text, mut rest, mut open) = (String::new(), html, Vec::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(LINK) {
            let (href, after) = after.split_once("\">").expect("the link's tag ends");
            assert!(is_web(&unescape(href)) && !href.contains(['<', '>', '\'']), "{href:?}");
            open.push('a');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("<i class=\"") {
            let (class, after) = after.split_once("\">").expect("the class's tag ends");
            assert!(class.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"- ".contains(&byte)), "{class:?}");
            open.push('i');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("</i>") {
            assert_eq!(open.pop(), Some('i'), "{html}");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("</a>") {
            assert_eq!(open.pop(), Some('a'), "{html}");
            rest = after;
        } else {
            let end = rest.find('<').unwrap_or(rest.len());
            assert!(end > 0 && !rest[..end].contains(['>', '"', '\'']), "a foreign tag: {html}");
            text.push_str(&unescape(&rest[..end]));
            rest = &rest[end..];
        }
    }
    assert!(open.is_empty(), "{html}");
    text
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let names = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&#39;", '\'')];
        let (name, glyph) = names.into_iter().find(|(name, _)| rest.starts_with(name)).expect("a known reference");
        plain.push(glyph);
        rest = &rest[name.len()..];
    }
    plain + rest
}

pub(super) const TERMINAL: Target = Target {
    seeds: || texts(&["\0plain text\n", "\u{2}\u{1b}[31mred\u{1b}[0m\r\n", "\u{3}\u{1b}]0;t\u{7}a\u{9b}2Jb\u{202e}c"]),
    words: &CODES,
    size_max: 2048,
    short: 10_000,
    ..Target::new(
        "terminal",
        "of a log only text, line feeds, tabs and colours reach a terminal, wherever it is cut; names and titles are one line without anything active",
        run_terminal,
    )
};

fn run_terminal(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let keeps = source.flag();
    let mut cuts = source.clone();
    source.bytes(13);
    let log = source.rest();
    let shown = |pieces: &[&[u8]]| {
        let (mut text, mut out) = (LogText::new(keeps), Vec::new());
        pieces.iter().for_each(|piece| text.push(piece, &mut out));
        text.finish(&mut out);
        out
    };
    let whole = shown(&[log]);
    assert_eq!(whole, shown(&cuts.cut(log)), "cut otherwise it is another text");
    let text = String::from_utf8(whole).expect("a terminal is given text");
    assert!(keeps || !text.contains('\u{1b}'), "a colour though none is wanted");
    let text = without_colors(text);
    assert!(!text.chars().any(|glyph| glyph.is_control() && !"\n\t".contains(glyph)), "{text:?}");
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200f}']), "{text:?}");

    let title = String::from_utf8_lossy(log);
    assert_harmless(&clean(&title));
    for width in [1, 2, 40] {
        let clipped = clip(&title, width);
        assert_harmless(&clipped);
        assert!(clipped.chars().count() <= width, "{clipped:?}");
    }
}

/// Takes colours out; panics at any other code.
fn without_colors(mut text: String) -> String {
    while let Some(at) = text.find("\u{1b}[") {
        let rest = &text[at + 2..];
        let length = rest.find(|glyph: char| !glyph.is_ascii_digit() && !";:".contains(glyph)).expect("it ends");
        assert_eq!(rest.as_bytes()[length], b'm', "a code that is no colour: {text:?}");
        text.replace_range(at..at + 3 + length, "");
    }
    text
}

fn assert_harmless(line: &str) {
    let is_dangerous = |glyph: char| {
        glyph.is_control()
            || matches!(glyph, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!line.chars().any(is_dangerous), "{line:?}");
}

pub(super) const NARRATE: Target = Target {
    seeds: narrations,
    words: &[
        "\"type\":",
        "\"build\":",
        "\"change\":",
        "\"message\":",
        "\"branch\":",
        "\\u001b[31m",
        "\\u202e",
        "\\n",
        "\\r\\n",
        "9223372036854775807",
        "-1",
        "null",
        "{}",
        "[]",
        "\"outcome\":\"failure\"",
        "\"steps\":",
    ],
    short: 1_000,
    ..Target::new(
        "narrate",
        "every event that can be read is told in lines without control characters, and it and what it is about are the same after it went through \
         JSON",
        run_narrate,
    )
};

/// A line of JSON each for some events.
fn narrations() -> Vec<Vec<u8>> {
    let events = super::world::events();
    events
        .chunks(6)
        .map(|some| {
            some.iter()
                .map(|event| serde_json::to_string(&event.body).unwrap())
                .collect::<Vec<_>>()
                .join("\n")
                .into_bytes()
        })
        .collect()
}

fn run_narrate(bytes: &[u8]) {
    let colored = Look { color: true, ..Look::PLAIN };
    // Without colours, no escape is ours.
    let (mut narrator, mut painter) = (Narrator::new(Look::PLAIN, Detail::More), Narrator::new(colored, Detail::More));
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let Ok(body) = serde_json::from_slice::<EventBody>(line) else { continue };
        let written = serde_json::to_string(&body).unwrap();
        assert_eq!(serde_json::from_str::<EventBody>(&written).unwrap(), body, "{written}");
        let subject = narrator.subject(&body);
        assert_eq!(subject, narrator.subject(&body));
        let event = Event { seq: Seq(number), at: Timestamp(number * 1_000_000), body };
        narrator.tell(&event).iter().for_each(|told| assert_harmless(told));
        painter.tell(&event).into_iter().for_each(|told| assert_harmless(&without_colors(told)));
    }
}

pub(super) const EVENT_STREAM: Target = Target {
    seeds: || {
        texts(&[
            "\0\0\0\0\0\0\0\0\0\0\0\0\0: heartbeat\r\n\r\nid: 7\nevent: journal\ndata: {\"a\":\ndata: 1}\n\ndata:x\n\nid: 9\n\ndata: cut",
        ])
    },
    words: &[
        "data:",
        "data: ",
        "event:",
        "event: reset\n",
        "id: 1\n",
        "retry: 0\n",
        ":",
        "\n\n",
        "\r\n\r\n",
        "\r",
        "\u{feff}",
        "{\"a\":1}",
    ],
    size_max: 4096,
    short: 3_000,
    ..Target::new(
        "event-stream",
        "events are the same wherever the bytes are cut and carry what their lines say",
        run_event_stream,
    )
};

fn run_event_stream(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut cuts = source.clone();
    source.bytes(13);
    let stream = source.rest();
    let whole = event_stream([stream]).expect("it is short");
    assert_eq!(Some(&whole), event_stream(cuts.cut(stream)).as_ref(), "cut otherwise these are other events");
    assert_eq!(Some(&whole), event_stream(stream.chunks(1)).as_ref(), "byte by byte these are other events");
    let text = String::from_utf8_lossy(stream);
    for (kind, data) in &whole {
        assert!(!kind.contains('\n') && data.split('\n').all(|line| text.contains(line)), "{kind:?} {data:?}");
    }
}

pub(super) const ENDLESS_EVENT: Target = Target {
    seeds: || texts(&["data:\n", "x", "event: x\n", "data: x\r\n:\n"]),
    words: &["data:", "event:", "id:", ":", "\r\n", "\n"],
    size_max: 64,
    short: 2,
    millis_max: 2_000,
    ..Target::new(
        "endless-event",
        "an event that never ends is given up before it costs more memory than it may",
        run_endless_event,
    )
};

fn run_endless_event(bytes: &[u8]) {
    if bytes.is_empty() || bytes.contains(&0) {
        return;
    }
    // A little more than is held of one event, in pieces as a connection might bring them.
    let piece = bytes.repeat((1 << 20) / bytes.len());
    let is_without_end =
        !String::from_utf8_lossy(&bytes.repeat(2)).replace('\r', "").contains("\n\n") && bytes[0] != b'\n';
    let records = event_stream(std::iter::repeat_n(piece.as_slice(), 18));
    assert!(!is_without_end || records.is_none_or(|records| records.is_empty()), "{bytes:?} is an event");
}

pub(super) const GRAPH: Target = Target {
    seeds: blind_seeds,
    size_max: 512,
    short: 600,
    ..Target::new(
        "graph-layout",
        "a graph of any edges is laid out: a box for each node within the picture, none upon another, a way for each edge, every node once in the order",
        run_graph,
    )
};

fn run_graph(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let count = source.below(24);
    let names: Vec<String> = (0..count).map(|_| source.text()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut edges = Vec::new();
    while !source.is_empty() && edges.len() < 200 {
        edges.push((source.below(26), source.below(26)));
    }
    let layout = lay_out(&names, &edges);
    assert_eq!((layout.boxes.len(), layout.paths.len()), (count, edges.len()));
    for (at, (x, y)) in layout.boxes.iter().enumerate() {
        assert!(*x >= 0 && *y >= 0 && *x <= layout.width && *y <= layout.height, "{layout:?}");
        assert!(!layout.boxes[..at].contains(&(*x, *y)), "two boxes at {x},{y}: {layout:?}");
    }
    let mut order = layout.order.clone();
    order.sort_unstable();
    assert!(order.into_iter().eq(0..count), "{layout:?}");
    assert!(
        layout
            .paths
            .iter()
            .all(|path| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ,.-".contains(&byte))),
        "{layout:?}"
    );
}
