//! Zero characters, which PostgreSQL has no place for in a text: they are kept as a mark that comes back as what it was.
//!
//! The mark is the last code point of all, which Unicode gives no character: `0` after it is a zero character, and `1`
//! the mark itself.

/// The mark.
const MARK: char = '\u{10ffff}';
const ZERO: &str = "\u{10ffff}0";
const ITSELF: &str = "\u{10ffff}1";
/// How JSON writes a zero character.
const ESCAPED_ZERO: &str = "\\u0000";

/// Gives a text as the server can keep it.
pub(super) fn kept(text: String) -> String {
    if !text.contains([MARK, '\0']) {
        return text;
    }
    text.replace(MARK, ITSELF).replace('\0', ZERO)
}

/// Gives a text as it was before it was kept.
pub(super) fn given(text: String) -> String {
    if !text.contains(MARK) {
        return text;
    }
    text.replace(ZERO, "\0").replace(ITSELF, "\u{10ffff}")
}

/// Gives a JSON text that the server can take apart.
pub(super) fn kept_json(json: String) -> String {
    if !json.contains(MARK) && !json.contains(ESCAPED_ZERO) {
        return json;
    }
    let json = json.replace(MARK, ITSELF);
    let (mut kept, mut rest) = (String::with_capacity(json.len()), json.as_str());
    // A backslash and what follows it belong together: `\\u0000` is a backslash and then five letters.
    while let Some(at) = rest.find('\\') {
        kept.push_str(&rest[..at]);
        let escape = &rest[at..];
        let length = if escape.starts_with(ESCAPED_ZERO) { ESCAPED_ZERO.len() } else { 2 };
        kept.push_str(if length == 2 { &escape[..2] } else { ZERO });
        rest = &escape[length..];
    }
    kept.push_str(rest);
    kept
}

/// Gives a JSON text as it was before it, or the list that it was in, was kept.
pub(super) fn given_json(json: String) -> String {
    if !json.contains(MARK) {
        return json;
    }
    json.replace(ZERO, ESCAPED_ZERO).replace(ITSELF, "\u{10ffff}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back() {
        for text in ["", "a", "\0", "\u{10ffff}", "\u{10ffff}0\0\u{10ffff}1", "\0\u{10ffff}", "\\u0000", "\\\\u0000\0"]
        {
            let stored = kept(text.to_owned());
            assert!(!stored.contains('\0'));
            assert_eq!(given(stored), text);

            let json = serde_json::to_string(&[text]).unwrap();
            let stored = kept_json(json.clone());
            assert_eq!(given_json(stored.clone()), json);
            // What the server takes out of the list is what it would have been given alone.
            let [taken]: [String; 1] = serde_json::from_str(&stored).unwrap();
            assert_eq!(taken, kept(text.to_owned()));
        }
    }
}
