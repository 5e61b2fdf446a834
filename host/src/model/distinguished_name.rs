//! Distinguished names of certificates' subjects, as RFC 4514 writes them: `CN=ci,OU=stock,O=Shop`.
//!
//! A name is compared as a whole, by its types and values: two spellings of one name are equal, and a part of a name is
//! never enough. Values are texts; a name with a value of another kind is not read.

use std::fmt::{self, Write};
use std::str::FromStr;

/// Most attributes of one name.
const ATTRIBUTES_MAX: usize = 64;
/// Types with a name: those of RFC 4514, then two that OpenSSL names.
const TYPES: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("serialNumber", "2.5.4.5"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
];

/// A name: its parts, the most specific one first. Each part has its attributes in order of their types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    /// The object identifier, in its dotted form.
    oid: String,
    value: String,
}

// === impl DistinguishedName ===

impl DistinguishedName {
    /// Makes a name of the parts in the order of a certificate, each with its object identifiers and values.
    pub fn of_certificate(parts: Vec<Vec<(String, String)>>) -> Option<Self> {
        let attribute = |(oid, value)| Attribute { oid, value };
        Self::of(parts.into_iter().rev().map(|part| part.into_iter().map(attribute).collect()).collect()).ok()
    }

    fn of(mut parts: Vec<Vec<Attribute>>) -> Result<Self, &'static str> {
        if parts.is_empty() || parts.iter().any(Vec::is_empty) {
            return Err("has no attribute");
        }
        if parts.iter().map(Vec::len).sum::<usize>() > ATTRIBUTES_MAX {
            return Err("has more than 64 attributes");
        }
        let mut values = parts.iter().flatten().map(|attribute| &attribute.value);
        if values.any(|value| value.is_empty() || value.chars().any(char::is_control)) {
            return Err("has an empty value, or one with control characters");
        }
        parts.iter_mut().for_each(|part| part.sort());
        Ok(Self(parts))
    }
}

impl FromStr for DistinguishedName {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, &'static str> {
        let mut parts = vec![Vec::new()];
        let mut rest = raw;
        loop {
            let (name, after) = rest.split_once('=').ok_or("is not TYPE=VALUE,..")?;
            let oid = oid_of(name.trim()).ok_or("has a type that is neither known nor a dotted number")?;
            let (value, end, after) = value_of(after.trim_start_matches(' '))?;
            let part = parts.last_mut().expect("there is one from the beginning on");
            part.push(Attribute { oid, value });
            match end {
                None => return Self::of(parts),
                Some(',') => parts.push(Vec::new()),
                Some(_) => {}
            }
            rest = after;
        }
    }
}

fn oid_of(name: &str) -> Option<String> {
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, oid)| (*oid).to_owned());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    known.or_else(|| (name.contains('.') && name.split('.').all(is_number)).then(|| name.to_owned()))
}

/// Reads a value up to `,` or `+`, which it returns, with the rest behind it.
fn value_of(raw: &str) -> Result<(String, Option<char>, &str), &'static str> {
    const FORM: &str = "has an escape that RFC 4514 does not know";
    if raw.starts_with('#') {
        return Err("has a value in hexadecimal, which is no text");
    }
    let mut bytes = Vec::new();
    // Spaces at the end count only where they are escaped.
    let mut length = 0;
    let mut at = 0;
    let text = raw.as_bytes();
    let end = loop {
        match text.get(at).copied() {
            None => break None,
            Some(end @ (b',' | b'+')) => break Some(char::from(end)),
            Some(b'"' | b';' | b'<' | b'>') => return Err("has a character that needs an escape"),
            Some(b'\\') => {
                let pair = raw.get(at + 1..at + 3).and_then(|pair| hex::decode(pair).ok());
                match (pair.as_deref(), text.get(at + 1)) {
                    (Some([byte]), _) => {
                        bytes.push(*byte);
                        at += 3;
                    }
                    (_, Some(byte @ (b' ' | b'#' | b'=' | b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\'))) => {
                        bytes.push(*byte);
                        at += 2;
                    }
                    _ => return Err(FORM),
                }
                length = bytes.len();
            }
            Some(byte) => {
                bytes.push(byte);
                at += 1;
                if byte != b' ' {
                    length = bytes.len();
                }
            }
        }
    };
    bytes.truncate(length);
    let value = String::from_utf8(bytes).map_err(|_| "has a value that is not UTF-8")?;
    Ok((value, end, raw.get(at + 1..).unwrap_or_default()))
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            for (at, Attribute { oid, value }) in part.iter().enumerate() {
                let name = TYPES.iter().find(|(_, known)| known == oid).map_or(oid.as_str(), |(name, _)| name);
                write!(f, "{}{name}=", if at > 0 { "+" } else { "" })?;
                escaped(value, f)?;
            }
        }
        Ok(())
    }
}

