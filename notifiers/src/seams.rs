//! Ways in for `tests/fuzz` to what is nobody else's business. Not part of what this crate offers.

use gristmill_model::Message;
use lettre::message::Mailbox;

use crate::delivery::DeliveryError;
use crate::mail::letter;

pub use crate::irc::seam::{Heard, hear, say};

/// Writes the bytes of a mail from an address that must be a good one.
///
/// # Errors
/// If the message cannot be one.
pub fn mail(from: &str, instance: &str, message: &Message) -> Result<Vec<u8>, DeliveryError> {
    let from: Mailbox = from.parse().map_err(|error| DeliveryError::permanent(format!("`{from}`: {error}")))?;
    letter::compose(&from, &letter::instance(instance), message).map(|letter| letter.formatted())
}
