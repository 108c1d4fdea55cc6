//! What steps print: append-only, compressed as it came from the worker, addressed by line and by byte, outside SQL.
//!
//! Per log two files under `<build / 1000>/<build>/`: `<epoch>-<step>.log` (or `<epoch>-<step>-<log>.log` of a file that
//! the step followed) holds the workers' zstd frames one after the
//! other (so `zstdcat` reads it), `<epoch>-<step>.idx` one record per frame ([`index`]), by which any line and any byte
//! of a log of any size is found without reading what lies before it. The index can always be made again from the log.
//!
//! Reading order: [`index`] (records and recovery), [`store`] (appending, following, the cache of open files), [`read`]
//! (lines, bytes, search), [`errors`] (the line that says why), [`inspect`] (whether all of it is whole), `owner` (whose they
//! are).
//!
//! Everything here blocks on files and nothing awaits: async callers that read use `spawn_blocking`.

pub mod errors;
mod index;
pub mod inspect;
mod owner;
pub mod read;
pub mod store;
#[cfg(test)]
mod tests;

pub use errors::{Excerpt, Mark, Marks};
pub use owner::{OWNER_FILE, OwnerError};
pub use read::{Hit, Line, Lines, LogInfo, SearchResult};
pub use store::{AppendError, LogStore, ReadError, UnsafeLogs};
