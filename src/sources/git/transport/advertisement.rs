//! The ref list that a git server begins with: packets of four hexadecimal digits of length and as many bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufReader, Read};

use git2::Oid;
use gristmill_model::RefName;
use gristmill_model::catalog::Repository;

use crate::sources::git::SweepError;
use crate::sources::git::listing::{Listing, is_wanted, read_name};

/// Bytes of a ref list that are read; git's own forges stay far below.
const LIST_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of a server's own words that are repeated.
const WORDS_BYTES_MAX: usize = 300;

/// Reads a ref list up to its end. Also gives the server's capabilities.
pub(crate) fn read(
    reader: &mut dyn Read,
    is_http: bool,
    config: &Repository,
    refs_max: usize,
) -> Result<(Listing, String), SweepError> {
    let mut packets = Packets(BufReader::new(reader.take(LIST_BYTES_MAX)));
    if is_http {
        let service = packets.next()?;
        if !service.is_some_and(|line| line.starts_with(b"# service=git-upload-pack")) {
            return Err(not_git());
        }
        if packets.next()?.is_some() {
            return Err(not_git());
        }
    }
    let mut listing = Listing::default();
    let mut capabilities = String::new();
    let mut peeled: BTreeMap<RefName, Oid> = BTreeMap::new();
    let mut is_first = true;
    while let Some(line) = packets.next()? {
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if std::mem::take(&mut is_first) {
            if line == b"version 1" {
                is_first = true;
                continue;
            }
            capabilities = capabilities_of(line)?;
        }
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        take_line(line, config, refs_max, &mut listing, &mut peeled)?;
    }
    for (name, commit) in peeled {
        if let Some(tip) = listing.tips.get_mut(&name) {
            *tip = commit;
        }
    }
    Ok((listing, capabilities))
}

fn take_line(
    line: &[u8],
    config: &Repository,
    refs_max: usize,
    listing: &mut Listing,
    peeled: &mut BTreeMap<RefName, Oid>,
) -> Result<(), SweepError> {
    if line.starts_with(b"shallow ") {
        return Err(SweepError::ServerShallow);
    }
    let oid =
        line.get(..40).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|text| Oid::from_str(text).ok());
    let (Some(oid), Some(b' '), Some(name)) = (oid, line.get(40), line.get(41..)) else { return Err(not_git()) };
    if let Some(name) = name.strip_suffix(b"^{}") {
        if let Some(name) =
            std::str::from_utf8(name).ok().map(RefName::from).filter(|name| listing.tips.contains_key(name))
        {
            peeled.insert(name, oid);
        }
        return Ok(());
    }
    if let Some(name) = read_name(name, listing)
        && is_wanted(config, &name)
    {
        listing.take(name, oid, oid, refs_max)?;
    }
    Ok(())
}

/// Reads what follows the first ref; `0…0 capabilities^{}` stands in for it in an empty repository.
fn capabilities_of(line: &[u8]) -> Result<String, SweepError> {
    let words = line.splitn(2, |&byte| byte == 0).nth(1).unwrap_or_default();
    let words = String::from_utf8_lossy(words).trim().to_owned();
    for word in words.split(' ') {
        match word.split_once('=') {
            Some(("object-format", format)) if format != "sha1" => {
                return Err(SweepError::ObjectFormat(words_of(format.as_bytes()).chars().take(20).collect()));
            }
            _ => {}
        }
    }
    Ok(words)
}

/// Writes a ref list of just these objects, as the server would.
pub(super) fn write(wanted: &BTreeSet<Oid>, capabilities: &str, is_http: bool) -> Vec<u8> {
    // What the server says of its symbolic refs concerns names that are not in this list.
    let capabilities: Vec<&str> = capabilities.split(' ').filter(|word| !word.starts_with("symref=")).collect();
    let mut text = String::new();
    if is_http {
        text.push_str(&packet("# service=git-upload-pack\n"));
        text.push_str("0000");
    }
    for (number, oid) in wanted.iter().enumerate() {
        let tail = if number == 0 { format!("\0{}", capabilities.join(" ")) } else { String::new() };
        text.push_str(&packet(&format!("{oid} refs/wanted/{number}{tail}\n")));
    }
    text.push_str("0000");
    text.into_bytes()
}

fn packet(line: &str) -> String {
    let mut text = String::new();
    write!(text, "{:04x}{line}", line.len() + 4).expect("writing to a string works");
    text
}

struct Packets<'a>(BufReader<io::Take<&'a mut dyn Read>>);

impl Packets<'_> {
    /// Reads a packet; `None` is the one that ends a section.
    fn next(&mut self) -> Result<Option<Vec<u8>>, SweepError> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = std::str::from_utf8(&length).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let length = length.and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or_else(not_git)?;
        match length {
            0 => Ok(None),
            1..4 => Err(not_git()),
            _ => {
                let mut line = vec![0; length - 4];
                self.fill(&mut line)?;
                match line.strip_prefix(b"ERR ") {
                    Some(words) => Err(SweepError::ServerSays(words_of(words))),
                    None => Ok(Some(line)),
                }
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), SweepError> {
        self.0.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof if self.0.get_ref().limit() == 0 => {
                SweepError::TooManyBytes { limit: LIST_BYTES_MAX }
            }
            io::ErrorKind::UnexpectedEof => not_git(),
            _ => SweepError::Fetch(error.to_string()),
        })
    }
}

/// Makes one printable line of what a server says.
pub(super) fn words_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_BYTES_MAX)]).into_owned();
    let words: Vec<&str> =
        text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn not_git() -> SweepError {
    SweepError::NotGit { to: "the server".to_owned() }
}
