//! The rule on signatures, case by case.

use ring::signature::{Ed25519KeyPair, KeyPair};

use super::*;
use crate::model::signing_key::PublicKey;

fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed");
    let public = PublicKey::new(pair.public_key().as_ref().try_into().expect("32 bytes")).expect("a key");
    (pair, public)
}

/// A signature that the module is team `t`'s, by the key of this seed.
fn sealed(seed: u8, module: &[u8]) -> Envelope {
    let (pair, public) = pair(seed);
    let team = "t".parse().expect("valid");
    Envelope::seal(&Digest::of(module), &team, &public.id(), |text| pair.sign(text).as_ref().to_vec())
}

/// Accepts module `m` of team `t`: the envelope and the seed of the key with which it is deployed, or the refusal's code.
#[track_caller]
fn check(
    required: bool,
    keys: &[u8],
    sent: Option<&Envelope>,
    known: &[Envelope],
    expected: Result<Option<(Envelope, Option<u8>)>, Code>,
) {
    let rule = SigningRule { required, keys: keys.iter().map(|seed| pair(*seed).1).collect() };
    let found = accept(&"t".parse().expect("valid"), &Digest::of(b"m"), &rule, sent, None, known);
    let expected = expected.map(|signature| {
        signature.map(|(envelope, key)| ModuleSignature { envelope, key: key.map(|seed| pair(seed).1.id()) })
    });
    assert_eq!(found.map(|accepted| accepted.signature).map_err(|violation| violation.code), expected);
}

#[test]
fn a_module_is_accepted_by_the_rule_of_its_team() {
    let [one, two] = [sealed(1, b"m"), sealed(2, b"m")];
    let other = sealed(1, b"n");
    let by = |envelope: &Envelope, key| Ok(Some((envelope.clone(), key)));
    // Nothing was sent.
    check(false, &[], None, &[], Ok(None));
    check(false, &[1], None, &[], Ok(None));
    check(true, &[1], None, &[], Err(Code::Unsigned));
    check(true, &[], None, &[], Err(Code::Unsigned));
    // The team has deployed it before, with a signature that counts, or counts no more.
    check(true, &[1], None, &[two.clone(), one.clone()], by(&one, Some(1)));
    check(true, &[3], None, &[two.clone(), one.clone()], Err(Code::BadSignature));
    check(false, &[3], None, std::slice::from_ref(&two), by(&two, None));
    // One was sent.
    check(true, &[2, 1], Some(&one), &[], by(&one, Some(1)));
    check(false, &[1], Some(&one), &[], by(&one, Some(1)));
    check(false, &[], Some(&one), &[], by(&one, None));
    check(true, &[], Some(&one), &[], Err(Code::BadSignature));
    for required in [true, false] {
        check(required, &[2], Some(&one), std::slice::from_ref(&two), Err(Code::BadSignature));
        check(required, &[1], Some(&other), &[], Err(Code::BadSignature));
    }
    check(false, &[], Some(&other), &[], Err(Code::BadSignature));
}

#[test]
fn the_signature_of_the_transform_itself_comes_before_those_of_others() {
    let [one, two] = [sealed(1, b"m"), sealed(2, b"m")];
    let known = [one.clone(), two.clone()];
    for (required, keys, own, expected) in [
        (true, [1, 2], &one, &one),
        (true, [1, 2], &two, &two),
        (true, [1, 3], &two, &one),
        (false, [1, 2], &two, &two),
        (false, [3, 4], &two, &two),
    ] {
        let rule = SigningRule { required, keys: keys.iter().map(|seed| pair(*seed).1).collect() };
        let found = accept(&"t".parse().expect("valid"), &Digest::of(b"m"), &rule, None, Some(own), &known);
        let envelope = found.expect("accepted").signature.map(|signature| signature.envelope);
        assert_eq!(envelope.as_ref(), Some(expected), "{required} {keys:?} {own:?}");
    }
}

#[test]
fn a_signature_that_nobody_verifies_has_a_warning() {
    let team = "t".parse().expect("valid");
    let accepted = accept(&team, &Digest::of(b"m"), &SigningRule::default(), Some(&sealed(1, b"m")), None, &[]);
    let warning = accepted.expect("accepted").warning.expect("a warning");
    assert!(warning.contains("nobody verifies"), "{warning}");
}

#[test]
fn a_host_runs_a_module_by_the_rule_of_the_moment() {
    #[track_caller]
    fn check(required: bool, keys: &[u8], signature: Option<Envelope>, expected: Result<(), Code>) {
        let rule = SigningRule { required, keys: keys.iter().map(|seed| pair(*seed).1).collect() };
        let found = check_signature(&"t".parse().expect("valid"), &Digest::of(b"m"), &rule, signature.as_ref());
        assert_eq!(found.map_err(|violation| violation.code), expected);
    }
    check(false, &[1], None, Ok(()));
    check(false, &[1], Some(sealed(2, b"m")), Ok(()));
    check(true, &[1], Some(sealed(1, b"m")), Ok(()));
    check(true, &[1], None, Err(Code::Unsigned));
    check(true, &[2], Some(sealed(1, b"m")), Err(Code::BadSignature));
    check(true, &[1], Some(sealed(1, b"n")), Err(Code::BadSignature));
    check(true, &[], Some(sealed(1, b"m")), Err(Code::BadSignature));
}
