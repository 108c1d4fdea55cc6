//! As much of XML as test reports have, read so that nothing in them can do harm: no document type, so no entities but
//! the five that XML has itself; nothing is fetched; depth and lengths are bounded. Pure.

use std::borrow::Cow;

/// Elements in one another.
const DEPTH_MAX: usize = 64;

/// Attributes of one element.
const ATTRIBUTES_MAX: usize = 64;

/// What comes next in a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// An element begins.
    Begin {
        /// Its name, without what stands before a `:`.
        name: &'a str,
        /// Its attributes.
        attributes: Vec<(&'a str, Cow<'a, str>)>,
    },
    /// The element that began last ends.
    End {
        /// Its name.
        name: &'a str,
    },
    /// Text.
    Text(Cow<'a, str>),
}

/// Why a document cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("it has a document type, which may hide anything; write the report without one")]
    DocumentType,
    #[error("its elements are more than {DEPTH_MAX} deep")]
    Depth,
    #[error("it is not well-formed near byte {0}")]
    Malformed(usize),
}

/// Reads a document piece by piece.
pub(super) struct Pieces<'a> {
    text: &'a str,
    at: usize,
    open: Vec<&'a str>,
    /// The name of an element that was closed where it began.
    closes: Option<&'a str>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new(), closes: None }
    }

    /// Gives the next piece; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'a>>, Problem> {
        if let Some(name) = self.closes.take() {
            return Ok(Some(Piece::End { name }));
        }
        loop {
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return if self.open.is_empty() { Ok(None) } else { Err(self.malformed()) };
            }
            if let Some(after) = rest.strip_prefix("<![CDATA[") {
                let text = self.up_to(after, "]]>")?;
                return Ok(Some(Piece::Text(Cow::Borrowed(text))));
            }
            if let Some(after) = rest.strip_prefix("<!--") {
                self.up_to(after, "-->")?;
            } else if let Some(after) = rest.strip_prefix("<?") {
                self.up_to(after, "?>")?;
            } else if rest.starts_with("<!") {
                return Err(Problem::DocumentType);
            } else if let Some(after) = rest.strip_prefix("</") {
                let name = local(self.up_to(after, ">")?.trim());
                return if self.open.pop() == Some(name) {
                    Ok(Some(Piece::End { name }))
                } else {
                    Err(self.malformed())
                };
            } else if let Some(after) = rest.strip_prefix('<') {
                return self.begin(after).map(Some);
            } else {
                let end = rest.find('<').unwrap_or(rest.len());
                self.at += end;
                return Ok(Some(Piece::Text(decode(&rest[..end]))));
            }
        }
    }

    fn begin(&mut self, after: &'a str) -> Result<Piece<'a>, Problem> {
        let end = end_of_tag(after).ok_or_else(|| self.malformed())?;
        let (inside, is_closed) = match after[..end].strip_suffix('/') {
            Some(inside) => (inside, true),
            None => (&after[..end], false),
        };
        let name_end = inside.find(char::is_whitespace).unwrap_or(inside.len());
        let name = local(&inside[..name_end]);
        if name.is_empty() {
            return Err(self.malformed());
        }
        let attributes = attributes(&inside[name_end..]).ok_or_else(|| self.malformed())?;
        self.at += 1 + end + 1;
        if is_closed {
            self.closes = Some(name);
        } else if self.open.len() >= DEPTH_MAX {
            return Err(Problem::Depth);
        } else {
            self.open.push(name);
        }
        Ok(Piece::Begin { name, attributes })
    }

    /// Takes what lies before `end`, and goes on after it.
    fn up_to(&mut self, after: &'a str, end: &str) -> Result<&'a str, Problem> {
        let begins = self.text.len() - after.len();
        let length = after.find(end).ok_or_else(|| self.malformed())?;
        self.at = begins + length + end.len();
        Ok(&after[..length])
    }

    fn malformed(&self) -> Problem {
        Problem::Malformed(self.at)
    }
}

/// Finds the `>` that ends a tag: one inside quotes does not.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    text.bytes().position(|byte| match (quote, byte) {
        (None, b'"' | b'\'') => {
            quote = Some(byte);
            false
        }
        (Some(open), byte) if byte == open => {
            quote = None;
            false
        }
        (None, b'>') => true,
        _ => false,
    })
}

fn attributes(text: &str) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let mut attributes = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && attributes.len() < ATTRIBUTES_MAX {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, after) = after[1..].split_once(quote)?;
        attributes.push((local(name.trim()), decode(value)));
        rest = after.trim_start();
    }
    Some(attributes)
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Puts characters in the place of their references. What is none stays as it is.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find('&') {
        decoded.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let found =
            rest.bytes().take(12).position(|byte| byte == b';').and_then(|end| Some((end, reference(&rest[1..end])?)));
        let (end, character) = found.unwrap_or((0, '&'));
        decoded.push(character);
        rest = &rest[end + 1..];
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

fn reference(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}
