//! A lazy reader of JSON text: it finds where members and elements begin and end, and parses nothing else.
//!
//! A service needs perhaps 8 of the 45 values of a change event, so the speed of skipping the others counts. One pass
//! ([`scan`]) looks at 64 bytes a step, and notes the quotes, commas and brackets that stand outside of strings. To
//! step over a value is then a look into that index.
//!
//! Skipped values are only checked to be balanced and in closed strings. A caller that copies a value into an output
//! calls [`Value::check`] on it first.

mod document;
pub mod scan;
pub mod text;

pub use document::Document;

use scan::Index;
use std::fmt;

/// The reason why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A string or a bracket is not closed.
    #[error("the text ends too early")]
    Ends,
    /// The grammar is violated between values.
    #[error("a comma, a colon, a quote or a bracket is missing or out of place")]
    Structure,
    /// The grammar is violated in a string.
    #[error("a string holds a control character or an unknown escape")]
    Text,
    /// The grammar is violated in a scalar.
    #[error("a word is neither a number nor true, false or null")]
    Word,
    /// Its bytes are no text.
    #[error("it is not UTF-8")]
    Utf8,
    /// A limit of the reader.
    #[error("it is longer than 1 GiB")]
    Long,
}

/// One value of a text.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    /// The value as it was written, without space around it.
    text: &'a [u8],
    place: Place<'a>,
}

/// A value by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `null`
    Null,
    /// The text between the quotes, with its escapes.
    Text(&'a [u8]),
    /// A number, or a word in the place of one.
    Number(&'a [u8]),
    /// `true` or `false`
    Bool(bool),
    /// `[..]`: [`Value::elements`] has its elements.
    Array,
    /// `{..}`: [`Value::members`] has its members.
    Object,
}

/// The members of an object, in order. A name that is there twice is returned twice.
#[derive(Clone)]
pub struct Members<'a>(Walk<'a>);

/// The elements of an array, in order.
#[derive(Clone)]
pub struct Elements<'a>(Walk<'a>);

/// A place in an indexed text: the next token, and the next bracket.
#[derive(Clone, Copy)]
struct Place<'a> {
    whole: &'a [u8],
    index: &'a Index,
    token: usize,
    bracket: usize,
}

#[derive(Clone)]
struct Walk<'a> {
    next: Place<'a>,
    /// The end of the last value, or of the opening bracket.
    at: usize,
    first: bool,
}

/// Reads the object or array that a text consists of.
pub fn read<'a>(text: &'a [u8], index: &'a mut Index) -> Result<Value<'a>, JsonError> {
    index.fill(text)?;
    let start = skip_space(text, 0);
    let mut place = Place { whole: text, index, token: 0, bracket: 0 };
    if !matches!(byte(text, start), b'{' | b'[') {
        return Err(if start >= text.len() { JsonError::Ends } else { JsonError::Structure });
    }
    let value = place.take(start)?;
    if skip_space(text, start + value.text.len()) == text.len() { Ok(value) } else { Err(JsonError::Structure) }
}

// === impl Value ===

impl<'a> Value<'a> {
    /// The text, as it was written.
    pub fn text(self) -> &'a [u8] {
        self.text
    }

    /// The kind of the value, by its first byte.
    pub fn kind(self) -> Kind<'a> {
        match self.text {
            [b'"', text @ .., b'"'] => Kind::Text(text),
            [b'{', ..] => Kind::Object,
            [b'[', ..] => Kind::Array,
            b"null" => Kind::Null,
            b"true" => Kind::Bool(true),
            b"false" => Kind::Bool(false),
            number => Kind::Number(number),
        }
    }

    /// Returns true for `null`.
    pub fn is_null(self) -> bool {
        self.text == b"null"
    }

    /// Checks the whole value but for its encoding, so that it may be copied into an output.
    pub fn check(self) -> Result<(), JsonError> {
        match self.kind() {
            Kind::Null | Kind::Bool(_) => Ok(()),
            Kind::Text(text) => text::check_escapes(text),
            Kind::Number(text) if text::is_number(text) => Ok(()),
            Kind::Number(_) => Err(JsonError::Word),
            Kind::Array | Kind::Object => match serde_json::from_slice::<serde::de::IgnoredAny>(self.text) {
                Ok(_) => Ok(()),
                Err(_) => Err(JsonError::Structure),
            },
        }
    }

    /// The members, where it is an object.
    pub fn members(self) -> Option<Members<'a>> {
        self.text.starts_with(b"{").then(|| Members(self.inside()))
    }

    /// The elements, where it is an array.
    pub fn elements(self) -> Option<Elements<'a>> {
        self.text.starts_with(b"[").then(|| Elements(self.inside()))
    }

    /// The value of a member, where it is an object that has one of this name.
    pub fn member(self, wanted: &[u8]) -> Result<Option<Value<'a>>, JsonError> {
        let Some(mut members) = self.members() else { return Ok(None) };
        let mut found = None;
        while let Some((name, value)) = members.next()? {
            if name == wanted {
                found = Some(value);
            }
        }
        Ok(found)
    }

    fn inside(self) -> Walk<'a> {
        let at = self.place.position() + 1;
        let next = Place { token: self.place.token + 1, bracket: self.place.bracket + 1, ..self.place };
        Walk { next, at, first: true }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.text))
    }
}

