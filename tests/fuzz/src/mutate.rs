//! Changes of an input: bytes, words of the target's dictionary, lines, and pieces of other inputs.

use crate::random::Random;

/// What every dictionary has.
const COMMON: [&[u8]; 26] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\t",
    b" ",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x92\xa5",
    b"\xef\xbb\xbf",
    b"\x1b[",
    b"0",
    b"-1",
    b"255",
    b"256",
    b"65536",
    b"2147483648",
    b"9223372036854775807",
    b"18446744073709551615",
    b"99999999999999999999",
    b"1e308",
    b"%00",
    b"%2f",
    b"..",
    b"\"",
];

/// Gives a changed copy of one of `pool`, at most `size_max` bytes long.
pub fn mutate(random: &mut Random, pool: &[Vec<u8>], chosen: usize, words: &[&str], size_max: usize) -> Vec<u8> {
    let mut bytes = pool.get(chosen).cloned().unwrap_or_default();
    let rounds_max = [1, 3, 8, 16][random.below(4)];
    let rounds = 1 + random.below(rounds_max);
    for _ in 0..rounds {
        change(random, &mut bytes, pool, words);
        bytes.truncate(size_max);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str]) {
    match random.below(16) {
        0 => {
            let at = place(random, bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            let value = random.byte();
            let at = place(random, bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        2 => {
            let by = random.byte() % 35;
            let at = place(random, bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = if by.is_multiple_of(2) { byte.wrapping_add(by) } else { byte.wrapping_sub(by) };
            }
        }
        3 => remove_range(random, bytes),
        4 => {
            let fresh: Vec<u8> = (0..=random.below(8)).map(|_| random.byte()).collect();
            insert(random, bytes, &fresh);
        }
        5 | 6 => {
            let word = word(random, words);
            insert(random, bytes, &word);
        }
        7 | 8 => {
            let word = word(random, words);
            replace(random, bytes, &word);
        }
        9 => repeat_range(random, bytes),
        10 => copy_range(random, bytes),
        11 => splice(random, bytes, pool),
        12 => change_number(random, bytes),
        _ => change_lines(random, bytes),
    }
}

fn place(random: &mut Random, bytes: &[u8]) -> usize {
    random.below(bytes.len())
}

/// Gives a range of at most 32 bytes, sometimes any.
fn range(random: &mut Random, bytes: &[u8]) -> std::ops::Range<usize> {
    let start = place(random, bytes);
    let room = bytes.len() - start;
    let longest = if random.once_in(8) { room } else { room.min(32) };
    start..start + random.below(longest + 1)
}

fn word(random: &mut Random, words: &[&str]) -> Vec<u8> {
    match random.below(4) {
        0 => COMMON[random.below(COMMON.len())].to_vec(),
        _ if words.is_empty() => COMMON[random.below(COMMON.len())].to_vec(),
        _ => words[random.below(words.len())].as_bytes().to_vec(),
    }
}

fn insert(random: &mut Random, bytes: &mut Vec<u8>, word: &[u8]) {
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, word.iter().copied());
}

/// Puts a word in the place of a range, or of a word.
fn replace(random: &mut Random, bytes: &mut Vec<u8>, word: &[u8]) {
    let mut taken = range(random, bytes);
    if random.below(2) == 0 {
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let at = place(random, bytes);
        let before = bytes[..at].iter().rev().take_while(|byte| is_of_word(byte)).count();
        let after = bytes[at..].iter().take_while(|byte| is_of_word(byte)).count();
        taken = at - before..at + after;
    }
    bytes.splice(taken, word.iter().copied());
}

fn remove_range(random: &mut Random, bytes: &mut Vec<u8>) {
    let taken = range(random, bytes);
    bytes.drain(taken);
}

fn repeat_range(random: &mut Random, bytes: &mut Vec<u8>) {
    let taken = range(random, bytes);
    let times = if random.once_in(6) { random.below(200) } else { 1 + random.below(3) };
    let repeated = bytes[taken.clone()].repeat(times);
    bytes.splice(taken.end..taken.end, repeated);
}

fn copy_range(random: &mut Random, bytes: &mut Vec<u8>) {
    let taken = range(random, bytes);
    let copied = bytes[taken].to_vec();
    insert(random, bytes, &copied);
}

fn splice(random: &mut Random, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let Some(other) = pool.get(random.below(pool.len())) else { return };
    let taken = range(random, other);
    let piece = other[taken].to_vec();
    if random.below(2) == 0 {
        insert(random, bytes, &piece);
    } else {
        let at = random.below(bytes.len() + 1);
        bytes.truncate(at);
        bytes.extend_from_slice(&other[random.below(other.len())..]);
    }
}

/// Changes a decimal number where there is one.
fn change_number(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = place(random, bytes);
    let Some(start) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|found| found + at) else { return };
    let end = start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let old: u64 = std::str::from_utf8(&bytes[start..end]).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let new = match random.below(6) {
        0 => old.wrapping_add(1),
        1 => old.saturating_sub(1),
        2 => old.wrapping_mul(10),
        3 => 1 << random.below(64),
        4 => u64::from(random.byte()),
        _ => random.number(),
    };
    bytes.splice(start..end, new.to_string().into_bytes());
}

/// Moves, repeats, drops or indents a line.
fn change_lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.len() < 2 {
        return;
    }
    let (at, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(5) {
        0 => drop(lines.remove(at)),
        1 => lines.swap(at, to),
        2 => {
            let line = lines[at].clone();
            lines.insert(to, line);
        }
        3 => drop(lines[at].splice(0..0, *b"  ")),
        _ => {
            let blanks = lines[at].iter().take_while(|byte| **byte == b' ').count();
            lines[at].drain(..blanks.min(2));
        }
    }
    *bytes = lines.concat();
}
