//! Host and port, as a Host header, an Origin and a URL name them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// `host[:port]` in its one spelling: names in lower case and without a dot at the end, addresses parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    pub host: HostName,
    pub port: Option<u16>,
}

/// A name, which its owner may point anywhere at any time, or an address, which nobody can.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostName {
    Name(String),
    Address(IpAddr),
}

// === impl HostName ===

impl HostName {
    /// Returns true for the names of this machine for itself, which nobody else can point elsewhere.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Address(address) => address.to_canonical().is_loopback(),
        }
    }
}

// === impl Authority ===

impl Authority {
    /// The authority of an http or https URL, and the port that its scheme stands for.
    pub fn of_url(url: &str) -> Option<(Self, u16)> {
        let (scheme, rest) = url.split_once("://")?;
        let port = match scheme.to_ascii_lowercase().as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Some((rest[..end].parse().ok()?, port))
    }
}

impl FromStr for Authority {
    type Err = &'static str;

    /// Refuses user names, spaces, zones of addresses, and numbers that only some read as an address.
    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = raw.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or("has no ]")?;
            let address: Ipv6Addr = address.parse().map_err(|_| "is not an IPv6 address")?;
            let port = match rest.strip_prefix(':') {
                Some(port) => port_of(port)?,
                None if rest.is_empty() => None,
                None => return Err("has more than a port behind ]"),
            };
            return Ok(Self { host: HostName::Address(address.into()), port });
        }
        let (host, port) = match raw.split_once(':') {
            Some((host, port)) => (host, port_of(port)?),
            None => (raw, None),
        };
        Ok(Self { host: host.parse()?, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostName::Name(name) => f.write_str(name)?,
            HostName::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            HostName::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn port_of(raw: &str) -> Result<Option<u16>, &'static str> {
    if raw.is_empty() {
        return Ok(None);
    }
    let digits = raw.len() <= 5 && raw.bytes().all(|byte| byte.is_ascii_digit());
    match raw.parse() {
        Ok(port) if digits => Ok(Some(port)),
        _ => Err("has a port that is none"),
    }
}

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = raw.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = raw.strip_suffix('.').unwrap_or(raw);
        let fits = |label: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(known)
        };
        if name.len() > NAME_BYTES_MAX || !name.split('.').all(fits) {
            return Err("is neither a name nor an address");
        }
        // 127.1, 2130706433 and 0x7f.1 are addresses to some and names to others.
        let last = name.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let is_hex = hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_hex || last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("is a number, not a name");
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, shown: Option<&str>) {
        let parsed = raw.parse::<Authority>();
        assert_eq!(parsed.as_ref().ok().map(ToString::to_string).as_deref(), shown, "{raw:?}: {parsed:?}");
    }

    #[test]
    fn each_authority_has_one_spelling() {
        check("localhost", Some("localhost"));
        check("LocalHost:8080", Some("localhost:8080"));
        check("localhost.:8080", Some("localhost:8080"));
        check("localhost:", Some("localhost"));
        check("sandbar_1.shop-net:80", Some("sandbar_1.shop-net:80"));
        check("3f2a1b4c5d6e:80", Some("3f2a1b4c5d6e:80"));
        check("127.0.0.1:8080", Some("127.0.0.1:8080"));
        check("[::1]:8080", Some("[::1]:8080"));
        check("[0:0::1]", Some("[::1]"));
        check("[::ffff:127.0.0.1]", Some("[::ffff:127.0.0.1]"));
        for refused in [
            "",
            ":80",
            ".",
            "a..b",
            "user@localhost",
            "localhost:80:80",
            "localhost:65536",
            "localhost:+80",
            "localhost: 80",
            "local host",
            " localhost",
            "localhost/",
            "localhost?",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "1.2.3.4.5",
            "127.0.0.1.",
            "01.02.03.04",
            "[::1",
            "::1",
            "[fe80::1%25lo]:80",
            "[fe80::1%lo]",
            "[::1]80",
            "[127.0.0.1]",
            "[localhost]",
            "löcalhost",
            "evil.com,localhost",
            "localhost\0",
            "*",
            "*.example",
        ] {
            check(refused, None);
        }
        check(&"a".repeat(64), None);
        check(&"a.".repeat(200), None);
    }

    #[test]
    fn an_authority_is_taken_out_of_a_url() {
        #[track_caller]
        fn check(url: &str, expected: Option<(&str, u16)>) {
            let parsed = Authority::of_url(url).map(|(authority, port)| (authority.to_string(), port));
            assert_eq!(parsed, expected.map(|(authority, port)| (authority.to_owned(), port)), "{url}");
        }
        check("http://host-a:8080", Some(("host-a:8080", 80)));
        check("HTTPS://Host/path?x#y", Some(("host", 443)));
        check("http://[::1]:1/", Some(("[::1]:1", 80)));
        check("http://user@host/", None);
        check("ftp://host", None);
        check("host:8080", None);
        check("null", None);
    }
}
