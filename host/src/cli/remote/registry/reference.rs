//! The name of an artifact in a registry: `oci://REGISTRY/REPOSITORY`, with `:TAG`, `@sha256:..` or both.

use std::fmt;
use std::str::FromStr;

use crate::model::authority::Authority;
use crate::model::names::Digest;

const REPOSITORY_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
/// The scheme of a registry with TLS.
const SECURE: &str = "oci://";
/// The scheme of a registry on this machine without TLS.
const PLAIN: &str = "oci+http://";

/// The name of an artifact in a registry. At least one of tag and digest is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// True for a registry on this machine that is called with plain HTTP.
    pub is_plain: bool,
    pub registry: Authority,
    pub repository: String,
    tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Reference {
    /// Tells whether a text is meant as a reference.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SECURE) || text.starts_with(PLAIN)
    }

    /// The name of the manifest in a request: the digest counts, if there is one.
    pub fn name(&self) -> String {
        self.digest.map_or_else(|| self.tag.clone().unwrap_or_default(), |digest| digest.to_string())
    }

    /// The reference with the digest that the tag stands for now.
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// True if the digest was not known before it was asked for.
    pub fn is_by_tag(&self) -> bool {
        self.digest.is_none()
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let is_plain = raw.starts_with(PLAIN);
        let rest = raw.strip_prefix(if is_plain { PLAIN } else { SECURE });
        let rest = rest.ok_or("a reference looks like oci://registry.example/team/module@sha256:..")?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
            None => (rest, None),
        };
        let (registry, path) = rest.split_once('/').ok_or("it names no repository")?;
        let registry: Authority = registry.parse().map_err(|error| format!("its registry {error}"))?;
        if is_plain && !registry.host.is_loopback() {
            return Err("plain HTTP is for a registry on this machine alone: use oci://".to_owned());
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        if repository.len() > REPOSITORY_BYTES_MAX || !repository.split('/').all(is_component) {
            return Err(format!("{repository:?} is no repository: a-z, 0-9, '.', '_', '-' and '/' name one"));
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err("its tag is none".to_owned());
        }
        if tag.is_none() && digest.is_none() {
            return Err("it has neither a digest nor a tag: write @sha256:..".to_owned());
        }
        Ok(Self { is_plain, registry, repository: repository.to_owned(), tag, digest })
    }
}

fn is_component(text: &str) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let known = |byte: &u8| is_alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-');
    // No `..`, which some server might take for a folder.
    bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
        && bytes.iter().all(known)
        && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let known = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'-');
    (1..=TAG_BYTES_MAX).contains(&text.len()) && text.bytes().all(known) && text.bytes().next().is_some_and(is_word)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_plain, registry, repository, tag, digest } = self;
        write!(f, "{}{registry}/{repository}", if *is_plain { PLAIN } else { SECURE })?;
        match (digest, tag) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, Some(tag)) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_by_rule() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (raw, shown) in [
            (format!("oci://ghcr.io/a/b@{digest}"), format!("oci://ghcr.io/a/b@{digest}")),
            (format!("oci://GHCR.io/a/b:1.0@{digest}"), format!("oci://ghcr.io/a/b@{digest}")),
            ("oci://ghcr.io/a/b:1.0".to_owned(), "oci://ghcr.io/a/b:1.0".to_owned()),
            ("oci+http://localhost:5000/a:1".to_owned(), "oci+http://localhost:5000/a:1".to_owned()),
            ("oci+http://[::1]:5000/a:1".to_owned(), "oci+http://[::1]:5000/a:1".to_owned()),
        ] {
            assert_eq!(raw.parse::<Reference>().map(|it| it.to_string()), Ok(shown), "{raw}");
        }
    }

    #[test]
    fn texts_that_are_no_reference_are_refused() {
        for (raw, part) in [
            ("ghcr.io/a:1", "looks like"),
            ("https://ghcr.io/a:1", "looks like"),
            ("oci://ghcr.io", "no repository"),
            ("oci://ghcr.io/a/b", "neither a digest nor a tag"),
            ("oci://user:word@ghcr.io/a:1", "module digest"),
            ("oci://ghcr.io/a@sha256:12", "module digest"),
            ("oci://ghcr.io/a@sha512:12", "module digest"),
            ("oci://ghcr.io/../v2/a:1", "no repository"),
            ("oci://ghcr.io/a/..b:1", "no repository"),
            ("oci://ghcr.io/a?b:1", "no repository"),
            ("oci://ghcr.io/A:1", "no repository"),
            ("oci://ghcr.io/a:1/../x", "tag"),
            ("oci://ghcr.io/a:", "tag"),
            ("oci+http://registry.example/a:1", "on this machine alone"),
            ("oci+http://localhost.example/a:1", "on this machine alone"),
            ("oci+http://127.0.0.1.example/a:1", "on this machine alone"),
        ] {
            let refused = raw.parse::<Reference>().expect_err(raw);
            assert!(refused.contains(part), "{raw}: {refused}");
        }
    }
}
