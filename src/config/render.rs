//! How mistakes look: in a terminal, and as annotations of a pull request.

use std::fmt::Write as _;

use super::code;
use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::span::{Lines, floor};

/// Columns of source shown; longer lines are cut around the place.
const SOURCE_COLUMNS_MAX: usize = 100;
/// Columns of the whole picture; the code stands at the right end.
const COLUMNS: usize = 84;
/// Lines shown before the one that is meant.
const CONTEXT_LINES: usize = 1;

/// Escape codes, or nothing.
struct Ink {
    mistake: &'static str,
    warning: &'static str,
    quiet: &'static str,
    help: &'static str,
    bold: &'static str,
    off: &'static str,
}

const PLAIN: Ink = Ink { mistake: "", warning: "", quiet: "", help: "", bold: "", off: "" };
const COLORED: Ink = Ink {
    mistake: "\x1b[31m",
    warning: "\x1b[33m",
    quiet: "\x1b[2m",
    help: "\x1b[36m",
    bold: "\x1b[1m",
    off: "\x1b[0m",
};

/// Draws all of them, and the count.
pub(super) fn terminal(diagnostics: &Diagnostics, color: bool) -> String {
    let ink = if color { &COLORED } else { &PLAIN };
    let lines = Lines::of(diagnostics.text());
    let mut picture = String::new();
    for diagnostic in shown(diagnostics) {
        draw(&mut picture, diagnostic, diagnostics.file(), &lines, ink);
        picture.push('\n');
    }
    let hidden = (diagnostics.mistakes() + diagnostics.warnings()).saturating_sub(Diagnostics::SHOWN_MAX);
    if hidden > 0 {
        put(&mut picture, format_args!("  and {hidden} more\n\n"));
    }
    put(&mut picture, format_args!("  {}{}\n", count(diagnostics), more(diagnostics)));
    picture
}

/// Chooses what is shown: mistakes before warnings if not all can be, then by place.
fn shown(diagnostics: &Diagnostics) -> Vec<&Diagnostic> {
    let mut chosen: Vec<_> = diagnostics.iter().collect();
    if chosen.len() > Diagnostics::SHOWN_MAX {
        chosen.sort_by_key(|item| item.severity());
        chosen.truncate(Diagnostics::SHOWN_MAX);
        chosen.sort_by_key(|item| item.span);
    }
    chosen
}

fn count(diagnostics: &Diagnostics) -> String {
    let counted = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let parts = [counted(diagnostics.mistakes(), "mistake"), counted(diagnostics.warnings(), "warning")];
    let said = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if said.is_empty() {
        format!("no mistakes in {}", tame(diagnostics.file()))
    } else {
        format!("{said} in {}", tame(diagnostics.file()))
    }
}

fn more(diagnostics: &Diagnostics) -> String {
    diagnostics
        .iter()
        .min_by_key(|item| item.severity())
        .map_or_else(String::new, |item| format!("          gristmill explain {} tells more", item.code))
}

fn draw(picture: &mut String, diagnostic: &Diagnostic, file: &str, lines: &Lines<'_>, ink: &Ink) {
    let Ink { quiet, bold, off, .. } = ink;
    let (sign, hue) = match diagnostic.severity() {
        Severity::Mistake => ("×", ink.mistake),
        Severity::Warning => ("!", ink.warning),
    };
    let message = tame(&diagnostic.message);
    let code = format!("[{}]", diagnostic.code);
    let gap = COLUMNS.saturating_sub(4 + message.chars().count() + code.len()).max(2);
    put(picture, format_args!("  {hue}{sign}{off} {bold}{message}{off}{:gap$}{quiet}{code}{off}\n", ""));

    let line = lines.line_of(diagnostic.span.start);
    let margin = margin(line);
    if diagnostic.code != code::UNREADABLE {
        frame(picture, diagnostic, file, lines, hue, ink);
    }
    for (index, help) in diagnostic.help.lines().enumerate() {
        let lead = if index == 0 { "help:" } else { "     " };
        put(picture, format_args!("{:pad$} {}{lead}{off} {}\n", "", ink.help, tame(help), pad = margin - 1));
    }
}

/// Draws the place: where it is, and the line before it with the one that is meant.
fn frame(picture: &mut String, diagnostic: &Diagnostic, file: &str, lines: &Lines<'_>, hue: &str, ink: &Ink) {
    let Ink { quiet, off, .. } = ink;
    let line = lines.line_of(diagnostic.span.start);
    let margin = margin(line);
    let column = lines.column_of(diagnostic.span.start);
    put(picture, format_args!("{:margin$} {quiet}╭─[{off}{}:{line}:{column}{quiet}]{off}\n", "", tame(file)));
    for before in line.saturating_sub(CONTEXT_LINES).max(1)..line {
        let (source, _) = cut(lines.text_of(before), 0);
        put(picture, format_args!("{quiet}{before:>margin$} │{off} {source}\n"));
    }
    mark(picture, diagnostic, lines, margin, hue, ink);
    put(picture, format_args!("{:margin$} {quiet}╰────{off}\n", ""));
}

/// Gives the columns in front of the source.
fn margin(line: usize) -> usize {
    line.to_string().len().max(2) + 1
}

