//! The API on the real engine, the real store and real logs, in process.

mod acting;
mod asking;
mod following;
mod pages;
mod refusing;
mod world;
