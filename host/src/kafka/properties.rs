//! Properties of librdkafka as an operator gives them: read from text, checked, and completed with their secrets.
//!
//! A value `file:PATH` stands for the content of a file, and `env:NAME` for a variable of the environment. No message of this
//! module has a value in it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::bounded_input;

/// Largest file of properties, or of one secret.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Properties whose value is the path of a file that librdkafka reads when a client is made.
const LOCATIONS: [&str; 5] =
    ["ssl.ca.location", "ssl.certificate.location", "ssl.crl.location", "ssl.key.location", "ssl.keystore.location"];

/// Properties that Sandbar sets itself, and the reason.
const OWN: [(&str, &str); 26] = [
    ("acks", "a record that is not on all replicas may be lost"),
    ("allow.auto.create.topics", "a look at a topic would make it"),
    ("auto.offset.reset", "records would be skipped in silence"),
    ("bootstrap.servers", "it is --brokers"),
    ("check.crcs", "damaged records would be taken for others"),
    ("delivery.report.only.error", "the positions of changelogs would be unknown"),
    ("enable.auto.commit", "offsets are committed with their records"),
    ("enable.auto.offset.store", "offsets are committed with their records"),
    ("enable.gapless.guarantee", "a gap ends the transaction already"),
    ("enable.idempotence", "records could be there twice, or in another order"),
    ("enable.partition.eof", "an end would be taken for a record"),
    ("enable.sasl.oauthbearer.unsecure.jwt", "anybody could write such a token"),
    ("group.id", "it is the transform's"),
    ("group.instance.id", "workers would fence each other"),
    ("group.protocol", "rebalances wait for transactions, which needs the classic protocol"),
    ("group.remote.assignor", "the host's assignment keeps keys with their state"),
    ("isolation.level", "records of aborted transactions would be read"),
    ("metadata.broker.list", "it is --brokers"),
    ("partition.assignment.strategy", "partitions of one number stay together where they share state"),
    ("partitioner", "keys would land in other partitions than those of Java clients"),
    ("plugin.library.paths", "foreign code would run in the host"),
    ("request.required.acks", "a record that is not on all replicas may be lost"),
    ("sasl.oauthbearer.config", "it is for tokens that anybody could write"),
    ("transaction.timeout.ms", "it is the transform's"),
    ("transactional.id", "it fences the workers of crashed hosts"),
    ("test.mock.num.brokers", "a mock loses records"),
];

/// The properties of a team are those of its credentials: the rest is the host's.
const TEAM_PREFIXES: [&str; 3] = ["https.", "sasl.", "ssl."];
const TEAM_NAMES: [&str; 3] = ["security.protocol", "enable.ssl.certificate.verification", "client.id"];

/// Other names of a property, each with the one that is used here: two values of one property would hide each other.
const ALIASES: [(&str, &str); 3] = [
    ("sasl.mechanisms", MECHANISM),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", CLIENT_SECRET),
];
const PROTOCOL: &str = "security.protocol";
const MECHANISM: &str = "sasl.mechanism";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret";
/// Properties of the source of tokens; librdkafka gets none of them.
const TOKEN_PREFIXES: [&str; 2] = ["https.", "sasl.oauthbearer."];
/// Properties that say who an owner is to a source of tokens. A team never has those of the host.
const TOKEN_IDENTITY: [&str; 8] = [
    "sasl.oauthbearer.client.id",
    CLIENT_SECRET,
    "sasl.oauthbearer.aws.access.key.id",
    "sasl.oauthbearer.aws.secret.access.key",
    "sasl.oauthbearer.aws.session.token",
    "sasl.oauthbearer.aws.role.arn",
    "sasl.oauthbearer.aws.role.session.name",
    "sasl.oauthbearer.aws.web.identity.token.file",
];
/// Properties of a client's certificate and its key, in each of their forms. Where there are several forms, librdkafka takes
/// the one that it reads last. A team with a certificate never has those of the host.
const CERTIFICATE_PREFIXES: [&str; 4] = ["ssl.certificate.", "ssl.engine.", "ssl.key.", "ssl.keystore."];