fn escaped(value: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, character) in value.char_indices() {
        let is_last = at + character.len_utf8() == value.len();
        let special = match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            ' ' => at == 0 || is_last,
            '#' => at == 0,
            _ => false,
        };
        if special {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a spelling and its normal form, or a part of the error.
    #[track_caller]
    fn check(raw: &str, expected: Result<&str, &str>) {
        match (raw.parse::<DistinguishedName>(), expected) {
            (Ok(name), Ok(expected)) => {
                assert_eq!(name.to_string(), expected, "{raw}");
                assert_eq!(expected.parse(), Ok(name), "{raw}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{raw}: {error}"),
            (found, _) => panic!("{raw}: {found:?}"),
        }
    }

    #[test]
    fn spellings_of_one_name_are_equal() {
        check("CN=ci,OU=stock,O=Shop", Ok("CN=ci,OU=stock,O=Shop"));
        check("cn = ci , ou=stock, 2.5.4.10=Shop", Ok("CN=ci,OU=stock,O=Shop"));
        check("UID=7+CN=ci", Ok("UID=7+CN=ci"));
        check("CN=ci+UID=7", Ok("UID=7+CN=ci"));
        check(r"CN=a\,O\=b", Ok(r"CN=a\,O=b"));
        check(r"CN=a\2CO=b", Ok(r"CN=a\,O=b"));
        check(r"CN=\20a\ ", Ok(r"CN=\ a\ "));
        check(r"CN=\#1,O=\C3\A9", Ok(r"CN=\#1,O=é"));
        check("1.2.3=x", Ok("1.2.3=x"));
    }

    #[test]
    fn another_text_is_no_name() {
        check("", Err("TYPE=VALUE"));
        check("ci", Err("TYPE=VALUE"));
        check("CN=", Err("empty value"));
        check("CN=ci,", Err("TYPE=VALUE"));
        check("XX=ci", Err("type"));
        check("1..2=ci", Err("type"));
        check("CN=#0c026369", Err("hexadecimal"));
        check(r"CN=a\", Err("escape"));
        check(r"CN=a\zz", Err("escape"));
        check(r"CN=\ff", Err("UTF-8"));
        check(r"CN=a\00", Err("control"));
        check("CN=a;O=b", Err("escape"));
        check(&["CN=a"; 65].join(","), Err("64"));
    }

    #[test]
    fn a_certificate_has_its_parts_in_the_other_order() {
        let part = |oid: &str, value: &str| vec![(oid.to_owned(), value.to_owned())];
        let name = DistinguishedName::of_certificate(vec![part("2.5.4.10", "Shop"), part("2.5.4.3", "ci, O=Shop")]);
        let name = name.expect("a name");
        assert_eq!(name.to_string(), r"CN=ci\, O=Shop,O=Shop");
        // A value cannot stand for several parts.
        assert_ne!("CN=ci,O=Shop,O=Shop".parse(), Ok(name));
        assert_eq!(DistinguishedName::of_certificate(Vec::new()), None);
        assert_eq!(DistinguishedName::of_certificate(vec![part("2.5.4.3", "a\0b")]), None);
    }
}
