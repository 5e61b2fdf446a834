//! Paths into JSON: the names, indexes and wildcards of RFC 9535, with descendants. Pure.
//!
//! ```text
//! $.customer.email    $..email    $.lines[*].note    $['e-mail']    $.lines[0]    $.*
//! ```
//!
//! Filters, slices, unions and negative indexes are refused. Names are compared character by character after their escapes
//! are read, so another spelling of a name in a record is the same name.

use std::fmt;
use std::str::FromStr;

use super::json;

/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 512;
/// Most segments of a path: as deep as a record is looked into.
const SEGMENTS_MAX: usize = 32;

/// A path into JSON, with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    segments: Vec<Segment>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// True for `..`: the selector holds at every depth below.
    pub is_descendant: bool,
    pub selector: Selector,
}

/// The children that a segment means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    Name(String),
    Index(usize),
    All,
}

/// A child of an object or of an array.
#[derive(Debug, Clone, Copy)]
pub enum Child<'a> {
    Member(&'a str),
    Element(usize),
}

// === impl JsonPath ===

impl JsonPath {
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The path with these names before it, for records whose row is within an envelope.
    pub fn below(&self, names: &[&str]) -> Self {
        let outer = names.iter().map(|name| Segment::child(Selector::Name((*name).to_owned())));
        Self { text: self.text.clone(), segments: outer.chain(self.segments.iter().cloned()).collect() }
    }
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        if raw.len() > PATH_BYTES_MAX {
            return Err(format!("a path has at most {PATH_BYTES_MAX} bytes"));
        }
        let mut rest = raw.strip_prefix('$').ok_or_else(|| format!("{raw:?} is no path: it begins with $"))?;
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, after) = segment(rest).map_err(|why| format!("{raw:?} is refused at {rest:?}: {why}"))?;
            segments.push(segment);
            rest = after;
        }
        match segments.len() {
            0 => Err("$ is the whole value: write values: true".to_owned()),
            1..=SEGMENTS_MAX => Ok(Self { text: raw.to_owned(), segments }),
            _ => Err(format!("a path has at most {SEGMENTS_MAX} segments")),
        }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads the first segment. Returns it with the text after it.
fn segment(text: &str) -> Result<(Segment, &str), String> {
    let (is_descendant, rest) = match (text.strip_prefix(".."), text.strip_prefix('.')) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) if text.starts_with('[') => (false, text),
        (None, None) => return Err("a name with other characters is written as ['name']".to_owned()),
    };
    let is_bracket = rest.starts_with('[') && (is_descendant || rest.len() == text.len());
    let (selector, after) = match rest.strip_prefix('*') {
        Some(after) => (Selector::All, after),
        None if is_bracket => bracket(&rest[1..])?,
        None => name(rest)?,
    };
    Ok((Segment { is_descendant, selector }, after))
}

/// Reads a name that stands without quotes.
fn name(text: &str) -> Result<(Selector, &str), String> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let end = text.find(|c: char| !is_first(c) && !c.is_ascii_digit()).unwrap_or(text.len());
    match text[..end].chars().next() {
        Some(first) if is_first(first) => Ok((Selector::Name(text[..end].to_owned()), &text[end..])),
        _ => Err("a name, * or [ follows the dots".to_owned()),
    }
}

/// Reads the content of a bracket, and the bracket that ends it.
fn bracket(text: &str) -> Result<(Selector, &str), String> {
    let (selector, rest) = match text.chars().next() {
        Some('*') => (Selector::All, &text[1..]),
        Some(quote @ ('\'' | '"')) => quoted(&text[1..], quote)?,
        Some('0'..='9') => {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let index = text[..end].parse().ok().filter(|_| end == 1 || !text.starts_with('0'));
            (Selector::Index(index.ok_or("an index is a whole number without zeros before it")?), &text[end..])
        }
        _ => return Err("a bracket has a quoted name, an index or *, and no filter or slice".to_owned()),
    };
    match rest.strip_prefix(']') {
        Some(after) => Ok((selector, after)),
        None => Err("a bracket has one name, one index or *".to_owned()),
    }
}

