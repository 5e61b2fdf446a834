//! Decimals as a connector writes them. Text and base64 are told apart by the schema or the configuration: a text such
//! as `1234` is both.

use super::read::is_not_finite;
use super::{Decimal, DecimalError};
use crate::json::text::{is_number, unescape};
use crate::json::{Kind, Value};
use std::borrow::Cow;

/// The form of a column's decimals, which the connector's `decimal.handling.mode` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `precise`: the base64 of the unscaled value, or a number (`decimal.format=NUMERIC` of the converter).
    Precise {
        /// The number of decimals; a negative one adds zeros.
        scale: i32,
    },
    /// `precise`, of a column without a scale: `{"scale":9,"value":"ESIQ9H3pgRU="}`.
    VariableScale,
    /// `string`
    Text,
    /// `double`
    Double,
    /// Any of them, if it can be none of the others: a text that is a number and base64 alike is refused.
    Unsaid {
        /// The number of decimals of a value in base64.
        scale: i32,
    },
}

/// A value, as far as its encoding tells.
enum Read<'a> {
    Null,
    /// The digits, as the connector wrote them.
    Digits(Cow<'a, [u8]>),
    Number(Decimal),
}

// === impl Encoding ===

impl Encoding {
    /// Reads a column's value; `None` is null.
    ///
    /// # Errors
    /// Fails if the value is no decimal of this form.
    pub fn read(self, value: Value<'_>) -> Result<Option<Decimal>, DecimalError> {
        match self.find(value)? {
            Read::Null => Ok(None),
            Read::Digits(digits) => Decimal::parse(&digits).map(Some),
            Read::Number(number) => Ok(Some(number)),
        }
    }

    /// Reads a text without escapes.
    pub(crate) fn read_text(self, text: &[u8]) -> Result<Decimal, DecimalError> {
        match self.find_plain(Cow::Borrowed(text))? {
            Read::Digits(digits) => Decimal::parse(&digits),
            Read::Number(number) => Ok(number),
            Read::Null => Err(DecimalError::Syntax),
        }
    }

    /// Appends a column's value as a text in JSON, or null. Digits that the connector wrote stay as they are.
    ///
    /// # Errors
    /// Fails like [`Encoding::read`], and appends nothing then.
    pub fn write(self, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), DecimalError> {
        match self.find(value)? {
            Read::Null => out.extend_from_slice(b"null"),
            Read::Digits(digits) => {
                out.push(b'"');
                out.extend_from_slice(&digits);
                out.push(b'"');
            }
            Read::Number(number) => {
                out.push(b'"');
                number.write(out);
                out.push(b'"');
            }
        }
        Ok(())
    }

    fn find(self, value: Value<'_>) -> Result<Read<'_>, DecimalError> {
        match (value.kind(), self) {
            (Kind::Null, _) => Ok(Read::Null),
            (Kind::Number(digits), Encoding::Precise { .. } | Encoding::Double | Encoding::Unsaid { .. }) => {
                if is_number(digits) { Ok(Read::Digits(Cow::Borrowed(digits))) } else { Err(DecimalError::Syntax) }
            }
            (Kind::Object, Encoding::Precise { .. } | Encoding::VariableScale | Encoding::Unsaid { .. }) => {
                Decimal::from_variable_scale(value).map(Read::Number)
            }
            (Kind::Text(escaped), encoding) => encoding.find_text(escaped),
            (Kind::Bool(_) | Kind::Array, _) => Err(DecimalError::Syntax),
            (_, encoding) => Err(DecimalError::OtherMode(encoding.mode())),
        }
    }

    fn find_text(self, escaped: &[u8]) -> Result<Read<'_>, DecimalError> {
        let mut text = Cow::Borrowed(escaped);
        if escaped.contains(&b'\\') {
            let mut plain = Vec::new();
            unescape(escaped, &mut plain).map_err(|_| DecimalError::Base64)?;
            text = Cow::Owned(plain);
        }
        self.find_plain(text)
    }

    fn find_plain(self, text: Cow<'_, [u8]>) -> Result<Read<'_>, DecimalError> {
        match self {
            // Words such as `Infinity` are base64, too.
            Encoding::Precise { scale } => Decimal::from_base64(&text, scale).map(Read::Number),
            _ if is_not_finite(&text) => Err(DecimalError::NotFinite),
            Encoding::Text if is_number(&text) => Ok(Read::Digits(text)),
            Encoding::Text => Err(DecimalError::Syntax),
            Encoding::VariableScale | Encoding::Double => Err(DecimalError::OtherMode(self.mode())),
            Encoding::Unsaid { scale } => match (Decimal::from_base64(&text, scale), is_number(&text)) {
                (Err(DecimalError::Base64), true) => Ok(Read::Digits(text)),
                (_, true) => Err(DecimalError::Ambiguous),
                (number, false) => number.map(Read::Number),
            },
        }
    }

    fn mode(self) -> &'static str {
        match self {
            Encoding::Precise { .. } | Encoding::VariableScale => "precise",
            Encoding::Text => "string",
            Encoding::Double => "double",
            Encoding::Unsaid { .. } => "any",
        }
    }
}

// === impl Decimal ===

impl Decimal {
    /// Reads a number of a JSON document, whose form no schema and no configuration says: a number, a text of one, or an
    /// object of a scale and a value. `None` is null.
    ///
    /// # Errors
    /// Fails if the value is none of these, or has more than 38 digits.
    pub fn read(value: Value<'_>) -> Result<Option<Self>, DecimalError> {
        match value.kind() {
            Kind::Null => Ok(None),
            Kind::Number(digits) | Kind::Text(digits) => Decimal::parse(digits).map(Some),
            Kind::Object => Decimal::from_variable_scale(value).map(Some),
            Kind::Bool(_) | Kind::Array => Err(DecimalError::Syntax),
        }
    }

    /// A `NUMERIC` without a precision, and Oracle's `NUMBER`: `{"scale":9,"value":"ESIQ9H3pgRU="}`.
    ///
    /// # Errors
    /// Fails if the value is no such object, or the number has more than 38 digits.
    pub fn from_variable_scale(value: Value<'_>) -> Result<Self, DecimalError> {
        let member = |name: &[u8]| value.member(name).ok().flatten().map(Value::kind);
        match (member(b"scale"), member(b"value")) {
            (Some(Kind::Number(scale)), Some(Kind::Text(unscaled))) => {
                let scale: i32 =
                    str::from_utf8(scale).ok().and_then(|scale| scale.parse().ok()).ok_or(DecimalError::Syntax)?;
                let mut plain = Vec::new();
                unescape(unscaled, &mut plain).map_err(|_| DecimalError::Base64)?;
                Decimal::from_base64(&plain, scale)
            }
            _ => Err(DecimalError::Syntax),
        }
    }
}

/// Returns true for an object of a scale and a value, and nothing else.
pub(crate) fn is_variable_scale(value: Value<'_>) -> bool {
    let Some(mut members) = value.members() else { return false };
    let mut found = (false, false);
    while let Ok(Some((name, value))) = members.next() {
        match (name, value.kind()) {
            (b"scale", Kind::Number(_)) => found.0 = true,
            (b"value", Kind::Text(_)) => found.1 = true,
            _ => return false,
        }
    }
    found == (true, true)
}
