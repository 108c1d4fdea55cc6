//! Webhook requests as received.

use gristmill_model::{Delivery, DeliveryId};

use crate::store::database::bulk::Sort;
use crate::store::database::sql;
use crate::store::writes::Writes;

const KEEP_BODY: &str = "INSERT INTO delivery_body (delivery, headers, body) VALUES ($1, $2, $3)";
/// A delivery can be read again, so a result replaces the one before.
const READ: &str = "UPDATE delivery SET result = $2 WHERE id = $1";

pub(super) fn accepted(writes: &mut Writes, delivery: &Delivery) {
    writes.row(Sort::Delivery, delivery.id, delivery);
}

/// Keeps a delivery's headers and body.
pub(in crate::store) fn keep_body(writes: &mut Writes, id: DeliveryId, headers: &str, body: &[u8]) {
    writes.one("delivery_body", id, sql(KEEP_BODY).bind(id.0).bind(headers).bind(body));
}

pub(super) fn read(writes: &mut Writes, id: DeliveryId, result: &str) {
    writes.one("delivery", id, sql(READ).bind(id.0).bind(result));
}

#[cfg(test)]
crate::store::database::statements![KEEP_BODY, READ];
