//! Looks at real repositories, made with the system's git.

mod local;
mod remote;
pub(crate) mod servers;
