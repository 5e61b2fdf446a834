//! The keys of a provider (RFC 7517), each with the algorithms for its kind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::algorithm::Algorithm;
use super::jws::{JwtError, SignedToken};
use crate::model::json;

/// Most keys of a provider. Rotation needs a few.
const KEYS_MAX: usize = 100;
const KEY_ID_BYTES_MAX: usize = 1024;

/// The public keys of a provider, as it told them once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    /// The one algorithm that the provider uses it with, if it says so.
    algorithm: Option<Algorithm>,
    public: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PublicKey {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct SetForm<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct KeyForm {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

// === impl KeySet ===

impl KeySet {
    /// Reads a provider's document. Keys of other kinds and for other uses are passed over. An empty set is a set: its
    /// provider has taken all keys back.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let form: SetForm<'_> = json::read(text).map_err(|error| format!("it is no set of keys: {error}"))?;
        if form.keys.len() > KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        let keys = form.keys.iter().filter_map(|key| json::read(key.get().as_bytes()).ok().and_then(Key::of));
        Ok(Self { keys: keys.collect() })
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns true if the key with this fingerprint is one of them.
    pub fn has(&self, fingerprint: &str) -> bool {
        self.keys.iter().any(|key| key.public.fingerprint() == fingerprint)
    }

    /// Checks the signature. Returns the fingerprint of the key that made it.
    pub fn verify(&self, token: &SignedToken<'_>) -> Result<String, JwtError> {
        let named: Vec<&Key> = self.keys.iter().filter(|key| token.key_id.is_none() || key.id == token.key_id).collect();
        if named.is_empty() {
            return Err(JwtError::UnknownKey);
        }
        let fitting: Vec<&Key> = named.into_iter().filter(|key| key.fits(token.algorithm)).collect();
        if token.key_id.is_none() && fitting.len() > 1 {
            return Err(JwtError::Malformed("it names no key, and the provider has several"));
        }
        let signed = fitting.into_iter().find(|key| key.public.verify(token));
        signed.map(|key| key.public.fingerprint()).ok_or(JwtError::Signature)
    }
}

// === impl Key ===

impl Key {
    fn of(form: KeyForm) -> Option<Self> {
        let is_for = |wanted: &str, found: &str| wanted == found;
        let signs = form.usage.as_deref().is_none_or(|usage| is_for("sig", usage));
        let verifies = form.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| is_for("verify", op)));
        let id_fits = form.kid.as_ref().is_none_or(|kid| kid.len() <= KEY_ID_BYTES_MAX);
        if !signs || !verifies || !id_fits {
            return None;
        }
        let algorithm = match &form.alg {
            Some(raw) => Some(raw.parse().ok()?),
            None => None,
        };
        let key = Self { public: PublicKey::of(&form)?, id: form.kid, algorithm };
        key.algorithm.is_none_or(|own| key.public.fits(own)).then_some(key)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.public.fits(algorithm)
    }
}

// === impl PublicKey ===

impl PublicKey {
    fn of(form: &KeyForm) -> Option<Self> {
        let number = |raw: &Option<String>| URL_SAFE_NO_PAD.decode(raw.as_deref()?).ok();
        let sized = |raw: &Option<String>, bytes: usize| number(raw).filter(|number| number.len() == bytes);
        let point = |bytes| Some([vec![4], sized(&form.x, bytes)?, sized(&form.y, bytes)?].concat());
        match (form.kty.as_str(), form.crv.as_deref()) {
            ("RSA", _) => Some(Self::Rsa { n: without_zeros(number(&form.n)?), e: without_zeros(number(&form.e)?) }),
            ("EC", Some("P-256")) => point(32).map(Self::P256),
            ("EC", Some("P-384")) => point(48).map(Self::P384),
            ("OKP", Some("Ed25519")) => sized(&form.x, 32).map(Self::Ed25519),
            _ => None,
        }
    }

