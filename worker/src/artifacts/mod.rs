//! Files that a step leaves behind: which they are, and how they are opened so that no link leads out of the build's
//! folder.

pub(crate) mod beneath;
pub(crate) mod gather;
