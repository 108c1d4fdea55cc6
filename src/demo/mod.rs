//! The demo: a whole CI at work, in a minute, on a machine that has nothing but `sh` and `git`.
//!
//! Nothing is faked. Three real git repositories are made in a temporary folder; real people's clones push to them; the
//! real service builds them with its local worker; a real SMTP and a real IRC conversation happen on this machine's
//! loopback. Only the people are invented. Nothing leaves the machine.
//!
//! In reading order: `place` makes the folder; `smtp` and `irc` receive what is told; `witness` sees what comes of it;
//! `story` is what happens.

mod irc;
mod place;
mod sink;
mod smtp;
mod story;
mod witness;

pub use place::PlaceError;
pub use story::{DemoError, DemoOptions, run};