// === impl Members ===

impl<'a> Members<'a> {
    /// The next name (as written, without its quotes) and value.
    #[expect(clippy::should_implement_trait, reason = "callers need `while let Some(..) = members.next()?`")]
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, JsonError> {
        let whole = self.0.next.whole;
        let Some(start) = self.0.advance(b'}')? else { return Ok(None) };
        if byte(whole, start) != b'"' || self.0.next.position() != start {
            return Err(JsonError::Structure);
        }
        self.0.next.token += 1;
        let name_end = self.0.next.position();
        self.0.next.token += 1;
        let colon = skip_space(whole, name_end + 1);
        if byte(whole, colon) != b':' {
            return Err(JsonError::Structure);
        }
        let value = self.0.take(skip_space(whole, colon + 1))?;
        Ok(Some((slice(whole, start + 1, name_end)?, value)))
    }
}

// === impl Elements ===

impl<'a> Elements<'a> {
    /// The next element.
    #[expect(clippy::should_implement_trait, reason = "callers need `while let Some(..) = elements.next()?`")]
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<Value<'a>>, JsonError> {
        let Some(start) = self.0.advance(b']')? else { return Ok(None) };
        self.0.take(start).map(Some)
    }
}

// === impl Walk ===

impl<'a> Walk<'a> {
    /// Goes past a comma to where the next member begins, or to the end.
    #[inline(always)]
    fn advance(&mut self, close: u8) -> Result<Option<usize>, JsonError> {
        let at = skip_space(self.next.whole, self.at);
        let first = std::mem::replace(&mut self.first, false);
        match byte(self.next.whole, at) {
            found if found == close => Ok(None),
            _ if first => Ok(Some(at)),
            b',' => {
                self.next.token += 1;
                Ok(Some(skip_space(self.next.whole, at + 1)))
            }
            _ if at >= self.next.whole.len() => Err(JsonError::Ends),
            _ => Err(JsonError::Structure),
        }
    }

    #[inline(always)]
    fn take(&mut self, start: usize) -> Result<Value<'a>, JsonError> {
        let value = self.next.take(start)?;
        self.at = start + value.text.len();
        Ok(value)
    }
}

// === impl Place ===

impl<'a> Place<'a> {
    /// The place of the next token; the text's end if there is none.
    #[inline]
    fn position(self) -> usize {
        self.index.token(self.token)
    }

    /// Goes past the value that begins at `start`.
    #[inline(always)]
    fn take(&mut self, start: usize) -> Result<Value<'a>, JsonError> {
        let place = *self;
        let end = match byte(self.whole, start) {
            b'"' => {
                self.token += 2;
                self.index.token(self.token - 1) + 1
            }
            b'{' | b'[' => self.take_container()?,
            // A scalar holds no token: it goes on to the next one, or to the space before that.
            _ => start + slice(self.whole, start, self.position())?.trim_ascii_end().len(),
        };
        match slice(self.whole, start, end)? {
            [] => Err(JsonError::Structure),
            text => Ok(Value { text, place }),
        }
    }

    /// Goes past the container that begins at the next token, and returns where it ends.
    fn take_container(&mut self) -> Result<usize, JsonError> {
        let mut depth = 0_usize;
        while let Some(token) = self.index.bracket(self.bracket) {
            let at = self.index.token(token);
            self.bracket += 1;
            match byte(self.whole, at) {
                b'{' | b'[' => depth += 1,
                _ => depth -= 1,
            }
            if depth == 0 {
                self.token = token + 1;
                return Ok(at + 1);
            }
        }
        Err(JsonError::Ends)
    }
}

// === Bytes ===

/// The byte at `at`, zero past the end.
#[inline]
fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// A part of the text. Tokens come from the input, so that a place out of order is the input's fault.
#[inline]
fn slice(text: &[u8], start: usize, end: usize) -> Result<&[u8], JsonError> {
    text.get(start..end).ok_or(JsonError::Ends)
}

#[inline]
fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(byte(text, at), b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests;
