//! Encoding of what strangers wrote, before it stands where a newline or an escape would mean something.
//!
//! Names, subjects, branches and log lines are written by anybody who can push. What comes out of this module has no
//! control characters, no terminal escapes and no characters that turn the direction of the text around them.

/// Stands where text was cut.
pub const ELLIPSIS: &str = "…";

/// Makes one line of at most `bytes_max` bytes: escapes dropped, control characters and line ends turned into spaces,
/// runs of spaces joined, cut on a character's border with [`ELLIPSIS`].
///
/// At least the ellipsis's three bytes are used when something has to be cut.
pub fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    let mut gap = false;
    for character in Visible::of(text) {
        if character.is_whitespace() || is_unsafe(character) {
            gap = !line.is_empty();
            continue;
        }
        if gap {
            line.push(' ');
            gap = false;
        }
        line.push(character);
        if line.len() > bytes_max {
            break;
        }
    }
    cut(line, bytes_max)
}

/// Makes one line of at most `bytes_max` bytes and keeps its spaces, for text whose columns matter, such as a log line.
/// Tabs become four spaces.
pub fn log_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    for character in Visible::of(text) {
        match character {
            '\t' => line.push_str("    "),
            _ if is_unsafe(character) => line.push(' '),
            _ => line.push(character),
        }
        if line.len() > bytes_max {
            break;
        }
    }
    line.truncate(line.trim_end().len());
    cut(line, bytes_max)
}

/// Makes a block of lines of at most `bytes_max` bytes: line ends and tabs stay, other control characters do not.
pub fn block(text: &str, bytes_max: usize) -> String {
    let mut lines = String::with_capacity(text.len().min(bytes_max));
    for character in Visible::of(text) {
        match character {
            '\n' | '\t' => lines.push(character),
            '\r' => {}
            _ if is_unsafe(character) => lines.push(' '),
            _ => lines.push(character),
        }
        if lines.len() > bytes_max {
            break;
        }
    }
    cut(lines, bytes_max)
}

/// Cuts text to at most `bytes_max` bytes on a character's border, and shows that it did.
pub fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let mut end = bytes_max.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.truncate(text.trim_end().len());
    text.push_str(ELLIPSIS);
    text
}

/// Says whether a character must not be shown as it is: C0 and C1 controls, line and paragraph separators, and the
/// marks that turn or hide the text around them.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The characters of a text without its terminal escapes.
struct Visible<'a> {
    rest: std::str::Chars<'a>,
}

impl<'a> Visible<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text.chars() }
    }

    /// Skips what follows an escape character.
    fn skip_escape(&mut self) {
        let mut ahead = self.rest.clone();
        match ahead.next() {
            Some('[') => {
                self.rest = ahead;
                self.skip_until(|character| ('\u{40}'..='\u{7e}').contains(&character));
            }
            Some(']' | 'P' | '_' | '^' | 'X') => {
                self.rest = ahead;
                self.skip_until(|character| character == '\u{7}' || character == '\u{9c}' || character == '\\');
            }
            Some(character) if character.is_ascii_graphic() => self.rest = ahead,
            _ => {}
        }
    }

    /// Skips up to and including the end of a sequence. A line end stops it, so that one that is never closed hides
    /// no more than its line.
    fn skip_until(&mut self, is_end: impl Fn(char) -> bool) {
        loop {
            let mut ahead = self.rest.clone();
            match ahead.next() {
                None | Some('\n' | '\r') => return,
                Some(character) => {
                    self.rest = ahead;
                    if is_end(character) {
                        return;
                    }
                }
            }
        }
    }
}

impl Iterator for Visible<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            match self.rest.next()? {
                '\u{1b}' => self.skip_escape(),
                character => return Some(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_line_ends_do_not_survive() {
        for (text, line) in [
            ("Make the queue bounded", "Make the queue bounded"),
            ("one\r\nBcc: mallory@example.org", "one Bcc: mallory@example.org"),
            ("\u{1b}[31;1mred\u{1b}[0m alert", "red alert"),
            ("\u{1b}]0;owned\u{7}title", "title"),
            ("\u{1b}]8;;http://x/\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}[unclosed\nnext", "nclosed next"),
            ("a\0b\u{1}ACTION\u{7f}c\u{9b}d", "a b ACTION c d"),
            ("user\u{202e}gpj.exe", "user gpj.exe"),
            ("  \t ", ""),
        ] {
            assert_eq!(one_line(text, 200), line, "{text:?}");
        }
    }

    #[test]
    fn cutting_keeps_characters_whole() {
        assert_eq!(one_line("ääää", 8), "ääää");
        assert_eq!(one_line("äääää", 8), "ää…");
        assert_eq!(one_line(&"x".repeat(1_000_000), 10), "xxxxxxx…");
        assert_eq!(log_line("\tif x:\r", 40), "    if x:");
        assert_eq!(block("a\r\nb\u{1b}[0m\n", 40), "a\nb\n");
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_short_line(text in any::<String>(), bytes_max in 3usize..60) {
            for line in [one_line(&text, bytes_max), log_line(&text, bytes_max)] {
                prop_assert!(line.len() <= bytes_max, "{} bytes: {line:?}", line.len());
                prop_assert!(!line.chars().any(is_unsafe), "{line:?}");
            }
            let lines = block(&text, bytes_max);
            prop_assert!(lines.len() <= bytes_max);
            prop_assert!(!lines.contains(['\r', '\x1b']));
        }
    }
}