/// Names and values as they were given.
pub(super) type Given = BTreeMap<String, String>;

/// Checked properties with their secrets. They are shown without values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub values: BTreeMap<String, String>,
    /// Hashes of the files that librdkafka reads: another content asks for another client.
    files: BTreeMap<String, [u8; 32]>,
}

// === impl Properties ===

impl Properties {
    /// Resolves references relative to `folder`.
    pub fn resolve(given: &Given, folder: &Path) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for (name, value) in given {
            let value = resolved(value, folder).map_err(|why| format!("{name}: {why}"))?;
            if value.contains('\0') {
                return Err(format!("{name}: has a NUL in it"));
            }
            let name = canonical(name);
            if values.insert(name.to_owned(), value).is_some() {
                return Err(format!("{name}: it is set twice, by two names"));
            }
        }
        Ok(Self { files: hashes(&values), values })
    }

    /// These properties, and those of `below` for the names that are missing.
    pub fn over(&self, below: &Self) -> Self {
        let mut values = below.values.clone();
        values.extend(self.values.clone());
        Self { files: hashes(&values), values }
    }

    /// The properties of a team over those of the host. Refuses those with which the team would connect as the host.
    pub fn of_team(&self, host: &Self) -> Result<Self, String> {
        let has_certificate = has_certificate(&self.values);
        let mut below = host.clone();
        below.values.retain(|name, _| {
            let is_replaced = has_certificate && is_of_certificate(name);
            !is_replaced && !TOKEN_IDENTITY.contains(&name.as_str())
        });
        let whole = self.over(&below);
        let has_own = match whole.protocol().as_str() {
            "ssl" => has_certificate,
            "sasl_ssl" | "sasl_plaintext" if whole.uses_tokens() => has_token_identity(&self.values),
            "sasl_ssl" | "sasl_plaintext" => has_password(&self.values),
            // Nobody logs in.
            _ => true,
        };
        if has_own {
            return Ok(whole);
        }
        let mechanism = whole.get(MECHANISM).unwrap_or("no mechanism");
        Err(format!("it lacks credentials of its own for {} with {mechanism}", whole.protocol()))
    }

    fn protocol(&self) -> String {
        self.get(PROTOCOL).unwrap_or("plaintext").to_ascii_lowercase()
    }

    /// Returns true if clients log in with tokens.
    pub fn uses_tokens(&self) -> bool {
        let is_token = |mechanism: &str| mechanism.eq_ignore_ascii_case("OAUTHBEARER");
        self.protocol().starts_with("sasl_") && self.get(MECHANISM).is_some_and(is_token)
    }

    /// The properties of the source of tokens.
    pub fn of_tokens(&self) -> BTreeMap<String, String> {
        let own = self.values.iter().filter(|(name, _)| is_of_tokens(name));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The properties of librdkafka's clients.
    pub fn of_librdkafka(&self) -> impl Iterator<Item = (&String, &String)> {
        self.values.iter().filter(|(name, _)| !is_of_tokens(name))
    }

    /// Returns true if clients go on: the next token is had with the new secret.
    pub fn has_same_clients(&self, before: &Self) -> bool {
        self.without(CLIENT_SECRET) == before.without(CLIENT_SECRET)
    }

    fn without(&self, name: &str) -> Self {
        let mut rest = self.clone();
        rest.values.remove(name);
        rest
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Name and password, if nothing else differs from `before` than the password.
    pub fn new_password(&self, before: &Self) -> Option<(&str, &str)> {
        const PASSWORD: &str = "sasl.password";
        let alike = self.without(PASSWORD) == before.without(PASSWORD);
        self.get("sasl.username").zip(self.get(PASSWORD)).filter(|_| alike)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// Reads a file of properties: one `name=value` a line, and comments that begin with `#`.
pub(super) fn read(path: &Path) -> Result<Given, String> {
    let text = read_text(path)?;
    let mut given = Given::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = index + 1;
        let (name, value) = line.split_once('=').ok_or_else(|| format!("line {place} is not name=value"))?;
        let name = name.trim();
        if given.insert(name.to_owned(), value.trim().to_owned()).is_some() {
            return Err(format!("line {place} sets {name:?} again"));
        }
    }
    Ok(given)
}

/// Refuses a property that is Sandbar's own.
pub(super) fn check_host(given: &Given) -> Result<(), String> {
    for name in given.keys() {
        if name.ends_with("_cb") {
            return Err(format!("{name:?} cannot be set"));
        }
        if let Some((_, reason)) = OWN.iter().find(|(own, _)| own == name) {
            return Err(format!("{name:?} is Sandbar's own: {reason}"));
        }
    }
    Ok(())
}

/// Refuses properties that are no credentials, or that leave it open whose they are: a team that lacks some would connect with
/// those of the host.
pub(super) fn check_team(given: &Given) -> Result<(), String> {
    check_host(given)?;
    let is_of_team = |name: &str| TEAM_NAMES.contains(&name) || TEAM_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if let Some(name) = given.keys().find(|name| !is_of_team(name)) {
        return Err(format!("{name:?} is no credential: set it for the host"));
    }
    if has_password(given) || has_certificate(given) || has_token_identity(given) {
        return Ok(());
    }
    Err("it lacks credentials: sasl.username and sasl.password, or ssl.certificate.location and ssl.key.location, or those \
         of sasl.oauthbearer"
        .into())
}

fn has(given: &Given, name: &str) -> bool {
    given.iter().any(|(known, value)| canonical(known) == name && !value.is_empty())
}

fn has_password(given: &Given) -> bool {
    has(given, "sasl.username") && has(given, "sasl.password")
}

fn has_certificate(given: &Given) -> bool {
    let has_key = has(given, "ssl.key.location") || has(given, "ssl.key.pem");
    let has_certificate = has(given, "ssl.certificate.location") || has(given, "ssl.certificate.pem");
    (has_certificate && has_key) || has(given, "ssl.keystore.location")
}

fn has_token_identity(given: &Given) -> bool {
    let has_client = has(given, "sasl.oauthbearer.client.id") && has(given, CLIENT_SECRET);
    let has_keys = has(given, "sasl.oauthbearer.aws.access.key.id") && has(given, "sasl.oauthbearer.aws.secret.access.key");
    has_client || has_keys || has(given, "sasl.oauthbearer.aws.role.arn")
}

fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name)
}

fn is_of_certificate(name: &str) -> bool {
    CERTIFICATE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_of_tokens(name: &str) -> bool {
    TOKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn resolved(value: &str, folder: &Path) -> Result<String, String> {
    if let Some(path) = value.strip_prefix("file:") {
        let text = read_text(&folder.join(path))?;
        return Ok(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    match value.strip_prefix("env:") {
        Some(name) => std::env::var(name).map_err(|_| format!("the environment has no variable {name:?}")),
        None => Ok(value.to_owned()),
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let text = std::fs::File::open(path).and_then(|file| bounded_input::read_text(file, FILE_BYTES_MAX));
    text.map_err(|error| format!("{}: {error}", path.display()))
}

/// A file that cannot be read has no hash: librdkafka says so when a client is made, and takes folders as well.
fn hashes(values: &BTreeMap<String, String>) -> BTreeMap<String, [u8; 32]> {
    let hash = |name: &str| {
        let file = std::fs::File::open(values.get(name)?).ok()?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some((name.to_owned(), Sha256::digest(&bytes).into()))
    };
    LOCATIONS.iter().filter_map(|name| hash(name)).collect()
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
