//! Signatures that pass, and everything around them that does not.

use ring::signature::{Ed25519KeyPair, KeyPair};

use super::*;

/// A key pair, from a seed of one byte.
fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed");
    let public = PublicKey::new(pair.public_key().as_ref().try_into().expect("32 bytes")).expect("a key");
    (pair, public)
}

fn team(name: &str) -> TeamName {
    name.parse().expect("valid")
}

/// Signs that module `m` is team `stock`'s.
fn sealed(seed: u8) -> Envelope {
    let (pair, public) = pair(seed);
    Envelope::seal(&Digest::of(b"m"), &team("stock"), &public.id(), |text| pair.sign(text).as_ref().to_vec())
}

/// An envelope with any payload, rightly signed.
fn with_payload(payload_type: &str, payload: &str) -> Envelope {
    let (pair, _) = pair(1);
    let sig = STANDARD.encode(pair.sign(&signed_text(payload_type, payload.as_bytes())).as_ref());
    let signatures = vec![EnvelopeSignature { keyid: String::new(), sig }];
    Envelope { payload_type: payload_type.to_owned(), payload: STANDARD.encode(payload), signatures }
}

#[track_caller]
fn check_refused(envelope: &Envelope, module: &[u8], of: &str, keys: &[PublicKey], part: &str) {
    let refused = envelope.verify(&Digest::of(module), &team(of), keys).expect_err(part).to_string();
    assert!(refused.contains(part), "{part:?} is not in {refused:?}");
}

#[test]
fn the_text_that_is_signed_is_dsses() {
    // The example of the specification.
    let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(signed_text("http://example.com/HelloWorld", b"hello world"), expected);
}

#[test]
fn a_signature_counts_for_its_module_its_team_and_its_key() {
    let [one, two] = [1, 2].map(|seed| pair(seed).1);
    let envelope = sealed(1);
    let read = Envelope::parse(envelope.to_json().as_bytes()).expect("an envelope");
    assert_eq!(read, envelope);
    assert_eq!(read.verify(&Digest::of(b"m"), &team("stock"), &[two, one]), Ok(one.id()));
    check_refused(&envelope, b"n", "stock", &[one], "for another module");
    check_refused(&envelope, b"m", "shop", &[one], "is for team stock, and not for team shop");
    check_refused(&envelope, b"m", "stock", &[two], "no signing key of team stock");
    check_refused(&envelope, b"m", "stock", &[], "has no signing keys");
}

#[test]
fn no_part_of_an_envelope_can_be_changed() {
    let (_, key) = pair(1);
    let envelope = sealed(1);
    let payload = String::from_utf8(STANDARD.decode(&envelope.payload).expect("base64")).expect("text");
    let other = Envelope { payload: STANDARD.encode(payload.replace("stock", "shops")), ..envelope.clone() };
    check_refused(&other, b"m", "shops", &[key], "no signing key");
    let other = Envelope { payload_type: "application/json".to_owned(), ..envelope.clone() };
    check_refused(&other, b"m", "stock", &[key], "no signing key");
    let other = Envelope { signatures: sealed(2).signatures, ..envelope.clone() };
    check_refused(&other, b"m", "stock", &[key], "no signing key");
    let other = Envelope { signatures: Vec::new(), ..envelope.clone() };
    check_refused(&other, b"m", "stock", &[key], "no signing key");
    // The id of the key is a hint alone: a false one lets nothing pass, and keeps nothing out.
    let named = |seed: u8, keyid: String| {
        let signatures = sealed(seed).signatures.into_iter().map(|it| EnvelopeSignature { keyid: keyid.clone(), ..it });
        Envelope { signatures: signatures.collect(), ..sealed(seed) }
    };
    check_refused(&named(2, key.id().to_string()), b"m", "stock", &[key], "no signing key");
    assert!(named(1, "x".to_owned()).verify(&Digest::of(b"m"), &team("stock"), &[key]).is_ok());
}

#[test]
fn one_of_several_signatures_is_enough_and_too_many_are_not_looked_at() {
    let (_, key) = pair(1);
    let own = sealed(1).signatures;
    let foreign = sealed(2).signatures;
    let repeated =
        |count: usize| Envelope { signatures: [vec![foreign[0].clone(); count], own.clone()].concat(), ..sealed(1) };
    assert!(repeated(15).verify(&Digest::of(b"m"), &team("stock"), &[key]).is_ok());
    check_refused(&repeated(16), b"m", "stock", &[key], "no signing key");
}

#[test]
fn statements_of_another_kind_do_not_pass_though_the_key_has_signed_them() {
    let (_, key) = pair(1);
    let module = Digest::of(b"m").hex();
    let statement = |kind: &str, predicate: &str, algorithm: &str, more: &str| {
        format!(
            r#"{{"_type":"{kind}","subject":[{{"digest":{{"{algorithm}":"{module}"}}}}],"predicateType":"{predicate}","predicate":{{"team":"stock"{more}}}}}"#
        )
    };
    let good = statement(STATEMENT_TYPE, PREDICATE_TYPE, "sha256", r#","more":1"#);
    assert!(with_payload(PAYLOAD_TYPE, &good).verify(&Digest::of(b"m"), &team("stock"), &[key]).is_ok());
    for (payload_type, payload, part) in [
        ("text/plain", good.clone(), "not of type"),
        (PAYLOAD_TYPE, statement("https://in-toto.io/Statement/v0.1", PREDICATE_TYPE, "sha256", ""), "no statement of type"),
        (PAYLOAD_TYPE, statement(STATEMENT_TYPE, "https://slsa.dev/provenance/v1", "sha256", ""), "no statement of type"),
        (PAYLOAD_TYPE, statement(STATEMENT_TYPE, PREDICATE_TYPE, "sha512", ""), "another module (no sha256)"),
        (PAYLOAD_TYPE, statement(STATEMENT_TYPE, PREDICATE_TYPE, "sha256", r#","team":"shop""#), "duplicate field"),
        (PAYLOAD_TYPE, good.replace(r#""team":"stock","#, ""), "missing field `team`"),
        (PAYLOAD_TYPE, "[]".to_owned(), "cannot be read"),
    ] {
        check_refused(&with_payload(payload_type, &payload), b"m", "stock", &[key], part);
    }
}

#[test]
fn texts_that_are_no_envelope_are_refused() {
    let large = format!(r#"{{"payloadType":"x","payload":"{}","signatures":[]}}"#, "A".repeat(ENVELOPE_BYTES_MAX));
    for text in ["", "{}", "[]", r#"["x","y",[]]"#, r#"{"payloadType":"x","payload":1,"signatures":[]}"#, &large] {
        assert!(matches!(Envelope::parse(text.as_bytes()), Err(SignatureError::Malformed(_))), "{text:.80}");
    }
}
