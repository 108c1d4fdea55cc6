//! What a step printed, made fit to be shown: terminal codes become classes, everything else becomes text.
//!
//! Log text is untrusted. The parser is `vte`; of what it finds, colours and weights are kept (as classes of the style
//! sheet, because the pages' policy forbids inline styles), carriage returns and erasures act within their line (so a
//! progress bar shows its last state), OSC 8 links are kept if they lead to http or https, and all other sequences are
//! dropped. Control and direction characters are shown by name, so that no line looks like something it is not.
//!
//! 256 and true colours are brought to the nearest of the sixteen terminal colours, each of which is legible in both
//! themes, which a program's own choice need not be.

use std::fmt::Write as _;

use serde::Serialize;
use vte::{Params, Parser, Perform};

/// Bytes of a link's target; a longer one is not a link.
const LINK_BYTES_MAX: usize = 2048;
/// Cells that one line may have; more is dropped.
const CELLS_MAX: usize = 16 * 1024;

/// Renders lines one after the other: a colour that is set in one goes on in the next.
#[derive(Debug, Clone, Default)]
pub struct Renderer {
    style: Style,
}

/// A stretch of text that looks the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The text; no control characters but tabs.
    pub text: String,
    /// Classes of the style sheet, separated by blanks; empty for plain text.
    pub class: String,
    /// Where it leads: http or https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Style {
    /// 0–15.
    foreground: Option<u8>,
    /// 0–15.
    background: Option<u8>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    strike: bool,
    inverse: bool,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    glyph: char,
    style: Style,
    /// The place of its target in the line's list.
    link: Option<u16>,
}

#[derive(Default)]
struct Screen {
    cells: Vec<Cell>,
    cursor: usize,
    style: Style,
    links: Vec<String>,
    link: Option<u16>,
}

impl Renderer {
    /// Starts with plain text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes runs of one line, without its line feed.
    pub fn runs(&mut self, line: &[u8]) -> Vec<Run> {
        let mut screen = Screen { style: self.style, ..Screen::default() };
        let mut parser = Parser::new();
        parser.advance(&mut screen, line);
        // A character that the line's end cuts short is shown as one that cannot be read.
        let last = line.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        if std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none()) {
            screen.put(char::REPLACEMENT_CHARACTER);
        }
        self.style = screen.style;
        screen.find_plain_links();
        screen.into_runs()
    }

    /// Makes HTML of one line, without its line feed: text, `<i class>` and `<a href>`, nothing else.
    pub fn html(&mut self, line: &[u8]) -> String {
        let mut html = String::with_capacity(line.len() + 16);
        for run in self.runs(line) {
            push_run(&mut html, &run);
        }
        html
    }

    /// Makes plain text of one line: what [`Renderer::html`] shows, without how it looks.
    pub fn plain(&mut self, line: &[u8]) -> String {
        self.runs(line).into_iter().map(|run| run.text).collect()
    }
}

fn push_run(html: &mut String, run: &Run) {
    if let Some(href) = &run.href {
        html.push_str("<a rel=\"noopener noreferrer nofollow\" href=\"");
        push_escaped(html, href);
        html.push_str("\">");
    }
    if !run.class.is_empty() {
        // Classes are made here, of letters and digits.
        let _infallible = write!(html, "<i class=\"{}\">", run.class);
    }
    push_escaped(html, &run.text);
    if !run.class.is_empty() {
        html.push_str("</i>");
    }
    if run.href.is_some() {
        html.push_str("</a>");
    }
}

/// Appends text with the five characters that mean something in HTML written as references.
pub fn push_escaped(html: &mut String, text: &str) {
    for glyph in text.chars() {
        match glyph {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(glyph),
        }
    }
}

/// Makes one line of untrusted text fit to be shown beside other words: no codes, no control characters.
pub fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    Renderer::new().plain(line.as_bytes())
}

/// Makes several lines of untrusted text fit to be shown: no codes, no control characters but line feeds.
pub fn many_lines(text: &str) -> String {
    let mut renderer = Renderer::new();
    let lines: Vec<String> = text.lines().map(|line| renderer.plain(line.as_bytes())).collect();
    lines.join("\n")
}

impl Screen {
    fn put(&mut self, glyph: char) {
        let cell = Cell { glyph, style: self.style, link: self.link };
        if self.cursor < self.cells.len() {
            self.cells[self.cursor] = cell;
        } else if self.cells.len() < CELLS_MAX {
            self.cells.push(cell);
        }
        self.cursor = (self.cursor + 1).min(CELLS_MAX);
    }

    fn put_text(&mut self, text: &str) {
        text.chars().for_each(|glyph| self.put(glyph));
    }

