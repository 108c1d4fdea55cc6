//! Who leads. With PostgreSQL several masters may serve one installation: one decides, the others serve what they can,
//! pass on what must be decided, and take over when it is gone.
//!
//! [`candidate`] decides from what it sees in the database's one row, by its own monotonic clock and never by anybody's
//! time of day; [`keeper`] looks, takes, beats and gives up; [`follow`] keeps a master that does not lead up to date;
//! [`name`] is what a master calls itself.
//!
//! A lead is advice. What keeps two masters from deciding both is that a turn is committed only on the journal's head
//! that it was decided on: whoever takes the lead writes, and from then on nothing of the other's is committed.

pub mod candidate;
pub mod follow;
pub mod keeper;
pub mod name;

pub use follow::Follower;
pub use keeper::{Keeper, Leadership, Lost};
