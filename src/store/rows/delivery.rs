//! Webhook requests as received.

use gristmill_model::{Delivery, DeliveryId};
use serde::Serialize;

use crate::store::database::bulk::Sort;
use crate::store::database::sql;
use crate::store::writes::Writes;

const KEEP_BODY: &str = "INSERT INTO delivery_body (delivery, headers, body) VALUES ($1, $2, $3)";

#[derive(Serialize)]
struct Read<'a> {
    id: DeliveryId,
    result: &'a str,
}

pub(super) fn accepted(writes: &mut Writes, delivery: &Delivery) {
    writes.row(Sort::Delivery, delivery.id, delivery);
}

/// Keeps a delivery's headers and body.
pub(in crate::store) fn keep_body(writes: &mut Writes, id: DeliveryId, headers: &str, body: &[u8]) {
    writes.one("delivery_body", id, sql(KEEP_BODY).bind(id.0).bind(headers).bind(body));
}

pub(super) fn read(writes: &mut Writes, id: DeliveryId, result: &str) {
    writes.row(Sort::DeliveryRead, id, &Read { id, result });
}

#[cfg(test)]
crate::store::database::statements![KEEP_BODY];