/// Draws the line that is meant, with what was understood there below it.
fn mark(picture: &mut String, diagnostic: &Diagnostic, lines: &Lines<'_>, margin: usize, hue: &str, ink: &Ink) {
    let Ink { quiet, off, .. } = ink;
    let line = lines.line_of(diagnostic.span.start);
    let text = lines.text_of(line);
    let start = floor(text, diagnostic.span.start.saturating_sub(lines.start_of(line)));
    let end = floor(text, diagnostic.span.end.saturating_sub(lines.start_of(line)).max(start));
    let marked = text[start..end].trim_end();
    let (source, dropped) = cut(text, text[..start].chars().count());
    let column = text[..start].chars().count() - dropped;
    let width = marked.chars().count().clamp(1, source.chars().count().saturating_sub(column).max(1));
    let middle = width / 2;
    let line_of_marks: String = (0..width).map(|at| if at == middle { '┬' } else { '─' }).collect();
    let label = tame(&diagnostic.label);
    let source = if diagnostic.code.conceals() { conceal(&source, column, width) } else { source };
    put(picture, format_args!("{quiet}{line:>margin$} │{off} {source}\n"));
    put(picture, format_args!("{:margin$} {quiet}·{off} {:column$}{hue}{line_of_marks}{off}\n", "", ""));
    put(
        picture,
        format_args!("{:margin$} {quiet}·{off} {:under$}{hue}╰── {label}{off}\n", "", "", under = column + middle),
    );
}

/// Hides what is marked.
fn conceal(source: &str, column: usize, width: usize) -> String {
    let is_hidden = |at: usize| (column..column + width).contains(&at);
    source.chars().enumerate().map(|(at, character)| if is_hidden(at) { '•' } else { character }).collect()
}

/// Cuts a line to what can be shown around column `at`; says how many characters in front were dropped.
fn cut(line: &str, at: usize) -> (String, usize) {
    let characters = line.chars().count();
    if characters <= SOURCE_COLUMNS_MAX {
        return (tame(line), 0);
    }
    let dropped = at.saturating_sub(SOURCE_COLUMNS_MAX / 2).min(characters - SOURCE_COLUMNS_MAX / 2);
    let mut shown: String = line.chars().skip(dropped).take(SOURCE_COLUMNS_MAX).collect();
    if dropped > 0 {
        shown = std::iter::once('…').chain(shown.chars().skip(1)).collect();
    }
    if characters > dropped + SOURCE_COLUMNS_MAX {
        shown.push('…');
    }
    (tame(&shown), dropped)
}

/// Makes text harmless for a terminal, character by character: tabs become arrows, other controls a sign for "unknown".
fn tame(text: &str) -> String {
    text.chars().map(tame_character).collect()
}

fn tame_character(character: char) -> char {
    match character {
        '\t' => '→',
        // Overrides of the writing direction would let a line show something else than it says.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ if character.is_control() => '\u{fffd}',
        _ => character,
    }
}

/// Gives workflow commands: `::error file=…,line=…,col=…,title=…::message`.
pub(super) fn github(diagnostics: &Diagnostics) -> String {
    let lines = Lines::of(diagnostics.text());
    let mut text = String::new();
    for item in diagnostics.iter() {
        let level = match item.severity() {
            Severity::Mistake => "error",
            Severity::Warning => "warning",
        };
        put(
            &mut text,
            format_args!(
                "::{level} file={},line={},col={},title={}::{}\n",
                escape(diagnostics.file(), true),
                lines.line_of(item.span.start),
                lines.column_of(item.span.start),
                item.code,
                escape(&format!("{} ({})\n{}", item.message, item.label, item.help), false),
            ),
        );
    }
    text
}

/// Encodes text for a workflow command; in its properties `:` and `,` mean something too.
fn escape(text: &str, is_property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if is_property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::diagnostic::Report;
    use super::super::span::Span;
    use super::code;

    #[test]
    fn long_lines_and_controls_are_shown_harmlessly() {
        let text = format!("a: {}\x1b[31mx\tbad{}", "y".repeat(200), "z".repeat(200));
        let mut report = Report::default();
        let start = text.find("bad").expect("it is there");
        report.say(code::WRONG_TYPE, Span::new(start, start + 3), "wrong", "here", "mend it");
        // The first line has no indentation, so that the others keep theirs.
        let drawn = format!("drawn:\n{}", report.finish("ci.yaml", &text).render(false));
        expect![[r#"
            drawn:
              × wrong                                                                    [G2002]
                ╭─[ci.yaml:1:211]
              1 │ …yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy�[31mx→badzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz…
                ·                                                   ─┬─
                ·                                                    ╰── here
                ╰────
               help: mend it

              1 mistake in ci.yaml          gristmill explain G2002 tells more
        "#]]
        .assert_eq(&drawn);
    }

    #[test]
    fn a_file_that_cannot_be_read_has_no_place_to_draw() {
        let mut report = Report::default();
        report.say(code::UNREADABLE, Span::default(), "it cannot be read", "no such text", "name another");
        let drawn = format!("drawn:\n{}", report.finish("ci.yaml", "").render(false));
        expect![[r#"
            drawn:
              × it cannot be read                                                        [G1001]
               help: name another

              1 mistake in ci.yaml          gristmill explain G1001 tells more
        "#]]
        .assert_eq(&drawn);
    }

    #[test]
    fn annotations_are_escaped() {
        let mut report = Report::default();
        report.say(code::WRONG_TYPE, Span::new(0, 1), "50% wrong", "here", "a\nb");
        assert_eq!(
            report.finish("a,b.yaml", "x").to_github(),
            "::error file=a%2Cb.yaml,line=1,col=1,title=G2002::50%25 wrong (here)%0Aa%0Ab\n"
        );
    }
}
