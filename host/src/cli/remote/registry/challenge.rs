//! The demand of a registry for credentials (`WWW-Authenticate`): a password, or a token of a server that it names.

/// A scheme that this client knows, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer {
        /// The URL of the server that hands out tokens. Anybody may stand behind it.
        realm: String,
        service: Option<String>,
    },
}

/// Longest header that is read.
const HEADER_BYTES_MAX: usize = 4096;

impl Challenge {
    /// Reads a header; None if this client cannot answer it.
    pub fn read(header: &str) -> Option<Self> {
        let header = header.trim();
        if header.len() > HEADER_BYTES_MAX {
            return None;
        }
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Some(Self::Basic),
            "bearer" => {
                let parameters = parameters(rest)?;
                let of = |name: &str| parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
                Some(Self::Bearer { realm: of("realm")?, service: of("service") })
            }
            _ => None,
        }
    }
}

/// Reads `name="value", name=value`.
fn parameters(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if rest.is_empty() {
            return Some(found);
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        found.push((name, value));
        rest = after;
    }
}

/// The value up to the closing quote, and the text behind it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (header, expected) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a.example/t\",service=\"s\",scope=\"repository:a:pull\"",
                bearer("https://a.example/t", Some("s")),
            ),
            ("Bearer scope=\"a,b=c\", realm=\"https://a.example/t?x=1,2\"", bearer("https://a.example/t?x=1,2", None)),
            ("Bearer realm=https://a.example/t , service=s", bearer("https://a.example/t", Some("s"))),
            ("Bearer realm=\"a\\\"b\"", bearer("a\"b", None)),
            ("Bearer service=\"s\"", None),
            ("Bearer realm=\"open", None),
            ("Bearer realm", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::read(header), expected, "{header}");
        }
    }
}
