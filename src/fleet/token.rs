//! Credentials: tokens by which workers join, sessions by which they go on, and the keys of a pool's members (E5).
//!
//! A token reads `gmw_ID_SECRET_CHECKSUM`: scanners for secrets find it by its form, and a typing mistake is found without
//! asking anybody. Only the SHA-256 of a secret is kept; for 256 random bits a fast hash is right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gristmill_model::{PoolName, TokenId, WorkerName};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// What every token begins with.
pub const TOKEN_PREFIX: &str = "gmw_";
/// What every session begins with.
pub const SESSION_PREFIX: &str = "gms_";
/// Characters of a token's public part.
pub const ID_CHARS: usize = 8;
/// Characters of a secret: 256 bits in base64url.
const SECRET_CHARS: usize = 43;
/// Characters of a token's checksum.
const CHECKSUM_CHARS: usize = 6;
/// The letters of a token's public part: 32 of them, so that each stands for 5 random bits.
const ID_LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Hexadecimal characters of an Ed25519 public key.
const KEY_CHARS: usize = 64;
/// Hexadecimal characters of a key that are part of its worker's name.
const KEY_CHARS_IN_NAME: usize = 8;

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NotRandom;

/// A token that has just been made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its public part.
    pub id: TokenId,
    /// All of it, to be shown once.
    pub text: String,
    /// The SHA-256 of its secret part, hexadecimal.
    pub sha256: String,
}

/// A token as somebody shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its public part.
    pub id: TokenId,
    sha256: String,
}

impl NewToken {
    /// Makes one up.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn make() -> Result<Self, NotRandom> {
        let mut letters = [0; ID_CHARS];
        SystemRandom::new().fill(&mut letters).map_err(|_| NotRandom)?;
        let id: String = letters.iter().map(|byte| char::from(ID_LETTERS[usize::from(byte % 32)])).collect();
        let secret = secret()?;
        let text = format!("{TOKEN_PREFIX}{id}_{secret}_{}", checksum(&id, &secret));
        Ok(Self { id: TokenId(id), text, sha256: hash_of(&secret) })
    }
}

impl Shown {
    /// Reads a token; `None` if it is none, or was typed wrong.
    pub fn read(text: &str) -> Option<Self> {
        if !text.is_ascii() || text.len() != TOKEN_PREFIX.len() + ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS + 2 {
            return None;
        }
        // A secret may have underscores of its own, so the parts are found by their lengths.
        let (id, rest) = text.strip_prefix(TOKEN_PREFIX)?.split_at(ID_CHARS);
        let (secret, rest) = rest.strip_prefix('_')?.split_at(SECRET_CHARS);
        let is_whole = rest.strip_prefix('_')? == checksum(id, secret);
        is_whole.then(|| Self { id: TokenId(id.to_owned()), sha256: hash_of(secret) })
    }

    /// Compares its secret with the one whose SHA-256 is kept, in the same time wherever they differ.
    pub fn is_the_one_of(&self, sha256: &str) -> bool {
        let (left, right) = (self.sha256.as_bytes(), sha256.as_bytes());
        let differ = left.iter().zip(right).fold(0_u8, |differ, (left, right)| differ | (left ^ right));
        left.len() == right.len() && differ == 0
    }
}

/// Makes up a session: what its worker is given, and the hash by which it is found.
///
/// # Errors
/// If the system gives no random numbers.
pub fn new_session() -> Result<(String, [u8; 32]), NotRandom> {
    let text = format!("{SESSION_PREFIX}{}", secret()?);
    let hash = session_hash(&text);
    Ok((text, hash))
}

/// Gives the hash by which a session is found.
pub fn session_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Gives a random number below 256, for waits that should differ.
pub fn random_byte() -> u8 {
    let mut byte = [0];
    // Without chance all waits are equal, which is no reason to fail.
    SystemRandom::new().fill(&mut byte).map_or(0, |()| byte[0])
}

/// What a pool's worker signs to show that it has its key.
pub fn statement(token: &TokenId, nonce: &str, clock: i64) -> String {
    format!("gristmill hello\n{token}\n{nonce}\n{clock}")
}

/// Says whether `proof` (hexadecimal) is the signature of `statement` by the Ed25519 key `key` (hexadecimal).
pub fn is_proven(key: &str, proof: &str, statement: &str) -> bool {
    let (Some(key), Some(proof)) = (bytes_of(key), bytes_of(proof)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(statement.as_bytes(), &proof).is_ok()
}

/// Reads a public key in the one way in which it may be written.
pub fn is_key(key: &str) -> bool {
    key.len() == KEY_CHARS && key.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Gives the name of a pool's member; `key` is one.
pub fn member_name(pool: &PoolName, key: &str) -> WorkerName {
    WorkerName(format!("{pool}-{}", key.get(..KEY_CHARS_IN_NAME).unwrap_or(key)))
}

fn secret() -> Result<String, NotRandom> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NotRandom)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn checksum(id: &str, secret: &str) -> String {
    let mut checksum = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{TOKEN_PREFIX}{id}_{secret}").as_bytes()));
    checksum.truncate(CHECKSUM_CHARS);
    checksum
}

fn hash_of(secret: &str) -> String {
    gristmill_model::Digest::of(secret.as_bytes()).0
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    if !hexadecimal.is_ascii() || !hexadecimal.len().is_multiple_of(2) || hexadecimal.len() > 2 * KEY_CHARS {
        return None;
    }
    (0..hexadecimal.len()).step_by(2).map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn a_token_is_read_back_and_a_mistyped_one_is_not() {
        let token = NewToken::make().unwrap();
        assert_eq!(token.text.len(), 63);
        let shown = Shown::read(&token.text).unwrap();
        assert_eq!(shown.id, token.id);
        assert!(shown.is_the_one_of(&token.sha256));
        assert!(!shown.is_the_one_of(&NewToken::make().unwrap().sha256));
        assert!(!shown.is_the_one_of(""));
        for at in 0..token.text.len() {
            let mut typed = token.text.clone().into_bytes();
            typed[at] = if typed[at] == b'x' { b'y' } else { b'x' };
            assert!(Shown::read(&String::from_utf8(typed).unwrap()).is_none(), "at {at}");
        }
        for wrong in ["", "gmw_", "gmw_abcdefgh", &token.text[1..], &format!("{} ", token.text), &"ü".repeat(31)] {
            assert!(Shown::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_pools_member_is_who_has_the_key() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let key = hexadecimal(pair.public_key().as_ref());
        let said = statement(&TokenId::from("abcdefgh"), "n1", 5);
        assert_eq!(said, "gristmill hello\nabcdefgh\nn1\n5");
        let proof = hexadecimal(pair.sign(said.as_bytes()).as_ref());
        assert!(is_key(&key) && is_proven(&key, &proof, &said));
        assert!(!is_proven(&key, &proof, "gristmill hello\nabcdefgh\nn2\n5"));
        assert!(!is_proven(&"00".repeat(32), &proof, &said));
        for wrong in ["", "0", "zz", &proof[2..], "+f"] {
            assert!(!is_proven(&key, wrong, &said), "{wrong}");
        }
        assert_eq!(member_name(&PoolName::from("arm"), &key).as_str(), format!("arm-{}", &key[..8]));
        assert!(!is_key(&key.to_uppercase()) && !is_key(&key[1..]));
    }
}
