//! The API on the real engine, the real store and real logs, in process.

mod acting;
mod asking;
mod following;
mod refusing;
mod world;
