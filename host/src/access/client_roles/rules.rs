//! The content of the file of clients' roles: parsed and applied as a pure function of its text.

use serde::Deserialize;

use super::super::client_certificate::ClientCertificate;
use crate::model::access::Grant;
use crate::model::distinguished_name::DistinguishedName;
use crate::model::yaml;

/// The reason why a file is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error(transparent)]
    Malformed(#[from] yaml::Error),
    #[error("certificates[{at}]{field} {reason}")]
    Rule { at: usize, field: &'static str, reason: &'static str },
}

/// The rules of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    grants: Vec<Grant>,
}

/// The certificates that a rule is for.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Uri(String),
    /// Every URI below this one, which ends with a slash.
    UriBelow(String),
    /// A DNS name in small letters.
    Dns(String),
    Subject(DistinguishedName),
}

/// The file as it is written. There is no default: an empty file may be in the middle of being written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    certificates: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    uri: Option<String>,
    dns: Option<String>,
    subject: Option<String>,
    roles: Vec<Grant>,
}

// === impl Rules ===

impl Rules {
    pub fn parse(text: &[u8]) -> Result<Self, RulesError> {
        let RawFile { certificates } = yaml::one(text)?;
        let rules = certificates
            .into_iter()
            .enumerate()
            .map(|(at, raw)| raw.rule().map_err(|(field, reason)| RulesError::Rule { at, field, reason }));
        rules.collect::<Result<_, _>>().map(Self)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The name by which the first rule that matches knows the certificate, and the grants of all that match.
    pub fn of(&self, certificate: &ClientCertificate) -> Option<(String, Vec<Grant>)> {
        let mut matching = self.0.iter().filter_map(|rule| Some((rule.pattern.name_in(certificate)?, rule))).peekable();
        let name = matching.peek()?.0.clone();
        let mut grants: Vec<Grant> = matching.flat_map(|(_, rule)| rule.grants.iter().cloned()).collect();
        grants.sort();
        grants.dedup();
        Some((name, grants))
    }
}

// === impl RawRule ===

impl RawRule {
    fn rule(self) -> Result<Rule, (&'static str, &'static str)> {
        let Self { uri, dns, subject, roles: grants } = self;
        let pattern = match (uri, dns, subject) {
            (Some(uri), None, None) => uri_pattern(uri).map_err(|reason| (".uri", reason))?,
            (None, Some(dns), None) => dns_pattern(&dns).map_err(|reason| (".dns", reason))?,
            (None, None, Some(subject)) => Pattern::Subject(subject.parse().map_err(|reason| (".subject", reason))?),
            _ => return Err(("", "needs one of uri, dns and subject")),
        };
        if grants.is_empty() {
            return Err((".roles", "is empty"));
        }
        Ok(Rule { pattern, grants })
    }
}

fn uri_pattern(uri: String) -> Result<Pattern, &'static str> {
    let below = uri.strip_suffix('*');
    let fixed = below.unwrap_or(&uri);
    // Without the slash before the star, `spiffe://shop/ci` would match another one's `spiffe://shop/ci-tools`.
    if below.is_some_and(|below| !below.ends_with('/')) || fixed.contains('*') {
        return Err("may have one *, behind the last slash");
    }
    let (scheme, rest) = fixed.split_once("://").ok_or("is not SCHEME://AUTHORITY/PATH")?;
    let authority = rest.split('/').next().unwrap_or_default();
    if scheme.is_empty() || authority.is_empty() {
        return Err("is not SCHEME://AUTHORITY/PATH");
    }
    Ok(below.map(|below| Pattern::UriBelow(below.to_owned())).unwrap_or(Pattern::Uri(uri)))
}

fn dns_pattern(name: &str) -> Result<Pattern, &'static str> {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match name.split('.').all(is_part) {
        true => Ok(Pattern::Dns(name.to_ascii_lowercase())),
        false => Err("is not the whole of a DNS name"),
    }
}

// === impl Pattern ===

impl Pattern {
    /// The name of the certificate that matches, if one does.
    fn name_in(&self, certificate: &ClientCertificate) -> Option<String> {
        // Of two URIs nobody knows which one the authority meant: SPIFFE allows only one.
        let uri = || match certificate.uri_names.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        match self {
            Self::Uri(own) => uri().filter(|uri| *uri == own).cloned(),
            Self::UriBelow(own) => uri().filter(|uri| uri.strip_prefix(own).is_some_and(is_plain_path)).cloned(),
            Self::Dns(own) => certificate.dns_names.iter().find(|name| name.eq_ignore_ascii_case(own)).cloned(),
            Self::Subject(own) => certificate.subject.as_ref().filter(|subject| *subject == own).map(ToString::to_string),
        }
    }
}

/// Returns true for a path that leads nowhere else, however it is read.
fn is_plain_path(path: &str) -> bool {
    !path.contains(['%', '?', '#', '\\']) && path.split('/').all(|part| !["", ".", ".."].contains(&part))
}

#[cfg(test)]
mod tests;
