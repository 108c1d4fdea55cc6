//! The API on the real engine, the real store and real logs, in process.

mod acting;
mod asking;
mod explaining;
mod following;
mod pages;
mod printing;
mod refusing;
mod results;
mod world;
