//! AWS Signature Version 4 as a signed URL: a GET without a body, whose only signed header is `host`.

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::https::encoded;
use crate::model::units::{Rfc3339, Timestamp};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Keys of a principal of AWS.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    /// The token that belongs to keys that end.
    pub session: Option<String>,
}

/// The service that a request is for, and its time.
pub struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
    pub at: Timestamp,
    pub valid_s: u64,
}

/// A request that is signed.
pub struct Target<'a> {
    pub host: &'a str,
    pub path: &'a str,
    pub parameters: &'a [(&'a str, &'a str)],
    /// The hash of its body in hex, or the word that stands for it.
    pub body_hash: &'a str,
}

/// Returns the query of the signed URL.
pub fn signed_query(target: &Target<'_>, keys: &Keys, scope: &Scope<'_>) -> String {
    let Scope { region, service, at, valid_s } = scope;
    let time = basic_time(*at);
    let day = &time[..8];
    let place = format!("{day}/{region}/{service}/aws4_request");
    let credential = format!("{}/{place}", keys.id);
    let valid_s = valid_s.to_string();
    let mut parameters = target.parameters.to_vec();
    parameters.extend([
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &time),
        ("X-Amz-Expires", &valid_s),
        ("X-Amz-SignedHeaders", "host"),
    ]);
    parameters.extend(keys.session.as_deref().map(|session| ("X-Amz-Security-Token", session)));
    // By the name alone: `=` comes behind some characters of names.
    let mut pairs: Vec<(String, String)> = parameters.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let query = pairs.join("&");
    let Target { host, path, body_hash, .. } = target;
    let request = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\n{body_hash}");
    let text = format!("{ALGORITHM}\n{time}\n{place}\n{}", hash(request.as_bytes()));
    let first = format!("AWS4{}", keys.secret).into_bytes();
    let key = [day, region, service, "aws4_request"].iter().fold(first, |key, part| mac(&key, part.as_bytes()));
    format!("{query}&X-Amz-Signature={}", hex::encode(mac(&key, text.as_bytes())))
}

/// Hashes a body.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A time as `YYYYMMDDTHHMMSSZ`.
fn basic_time(at: Timestamp) -> String {
    let text = Rfc3339(at).to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.trim_end_matches('Z').replace(['-', ':'], ""))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<Rfc3339>().expect("valid").0
    }

    /// Compares with the signature of a case of AWS's test suite for Signature Version 4 (`query-signed-request.txt`).
    #[track_caller]
    fn check(parameters: &[(&str, &str)], session: Option<&str>, signature: &str) {
        let keys = Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: session.map(str::to_owned),
        };
        let scope = Scope { region: "us-east-1", service: "service", at: at("2015-08-30T12:36:00Z"), valid_s: 3600 };
        let target = Target { host: "example.amazonaws.com", path: "/", parameters, body_hash: &hash(b"") };
        let query = signed_query(&target, &keys, &scope);
        assert_eq!(query.split("X-Amz-Signature=").nth(1), Some(signature), "{parameters:?}: {query}");
    }

    #[test]
    fn the_requests_of_the_test_suite_have_its_signatures() {
        // get-vanilla-with-session-token
        let session = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        check(&[], Some(session), "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c");
        // get-vanilla-query-order-encoded
        let parameters = [("Param-3", "Value3"), ("Param", "Value2"), ("\u{1234}", "Value1")];
        check(&parameters, None, "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787");
    }

    /// The example of a presigned URL in the documentation of S3, whose body is not signed.
    #[test]
    fn the_documented_url_has_its_signature() {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        };
        let scope = Scope { region: "us-east-1", service: "s3", at: at("2013-05-24T00:00:00Z"), valid_s: 86_400 };
        let host = "examplebucket.s3.amazonaws.com";
        let target = Target { host, path: "/test.txt", parameters: &[], body_hash: "UNSIGNED-PAYLOAD" };
        let expected = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
            aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
            X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert_eq!(signed_query(&target, &keys, &scope), expected);
    }
}
