//! Signatures of modules: a statement that a module is a team's, signed with a key of the team.
//!
//! Both formats are standards: the envelope is DSSE (<https://github.com/secure-systems-lab/dsse>), and the statement in it
//! is in-toto's, version 1. The signature covers the type of the payload and its bytes as they are, so nothing is written
//! anew before it is verified, and nothing that was signed for another purpose passes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::json;
use super::names::{Digest, TeamName};
use super::signing_key::{KeyId, PublicKey};
use super::text;

/// Largest envelope, as JSON.
pub const ENVELOPE_BYTES_MAX: usize = 16 << 10;
/// Most signatures in one envelope that are looked at.
const SIGNATURES_MAX: usize = 16;
/// Text of an envelope in a message.
const TEXT_BYTES_MAX: usize = 200;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of our statements: "this module is the named team's". Another meaning gets another type.
const PREDICATE_TYPE: &str = "https://github.com/sandbar-rs/sandbar/module-of-team/v1";

/// A signed statement, as DSSE writes it. Its content counts only after [`Envelope::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload_type: String,
    /// The statement, in base64.
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EnvelopeSignature {
    /// A hint for readers. Nobody has signed it, so nothing depends on it.
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The signature of a revision's module, with the key that it was verified with; `None`: the team has no keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSignature {
    pub envelope: Envelope,
    pub key: Option<KeyId>,
}

/// The content of an envelope.
#[derive(Debug, Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Debug, Serialize, Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Predicate {
    team: TeamName,
}

/// The reason why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the signature cannot be read: {0}")]
    Malformed(String),
    #[error("team {0} has no signing keys, so no signature counts")]
    NoKeys(TeamName),
    #[error("no signing key of team {team} has made the signature (it names key {named})")]
    UnknownKey { team: TeamName, named: String },
    #[error("the signature is for another module ({0})")]
    OtherModule(String),
    #[error("the signature is for team {signed}, and not for team {team}")]
    OtherTeam { signed: TeamName, team: TeamName },
}

// === impl Envelope ===

impl Envelope {
    /// Reads an envelope.
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        if text.len() > ENVELOPE_BYTES_MAX {
            return Err(malformed(format_args!("it has {} bytes, the limit is {ENVELOPE_BYTES_MAX}", text.len())));
        }
        json::read(text).map_err(malformed)
    }

    /// Makes an envelope. `sign` returns the signature of a text.
    pub fn seal(module: &Digest, team: &TeamName, key: &KeyId, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        let digest = [("sha256".to_owned(), module.hex())].into();
        let statement = Statement {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { digest }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate { team: team.clone() },
        };
        let payload = serde_json::to_vec(&statement).expect("a statement is plain data");
        let sig = STANDARD.encode(sign(&signed_text(PAYLOAD_TYPE, &payload)));
        let signatures = vec![EnvelopeSignature { keyid: key.to_string(), sig }];
        Self { payload_type: PAYLOAD_TYPE.to_owned(), payload: STANDARD.encode(payload), signatures }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an envelope is plain data")
    }

    /// Checks that one of the keys has signed that the module is the team's. Returns the id of that key.
    pub fn verify(&self, module: &Digest, team: &TeamName, keys: &[PublicKey]) -> Result<KeyId, SignatureError> {
        if keys.is_empty() {
            return Err(SignatureError::NoKeys(team.clone()));
        }
        let payload = self.payload()?;
        let text = signed_text(&self.payload_type, &payload);
        let signatures = self.signatures.iter().take(SIGNATURES_MAX).filter_map(|signature| decoded(&signature.sig));
        let signatures: Vec<Vec<u8>> = signatures.collect();
        let is_signer = |key: &&PublicKey| signatures.iter().any(|signature| key.verifies(&text, signature));
        let unknown = || SignatureError::UnknownKey { team: team.clone(), named: self.named_keys() };
        let key = keys.iter().find(is_signer).ok_or_else(unknown)?;
        self.check_statement(module, team)?;
        Ok(key.id())
    }

    /// Checks that the statement is about the module and the team, whoever has signed it.
    pub fn check_statement(&self, module: &Digest, team: &TeamName) -> Result<(), SignatureError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(malformed(format_args!("its payload is not of type {PAYLOAD_TYPE}")));
        }
        let statement: Statement = json::read(&self.payload()?).map_err(malformed)?;
        if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
            return Err(malformed(format_args!("it is no statement of type {PREDICATE_TYPE}")));
        }
        let hex = module.hex();
        let digests = || statement.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
        if !digests().any(|digest| *digest == hex) {
            let signed = digests().next().map_or("no sha256", String::as_str);
            return Err(SignatureError::OtherModule(shown(signed)));
        }
        if statement.predicate.team != *team {
            return Err(SignatureError::OtherTeam { signed: statement.predicate.team, team: team.clone() });
        }
        Ok(())
    }

    fn payload(&self) -> Result<Vec<u8>, SignatureError> {
        let is_short = self.payload.len() <= ENVELOPE_BYTES_MAX;
        let payload = is_short.then(|| decoded(&self.payload)).flatten();
        payload.ok_or_else(|| malformed("its payload is not base64, or too long"))
    }

    fn named_keys(&self) -> String {
        let named: Vec<&str> = self.signatures.iter().take(SIGNATURES_MAX).map(|signature| &*signature.keyid).collect();
        shown(&named.join(", "))
    }
}

fn malformed(reason: impl std::fmt::Display) -> SignatureError {
    SignatureError::Malformed(shown(&reason.to_string()))
}

fn shown(foreign: &str) -> String {
    text::one_line(text::cut(foreign, TEXT_BYTES_MAX)).into_owned()
}

/// Reads base64. DSSE permits both alphabets.
fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// The text that is signed: DSSE's pre-authentication encoding of the type and the payload.
fn signed_text(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
