//! What the terminal shows: colours, signs, and the cleaning of text that others wrote.
//!
//! Branch names, authors, messages and log lines are untrusted: an escape sequence in them must not move the cursor,
//! rename the window or hide a line. Everything of that kind goes through [`clean`] or [`LogText`].

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use gristmill_model::Outcome;

use super::args::When;

/// How things look: decided once, from the flags, the environment and what standard output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours are used.
    pub color: bool,
    /// Whether signs beyond ASCII are used.
    pub unicode: bool,
    /// Whether standard output is a terminal.
    pub terminal: bool,
}

impl Look {
    /// No colours, Unicode signs: what tests and files get.
    pub const PLAIN: Self = Self { color: false, unicode: true, terminal: false };

    /// Decides from the flag, the environment and standard output.
    pub fn detect(when: When) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::decide(when, terminal, &variable)
    }

    fn decide(when: When, terminal: bool, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let color = match when {
            When::Always => true,
            When::Never => false,
            When::Auto if variable("NO_COLOR").is_some() => false,
            When::Auto if variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            When::Auto => terminal && variable("TERM").as_deref() != Some("dumb"),
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        // No locale at all is a container or a service, whose output is read as UTF-8 nowadays.
        let unicode = locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8") || !terminal
        });
        Self { color, unicode, terminal }
    }

    /// Paints text in a colour, if colours are used.
    pub fn paint(self, ink: Ink, text: &str) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", ink.code()) } else { text.to_owned() }
    }

    /// Gives the sign of an outcome or of a state's word, painted.
    pub fn sign(self, word: &str) -> String {
        let (unicode, ascii, ink) = match word {
            "success" => ("✓", "ok", Ink::Green),
            "warnings" => ("!", "!", Ink::Yellow),
            "failure" => ("✕", "X", Ink::Red),
            "skipped" => ("–", "-", Ink::Dim),
            "exception" => ("◆", "E", Ink::Magenta),
            "retry" => ("↻", "r", Ink::Cyan),
            "cancelled" => ("⊘", "c", Ink::Dim),
            "running" | "leased" | "resumable" | "active" => ("◔", ">", Ink::Blue),
            "ready" => ("⋯", "~", Ink::Dim),
            _ => ("⧗", "~", Ink::Dim),
        };
        self.paint(ink, if self.unicode { unicode } else { ascii })
    }

    /// Makes a finished line safe, whatever names went into it: of escape sequences only colours stay, where they are
    /// used.
    pub fn safe(self, line: &str) -> String {
        let (mut text, mut bytes) = (LogText::new(self.color), Vec::with_capacity(line.len()));
        text.push(line.as_bytes(), &mut bytes);
        text.finish(&mut bytes);
        let line = String::from_utf8_lossy(&bytes);
        line.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
    }

    /// Gives the arrow that leads from a cause to what came of it.
    pub fn arrow(self) -> &'static str {
        if self.unicode { "→" } else { "->" }
    }

    /// Gives a separator between two facts on one line.
    pub fn dot(self) -> &'static str {
        if self.unicode { "·" } else { "|" }
    }
}

/// A colour, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Headings.
    Bold,
    /// What stands back.
    Dim,
    /// Success.
    Green,
    /// Failure.
    Red,
    /// Warnings.
    Yellow,
    /// Running, links.
    Blue,
    /// Exception.
    Magenta,
    /// Retry.
    Cyan,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "32",
            Self::Red => "31",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "35",
            Self::Cyan => "36",
        }
    }
}

/// Says whether a character may move, hide or reorder what the terminal shows.
fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Makes untrusted text safe for one line of a terminal: line breaks and tabs become spaces; escape sequences, other
/// control characters and direction marks go.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut stripped = LogText::new(false);
    let mut bytes = Vec::with_capacity(text.len());
    stripped.push(text.as_bytes(), &mut bytes);
    stripped.finish(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    Cow::Owned(text.trim_end().chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).collect())
}

/// The same, cut to `width` characters.
pub fn clip(text: &str, width: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= width {
        return text.into_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Prints a line on standard output that untrusted text may have gone into.
///
/// # Errors
///
/// If standard output is gone.
pub fn line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// Prints a line on standard error. Where nobody listens, nothing is lost: a full or closed one ends no command.
pub fn complain(text: &str) {
    // One write, so that lines of two threads do not mix.
    drop(std::io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
}

/// Gives the sign of an outcome that may not be there yet.
pub fn sign_of(look: Look, outcome: Option<&str>, state: &str) -> String {
    look.sign(outcome.filter(|word| Outcome::parse(word).is_some()).unwrap_or(state))
}

/// Counts the bytes at the end of a text that begin a character which is not complete.
fn cut_character(text: &[u8]) -> usize {
    let tail = &text[text.len().saturating_sub(3)..];
    let last = tail.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let is_cut = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    if is_cut { last.len() } else { 0 }
}

/// Turns a log's bytes into text that a terminal may be given: colours stay if wanted, everything else that is not
/// text goes. Pieces may be cut anywhere.
pub struct LogText {
    parser: vte::Parser,
    keep_colors: bool,
    dropped: u64,
    colored: bool,
    /// Whether a carriage return came that no line feed has followed yet.
    returned: bool,
    /// The beginning of a character that the last piece cut: at most three bytes.
    rest: Vec<u8>,
}

impl LogText {
    /// Makes one that keeps or drops colours.
    pub fn new(keep_colors: bool) -> Self {
        Self { parser: vte::Parser::new(), keep_colors, dropped: 0, colored: false, returned: false, rest: Vec::new() }
    }

    /// Takes a piece of log and appends its text to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut sink = TextSink {
            out,
            keep_colors: self.keep_colors,
            dropped: &mut self.dropped,
            colored: &mut self.colored,
            returned: &mut self.returned,
        };
        // The parser loses what follows a character that it gets in two pieces, so it gets whole ones only.
        let joined = std::mem::take(&mut self.rest);
        let text = if joined.is_empty() { Cow::Borrowed(piece) } else { Cow::Owned([&joined, piece].concat()) };
        let whole = text.len() - cut_character(&text);
        self.parser.advance(&mut sink, &text[..whole]);
        text[whole..].clone_into(&mut self.rest);
    }

    /// Ends the text: colours are switched off again.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.dropped += u64::from(!std::mem::take(&mut self.rest).is_empty());
        if std::mem::take(&mut self.colored) {
            out.extend_from_slice(b"\x1b[0m");
        }
    }

    /// Tells how many escape sequences and control characters were left out.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

struct TextSink<'a> {
    out: &'a mut Vec<u8>,
    keep_colors: bool,
    dropped: &'a mut u64,
    colored: &'a mut bool,
    returned: &'a mut bool,
}

