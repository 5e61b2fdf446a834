//! Decides if a host may listen where it was told to: beyond this machine it needs TLS and sign-in.

use std::net::SocketAddr;

use crate::model::codes::Code;

/// The protections that the operator says to have elsewhere, in a proxy or a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InsecureFlags {
    /// `--insecure-no-tls`
    pub no_tls: bool,
    /// `--insecure-no-auth`
    pub no_auth: bool,
}

/// A protection that is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{listen} can be reached from other machines, and {missing} ({code}): {}", code.hint())]
pub struct Exposed {
    listen: SocketAddr,
    missing: &'static str,
    pub code: Code,
}

// === impl Exposed ===

impl Exposed {
    /// The message without the code and its hint.
    pub fn reason(&self) -> String {
        let Self { listen, missing, .. } = self;
        format!("{listen} can be reached from other machines, and {missing}")
    }
}

/// Checks an address. `tls` and `auth` say if the host has them.
pub fn check(listen: SocketAddr, tls: bool, auth: bool, flags: InsecureFlags) -> Result<(), Exposed> {
    let exposed = |missing, code| Err(Exposed { listen, missing, code });
    if listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    if !tls && !flags.no_tls {
        return exposed("the host has no TLS", Code::NoTls);
    }
    if !auth && !flags.no_auth {
        return exposed("the host asks nobody to sign in", Code::NoSignIn);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks with protections from `tls`, `auth`, `no-tls` and `no-auth`.
    #[track_caller]
    fn verdict(listen: &str, words: &str, expected: Option<Code>) {
        let has = |word| words.split(' ').any(|found| found == word);
        let flags = InsecureFlags { no_tls: has("no-tls"), no_auth: has("no-auth") };
        let checked = super::check(listen.parse().expect("an address"), has("tls"), has("auth"), flags);
        assert_eq!(checked.err().map(|exposed| exposed.code), expected, "{listen} {words}");
    }

    #[test]
    fn beyond_this_machine_both_protections_are_needed() {
        for own in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            verdict(own, "", None);
        }
        for other in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80", "[fe80::1]:80"] {
            verdict(other, "", Some(Code::NoTls));
            verdict(other, "auth", Some(Code::NoTls));
            verdict(other, "auth no-auth", Some(Code::NoTls));
            verdict(other, "tls", Some(Code::NoSignIn));
            verdict(other, "tls no-tls", Some(Code::NoSignIn));
            verdict(other, "no-tls", Some(Code::NoSignIn));
            verdict(other, "no-tls no-auth", None);
            verdict(other, "tls no-auth", None);
            verdict(other, "no-tls auth", None);
            verdict(other, "tls auth", None);
        }
    }
}
