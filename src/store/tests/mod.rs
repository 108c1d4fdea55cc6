//! The store's contract. What is said here must hold for every kind of database.

mod crash;
mod fixture;
mod inspect;
mod journal;
mod kind;
mod kinds;
mod opening;
mod proxy;
mod retire;
mod server;
mod statements;
mod upgrade;
mod walk;

pub(crate) use kind::{Kind, on_both, with_kinds};
