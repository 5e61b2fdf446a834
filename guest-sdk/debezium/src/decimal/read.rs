//! Decimals from the texts and bytes in which they come.

use super::{Decimal, DecimalError, SCALE_MAX, power_of_ten};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::str::FromStr;

// === impl Decimal ===

impl Decimal {
    /// Reads Kafka Connect's form of a decimal: the base64 of the unscaled value in big-endian two's complement. `Infinity` is
    /// such base64, too.
    ///
    /// # Errors
    /// Fails if the text is no such base64, or the number has more than 38 digits.
    pub fn from_base64(text: &[u8], scale: impl Into<i64>) -> Result<Self, DecimalError> {
        let mut bytes = [0; 24];
        let len = match STANDARD.decode_slice(text, &mut bytes) {
            Ok(len) => len,
            Err(base64::DecodeSliceError::OutputSliceTooSmall) => return Err(DecimalError::TooLong),
            Err(_) if is_not_finite(text) => return Err(DecimalError::NotFinite),
            Err(_) => return Err(DecimalError::Base64),
        };
        let bytes = &bytes[..len];
        let Some(&first) = bytes.first() else { return Err(DecimalError::Base64) };
        // Java writes no more bytes than needed, but leading sign bytes change nothing.
        let sign: u8 = if first >= 0x80 { 0xFF } else { 0 };
        let (lead, low) = bytes.split_at(len.saturating_sub(16));
        if lead.iter().any(|&byte| byte != sign) {
            return Err(DecimalError::TooLong);
        }
        let mut wide = [sign; 16];
        wide[16 - low.len()..].copy_from_slice(low);
        let unscaled = i128::from_be_bytes(wide);
        if (unscaled < 0) == (sign != 0) { Decimal::new(unscaled, scale) } else { Err(DecimalError::TooLong) }
    }

    /// A decimal from the text of a number: digits, perhaps a sign, decimals and an exponent.
    ///
    /// # Errors
    /// Fails if the text is no number, or has more than 38 digits.
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        if is_not_finite(text) {
            return Err(DecimalError::NotFinite);
        }
        let (mantissa, exponent) = match text.iter().position(|&byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let (whole, decimals) = match digits.iter().position(|&byte| byte == b'.') {
            Some(at) if at + 1 < digits.len() => (&digits[..at], &digits[at + 1..]),
            Some(_) => return Err(DecimalError::Syntax),
            None => (digits, &[][..]),
        };
        if whole.is_empty() {
            return Err(DecimalError::Syntax);
        }
        let magnitude = parse_digits(whole, decimals)?;
        let scale = decimals.len() as i64 - exponent;
        let magnitude = match scale {
            0.. => Some(magnitude),
            // 1E+3 is written as 1000.
            _ if magnitude == 0 => Some(0),
            _ => power_of_ten(scale.unsigned_abs()).and_then(|power| magnitude.checked_mul(power)),
        };
        let unscaled = magnitude.ok_or(DecimalError::TooLong)?;
        let scale = u32::try_from(scale.max(0)).ok().filter(|&scale| scale <= SCALE_MAX).ok_or(DecimalError::TooLong)?;
        Ok(Decimal { unscaled: if negative { -unscaled } else { unscaled }, scale })
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Decimal::parse(text.as_bytes())
    }
}

/// The words that PostgreSQL, Java and Debezium write for a value that is not a number.
pub(super) fn is_not_finite(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if !matches!(text.first(), Some(b'n' | b'N' | b'i' | b'I' | b'P')) {
        return false;
    }
    let words = ["nan", "inf", "infinity", "positive_infinity", "negative_infinity"];
    words.iter().any(|name| text.eq_ignore_ascii_case(name.as_bytes()))
}

fn parse_digits(whole: &[u8], decimals: &[u8]) -> Result<i128, DecimalError> {
    let digits = || whole.iter().chain(decimals);
    if !digits().all(u8::is_ascii_digit) {
        return Err(DecimalError::Syntax);
    }
    if whole.len() + decimals.len() <= 18 {
        return Ok(i128::from(digits().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'))));
    }
    digits()
        .try_fold(0_i128, |number, digit| number.checked_mul(10)?.checked_add(i128::from(digit - b'0')))
        .ok_or(DecimalError::TooLong)
}

fn parse_exponent(text: &[u8]) -> Result<i64, DecimalError> {
    let text = str::from_utf8(text).map_err(|_| DecimalError::Syntax)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::Syntax);
    }
    text.parse::<i32>().map(i64::from).map_err(|_| DecimalError::TooLong)
}
