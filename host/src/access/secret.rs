//! The text of a token: `sbr_`, 32 random characters, and 6 of a checksum, as GitHub writes its tokens. Secret scanners
//! find it by its prefix, and the checksum tells a misspelt token from one that nobody made.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The beginning of every token.
pub const PREFIX: &str = "sbr_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 190 bits.
const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
/// Bytes below this are taken evenly by 62.
const EVEN_BYTES: u8 = 248;

/// A token as its holder knows it. Neither its `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

/// The SHA-256 of a token, which is all that a cluster keeps of it. The token is random, so that nobody finds it by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

// === impl TokenSecret ===

impl TokenSecret {
    /// Makes a token that nobody has.
    pub fn generate() -> std::io::Result<Self> {
        let mut random = String::with_capacity(RANDOM_CHARS);
        while random.len() < RANDOM_CHARS {
            let mut bytes = [0; 2 * RANDOM_CHARS];
            getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
            let even = bytes.into_iter().filter(|byte| *byte < EVEN_BYTES);
            random.extend(even.take(RANDOM_CHARS - random.len()).map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
        }
        let checksum = checksum(&random);
        Ok(Self(format!("{PREFIX}{random}{checksum}")))
    }

    /// The text, for the one answer that shows it and for requests.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl FromStr for TokenSecret {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, &'static str> {
        let rest = raw.strip_prefix(PREFIX).ok_or("it does not begin with sbr_")?;
        if rest.len() != RANDOM_CHARS + CHECKSUM_CHARS || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("it does not have the length of a token, or has other characters");
        }
        let (random, given) = rest.split_at(RANDOM_CHARS);
        if checksum(random) != given {
            return Err("its checksum is wrong: a part of it is missing or misspelt");
        }
        Ok(Self(raw.to_owned()))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

/// The CRC-32 of the random characters, in base 62.
fn checksum(random: &str) -> String {
    let mut rest = crc32fast::hash(random.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

// === impl TokenHash ===

impl TokenHash {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first 12 digits: enough to tell tokens apart, and far too few to find one.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl FromStr for TokenHash {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, &'static str> {
        let digits = raw.strip_prefix("sha256:").ok_or("it does not begin with sha256:")?;
        let bytes = hex::decode(digits).map_err(|_| "it is not hexadecimal")?;
        bytes.try_into().map(Self).map_err(|_| "it is not 64 digits long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_prefix_randomness_and_a_checksum() {
        let token = TokenSecret::generate().expect("randomness");
        let other = TokenSecret::generate().expect("randomness");
        assert_ne!(token, other);
        assert_eq!(token.expose().len(), 42);
        assert_eq!(token.expose().parse(), Ok(token.clone()));
        assert_eq!(token.hash().to_string().parse(), Ok(token.hash()));
        assert_eq!(format!("{token:?}"), "TokenSecret(..)");
        // The CRC-32 as other implementations compute it.
        assert_eq!(checksum("0123456789abcdefghijABCDEFGHIJxy"), "0PImn9");
    }

    #[test]
    fn each_changed_character_is_noticed() {
        let token = TokenSecret::generate().expect("randomness").expose().to_owned();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert!(changed.parse::<TokenSecret>().is_err(), "{at}");
        }
        for raw in ["", "sbr_", &token[..41], &format!("{token}0"), &format!(" {token}"), &token.to_uppercase()] {
            assert!(raw.parse::<TokenSecret>().is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_hash_has_one_form() {
        let hash = TokenSecret::generate().expect("randomness").hash().to_string();
        for raw in ["", "sha256:", &hash[7..], &hash[..70], &format!("{hash}0"), &hash.replace("sha256", "sha512")] {
            assert!(raw.parse::<TokenHash>().is_err(), "{raw:?}");
        }
    }
}
