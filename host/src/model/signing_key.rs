//! The public keys with which the signatures of modules are verified.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The bytes of a key, and of each of its coordinates.
const KEY_BYTES: usize = 32;
/// The algorithm and the sign between it and the key.
const PREFIX: &str = "ed25519:";
/// Hexadecimal digits of a key's id.
const ID_DIGITS: usize = 16;

/// An Ed25519 public key, written `ed25519:BASE64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

/// The name of a key: the first 16 hexadecimal digits of its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// The encodings of points of small order, without the bit of the sign. A signature that passes for such a key can be made
/// for every text without any private key, and a placeholder of zeros is one of them.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

// === impl PublicKey ===

impl PublicKey {
    /// Takes the bytes of a key.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Result<Self, String> {
        let mut unsigned = bytes;
        unsigned[KEY_BYTES - 1] &= 0x7f;
        let unsigned = hex::encode(unsigned);
        if SMALL_ORDER.contains(&unsigned.as_str()) {
            return Err("is no key of anybody: whoever wants can sign for it".to_owned());
        }
        Ok(Self(bytes))
    }

    pub fn id(&self) -> KeyId {
        let digits = hex::encode(Sha256::digest(self.0));
        KeyId(digits[..ID_DIGITS].to_owned())
    }

    /// Returns true if the owner of the key has signed the text.
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let bytes = raw.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let bytes: Option<[u8; KEY_BYTES]> = bytes.and_then(|bytes| bytes.try_into().ok());
        Self::new(bytes.ok_or("must be ed25519: and the base64 of the 32 bytes of a public key")?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        // The first test vector of RFC 8032.
        const KEY: &str = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let key: PublicKey = KEY.parse().expect("a key");
        assert_eq!(key.to_string(), KEY);
        assert_eq!(key.id().to_string(), "21fe31dfa154a261");
    }

    #[test]
    fn signatures_of_rfc_8032_pass_and_changed_ones_do_not() {
        let key: PublicKey = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".parse().expect("a key");
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
                         d25bf5f0595bbe24655141438e7a100b";
        let signature = hex::decode(signature).expect("digits");
        assert!(key.verifies(b"", &signature));
        assert!(!key.verifies(b"x", &signature));
        for bit in 0..signature.len() * 8 {
            let mut changed = signature.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verifies(b"", &changed), "bit {bit}");
        }
        // S + L would pass where only the equation is checked.
        let mut malleable = signature.clone();
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").expect("digits");
        let mut carry = 0;
        for (byte, addend) in malleable[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(addend) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(!key.verifies(b"", &malleable));
    }

    #[test]
    fn texts_that_are_no_key_are_refused() {
        let zeros = format!("ed25519:{}", STANDARD.encode([0; 32]));
        let negative = hex::decode("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85").expect("digits");
        let negative = format!("ed25519:{}", STANDARD.encode(negative));
        for (raw, part) in [
            ("", "must be ed25519:"),
            ("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "must be ed25519:"),
            ("ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUQ==", "32 bytes"),
            ("rsa:AAAA", "must be ed25519:"),
            (&zeros, "no key of anybody"),
            (&negative, "no key of anybody"),
        ] {
            let refused = raw.parse::<PublicKey>().expect_err(raw);
            assert!(refused.contains(part), "{raw}: {refused}");
        }
    }
}