    fn erase(&mut self, mode: u16) {
        let blank = Cell { glyph: ' ', style: Style::default(), link: None };
        match mode {
            0 => self.cells.truncate(self.cursor),
            1 => self.cells.iter_mut().take(self.cursor + 1).for_each(|cell| *cell = blank),
            // The cursor stays where it is, so what comes next is moved to the line's beginning: nothing is left before it.
            2 => {
                self.cells.clear();
                self.cursor = 0;
            }
            _ => {}
        }
    }

    fn open_link(&mut self, target: &[u8]) {
        self.link = None;
        let Ok(target) = std::str::from_utf8(target) else { return };
        if is_web_address(target) && self.links.len() < usize::from(u16::MAX) {
            self.link = u16::try_from(self.links.len()).ok();
            self.links.push(target.to_owned());
        }
    }

    /// Makes links of addresses that stand in the text.
    fn find_plain_links(&mut self) {
        let glyphs: Vec<char> = self.cells.iter().map(|cell| cell.glyph).collect();
        let mut at = 0;
        while at + 8 < glyphs.len() {
            let starts = starts_with(&glyphs[at..], "http://") || starts_with(&glyphs[at..], "https://");
            let free = self.cells[at].link.is_none();
            let at_word = at == 0 || !glyphs[at - 1].is_alphanumeric();
            if !(starts && free && at_word) {
                at += 1;
                continue;
            }
            let length = address_length(&glyphs[at..]);
            let target: String = glyphs[at..at + length].iter().collect();
            if is_web_address(&target)
                && let Ok(place) = u16::try_from(self.links.len())
            {
                self.links.push(target);
                self.cells[at..at + length].iter_mut().for_each(|cell| cell.link = Some(place));
            }
            at += length;
        }
    }

    fn into_runs(self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut before: Option<(Style, Option<u16>)> = None;
        for cell in &self.cells {
            if before != Some((cell.style, cell.link)) {
                let href = cell.link.map(|place| self.links[usize::from(place)].clone());
                runs.push(Run { text: String::new(), class: cell.style.class(), href });
                before = Some((cell.style, cell.link));
            }
            if let Some(run) = runs.last_mut() {
                run.text.push(cell.glyph);
            }
        }
        runs
    }
}

fn starts_with(glyphs: &[char], word: &str) -> bool {
    glyphs.len() >= word.len() && word.chars().zip(glyphs).all(|(wanted, glyph)| wanted == *glyph)
}

/// Counts the characters of the address at the beginning: up to a blank, a quote or a bracket, without the sentence's
/// own punctuation.
fn address_length(glyphs: &[char]) -> usize {
    let ends = |glyph: &char| {
        glyph.is_whitespace() || glyph.is_control() || !glyph.is_ascii() || "<>\"'`{}|\\^".contains(*glyph)
    };
    let mut length = glyphs.iter().position(ends).unwrap_or(glyphs.len());
    while length > 0 && ".,;:!?)]*".contains(glyphs[length - 1]) {
        length -= 1;
    }
    length
}

/// Says whether an address is http or https with a host, and printable throughout.
fn is_web_address(target: &str) -> bool {
    let rest = target.strip_prefix("https://").or_else(|| target.strip_prefix("http://"));
    target.len() <= LINK_BYTES_MAX
        && target.bytes().all(|byte| byte.is_ascii_graphic())
        && rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '['))
}

