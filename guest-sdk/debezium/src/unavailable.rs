//! Debezium's mark for a value that a change did not send, in each shape that a connector gives it.
//!
//! PostgreSQL leaves out large values that an update did not change, Oracle and SQL Server leave out large objects.
//! The connector then writes its `unavailable.value.placeholder` in the type of the column:
//!
//! | column | the mark |
//! |---|---|
//! | text, JSON, XML, `bytea` under `binary.handling.mode=base64` or `hex` | the placeholder |
//! | `bytea`, `BLOB` | its base64 (since `bytes` are base64 in JSON); older connectors also wrote base64 for URLs, and hexadecimal |
//! | arrays of text, JSON, `bytea` | one element: the placeholder, or its base64 |
//! | arrays of numbers and dates | the placeholder's bytes as numbers |
//! | arrays of `uuid` | one element: the UUID (version 3) of the placeholder |
//! | `hstore` | a map of the placeholder to itself, or the JSON of that map in a text |

use crate::json::scan::Index;
use crate::json::text::unescape;
use crate::json::{self, Elements, JsonError, Kind, Value};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;

/// A connector's `unavailable.value.placeholder`, by which values that were not sent are recognised.
#[derive(Clone, Debug)]
pub struct Placeholder {
    plain: Vec<u8>,
    /// All spellings in a text, without quotes; the plain one is the first.
    texts: Vec<Vec<u8>>,
    /// True for each byte with which the JSON of such a text may begin: it tells nearly all other texts apart.
    begins: Box<[bool; 256]>,
    text_bytes_max: usize,
}

/// The default of `unavailable.value.placeholder`.
pub const UNAVAILABLE_VALUE_PLACEHOLDER: &str = "__debezium_unavailable_value";

static STANDARD_PLACEHOLDER: LazyLock<Placeholder> = LazyLock::new(|| Placeholder::of(UNAVAILABLE_VALUE_PLACEHOLDER));

// === impl Placeholder ===

impl Placeholder {
    /// A placeholder by the connector's setting: a text, or `hex:` and the hexadecimal digits of its bytes. An empty one
    /// would make every empty text a value that was not sent.
    ///
    /// # Errors
    /// Fails if it is empty, or if `hex:` stands before something else than the digits of a UTF-8 text.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = match text.strip_prefix("hex:") {
            Some(digits) => Cow::Owned(text_of_hex(digits)?),
            None => Cow::Borrowed(text),
        };
        match &*text {
            "" => Err("the placeholder of unavailable values is empty".to_owned()),
            UNAVAILABLE_VALUE_PLACEHOLDER => Ok(STANDARD_PLACEHOLDER.clone()),
            text => Ok(Placeholder::of(text)),
        }
    }

    /// Debezium's own.
    pub(crate) fn standard() -> &'static Self {
        &STANDARD_PLACEHOLDER
    }

    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a text takes all");
            hex
        });
        let mut texts = vec![bytes.to_vec()];
        texts.extend([STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|form| form.encode(bytes).into_bytes()));
        texts.extend([hex.to_uppercase().into_bytes(), format!("\\x{hex}").into_bytes(), hex.into_bytes()]);
        texts.push(uuid(bytes).into_bytes());
        let mut begins = Box::new([false; 256]);
        for begin in texts.iter().filter_map(|text| text.first()) {
            begins[usize::from(*begin)] = true;
        }
        // An escape, and the JSON of a map.
        begins[usize::from(b'\\')] = true;
        begins[usize::from(b'{')] = true;
        // Each character may be an escape of six, and the map has it twice, with spaces.
        let text_bytes_max = texts.iter().map(Vec::len).max().unwrap_or(0) * 12 + 32;
        Placeholder { plain: bytes.to_vec(), texts, begins, text_bytes_max }
    }

    /// Returns true if the value is the mark of one that was not sent.
    #[inline]
    pub fn is(&self, value: Value<'_>) -> bool {
        match value.text() {
            [b'"', begin, ..] => self.begins[usize::from(*begin)] && self.is_text(value),
            [b'[', ..] => value.elements().is_some_and(|elements| self.is_array(elements).unwrap_or(false)),
            [b'{', ..] => self.is_map(value).unwrap_or(false),
            _ => false,
        }
    }

    #[cold]
    fn is_text(&self, value: Value<'_>) -> bool {
        let Kind::Text(escaped) = value.kind() else { return false };
        if escaped.len() > self.text_bytes_max {
            return false;
        }
        let mut plain = Vec::new();
        unescape(escaped, &mut plain).is_ok() && (self.texts.contains(&plain) || self.is_text_of_map(&plain))
    }

    fn is_text_of_map(&self, text: &[u8]) -> bool {
        let mut index = Index::default();
        text.starts_with(b"{") && json::read(text, &mut index).and_then(|map| self.is_map(map)).unwrap_or(false)
    }

    /// One element that is a mark, or the bytes of the placeholder as numbers: Java's bytes are signed.
    fn is_array(&self, mut elements: Elements<'_>) -> Result<bool, JsonError> {
        let Some(first) = elements.next()? else { return Ok(false) };
        if matches!(first.kind(), Kind::Text(_)) {
            return Ok(self.is(first) && elements.next()?.is_none());
        }
        let mut element = Some(first);
        for &byte in &self.plain {
            match element.map(Value::kind) {
                Some(Kind::Number(digits)) if is_byte(digits, byte) => element = elements.next()?,
                _ => return Ok(false),
            }
        }
        Ok(element.is_none())
    }

    fn is_map(&self, map: Value<'_>) -> Result<bool, JsonError> {
        let Some(mut members) = map.members() else { return Ok(false) };
        let Some((name, value)) = members.next()? else { return Ok(false) };
        let is_mark = |escaped: &[u8]| {
            let mut plain = Vec::new();
            escaped.len() <= self.text_bytes_max && unescape(escaped, &mut plain).is_ok() && plain == self.plain
        };
        let Kind::Text(text) = value.kind() else { return Ok(false) };
        Ok(is_mark(name) && is_mark(text) && members.next()?.is_none())
    }
}

