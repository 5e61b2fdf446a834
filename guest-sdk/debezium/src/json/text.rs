//! The contents of the strings and numbers of a JSON text.

use super::{JsonError, byte};

/// Returns true if a text is a number by JSON's grammar.
pub fn is_number(text: &[u8]) -> bool {
    let digits = |at: usize| text.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(byte(text, 0) == b'-');
    let whole = digits(at);
    if whole == 0 || (whole > 1 && byte(text, at) == b'0') {
        return false;
    }
    at += whole;
    if byte(text, at) == b'.' {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if matches!(byte(text, at), b'e' | b'E') {
        at += 1 + usize::from(matches!(byte(text, at + 1), b'+' | b'-'));
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == text.len()
}

/// Checks the escapes of a text between two quotes.
pub fn check_escapes(text: &[u8]) -> Result<(), JsonError> {
    let mut at = 0;
    while let Some(plain) = find_backslash(text, at) {
        at = plain + escape_len(text, plain)?;
    }
    Ok(())
}

/// Appends the text between two quotes to `out`, its escapes resolved.
pub fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut at = 0;
    while let Some(backslash) = find_backslash(text, at) {
        out.extend_from_slice(&text[at..backslash]);
        at = backslash + escape_len(text, backslash)?;
        match byte(text, backslash + 1) {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => at = unescape_unicode(text, at, out)?,
            itself => out.push(itself),
        }
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Ok(())
}

#[inline]
fn find_backslash(text: &[u8], at: usize) -> Option<usize> {
    memchr::memchr(b'\\', text.get(at..)?).map(|found| at + found)
}

/// The length of the escape that begins with the backslash at `at`.
fn escape_len(text: &[u8], at: usize) -> Result<usize, JsonError> {
    match byte(text, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(2),
        b'u' => match text.get(at + 2..at + 6) {
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(6),
            _ => Err(JsonError::Text),
        },
        _ => Err(JsonError::Text),
    }
}

/// Appends the character whose `\uXXXX` ends at `end`, with its second half if it is one of a pair, and returns the end
/// of the last one.
fn unescape_unicode(text: &[u8], end: usize, out: &mut Vec<u8>) -> Result<usize, JsonError> {
    let unit = |end: usize| {
        let hex = str::from_utf8(text.get(end - 4..end)?).ok()?;
        u16::from_str_radix(hex, 16).ok()
    };
    let first = unit(end).ok_or(JsonError::Text)?;
    let is_pair = (0xd800..0xdc00).contains(&first) && text[end..].starts_with(b"\\u");
    let second = if is_pair { unit(end + 6) } else { None };
    for character in char::decode_utf16(std::iter::once(first).chain(second)) {
        let character = character.map_err(|_| JsonError::Text)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(if second.is_some() { end + 6 } else { end })
}
