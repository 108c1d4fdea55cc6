//! Files that a step leaves behind: which they are, and how they are opened so that no link leads out of the build's
//! folder, how they come to the service.

pub(crate) mod beneath;
pub(crate) mod gather;
pub(crate) mod upload;