impl vte::Perform for TextSink<'_> {
    fn print(&mut self, character: char) {
        if is_dangerous(character) {
            *self.dropped += 1;
            return;
        }
        // A program that redraws its line: each state gets a line of its own, and none is lost.
        if std::mem::take(self.returned) {
            self.out.push(b'\n');
        }
        let mut buffer = [0; 4];
        self.out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                *self.returned = false;
                self.out.push(byte);
            }
            b'\t' => self.out.push(byte),
            b'\r' => *self.returned = true,
            _ => *self.dropped += 1,
        }
    }

    fn csi_dispatch(&mut self, parameters: &vte::Params, intermediates: &[u8], ignored: bool, action: char) {
        if !self.keep_colors || action != 'm' || !intermediates.is_empty() || ignored {
            *self.dropped += 1;
            return;
        }
        let codes: Vec<String> =
            parameters.iter().map(|part| part.iter().map(ToString::to_string).collect::<Vec<_>>().join(":")).collect();
        *self.colored = codes.last().is_some_and(|code| code != "0");
        self.out.extend_from_slice(format!("\x1b[{}m", codes.join(";")).as_bytes());
    }

    fn osc_dispatch(&mut self, _parameters: &[&[u8]], _bell_terminated: bool) {
        *self.dropped += 1;
    }

    fn esc_dispatch(&mut self, _intermediates: &[u8], _ignored: bool, _byte: u8) {
        *self.dropped += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(input: &[u8], keep_colors: bool) -> (String, u64) {
        let (mut log, mut out) = (LogText::new(keep_colors), Vec::new());
        log.push(input, &mut out);
        log.finish(&mut out);
        (String::from_utf8(out).unwrap(), log.dropped())
    }

    #[test]
    fn untrusted_text_cannot_steer_the_terminal() {
        assert_eq!(clean("plain"), "plain");
        assert_eq!(clean("a\x1b]0;owned\x07b\x1b[2Jc"), "abc");
        assert_eq!(clean("one\r\ntwo\tthree\n"), "one two three");
        assert_eq!(clean("abc\u{202e}txt.exe"), "abctxt.exe");
        assert_eq!(clean("bell\x07 \u{9b}31m"), "bell 31m");
    }

    #[test]
    fn long_text_is_cut_with_a_sign() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdefg", 6), "abcde…");
    }

    #[test]
    fn a_log_keeps_its_colours_on_a_terminal_only() {
        let log = b"\x1b[1;31merror\x1b[0m: \x1b[2Kbad\x1b]8;;http://x\x07link\n";
        assert_eq!(text_of(log, true), ("\x1b[1;31merror\x1b[0m: badlink\n".to_owned(), 2));
        assert_eq!(text_of(log, false), ("error: badlink\n".to_owned(), 4));
        assert_eq!(text_of(b"10 %\r20 %\r\ndone", false), ("10 %\n20 %\ndone".to_owned(), 0));
    }

    #[test]
    fn a_log_piece_may_end_anywhere() {
        // The last character but one is cut short, and two more stand right behind one that a piece may cut.
        let log = b"gr\xc3\xbcn \x1b[32mok\x1b[0m \xd2\xa40\x91\r\n";
        let whole = text_of(log, true).0;
        for cut in 0..log.len() {
            let (mut text, mut out) = (LogText::new(true), Vec::new());
            text.push(&log[..cut], &mut out);
            text.push(&log[cut..], &mut out);
            text.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_environment_decides_about_colour() {
        let none = |_: &str| None;
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".to_owned());
        let forced = |name: &str| (name == "CLICOLOR_FORCE").then(|| "1".to_owned());
        let latin = |name: &str| (name == "LANG").then(|| "de_DE.ISO-8859-1".to_owned());
        assert!(Look::decide(When::Auto, true, &none).color);
        assert!(!Look::decide(When::Auto, false, &none).color);
        assert!(!Look::decide(When::Auto, true, &no_color).color);
        assert!(Look::decide(When::Auto, false, &forced).color);
        assert!(Look::decide(When::Always, false, &no_color).color);
        assert!(!Look::decide(When::Auto, true, &latin).unicode);
    }

    #[test]
    fn signs_have_an_ascii_form() {
        let ascii = Look { unicode: false, ..Look::PLAIN };
        let words =
            ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled", "running", "waiting"];
        let signs: Vec<String> = words.iter().map(|word| ascii.sign(word)).collect();
        assert_eq!(signs.join(" "), "ok ! X - E r c > ~");
    }
}
