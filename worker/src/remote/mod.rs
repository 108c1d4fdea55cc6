//! A service on another machine: the worker protocol over HTTP(S).
//!
//! Reading order: [`identity`] (who the worker is), `refusal` (what an answer means), `client` (one request, bounded in
//! time and size), `master` (the protocol).

mod client;
pub mod identity;
mod master;
mod refusal;

pub use client::{Address, AddressError};
pub use identity::{Credential, Identity};
pub use master::Remote;
