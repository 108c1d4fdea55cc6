//! Telling: who hears of what, in which words, and how it reaches them.
//!
//! A [`Happening`] is what the announcer makes of the journal. [`mod@route`] says who is told of it and why; [`render`]
//! writes the message; a [`Notifier`] delivers it. A notifier sees a rendered [`Message`](gristmill_model::Message) and
//! never the store. What was written by strangers (names, subjects, branches, logs) passes through [`text`] before it
//! stands in a header, a line or a page.
//!
//! Reading order: [`happening`], [`telling`], [`mod@route`], [`text`], [`render`] (with `templates/`), [`delivery`],
//! [`outbox`], then the ways to deliver, each a feature of the crate that is on by default: `mail`, `irc`, `recorder`.
//! [`backoff`] says when a connection is tried again.

pub mod backoff;
pub mod delivery;
pub mod happening;
#[cfg(feature = "irc")]
pub mod irc;
#[cfg(feature = "mail")]
pub mod mail;
pub mod outbox;
#[cfg(feature = "recorder")]
pub mod recorder;
pub mod render;
pub mod route;
mod sample;
#[cfg(all(feature = "irc", feature = "mail"))]
#[doc(hidden)]
pub mod seams;
pub mod telling;
pub mod text;
mod view;

pub use delivery::{DeliveryError, Guarantee, Notifier, Receipt};
pub use happening::Happening;
#[cfg(feature = "irc")]
pub use irc::{Irc, IrcOptions};
#[cfg(feature = "mail")]
pub use mail::{Mail, MailOptions};
#[cfg(feature = "recorder")]
pub use recorder::Recorder;
pub use render::{Renderer, TemplateProblem, check_template};
pub use route::{Addressed, Routing, route};
