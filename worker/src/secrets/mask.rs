//! Finds secrets in a stream, also over the borders of what is read at once, and puts three stars in their place.
//!
//! Looked for are the values, each line of values that have several, and all of these in base64 at its three alignments,
//! in both alphabets. What is shorter than four bytes is not looked for: it would be found everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes of what is looked for, at least.
pub(crate) const PATTERN_BYTES_MIN: usize = 4;

/// What stands in a secret's place.
const STARS: &[u8] = b"***";

/// What is looked for.
#[derive(Debug)]
struct Needles {
    finder: AhoCorasick,
    texts: Vec<Vec<u8>>,
    /// Bytes that one of them begins with.
    firsts: [bool; 256],
    longest: usize,
}

/// Masks one stream.
#[derive(Debug, Clone)]
pub(crate) struct Masker {
    needles: Option<Arc<Needles>>,
    /// What may be the beginning of a secret.
    held: Vec<u8>,
    /// Which bytes of it belong to one that was found.
    marks: Vec<bool>,
    /// Whether the last byte that went out stood for a secret.
    is_inside: bool,
}

impl Masker {
    /// Looks for these values.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let texts: Vec<Vec<u8>> = values.into_iter().flat_map(forms).collect::<BTreeSet<_>>().into_iter().collect();
        let needles = match AhoCorasick::new(&texts) {
            Ok(finder) if !texts.is_empty() => {
                let mut firsts = [false; 256];
                texts.iter().for_each(|text| firsts[usize::from(text[0])] = true);
                let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
                Some(Arc::new(Needles { finder, texts, firsts, longest }))
            }
            _ => None,
        };
        Self { needles, held: Vec::new(), marks: Vec::new(), is_inside: false }
    }

    /// Begins another stream in which the same is looked for.
    pub(crate) fn anew(&self) -> Self {
        Self { needles: self.needles.clone(), held: Vec::new(), marks: Vec::new(), is_inside: false }
    }

    /// Says whether there is nothing to look for.
    pub(crate) fn is_idle(&self) -> bool {
        self.needles.is_none()
    }

    /// Takes bytes, and gives those of which it is certain that no secret is in them.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(needles) = self.needles.clone() else { return bytes.to_vec() };
        self.held.extend_from_slice(bytes);
        self.mark(&needles);
        self.give(needles.first_open(&self.held))
    }

    /// Gives what was held back.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.give(self.held.len())
    }

    /// Masks a text that stands for itself.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut masker = self.anew();
        let mut bytes = masker.pass(text.as_bytes());
        bytes.extend(masker.rest());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Marks what was found. Linear in the bytes and the finds, however these overlap.
    fn mark(&mut self, needles: &Needles) {
        let mut borders = vec![0_i64; self.held.len() + 1];
        for found in needles.finder.find_overlapping_iter(&self.held) {
            borders[found.start()] += 1;
            borders[found.end()] -= 1;
        }
        self.marks.resize(self.held.len(), false);
        let mut depth = 0;
        for (mark, border) in self.marks.iter_mut().zip(&borders) {
            depth += border;
            *mark |= depth > 0;
        }
    }

    fn give(&mut self, count: usize) -> Vec<u8> {
        let mut given = Vec::with_capacity(count);
        for (byte, is_secret) in self.held.drain(..count).zip(self.marks.drain(..count)) {
            match (is_secret, self.is_inside) {
                (false, _) => given.push(byte),
                (true, false) => given.extend_from_slice(STARS),
                (true, true) => {}
            }
            self.is_inside = is_secret;
        }
        given
    }
}

impl Needles {
    /// Finds the first place from which on everything may be the beginning of something that is looked for.
    fn first_open(&self, held: &[u8]) -> usize {
        let from = held.len().saturating_sub(self.longest.saturating_sub(1));
        let is_open = |start: &usize| {
            let rest = &held[*start..];
            // They are sorted: what begins with the rest comes right after it.
            self.firsts[usize::from(rest[0])]
                && self
                    .texts
                    .get(self.texts.partition_point(|text| text.as_slice() < rest))
                    .is_some_and(|text| text.starts_with(rest))
        };
        (from..held.len()).find(is_open).unwrap_or(held.len())
    }
}

