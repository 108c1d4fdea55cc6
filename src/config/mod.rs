//! The configuration: one YAML text in, a validated [`gristmill_model::Catalog`] out, or every mistake at once.
//!
//! In reading order: `tree` makes nodes with exact places of the text; `shape` and `scalar` are the small reader, and
//! `raw` describes the language with it (the JSON Schema of [`schema`] comes of the same description); `resolve` gives
//! the raw values their meaning, `matrix` expands rows, `cycle` refuses circles, `doubt` warns of what can never
//! happen. `diagnostic`, `code` and `render` are how mistakes look. [`init_text`] writes a first file, and
//! [`resolve_secret`] reads a secret when it is needed.
//!
//! Nothing here panics on any input, and nothing follows a name out of the text: the only file that is read is the one
//! that [`load`] is given.

mod code;
mod cycle;
mod diagnostic;
mod doubt;
mod init;
mod load;
mod matrix;
mod nearest;
mod raw;
mod raw_steps;
mod render;
mod resolve;
mod scalar;
mod schema;
mod secret;
mod shape;
mod span;
mod summary;
#[cfg(test)]
mod tests;
mod tree;

pub use code::{Code, explain};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use init::{Detected, InitError, InitReport, init_text};
pub use load::{Loaded, load, read};
pub(crate) use scalar::parse_span;
pub use schema::schema;
pub use secret::{SecretError, resolve_secret};
pub use span::Span;
