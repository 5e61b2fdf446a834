//! The servers to which this host may send a client on. The URLs of other hosts come from a topic: who can write there
//! can name any server, and a client would hand it its token.

use crate::model::authority::{Authority, HostName};

/// The servers that clients may be sent on to.
#[derive(Debug, Clone, Default)]
pub struct Redirects {
    /// The names of `--advertise`, `--allowed-host` and `--allowed-redirect`. One without a port stands for every port.
    allowed: Vec<Authority>,
    /// Domains from `--allowed-redirect *.NAME`: every name below them is allowed.
    domains: Vec<String>,
    /// True if clients reach this host with TLS: they are not sent to plain HTTP.
    https_only: bool,
}

// === impl Redirects ===

impl Redirects {
    /// Makes the rule of a host. `targets` are the operator's words: names, addresses, and domains as `*.NAME`.
    pub fn new(advertise: Option<&str>, allowed_hosts: &[Authority], targets: &[String], tls: bool) -> Result<Self, String> {
        let own = advertise.and_then(Authority::of_url).map(|(own, _)| Authority { port: None, ..own });
        let mut rule = Self {
            allowed: own.into_iter().chain(allowed_hosts.iter().cloned()).collect(),
            domains: Vec::new(),
            https_only: tls || advertise.is_some_and(is_https),
        };
        for raw in targets {
            let wrong =
                |why| format!("--allowed-redirect {raw:?} {why}: it is a name such as host-b:8080, or *.sandbar.example");
            let (is_domain, name) = raw.strip_prefix("*.").map_or((false, raw.as_str()), |name| (true, name));
            match (is_domain, name.parse::<Authority>().map_err(wrong)?) {
                (false, target) => rule.allowed.push(target),
                (true, Authority { host: HostName::Name(name), port: None }) => rule.domains.push(format!(".{name}")),
                (true, _) => return Err(wrong("is not a domain")),
            }
        }
        Ok(rule)
    }

    /// Returns the reason why a client is not sent to this URL.
    pub fn check(&self, url: &str) -> Result<(), &'static str> {
        let (target, port) = Authority::of_url(url).ok_or("is not a URL")?;
        if self.https_only && !is_https(url) {
            return Err("is not https, as this host is");
        }
        let is_allowed = |allowed: &Authority| {
            allowed.host == target.host && allowed.port.is_none_or(|own| own == target.port.unwrap_or(port))
        };
        let below = |name: &str| self.domains.iter().any(|domain| name.ends_with(domain.as_str()));
        let in_domain = matches!(&target.host, HostName::Name(name) if below(name));
        if in_domain || self.allowed.iter().any(is_allowed) { Ok(()) } else { Err("is not an allowed target") }
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(advertise: &str, targets: &[&str], tls: bool) -> Result<Redirects, String> {
        let allowed = ["proxy.example".parse().expect("valid")];
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        Redirects::new(Some(advertise), &allowed, &targets, tls)
    }

    #[track_caller]
    fn check(rule: &Redirects, url: &str, is_allowed: bool) {
        let checked = rule.check(url);
        assert_eq!(checked.is_ok(), is_allowed, "{url}: {checked:?}");
    }

    #[test]
    fn only_named_servers_are_targets() {
        let plain = rule("http://10.0.0.1:8080", &["host-b:8080", "10.0.0.2", "*.sandbar.svc"], false).expect("valid");
        check(&plain, "http://10.0.0.1:9090", true);
        check(&plain, "https://proxy.example/", true);
        check(&plain, "http://HOST-B:8080/x", true);
        check(&plain, "http://host-b:8081", false);
        check(&plain, "http://host-b", false);
        check(&plain, "http://10.0.0.2:1", true);
        check(&plain, "http://10.0.0.3:1", false);
        check(&plain, "http://a.b.sandbar.svc:1", true);
        check(&plain, "http://sandbar.svc:1", false);
        check(&plain, "http://evilsandbar.svc:1", false);
        check(&plain, "http://a.sandbar.svc.evil.example", false);
        check(&plain, "http://host-b:8080@evil.example", false);
        check(&plain, "http://evil.example#.sandbar.svc", false);
        check(&plain, "ftp://host-b:8080", false);
    }

    #[test]
    fn nobody_is_sent_from_https_to_http() {
        for (advertise, tls) in [("HTTPS://a", false), ("http://a", true)] {
            let secure = rule(advertise, &["b"], tls).expect("valid");
            check(&secure, "https://b", true);
            check(&secure, "http://b", false);
        }
    }

    #[test]
    fn targets_are_names() {
        for wrong in ["*", "*.", "*.10.0.0.1", "*.a:80", "http://a", "a b", ""] {
            assert!(rule("http://a", &[wrong], false).is_err_and(|error| error.contains("--allowed-redirect")), "{wrong}");
        }
    }
}