/// Lists all forms in which a value may be printed.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let pieces = std::iter::once(value).chain(std::iter::once(value.trim())).chain(value.lines().map(str::trim));
    let pieces: BTreeSet<&str> = pieces.filter(|piece| piece.len() >= PATTERN_BYTES_MIN).collect();
    let mut forms = Vec::new();
    for piece in pieces {
        forms.push(piece.as_bytes().to_vec());
        for shift in 0..3 {
            forms.extend(in_base64(piece.as_bytes(), shift));
        }
    }
    forms
}

/// Gives what all base64 texts have in common in which `bytes` stand after `shift` other bytes of a group of three.
fn in_base64(bytes: &[u8], shift: usize) -> Vec<Vec<u8>> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(bytes);
    // Characters that no neighbouring byte has a part in.
    let (first, last) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
    let cut = |text: String| text.as_bytes()[first..last].to_vec();
    let forms: BTreeSet<Vec<u8>> = [cut(STANDARD_NO_PAD.encode(&padded)), cut(URL_SAFE_NO_PAD.encode(&padded))].into();
    forms.into_iter().filter(|form| form.len() >= PATTERN_BYTES_MIN).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(values: &[&str], pieces: &[&[u8]]) -> String {
        let mut masker = Masker::new(values.iter().copied());
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| masker.pass(piece)).collect();
        out.extend(masker.rest());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_cut() {
        let text = b"token=hunter22; again hunter22\n";
        for cut in 0..text.len() {
            assert_eq!(mask(&["hunter22"], &[&text[..cut], &text[cut..]]), "token=***; again ***\n", "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(mask(&["hunter22"], &bytes), "token=***; again ***\n");
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_each_other() {
        assert_eq!(mask(&["abcdef", "defghi"], &[b"xabcdefghiy"]), "x***y");
        assert_eq!(mask(&["abcd", "abcdefgh"], &[b"abcdef", b"gh!"]), "***!");
        assert_eq!(mask(&["aaaa"], &[b"aaaaaaa", b"aaaaaaab"]), "***b");
        assert_eq!(mask(&["abcd"], &[b"ab", b"c"]), "abc", "what was no secret comes in the end");
    }

    #[test]
    fn lines_and_base64_are_found_as_well() {
        let key = "-----BEGIN KEY-----\nc2VjcmV0LWtleQ\nxyz\n-----END KEY-----\n";
        assert_eq!(mask(&[key], &[b"got c2VjcmV0LWtleQ and xyz"]), "got *** and xyz");
        for before in ["", "u", "us", "use", "user"] {
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{before}:pass>word?1:x"));
            let masked = mask(&["pass>word?1"], &[encoded.as_bytes()]);
            assert!(masked.contains("***") && masked.len() < 18, "{encoded} became {masked}");
        }
        assert_eq!(mask(&["abc", ""], &[b"abc"]), "abc", "too short to be told from anything else");
    }

    #[test]
    fn what_cannot_be_a_secret_is_not_held_back() {
        let mut masker = Masker::new(["hunter22"]);
        assert_eq!(masker.pass(b"compiling hu"), b"compiling ");
        assert_eq!(masker.pass(b"ge file\n"), b"huge file\n");
        assert_eq!(masker.text("say hunter22"), "say ***");
    }

    proptest! {
        #[test]
        fn no_cut_lets_a_secret_through(
            words in proptest::collection::vec("[ab]{4,7}", 1..4),
            text in proptest::collection::vec("[ab]{0,9}|x", 0..20),
            cut in 1_usize..9,
        ) {
            let text = text.concat();
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let masked = mask(&words, &pieces);
            prop_assert_eq!(&masked, &mask(&words, &[text.as_bytes()]));
            for word in words {
                prop_assert!(!masked.contains(word), "{} is in {}", word, masked);
            }
        }
    }
}