    /// Returns true if the algorithm is one for this kind of key: a public key is never the secret of another algorithm.
    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => algorithm.rsa().is_some(),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::P384(_) => algorithm == Algorithm::Es384,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    fn verify(&self, token: &SignedToken<'_>) -> bool {
        let SignedToken { message, signature, algorithm, .. } = token;
        let by = |algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
            UnparsedPublicKey::new(algorithm, bytes).verify(message, signature).is_ok()
        };
        match self {
            Self::Rsa { n, e } => algorithm
                .rsa()
                .is_some_and(|parameters| RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()),
            Self::P256(point) => by(&signature::ECDSA_P256_SHA256_FIXED, point),
            Self::P384(point) => by(&signature::ECDSA_P384_SHA384_FIXED, point),
            Self::Ed25519(point) => by(&signature::ED25519, point),
        }
    }

    fn fingerprint(&self) -> String {
        let (kind, parts): (&str, [&[u8]; 2]) = match self {
            Self::Rsa { n, e } => ("rsa", [n, e]),
            Self::P256(point) => ("p256", [point, &[]]),
            Self::P384(point) => ("p384", [point, &[]]),
            Self::Ed25519(point) => ("ed25519", [point, &[]]),
        };
        let mut hash = Sha256::new_with_prefix(kind);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Keys with a token of each algorithm, made by another implementation: Node's.
    fn vectors() -> Vec<(Algorithm, Value, String)> {
        let all: Vec<Value> = serde_json::from_str(include_str!("vectors.json")).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        all.iter().map(|one| (text(&one["alg"]).parse().expect("known"), one["jwk"].clone(), text(&one["jwt"]))).collect()
    }

    fn set(keys: &[&Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set")
    }

    #[track_caller]
    fn check(set: &KeySet, jwt: &str, expected: Result<(), JwtError>) {
        let verified = SignedToken::parse(jwt).and_then(|token| set.verify(&token));
        assert_eq!(verified.map(drop), expected, "{jwt}");
    }

    #[test]
    fn each_algorithm_verifies_what_another_implementation_signed() {
        let vectors = vectors();
        assert_eq!(vectors.len(), Algorithm::ALL.len());
        for (algorithm, jwk, jwt) in &vectors {
            let own = set(&[jwk]);
            check(&own, jwt, Ok(()));
            let mut broken = jwt.clone().into_bytes();
            let at = broken.len() - 20;
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            check(&own, &String::from_utf8(broken).expect("ASCII"), Err(JwtError::Signature));
            let (head, signature) = jwt.rsplit_once('.').expect("parts");
            let other_claims = format!("{}.e30.{signature}", head.split_once('.').expect("parts").0);
            check(&own, &other_claims, Err(JwtError::Signature));
            for (other, _, other_jwt) in &vectors {
                // One RSA key signed all tokens of RSA, as providers do.
                let is_same_kind = other.rsa().is_some() && algorithm.rsa().is_some();
                if other != algorithm && !is_same_kind {
                    check(&own, &renamed(other_jwt, *algorithm), Err(JwtError::Signature));
                }
            }
        }
    }

    /// Gives a token the algorithm of another in its header.
    fn renamed(jwt: &str, algorithm: Algorithm) -> String {
        let (_, rest) = jwt.split_once('.').expect("parts");
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","kid":"k"}}"#)))
    }

    #[test]
    fn a_key_is_used_only_with_its_own_algorithms() {
        let vectors = vectors();
        let (_, jwk, jwt) = &vectors[0];
        let with = |field: &str, value: Value| {
            let mut changed = jwk.clone();
            changed[field] = value;
            set(&[&changed])
        };
        check(&with("alg", json!("RS256")), jwt, Ok(()));
        check(&with("use", json!("sig")), jwt, Ok(()));
        check(&with("alg", json!("RS512")), jwt, Err(JwtError::Signature));
        check(&with("alg", json!("PS256")), jwt, Err(JwtError::Signature));
        for (field, value) in [
            ("alg", json!("HS256")),
            ("alg", json!("RSA-OAEP")),
            ("use", json!("enc")),
            ("key_ops", json!(["sign"])),
            ("kty", json!("oct")),
            ("kid", json!("other")),
            ("kid", Value::Null),
            ("n", json!("")),
            ("n", json!("!")),
        ] {
            let set = with(field, value.clone());
            let expected = if field == "n" && value == "" { JwtError::Signature } else { JwtError::UnknownKey };
            check(&set, jwt, Err(expected));
        }
        // A curve's point needs its whole length.
        let (_, p256, jwt) = vectors.iter().find(|(algorithm, ..)| *algorithm == Algorithm::Es256).expect("there");
        let mut short = p256.clone();
        short["x"] = json!("AA");
        check(&set(&[&short]), jwt, Err(JwtError::UnknownKey));
    }

    #[test]
    fn a_token_without_a_key_id_needs_a_provider_with_one_key() {
        let vectors = vectors();
        let find = |wanted| vectors.iter().find(|(algorithm, ..)| *algorithm == wanted).expect("there");
        let (_, rsa, _) = find(Algorithm::Rs256);
        let (_, p256, jwt) = find(Algorithm::Es256);
        let nameless = renamed(jwt, Algorithm::Es256);
        // The header is signed as well, so another header breaks the signature; the choice of the key comes before.
        let no_kid = |jwt: &str| {
            let (_, rest) = jwt.split_once('.').expect("parts");
            format!("{}.{rest}", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#))
        };
        check(&set(&[rsa, p256]), &no_kid(jwt), Err(JwtError::Signature));
        check(&set(&[p256, p256]), &no_kid(jwt), Err(JwtError::Malformed("it names no key, and the provider has several")));
        check(&set(&[rsa]), &no_kid(jwt), Err(JwtError::Signature));
        check(&set(&[]), &no_kid(jwt), Err(JwtError::UnknownKey));
        check(&set(&[rsa]), &nameless, Err(JwtError::Signature));
    }

    #[test]
    fn only_a_set_of_keys_is_one() {
        for wrong in ["", "{}", "[]", "null", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>"] {
            assert!(KeySet::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let many = vec![json!({}); KEYS_MAX + 1];
        assert!(KeySet::parse(json!({ "keys": many }).to_string().as_bytes()).is_err());
        let odd = KeySet::parse(br#"{"keys":[{}, 7, null, {"kty":"oct","k":"AA"}, {"kty":"RSA"}]}"#).expect("a set");
        assert!(odd.is_empty());
    }

    #[test]
    fn a_fingerprint_is_that_of_the_key() {
        let vectors = vectors();
        let (_, jwk, jwt) = &vectors[0];
        let (_, other, _) = vectors.last().expect("one");
        let own = set(&[jwk]);
        let fingerprint = own.verify(&SignedToken::parse(jwt).expect("a token")).expect("verified");
        assert!(own.has(&fingerprint) && !set(&[other]).has(&fingerprint));
        // Another name makes no other key.
        let mut renamed = jwk.clone();
        renamed["kid"] = json!("renamed");
        assert!(set(&[&renamed]).has(&fingerprint));
    }
}
