//! The source that an owner's properties ask for. The names are librdkafka's, or those of Kafka's Java clients; those of AWS
//! are Sandbar's own.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::aws_keys::{Environment, KeyChain, Own};
use super::https::{Authorities, Https, check_url};
use super::msk::MskIam;
use super::oidc::ClientCredentials;
use super::sigv4::Keys;
use crate::kafka::token::TokenSource;

const METHOD: &str = "sasl.oauthbearer.method";
const GRANT: &str = "sasl.oauthbearer.grant.type";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
const ENCODES: &str = "sasl.oauthbearer.header.urlencode";
const EXTENSIONS: &str = "sasl.oauthbearer.extensions";
const TIME: &str = "sasl.oauthbearer.timeout.ms";
const CA_LOCATION: &str = "https.ca.location";
const CA_PEM: &str = "https.ca.pem";
const REGION: &str = "sasl.oauthbearer.aws.region";
const KEY_ID: &str = "sasl.oauthbearer.aws.access.key.id";
const KEY_SECRET: &str = "sasl.oauthbearer.aws.secret.access.key";
const KEY_SESSION: &str = "sasl.oauthbearer.aws.session.token";
const ROLE: &str = "sasl.oauthbearer.aws.role.arn";
const ROLE_SESSION: &str = "sasl.oauthbearer.aws.role.session.name";
const IDENTITY: &str = "sasl.oauthbearer.aws.web.identity.token.file";
const STS: &str = "sasl.oauthbearer.aws.sts.endpoint.url";

/// Properties of each method, and of both. librdkafka sees none of them, so an unknown one is refused here.
const OF_OIDC: [&str; 6] = [GRANT, ENDPOINT, CLIENT_ID, CLIENT_SECRET, SCOPE, ENCODES];
const OF_AWS: [&str; 8] = [REGION, KEY_ID, KEY_SECRET, KEY_SESSION, ROLE, ROLE_SESSION, IDENTITY, STS];
const OF_BOTH: [&str; 5] = [METHOD, EXTENSIONS, TIME, CA_LOCATION, CA_PEM];

const TIME_DEFAULT_MS: u64 = 10_000;
const TIME_MS: RangeInclusive<u64> = 100..=60_000;

/// Names and values that go to the broker beside a token.
pub type Extensions = Vec<(String, String)>;

type Given = BTreeMap<String, String>;

/// Makes the source and the extensions of its tokens. No error has a value in it.
pub fn source(given: &Given, environment: Environment) -> Result<(Box<dyn TokenSource>, Extensions), String> {
    let method = value(given, METHOD).map(str::to_ascii_lowercase);
    let (source, own): (Box<dyn TokenSource>, &[&str]) = match method.as_deref() {
        Some("oidc") => (Box::new(oidc(given)?), &OF_OIDC),
        Some("aws-msk-iam") => (Box::new(msk(given, environment)?), &OF_AWS),
        _ => return Err(format!("{METHOD} has to be oidc or aws-msk-iam")),
    };
    if let Some(name) = given.keys().find(|name| !own.contains(&name.as_str()) && !OF_BOTH.contains(&name.as_str())) {
        return Err(format!("{name} is not supported with this {METHOD}"));
    }
    Ok((source, extensions(value(given, EXTENSIONS).unwrap_or_default())?))
}

/// Returns true if nothing but the client's secret differs.
pub fn has_same_owner(one: &Given, other: &Given) -> bool {
    let without = |given: &Given| {
        let mut rest = given.clone();
        rest.remove(CLIENT_SECRET);
        rest
    };
    without(one) == without(other)
}

fn oidc(given: &Given) -> Result<ClientCredentials, String> {
    if value(given, GRANT).is_some_and(|grant| grant != "client_credentials") {
        return Err(format!("{GRANT} has to be client_credentials"));
    }
    let endpoint = needed(given, ENDPOINT)?;
    check_url(&endpoint, &[]).map_err(|why| format!("{ENDPOINT}: {why}"))?;
    let encodes = match value(given, ENCODES) {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(format!("{ENCODES} has to be true or false")),
    };
    Ok(ClientCredentials {
        https: https(given)?,
        endpoint,
        id: needed(given, CLIENT_ID)?,
        secret: needed(given, CLIENT_SECRET)?,
        scope: value(given, SCOPE).map(str::to_owned),
        encodes,
    })
}

fn msk(given: &Given, environment: Environment) -> Result<MskIam, String> {
    let of_environment = || environment("AWS_REGION").or_else(|| environment("AWS_DEFAULT_REGION"));
    let region = value(given, REGION).map(str::to_owned).or_else(of_environment);
    let region = region.ok_or_else(|| format!("{REGION} is missing, and so is AWS_REGION"))?;
    if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(format!("{REGION} is no region of AWS"));
    }
    let owned = |name| value(given, name).map(str::to_owned);
    let own = match (owned(KEY_ID), owned(ROLE)) {
        (Some(_), Some(_)) => return Err(format!("{KEY_ID} and {ROLE} exclude each other")),
        (Some(id), None) => Own::Keys(Keys { id, secret: needed(given, KEY_SECRET)?, session: owned(KEY_SESSION) }),
        (None, Some(arn)) => Own::Role { arn, session: owned(ROLE_SESSION), token_file: owned(IDENTITY) },
        (None, None) => Own::Host,
    };
    let sts = owned(STS);
    if let Some(url) = &sts {
        check_url(url, &[]).map_err(|why| format!("{STS}: {why}"))?;
    }
    let keys = KeyChain { own, region: region.clone(), sts, https: https(given)?, environment };
    Ok(MskIam { region, keys })
}

