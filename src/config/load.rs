//! From a file or a text to a catalog.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use gristmill_model::Catalog;

use super::code;
use super::diagnostic::{Diagnostics, Report};
use super::raw::RawFile;
use super::resolve::{Origin, resolve};
use super::shape::Shape as _;
use super::span::Span;
use super::summary::summary;
use super::tree::{self, Content, Node, TEXT_BYTES_MAX};

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it means.
    pub catalog: Catalog,
    /// Its text.
    pub text: String,
    /// What it can be used in spite of.
    pub warnings: Diagnostics,
}

impl Loaded {
    /// Says in some lines what the file defines, for `gristmill check`.
    pub fn summary(&self) -> String {
        summary(&self.catalog)
    }
}

/// Reads a file. Relative paths in it start from its folder.
///
/// # Errors
/// All mistakes, sorted by place; a file that cannot be read is one.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let file = path.display().to_string();
    let bytes = read_bytes(path).map_err(|error| {
        let message = format!("the file cannot be read: {}", say(&error));
        let help = "say which file is meant, such as `gristmill check ci/gristmill.yaml`; `gristmill init` writes one";
        refusal(&file, "", code::UNREADABLE, Span::default(), message, "no such text", help)
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let message = "the file is not text in UTF-8";
        let span = Span::new(at, at + '\u{fffd}'.len_utf8());
        let help = "save it as UTF-8; in most editors this is a choice when saving";
        refusal(&file, &text, code::NOT_UTF8, span, message, "this byte is not", help)
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let folder = folder.canonicalize().unwrap_or(folder);
    read_from(&text, &file, &folder)
}

/// Reads a text that was taken from `file`. Relative paths in it start from that file's folder.
///
/// # Errors
/// All mistakes, sorted by place.
pub fn read(text: &str, file: &str) -> Result<Loaded, Diagnostics> {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let folder =
        std::path::absolute(folder).unwrap_or_else(|_| std::env::current_dir().unwrap_or_default().join(folder));
    read_from(text, file, &folder)
}

fn read_from(text: &str, file: &str, folder: &Path) -> Result<Loaded, Diagnostics> {
    // A byte-order mark is no part of the text; without it, columns are those that editors show.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    let catalog = tree::parse(text, &mut report)
        .and_then(|root| RawFile::read(&without_shared(&root), &mut report))
        .and_then(|raw| resolve(&raw, Origin { file, folder, text }, &mut report));
    let diagnostics = report.finish(file, text);
    match catalog {
        Some(catalog) if diagnostics.mistakes() == 0 => {
            Ok(Loaded { catalog, text: text.to_owned(), warnings: diagnostics })
        }
        _ => Err(diagnostics),
    }
}

/// Takes top-level keys that start with `x-` away: they are a place for anchors.
pub(super) fn without_shared(root: &Node) -> Node {
    match &*root.content {
        Content::Map(entries) => {
            let kept = entries.iter().filter(|entry| !entry.key.starts_with("x-")).cloned().collect();
            root.with(Content::Map(kept))
        }
        _ => root.clone(),
    }
}

/// Reads at most a byte more than is possible, so that an endless file ends here.
fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn say(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

fn refusal(
    file: &str,
    text: &str,
    code: code::Code,
    span: Span,
    message: impl Into<String>,
    label: &str,
    help: &str,
) -> Diagnostics {
    let mut report = Report::default();
    report.say(code, span, message, label, help);
    report.finish(file, text)
}
