//! The store's contract. What is said here must hold for every kind of database.

mod fixture;
mod journal;
mod kinds;