impl Perform for Screen {
    fn print(&mut self, glyph: char) {
        match glyph {
            '\u{7f}' => self.put('␡'),
            _ if !shown_by_name(glyph) => self.put(glyph),
            _ => self.put_text(&format!("⟨U+{:04X}⟩", u32::from(glyph))),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.cursor = 0,
            0x08 => self.cursor = self.cursor.saturating_sub(1),
            b'\t' => self.put('\t'),
            b'\n' | 0x07 => {}
            // The pictures of control characters stand in Unicode in the order of the characters.
            0..0x20 => self.put(char::from_u32(0x2400 + u32::from(byte)).unwrap_or('␀')),
            _ => self.put_text(&format!("⟨U+{byte:04X}⟩")),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().and_then(|param| param.first()).copied().unwrap_or(0);
        match action {
            'm' => self.style.select(params),
            'K' => self.erase(first),
            'G' => self.cursor = usize::from(first.max(1) - 1).min(self.cells.len()),
            'D' => self.cursor = self.cursor.saturating_sub(usize::from(first.max(1))),
            'C' => self.cursor = (self.cursor + usize::from(first.max(1))).min(self.cells.len()),
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        // `8 ; parameters ; address`, and an address may hold semicolons, which have split it.
        if let [b"8", _, rest @ ..] = params {
            self.open_link(&rest.join(&b';'));
        }
    }
}

/// Says whether a character must not act: C1 controls, direction marks and overrides, line and paragraph separators,
/// and what has no width.
fn shown_by_name(glyph: char) -> bool {
    matches!(
        glyph,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'
            | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

impl Style {
    /// Applies a "select graphic rendition".
    fn select(&mut self, params: &Params) {
        let mut params = params.iter();
        while let Some(param) = params.next() {
            match param {
                [] | [0] => *self = Self::default(),
                [1] => self.bold = true,
                [2] => self.dim = true,
                [3] => self.italic = true,
                [4, 0] | [24] => self.underline = false,
                [4, ..] | [21] => self.underline = true,
                [7] => self.inverse = true,
                [9] => self.strike = true,
                [22] => (self.bold, self.dim) = (false, false),
                [23] => self.italic = false,
                [27] => self.inverse = false,
                [29] => self.strike = false,
                [code @ 30..=37] => self.foreground = small(code - 30),
                [code @ 40..=47] => self.background = small(code - 40),
                [code @ 90..=97] => self.foreground = small(code - 90 + 8),
                [code @ 100..=107] => self.background = small(code - 100 + 8),
                [39] => self.foreground = None,
                [49] => self.background = None,
                [38] => self.foreground = following_colour(&mut params).or(self.foreground),
                [48] => self.background = following_colour(&mut params).or(self.background),
                [38, rest @ ..] => self.foreground = colour(rest).or(self.foreground),
                [48, rest @ ..] => self.background = colour(rest).or(self.background),
                _ => {}
            }
        }
    }

    fn class(self) -> String {
        let mut class = String::new();
        let mut add = |word: &str| {
            if !class.is_empty() {
                class.push(' ');
            }
            class.push_str(word);
        };
        let (mut foreground, mut background) = (self.foreground, self.background);
        if self.inverse {
            (foreground, background) = (background, foreground);
            match (foreground, background) {
                (None, None) => add("inv"),
                (None, Some(_)) => add("paper"),
                (Some(_), None) => add("ink"),
                _ => {}
            }
        }
        if let Some(index) = foreground {
            add(&format!("f{index}"));
        }
        if let Some(index) = background {
            add(&format!("g{index}"));
        }
        let words =
            [(self.bold, "bo"), (self.dim, "di"), (self.italic, "it"), (self.underline, "un"), (self.strike, "st")];
        words.iter().filter(|(on, _)| *on).for_each(|(_, word)| add(word));
        class
    }
}

fn small(code: u16) -> Option<u8> {
    u8::try_from(code).ok().filter(|index| *index < 16)
}

/// Reads `5 ; n` or `2 ; r ; g ; b` from the parameters that follow a 38 or 48.
fn following_colour<'a>(params: &mut impl Iterator<Item = &'a [u16]>) -> Option<u8> {
    let mut next = || params.next().and_then(|param| param.first()).copied();
    match next()? {
        5 => indexed(next()?),
        2 => Some(nearest([next()?, next()?, next()?])),
        _ => None,
    }
}

/// Reads `5 : n` or `2 : r : g : b` or `2 : space : r : g : b`.
fn colour(parts: &[u16]) -> Option<u8> {
    match parts {
        [5, index, ..] => indexed(*index),
        [2, red, green, blue] | [2, _, red, green, blue, ..] => Some(nearest([*red, *green, *blue])),
        _ => None,
    }
}

fn indexed(index: u16) -> Option<u8> {
    match index {
        0..=15 => small(index),
        16..=231 => {
            let level = |step: u16| if step == 0 { 0 } else { 55 + 40 * step };
            let index = index - 16;
            Some(nearest([level(index / 36), level(index / 6 % 6), level(index % 6)]))
        }
        232..=255 => {
            let grey = 8 + 10 * (index - 232);
            Some(nearest([grey, grey, grey]))
        }
        _ => None,
    }
}

/// Finds the terminal colour nearest in hue and brightness: greys among black, grey and white, the rest by which
/// channels are strong.
fn nearest([red, green, blue]: [u16; 3]) -> u8 {
    let (red, green, blue) = (red.min(255), green.min(255), blue.min(255));
    let (high, low) = (red.max(green).max(blue), red.min(green).min(blue));
    if high - low < 32 {
        return match high {
            0..60 => 0,
            60..150 => 8,
            150..215 => 7,
            _ => 15,
        };
    }
    let strong = |channel: u16| u8::from(channel - low > (high - low) / 2);
    let bright = if high > 215 { 8 } else { 0 };
    bright + strong(red) + 2 * strong(green) + 4 * strong(blue)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn html(line: &[u8]) -> String {
        Renderer::new().html(line)
    }

    #[test]
    fn colours_become_classes_and_go_on_in_the_next_line() {
        let mut renderer = Renderer::new();
        assert_eq!(
            renderer.html(b"\x1b[1;31merror\x1b[22m: <b>"),
            "<i class=\"f1 bo\">error</i><i class=\"f1\">: &lt;b&gt;</i>"
        );
        assert_eq!(renderer.html(b"still\x1b[0m not"), "<i class=\"f1\">still</i> not");
        assert_eq!(
            html(b"\x1b[38;5;196mx\x1b[38;2;0;0;255my\x1b[48:2::0:200:0mz"),
            "<i class=\"f9\">x</i><i class=\"f12\">y</i><i class=\"f12 g2\">z</i>"
        );
        assert_eq!(html(b"\x1b[7mx\x1b[31my"), "<i class=\"inv\">x</i><i class=\"paper g1\">y</i>");
    }

    #[test]
    fn a_progress_bar_shows_its_last_state() {
        assert_eq!(html(b"10 %\r50 %\r100 %"), "100 %");
        assert_eq!(html(b"compiling core\rdone\x1b[K"), "done");
        assert_eq!(html(b"a line from Windows\r"), "a line from Windows");
        assert_eq!(html(b"abc\x08d"), "abd");
    }

    #[test]
    fn links_lead_to_the_web_or_nowhere() {
        let rel = "rel=\"noopener noreferrer nofollow\"";
        assert_eq!(
            html(b"\x1b]8;;https://a.example/?a=1;2\x1b\\x\x1b]8;;\x1b\\y"),
            format!("<a {rel} href=\"https://a.example/?a=1;2\">x</a>y")
        );
        for evil in [
            "javascript:alert(1)",
            "data:text/html,x",
            "https://",
            "https://a b",
            "file:///etc/passwd",
            "https://a\"onclick=x\x01",
        ] {
            let shown = html(format!("\x1b]8;;{evil}\x07x").as_bytes());
            assert!(!shown.contains("<a") || shown.contains("&quot;"), "{shown}");
            assert!(!shown.contains("javascript") && !shown.contains("data:"), "{shown}");
        }
        assert_eq!(
            html(b"see https://a.example/b, or"),
            format!("see <a {rel} href=\"https://a.example/b\">https://a.example/b</a>, or")
        );
    }

    #[test]
    fn nothing_acts_and_nothing_hides() {
        assert_eq!(
            html(b"</script><img src=x onerror=alert(1)>&'\""),
            "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&amp;&#39;&quot;"
        );
        assert_eq!(html("a\u{202e}b\u{200b}c".as_bytes()), "a⟨U+202E⟩b⟨U+200B⟩c");
        assert_eq!(html(b"a\x00\x7f\xffb\xc3"), "a␀␡\u{fffd}b\u{fffd}");
        assert_eq!(html(b"\x1b]0;title\x07\x1b[2J\x1b[10;10H\x1b(0\x1bPq#0\x1b\\x\x1b["), "x");
        assert_eq!(one_line("Make\x1b[31m it\r\nbounded"), "Make it");
    }

    /// Says what is wrong with HTML that only this module may have made.
    fn fault(html: &str) -> Option<String> {
        let mut rest = html;
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>')?;
            let tag = &rest[start..=end];
            let class = tag.strip_prefix("<i class=\"").and_then(|tag| tag.strip_suffix("\">"));
            let is_ours = tag == "</i>"
                || tag == "</a>"
                || class.is_some_and(|class| class.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' '))
                || tag.starts_with("<a rel=\"noopener noreferrer nofollow\" href=\"http");
            if !is_ours {
                return Some(format!("tag {tag}"));
            }
            rest = &rest[end + 1..];
        }
        html.chars().find(|glyph| *glyph != '\t' && shown_by_name(*glyph)).map(|glyph| format!("character {glyph:?}"))
    }

    proptest! {
        #[test]
        fn any_bytes_become_text_and_our_own_tags(
            lines in prop::collection::vec(
                prop::collection::vec(prop_oneof![
                    any::<u8>().prop_map(|byte| vec![byte]),
                    any::<char>().prop_map(|glyph| glyph.to_string().into_bytes()),
                    prop::sample::select(vec![
                        &b"\x1b["[..], b"\x1b]8;;http://a", b"\x1b\\", b"31m", b";", b"38;5;", b"<", b">", b"\"", b"&",
                        b"https://b.example/", b"\r", b"\x1b[K", b"javascript:", b"\x1bP", b"\x9b", b"\x1b[1000G",
                    ]).prop_map(<[u8]>::to_vec),
                ], 0..60).prop_map(|parts| parts.concat()),
                1..4,
            ),
        ) {
            let mut renderer = Renderer::new();
            let mut plain = Renderer::new();
            for line in &lines {
                let html = renderer.html(line);
                prop_assert_eq!(fault(&html), None, "{}", html);
                prop_assert!(!plain.plain(line).contains('\x1b'));
            }
        }
    }
}
