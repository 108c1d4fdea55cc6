//! Structure out of bytes: whatever the bytes are, they say something that the target can do, and a small change of
//! them is a small change of what they say.

use std::collections::BTreeMap;

/// Texts that have hurt somebody before.
const NASTY: [&str; 40] = [
    "",
    " ",
    "\0",
    "\r\n",
    "x\r\nBcc: all@example.org\r\n\r\nHello",
    "x\r\nQUIT :bye",
    "\u{1}ACTION dances\u{1}",
    "\u{1b}[31mred\u{1b}[0m",
    "\u{1b}]8;;javascript:alert(1)\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}]0;title\u{7}",
    "\u{9b}31m",
    "\u{202e}gpj.exe",
    "\u{200b}",
    "\u{85}\u{2028}\u{2029}",
    "\u{feff}bom",
    "<script>alert('x')</script>",
    "\"><img src=x onerror=alert(1)>",
    "</pre><!--",
    "{{ 7*7 }}",
    "{% for a in range(99999) %}x{% endfor %}",
    "${matrix.os}",
    "=?utf-8?q?fixed?=",
    "--upload-pack=touch x",
    "-oProxyCommand=x",
    "../../etc/passwd",
    "%2e%2e%2f%00",
    "refs/heads/main",
    "refs/heads/a..b",
    "refs/heads/@{",
    "main",
    "*",
    "re:(a*)*b",
    "!",
    "' OR 1=1 --",
    "NaN",
    "-1",
    "9223372036854775807",
    "18446744073709551616",
    "\u{10ffff}",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
];

/// Numbers at the borders.
const EDGES: [i64; 20] = [
    0,
    1,
    2,
    -1,
    7,
    59,
    60,
    63,
    64,
    127,
    128,
    255,
    256,
    1000,
    65_535,
    65_536,
    2_147_483_647,
    4_294_967_296,
    i64::MAX,
    i64::MIN,
];

/// Reads choices from bytes; past their end every choice is the first one.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Says whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Gives what is left, and leaves nothing.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Gives a byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => 0,
        }
    }

    /// Gives at most `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Gives a number below `end`, at most 255.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// Says yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Says yes once in `times`, and no when nothing is left.
    pub fn once_in(&mut self, times: usize) -> bool {
        !self.is_empty() && self.below(times) == times - 1
    }

    /// Chooses.
    pub fn pick<'b, T>(&mut self, choices: &'b [T]) -> &'b T {
        &choices[self.below(choices.len())]
    }

    /// Gives a number: small, at a border, or any.
    pub fn number(&mut self) -> i64 {
        match self.below(4) {
            0 | 1 => i64::from(self.byte() % 16),
            2 => *self.pick(&EDGES),
            _ => self.bytes(8).iter().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte)),
        }
    }

    /// Gives bytes as many as the next byte (or two) says.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = match self.byte() {
            long @ 250.. => usize::from(long - 249) * 200,
            short => usize::from(short) % 48,
        };
        self.bytes(length)
    }

    /// Gives a text: one that has hurt before, or any.
    pub fn text(&mut self) -> String {
        match self.below(3) {
            0 => (*self.pick(&NASTY)).to_owned(),
            _ => String::from_utf8_lossy(self.piece()).into_owned(),
        }
    }

    /// Gives one of these, or any text.
    pub fn name(&mut self, usual: &[&str]) -> String {
        if self.once_in(6) { self.text() } else { (*self.pick(usual)).to_owned() }
    }

    /// Gives a few pairs of texts.
    pub fn pairs(&mut self, usual: &[&str]) -> BTreeMap<String, String> {
        (0..self.below(4)).map(|_| (self.name(usual), self.text())).collect()
    }

    /// Cuts bytes into a few pieces, at places that are chosen here.
    pub fn cut<'b>(&mut self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        for _ in 0..self.below(6) {
            let at = if rest.is_empty() { 0 } else { (self.below(256) * 256 + self.below(256)) % rest.len() };
            let (piece, after) = rest.split_at(at);
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        pieces
    }
}
