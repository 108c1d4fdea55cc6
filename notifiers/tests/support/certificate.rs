//! A self-signed certificate for 127.0.0.1, made by the openssl command.
#![expect(unreachable_pub, reason = "a test has no outside")]

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    pub fn make(folder: &Path) -> Self {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("the openssl command is needed by this test: apt install openssl");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        Self { certificate, key }
    }

    pub fn pem(&self) -> Vec<u8> {
        std::fs::read(&self.certificate).expect("openssl wrote it")
    }
}
