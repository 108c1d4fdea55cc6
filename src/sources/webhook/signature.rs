//! HMAC SHA-256 over the body as it came, compared in constant time.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::HookError;

/// Checks the one signature in `header`, which reads `sha256=` and 64 hexadecimal digits.
///
/// # Errors
/// If there is not exactly one, or it is not right. An empty secret makes nothing right.
pub fn check(headers: &HeaderMap, header: &'static str, secret: &str, body: &[u8]) -> Result<(), HookError> {
    let mut values = headers.get_all(header).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(HookError::SignatureMissing { header });
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    let told = value.to_str().ok().and_then(|text| text.strip_prefix("sha256=")).and_then(bytes_of).unwrap_or_default();
    match mac.verify_slice(&told).is_ok() && !secret.is_empty() {
        true => Ok(()),
        false => Err(HookError::SignatureWrong),
    }
}

/// Makes a signature as [`check`] wants it: what a sender does.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()).collect()
}
