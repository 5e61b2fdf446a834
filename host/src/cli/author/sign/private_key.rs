//! A private key in a file: PEM with PKCS#8, as openssl writes and reads it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::super::super::error::{Error, Result};
use crate::bounded_input;
use crate::model::codes::Code;
use crate::model::signing_key::PublicKey;
use crate::private_file::{OTHERS, open_with};

/// PKCS#8 of Ed25519 before the 32 bytes of the key (RFC 8410). The newer form, which has the public key as well, is not
/// read by every openssl.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SECRET_BYTES: usize = 32;
/// Largest file that is read: a key has about 120 bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// An Ed25519 key that signs modules.
pub struct PrivateKey(Ed25519KeyPair);

// === impl PrivateKey ===

impl PrivateKey {
    /// Makes a key and writes it into a new file of this user alone.
    pub fn generate(path: &Path) -> Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|error| unusable(path, error))?;
        let der = [&PKCS8_HEAD[..], &secret].concat();
        let key = Self::of_der(path, &der)?;
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
        // `create_new` follows no link and replaces no file.
        let made = open_with(OpenOptions::new().write(true).create_new(true), path);
        made.and_then(|mut file| file.write_all(pem.as_bytes())).map_err(|error| {
            let is_taken = error.kind() == ErrorKind::AlreadyExists;
            let error = unusable(path, error);
            if is_taken { error.with_hint("a key is never replaced: name a file that is not there yet") } else { error }
        })?;
        Ok(key)
    }

    /// Reads a key. A message never quotes the file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| unusable(path, error))?;
        let metadata = file.metadata().map_err(|error| unusable(path, error))?;
        if !metadata.is_file() {
            return Err(unusable(path, "is no plain file"));
        }
        let mode = metadata.permissions().mode();
        if mode & OTHERS != 0 {
            let reason = format!("its mode is {:o}: others have rights to it", mode & 0o7777);
            return Err(unusable(path, reason).with_hint(format!("chmod 600 {}", path.display())));
        }
        let text = bounded_input::read_opened(&file, FILE_BYTES_MAX).map_err(|error| unusable(path, error))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text);
        let der = der.map_err(|_| unusable(path, "it has no private key in PEM and PKCS#8, or an encrypted one"))?;
        Self::of_der(path, der.secret_pkcs8_der())
    }

    fn of_der(path: &Path, der: &[u8]) -> Result<Self> {
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
        key.map(Self).map_err(|error| unusable(path, format_args!("it is no key of Ed25519: {error}")))
    }

    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref().try_into().expect("a public key has 32 bytes");
        PublicKey::new(bytes).expect("a key that a secret belongs to has a large order")
    }

    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}

fn unusable(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::file(path, reason).with(Code::SigningKey)
}