impl Default for Placeholder {
    fn default() -> Self {
        STANDARD_PLACEHOLDER.clone()
    }
}

/// The text whose bytes these hexadecimal digits are.
fn text_of_hex(digits: &str) -> Result<String, String> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    let bytes = bytes.ok_or_else(|| {
        format!(
            "the placeholder of unavailable values has {digits:?} after `hex:`, which are no pairs of hexadecimal digits"
        )
    })?;
    String::from_utf8(bytes)
        .map_err(|_| format!("the placeholder of unavailable values has {digits:?} after `hex:`, which is no UTF-8 text"))
}

fn is_byte(digits: &[u8], byte: u8) -> bool {
    let whole = digits.strip_suffix(b".0").unwrap_or(digits);
    let number = str::from_utf8(whole).ok().and_then(|digits| digits.parse::<i16>().ok());
    number.is_some_and(|number| number == i16::from(byte) || number == i16::from(byte.cast_signed()))
}

/// Java's `UUID.nameUUIDFromBytes`: the MD5 with the bits of version 3.
fn uuid(bytes: &[u8]) -> String {
    let mut digest = md5::compute(bytes).0;
    digest[6] = digest[6] & 0x0F | 0x30;
    digest[8] = digest[8] & 0x3F | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(digest));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(placeholder: &Placeholder, value: &str, expected: bool) {
        let text = format!("[{value}]");
        let mut index = Index::default();
        let root = json::read(text.as_bytes(), &mut index).expect("the case is JSON");
        let value = root.elements().expect("an array").next().expect("JSON").expect("one");
        assert_eq!(placeholder.is(value), expected, "{text}");
    }

    /// The default's base64, the bytes as numbers and the UUID are written out as the connector writes them.
    const NUMBERS: &str =
        "95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101";

    #[test]
    fn the_mark_is_recognised_in_the_shape_of_each_column_type() {
        let placeholder = Placeholder::default();
        for mark in [
            r#""__debezium_unavailable_value""#,
            r#""\u005f\u005fdebezium_unavailable_value""#,
            r#""__debezium\u005Funavailable_value""#,
            r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
            r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ""#,
            r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#,
            r#""5F5F646562657A69756D5F756E617661696C61626C655F76616C7565""#,
            r#""\\x5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#,
            r#"["__debezium_unavailable_value"]"#,
            r#"[ "__debezium_unavailable_value" ]"#,
            r#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#,
            r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
            r#"{ "__debezium_unavailable_value" : "__debezium_unavailable_value" }"#,
            r#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#,
            r#""{\"__debezium_unavailable_value\": \"__debezium_unavailable_value\"}""#,
            &format!("[{NUMBERS}]"),
            &format!("[{}]", NUMBERS.replace(',', ", ")),
            &format!("[{}.0]", NUMBERS.replace(',', ".0,")),
        ] {
            check(&placeholder, mark, true);
        }
        for other in [
            "null",
            "95",
            "true",
            r#""""#,
            "[]",
            "{}",
            r#""about __debezium_unavailable_value""#,
            r#""__debezium_unavailable_value ""#,
            r#"["__debezium_unavailable_value","a"]"#,
            r#"["a","__debezium_unavailable_value"]"#,
            r#"{"__debezium_unavailable_value":"a"}"#,
            r#"{"__debezium_unavailable_value":"__debezium_unavailable_value","a":"b"}"#,
            r#""{\"__debezium_unavailable_value\"""#,
            "[95,95]",
            &format!("[{NUMBERS},1]"),
            &format!("[{}]", NUMBERS.replace("117,101", "117,102")),
        ] {
            check(&placeholder, other, false);
        }
    }

    #[test]
    fn arrays_of_uuids_have_the_placeholders_uuid() {
        // RFC 9562's example of version 3 hashes a namespace and a name; Java hashes the bytes alone.
        assert_eq!(uuid(b""), "d41d8cd9-8f00-3204-a980-0998ecf8427e");
        let placeholder = Placeholder::default();
        check(&placeholder, r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#, true);
        check(&placeholder, &format!("[{:?}]", uuid(b"another")), false);
    }

    #[test]
    fn a_connectors_own_placeholder_is_recognised_instead() {
        let placeholder = Placeholder::new("~né\"").expect("it is not empty");
        for (mark, expected) in [
            (r#""~né\"""#, true),
            (r#""~n\u00e9\"""#, true),
            (r#""fm7DqSI=""#, true),
            ("[126,110,-61,-87,34]", true),
            ("[126,110,195,169,34]", true),
            (r#"{"~né\"":"~né\""}"#, true),
            (r#""{\"~né\\\"\":\"~né\\\"\"}""#, true),
            (r#""__debezium_unavailable_value""#, false),
        ] {
            check(&placeholder, mark, expected);
        }
        assert!(Placeholder::new("").is_err());
    }

    #[test]
    fn a_placeholder_may_be_set_as_hexadecimal_digits() {
        for setting in ["hex:5f5f6e6f6e65", "hex:5F5f6E6f6e65"] {
            let placeholder = Placeholder::new(setting).expect("the digits are those of a text");
            check(&placeholder, r#""__none""#, true);
            check(&placeholder, r#""X19ub25l""#, true);
            check(&placeholder, r#""5f5f6e6f6e65""#, true);
            check(&placeholder, r#""hex:5f5f6e6f6e65""#, false);
            check(&placeholder, r#""__debezium_unavailable_value""#, false);
        }
        // Debezium knows the prefix as it is written here alone.
        check(&Placeholder::new("HEX:5f").expect("it is a text"), r#""HEX:5f""#, true);
        for (setting, part) in [
            ("hex:", "is empty"),
            ("hex:5f5", "no pairs of hexadecimal digits"),
            ("hex:+f", "no pairs of hexadecimal digits"),
            ("hex:5f 5f", "no pairs of hexadecimal digits"),
            ("hex:é", "no pairs of hexadecimal digits"),
            ("hex:ff", "no UTF-8"),
        ] {
            let error = Placeholder::new(setting).expect_err(setting);
            assert!(error.contains(part), "{setting}: {error}");
        }
    }
}
