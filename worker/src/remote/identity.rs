//! Who a worker is: its token, and a pair of keys that it made at its first start and that never leaves it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gristmill_model::protocol::wire::{proof_text, token_id};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// Bytes of a file with a token.
const TOKEN_BYTES_MAX: usize = 4096;

/// The name of the key's file in the worker's folder.
const KEY_FILE: &str = "key";

/// Where the worker's token comes from.
#[derive(Clone)]
pub enum Credential {
    /// From a file, which is read again whenever the worker introduces itself: it may be replaced while the worker runs.
    File(PathBuf),
    /// From the environment.
    Given(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Given(_) => f.write_str("Given(…)"),
        }
    }
}

/// Why there is no token. Never repeats what was read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("cannot read the token in `{}`: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there is no token.
    #[error("{from} holds no token of a worker, which begins with `gmw_`: `gristmill worker token` makes one")]
    NotAToken {
        /// Where it was looked for.
        from: String,
    },
}

impl Credential {
    /// Gives the token.
    ///
    /// # Errors
    /// If there is none.
    pub fn token(&self) -> Result<String, CredentialError> {
        let (text, from) = match self {
            Self::Given(token) => (token.clone(), "GRISTMILL_WORKER_TOKEN".to_owned()),
            Self::File(path) => {
                let unreadable = |source| CredentialError::Unreadable { path: path.clone(), source };
                (fs::read_to_string(path).map_err(unreadable)?, format!("`{}`", path.display()))
            }
        };
        let token = text.trim();
        let is_token = token.len() <= TOKEN_BYTES_MAX
            && token_id(token).is_some()
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_token { Ok(token.to_owned()) } else { Err(CredentialError::NotAToken { from }) }
    }
}

/// Why a worker has no keys.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot use the worker's key `{}`: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("`{}` is no key of a worker: delete it, and the worker joins as a new one", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// A worker's keys.
pub struct Identity {
    keys: Ed25519KeyPair,
    public: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the keys in a worker's folder, or makes them, for this user alone.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn open(data: &Path) -> Result<Self, IdentityError> {
        let path = data.join(KEY_FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::read(&bytes).ok_or(IdentityError::Broken { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
                let bytes = bytes.map_err(|_| IdentityError::NoRandomness)?;
                write_privately(&path, bytes.as_ref())
                    .map_err(|source| IdentityError::Io { path: path.clone(), source })?;
                Self::read(bytes.as_ref()).ok_or(IdentityError::Broken { path })
            }
            Err(source) => Err(IdentityError::Io { path, source }),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let keys = Ed25519KeyPair::from_pkcs8(bytes).ok()?;
        let public = hex(keys.public_key().as_ref());
        Some(Self { keys, public })
    }

    /// Gives the public key, hexadecimal.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Proves that the worker has its key, hexadecimal.
    pub fn proof(&self, token_id: &str, nonce: &str, clock: i64) -> String {
        hex(self.keys.sign(proof_text(token_id, nonce, clock).as_bytes()).as_ref())
    }
}

/// Writes a file that only this user may read; all of it or nothing.
fn write_privately(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // A killed predecessor may have left half of one.
    fs::remove_file(&new).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Gives random bytes, hexadecimal.
///
/// # Errors
/// If the system gives none.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, IdentityError> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_key_is_made_once_for_this_user_alone_and_signs() {
        let data = tempfile::tempdir().unwrap();
        let identity = Identity::open(data.path()).unwrap();
        assert_eq!(Identity::open(data.path()).unwrap().public(), identity.public());
        let mode = fs::metadata(data.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = UnparsedPublicKey::new(&ED25519, bytes(identity.public()));
        let text = "gristmill hello\nk3jd8s2x\nabc\n1700000000000";
        let proof = bytes(&identity.proof("k3jd8s2x", "abc", 1_700_000_000_000));
        assert!(key.verify(text.as_bytes(), &proof).is_ok());
        assert!(key.verify(b"gristmill hello\nother\nabc\n1700000000000", &proof).is_err());
    }

    #[test]
    fn a_broken_key_is_not_replaced_behind_ones_back() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("key"), "x").unwrap();
        assert!(matches!(Identity::open(data.path()), Err(IdentityError::Broken { .. })));
    }

    #[test]
    fn a_token_is_read_again_and_never_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let credential = Credential::File(path.clone());
        assert!(matches!(credential.token(), Err(CredentialError::Unreadable { .. })));
        fs::write(&path, "gmw_k3jd8s2x_secret_abcdef\n").unwrap();
        assert_eq!(credential.token().unwrap(), "gmw_k3jd8s2x_secret_abcdef");
        fs::write(&path, "hunter2 gmw_").unwrap();
        let error = credential.token().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let debug = format!("{:?}", Credential::Given("gmw_k3jd8s2x_secret_abcdef".to_owned()));
        assert!(!debug.contains("secret"), "{debug}");
    }
}