fn https(given: &Given) -> Result<Https, String> {
    let authorities = match (value(given, CA_LOCATION), value(given, CA_PEM)) {
        (Some(_), Some(_)) => return Err(format!("{CA_LOCATION} and {CA_PEM} exclude each other")),
        (Some("probe") | None, None) => Authorities::System,
        (Some(path), None) => Authorities::File(path.into()),
        (None, Some(text)) => Authorities::Pem(text.to_owned()),
    };
    let time_ms = value(given, TIME).map_or(Ok(TIME_DEFAULT_MS), str::parse).ok().filter(|time| TIME_MS.contains(time));
    let range = || format!("{TIME} has to be a number from {} to {}", TIME_MS.start(), TIME_MS.end());
    Ok(Https { authorities, time: Duration::from_millis(time_ms.ok_or_else(range)?) })
}

/// Reads `name=value,name=value`, with the characters that RFC 7628 permits.
fn extensions(text: &str) -> Result<Extensions, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let is_name = !name.is_empty() && name != "auth" && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_value = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        (is_name && is_value).then(|| (name.to_owned(), value.to_owned()))
    };
    let all: Option<Extensions> = pairs.map(read).collect();
    all.ok_or_else(|| format!("{EXTENSIONS} has to be name=value,name=value with names of letters, and without \"auth\""))
}

fn value<'a>(given: &'a Given, name: &str) -> Option<&'a str> {
    given.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn needed(given: &Given, name: &str) -> Result<String, String> {
    value(given, name).map(str::to_owned).ok_or_else(|| format!("{name} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `refused`: a part of the error.
    #[track_caller]
    fn check(lines: &[&str], refused: Option<&str>) {
        let pairs = lines.iter().filter_map(|line| line.split_once('='));
        let given = pairs.map(|(name, value)| (format!("sasl.oauthbearer.{name}"), value.to_owned())).collect();
        let found = source(&given, Box::new(|_| None)).map(drop);
        match refused {
            None => assert_eq!(found, Ok(()), "{lines:?}"),
            Some(part) => assert!(found.clone().is_err_and(|why| why.contains(part)), "{lines:?}: {found:?}"),
        }
    }

    const OIDC: [&str; 4] =
        ["method=oidc", "client.id=a", "client.secret=hush", "token.endpoint.url=https://id.example/token"];
    const MSK: [&str; 2] = ["method=aws-msk-iam", "aws.region=eu-west-1"];

    #[track_caller]
    fn check_more(base: &[&str], more: &str, refused: Option<&str>) {
        check(&[base, &[more]].concat(), refused);
    }

    #[test]
    fn each_method_has_its_properties_and_no_others() {
        check(&OIDC, None);
        check(&OIDC[..3], Some("token.endpoint.url is missing"));
        check(&OIDC[1..], Some("oidc or aws-msk-iam"));
        check_more(&OIDC[1..], "method=default", Some("oidc or aws-msk-iam"));
        check_more(&OIDC, "client.secret=", Some("client.secret is missing"));
        check_more(&OIDC, "token.endpoint.url=http://id.example/token", Some("not https"));
        check_more(&OIDC, "grant.type=client_credentials", None);
        check_more(&OIDC, "grant.type=urn:ietf:params:oauth:grant-type:jwt-bearer", Some("client_credentials"));
        check_more(&OIDC, "assertion.file=x", Some("assertion.file is not supported"));
        check_more(&OIDC, "aws.region=eu-west-1", Some("aws.region is not supported"));
        check_more(&OIDC, "header.urlencode=false", None);
        check_more(&OIDC, "header.urlencode=no", Some("true or false"));
        check_more(&OIDC, "timeout.ms=99", Some("from 100 to 60000"));
        check_more(&OIDC, "timeout.ms=5000", None);
        check(&MSK, None);
        check(&MSK[..1], Some("aws.region is missing"));
        check_more(&MSK, "aws.region=eu.example/", Some("no region"));
        check_more(&MSK, "aws.access.key.id=a", Some("secret.access.key is missing"));
        check_more(&MSK, "aws.role.arn=arn:aws:iam::1:role/a", None);
        check_more(&MSK, "aws.sts.endpoint.url=http://sts.example", Some("not https"));
        check_more(&MSK, "client.id=a", Some("client.id is not supported"));
        let both = ["aws.access.key.id=a", "aws.secret.access.key=b", "aws.role.arn=c"];
        check(&[&MSK[..], &both].concat(), Some("exclude each other"));
    }

    #[test]
    fn extensions_have_the_form_of_the_protocol() {
        check_more(&OIDC, "extensions=traceId=a b,org=x-1", None);
        check_more(&OIDC, "extensions=auth=x", Some("without \"auth\""));
        check_more(&OIDC, "extensions=a1=x", Some("names of letters"));
        check_more(&OIDC, "extensions=a", Some("name=value"));
        assert_eq!(extensions("a=b=c").expect("valid"), [("a".to_owned(), "b=c".to_owned())]);
    }
}
