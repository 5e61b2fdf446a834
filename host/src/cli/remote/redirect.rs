//! Where a redirect leads: the client follows it to a host of the same cluster only, since it takes the token along.

use serde_json::Value;

use super::super::error::{Error, Kind, Result};
use crate::model::authority::Authority;
use crate::model::codes::Code;
use crate::model::text::OneLine;

/// A redirect's target: the URL of a host, and the path behind it.
#[derive(Debug, PartialEq, Eq)]
pub struct RedirectTarget {
    pub url: String,
    pub path: String,
}

/// Scheme, name and port of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    is_https: bool,
    authority: Authority,
}

// === impl RedirectTarget ===

impl RedirectTarget {
    /// Checks a redirect of the host at `from`. `hosts` asks that host for the hosts of its cluster.
    pub fn of(from: &str, location: &str, hosts: impl FnOnce() -> Result<Value>) -> Result<Self> {
        let shown = OneLine(location);
        let refused = |why: &str| {
            let error = Error::new(Kind::Failed, format_args!("{from} redirects to {shown}, {why}"));
            Err(error.with_code(Code::Unprotected.as_str()).with_hint("docs/errors/E074.md shows where redirects may lead"))
        };
        let (Some(own), Some(target)) = (Origin::of(from), Origin::of(location)) else {
            return refused("which is not a URL");
        };
        if own.is_https && !target.is_https {
            return refused("which leaves TLS");
        }
        let is_own = own == target || own.authority.host == target.authority.host && !own.is_https && target.is_https;
        if !is_own {
            let hosts = hosts()?;
            let urls = hosts["hosts"].as_array().into_iter().flatten().filter_map(|host| host["url"].as_str());
            if !urls.filter_map(Origin::of).any(|host| host == target) {
                return refused("which is no host of its cluster");
            }
        }
        let end = location.find("://").map_or(0, |at| at + 3);
        let end = location[end..].find(['/', '?', '#']).map_or(location.len(), |at| end + at);
        Ok(Self { url: location[..end].to_owned(), path: location[end..].to_owned() })
    }
}

// === impl Origin ===

impl Origin {
    fn of(url: &str) -> Option<Self> {
        let (authority, port) = Authority::of_url(url)?;
        let is_https = port == 443;
        Some(Self { is_https, authority: Authority { port: authority.port.or(Some(port)), ..authority } })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Follows a redirect in a cluster of two hosts. `asked` says if the first host is asked for the others.
    #[track_caller]
    fn check(from: &str, location: &str, asked: bool, expected: Option<(&str, &str)>) {
        let mut has_asked = false;
        let hosts = || {
            has_asked = true;
            Ok(json!({"hosts": [{"host": "x"}, {"url": "http://b:8080"}, {"url": "https://c:8443/"}]}))
        };
        let target = RedirectTarget::of(from, location, hosts);
        let expected = expected.map(|(url, path)| RedirectTarget { url: url.into(), path: path.into() });
        assert_eq!(target.as_ref().ok(), expected.as_ref(), "{location}: {target:?}");
        assert_eq!(has_asked, asked, "{location}");
        if let Err(error) = target {
            assert!(error.has_code(Code::Unprotected), "{error}");
        }
    }

    #[test]
    fn only_hosts_of_the_cluster_are_targets() {
        check("http://a:8080", "http://b:8080/v1?x=1", true, Some(("http://b:8080", "/v1?x=1")));
        check("http://a:8080", "http://B:8080", true, Some(("http://B:8080", "")));
        check("https://a:8443", "https://c:8443/v1", true, Some(("https://c:8443", "/v1")));
        check("http://a:8080", "http://a:8080/other", false, Some(("http://a:8080", "/other")));
        check("http://a:80", "https://a/v1", false, Some(("https://a", "/v1")));
        check("http://a:8080", "http://b:8081/v1", true, None);
        check("http://a:8080", "http://evil.example/v1", true, None);
        check("http://a:8080", "http://b:8080@evil.example/v1", false, None);
        check("http://a:8080", "//evil.example/v1", false, None);
        check("http://a:8080", "http://a:8081/v1", true, None);
    }

    #[test]
    fn nobody_follows_from_https_to_http() {
        check("https://a:8443", "http://b:8080/v1", false, None);
        check("https://a:8443", "http://a:8080/v1", false, None);
    }
}
