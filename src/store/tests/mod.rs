//! The store's contract. What is said here must hold for every kind of database.

mod crash;
mod fixture;
mod journal;
mod kinds;
mod opening;
mod retire;
mod upgrade;
mod walk;
