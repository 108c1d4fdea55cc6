//! Webhook requests as received.

use gristmill_model::{Delivery, DeliveryId};

use crate::store::StoreError;
use crate::store::database::sql;
use crate::store::tx::Tx;

const INSERT: &str = "INSERT INTO delivery (id, repository, key, event, sha256, at) VALUES ($1, $2, $3, $4, $5, $6)";
const KEEP_BODY: &str = "INSERT INTO delivery_body (delivery, headers, body) VALUES ($1, $2, $3)";
/// A delivery can be read again, so a result replaces the one before.
const READ: &str = "UPDATE delivery SET result = $2 WHERE id = $1";

pub(super) async fn accepted(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(), StoreError> {
    let insert = sql(INSERT)
        .bind(delivery.id.0)
        .bind(delivery.repository.as_str())
        .bind(delivery.key.as_str())
        .bind(delivery.event.as_str())
        .bind(delivery.sha256.as_str())
        .bind(delivery.at.0);
    tx.one("delivery", delivery.id, insert).await
}

/// Keeps a delivery's headers and body.
pub(in crate::store) async fn keep_body(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    headers: &str,
    body: &[u8],
) -> Result<(), StoreError> {
    tx.one("delivery_body", id, sql(KEEP_BODY).bind(id.0).bind(headers).bind(body)).await
}

pub(super) async fn read(tx: &mut Tx<'_>, id: DeliveryId, result: &str) -> Result<(), StoreError> {
    tx.one("delivery", id, sql(READ).bind(id.0).bind(result)).await
}

#[cfg(test)]
crate::store::database::statements![INSERT, KEEP_BODY, READ];