/// Reads a quoted name up to its quote: a string of JSON, or the same in single quotes.
fn quoted(text: &str, quote: char) -> Result<(Selector, &str), String> {
    let mut json = String::from('"');
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => {
                json.push('"');
                let name = json::read(json.as_bytes()).map_err(|error| format!("the name is not a text: {error}"))?;
                return Ok((Selector::Name(name), &text[at + c.len_utf8()..]));
            }
            '"' => json.push_str("\\\""),
            '\\' => match chars.next() {
                Some((_, '\'')) => json.push('\''),
                Some((_, escaped)) => json.extend(['\\', escaped]),
                None => break,
            },
            _ => json.push(c),
        }
    }
    Err("the quoted name has no end".to_owned())
}

// === impl Segment ===

impl Segment {
    fn child(selector: Selector) -> Self {
        Self { is_descendant: false, selector }
    }
}

// === impl Selector ===

impl Selector {
    pub fn has(&self, child: Child<'_>) -> bool {
        match (self, child) {
            (Self::All, _) => true,
            (Self::Name(name), Child::Member(own)) => name == own,
            (Self::Index(index), Child::Element(own)) => *index == own,
            (Self::Name(_), Child::Element(_)) | (Self::Index(_), Child::Member(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the segments of a path: `.name`, `..name`, `[index]`, `*`.
    #[track_caller]
    fn check(raw: &str, expected: &[&str]) {
        let path: JsonPath = raw.parse().unwrap_or_else(|why| panic!("{why}"));
        let shown = path.segments.iter().map(|segment| {
            let dots = if segment.is_descendant { ".." } else { "" };
            match &segment.selector {
                Selector::Name(name) => format!("{dots}{name}"),
                Selector::Index(index) => format!("{dots}[{index}]"),
                Selector::All => format!("{dots}*"),
            }
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{raw}");
        assert_eq!(path.to_string(), raw);
    }

    #[track_caller]
    fn check_refused(raw: &str, part: &str) {
        let why = raw.parse::<JsonPath>().expect_err(raw);
        assert!(why.contains(part), "{raw}: {why}");
    }

    #[test]
    fn paths_have_names_indexes_and_wildcards() {
        check("$.a", &["a"]);
        check("$.after.customer.email", &["after", "customer", "email"]);
        check("$..email", &["..email"]);
        check("$..*", &["..*"]);
        check("$..[0]", &["..[0]"]);
        check("$.*.b", &["*", "b"]);
        check("$.lines[*].note[10]", &["lines", "*", "note", "[10]"]);
        check("$['e-mail'][\"a b\"]", &["e-mail", "a b"]);
        check(r#"$['it\'s']['\u0065mail']["\"q\""]['"']"#, &["it's", "email", "\"q\"", "\""]);
        check("$.straße_1", &["straße_1"]);
        check("$['']", &[""]);
    }

    #[test]
    fn other_paths_are_refused() {
        for (raw, part) in [
            ("", "begins with $"),
            ("email", "begins with $"),
            ("$", "values: true"),
            ("$email", "['name']"),
            ("$.e-mail", "['name']"),
            ("$.", "follows the dots"),
            ("$...a", "follows the dots"),
            ("$.[0]", "follows the dots"),
            ("$.1a", "follows the dots"),
            ("$[?@.a]", "no filter"),
            ("$[-1]", "no filter"),
            ("$[1:2]", "one index"),
            ("$['a','b']", "one name"),
            ("$[01]", "zeros"),
            ("$[99999999999999999999]", "whole number"),
            ("$['a", "no end"),
            ("$['a\\", "no end"),
            ("$['\\x']", "not a text"),
            ("$['\\ud800']", "not a text"),
            ("$[]", "no filter"),
            ("$.a ", "['name']"),
        ] {
            check_refused(raw, part);
        }
        check_refused(&format!("$.{}", "a".repeat(600)), "at most 512 bytes");
        check_refused(&format!("${}", ".a".repeat(33)), "at most 32 segments");
    }
}
