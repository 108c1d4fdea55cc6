//! Reading a secret, at the moment when it is needed. Errors name where it should be, never what it is.

use std::io::Read as _;

use gristmill_model::SecretSource;

/// Bytes of a secret; keys are the longest ones.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there.
    #[error("environment variable `{0}` is not set; set it for the service, or name a `file` instead")]
    NotSet(String),
    /// The variable or file has no text in it.
    #[error("{0} is empty")]
    Empty(String),
    /// The variable or file is not text.
    #[error("{0} is not text in UTF-8")]
    NotText(String),
    /// The file cannot be read.
    #[error("file `{file}` cannot be read; it must exist and be readable by the service's user")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too long.
    #[error("file `{0}` is longer than a secret may be ({SECRET_BYTES_MAX} bytes)")]
    TooLong(String),
}

/// Reads a secret's value. One newline at its end is dropped.
///
/// # Errors
/// If it is not there, empty, not text, or too long; the error never contains the value.
pub fn resolve_secret(source: &SecretSource) -> Result<String, SecretError> {
    let (value, place) = match source {
        SecretSource::Env(name) => {
            let value = std::env::var_os(name).ok_or_else(|| SecretError::NotSet(name.clone()))?;
            (value.into_encoded_bytes(), format!("environment variable `{name}`"))
        }
        SecretSource::File(file) => (read_file(file)?, format!("file `{file}`")),
    };
    let value = String::from_utf8(value).map_err(|_| SecretError::NotText(place.clone()))?;
    let value = value.strip_suffix('\n').map_or(value.as_str(), |value| value.strip_suffix('\r').unwrap_or(value));
    if value.is_empty() { Err(SecretError::Empty(place)) } else { Ok(value.to_owned()) }
}

fn read_file(file: &str) -> Result<Vec<u8>, SecretError> {
    let unreadable = |source| SecretError::Unreadable { file: file.to_owned(), source };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX { Err(SecretError::TooLong(file.to_owned())) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_one_newline_and_errors_name_the_place_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("it is written");
            SecretSource::File(path.display().to_string())
        };
        assert_eq!(resolve_secret(&file("a", b"hunter2\n")).expect("it is there"), "hunter2");
        assert_eq!(resolve_secret(&file("b", b"two\n\n")).expect("it is there"), "two\n");
        for (source, said) in [
            (file("c", b"\n"), "is empty"),
            (file("d", b"hunter\xff"), "is not text"),
            (file("e", &vec![b'x'; 70_000]), "is longer"),
            (SecretSource::File("/nowhere/at/all".to_owned()), "cannot be read"),
            (SecretSource::Env("GRISTMILL_TEST_NOT_SET".to_owned()), "is not set"),
        ] {
            let error = resolve_secret(&source).expect_err("it cannot be read").to_string();
            assert!(error.contains(said) && !error.contains("hunter"), "{error}");
        }
    }
}
