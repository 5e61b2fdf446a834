//! Exact decimals: money never passes through a float.
//!
//! 128 bits hold every number of up to 38 digits, as many as a Debezium `NUMERIC(38, s)` has; `rust_decimal` ends at 28
//! digits. A number that does not fit is an error, never a rounding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// `unscaled / 10^scale`. The scale is part of the value: 27.80 is written with both of its decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal {
    unscaled: i128,
    scale: u32,
}

/// Why something is not a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Something else than digits, a sign, a point and an exponent.
    #[error("is not a number")]
    Syntax,
    /// NaN or infinity, which PostgreSQL knows too.
    #[error("is NaN or infinite, which no exact decimal can be")]
    NotFinite,
    /// Beyond 128 bits.
    #[error("has more than 38 digits")]
    TooLong,
    /// A text that is not base64, or of nothing.
    #[error("is not the base64 of a decimal's bytes")]
    Base64,
}

/// The largest scale: as many digits as an `i128` can need. Debezium's own limit is PostgreSQL's.
pub const SCALE_MAX: u32 = 38;

// === impl Decimal ===

impl Decimal {
    /// Zero, without decimals.
    pub const ZERO: Decimal = Decimal { unscaled: 0, scale: 0 };

    /// Reads Kafka Connect's form of a decimal: the base64 of the unscaled value in big-endian two's complement.
    pub fn from_base64(text: &[u8], scale: u32) -> Result<Self, DecimalError> {
        if is_not_finite(text) {
            return Err(DecimalError::NotFinite);
        }
        let mut bytes = [0; 24];
        let len = match STANDARD.decode_slice(text, &mut bytes) {
            Ok(len) => len,
            Err(base64::DecodeSliceError::OutputSliceTooSmall) => return Err(DecimalError::TooLong),
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
        if scale <= SCALE_MAX && (unscaled < 0) == (sign != 0) {
            Ok(Decimal { unscaled, scale })
        } else {
            Err(DecimalError::TooLong)
        }
    }

    /// A decimal from the text of a number: digits, perhaps a sign, decimals and an exponent.
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

    /// The product; `None` where it has more than 38 digits.
    pub fn checked_mul(self, other: Decimal) -> Option<Decimal> {
        let scale = Some(self.scale + other.scale).filter(|&scale| scale <= SCALE_MAX)?;
        Some(Decimal { unscaled: multiply(self.unscaled, other.unscaled)?, scale })
    }

    /// The sum, with the greater of the two scales; `None` where it has more than 38 digits.
    pub fn checked_add(self, other: Decimal) -> Option<Decimal> {
        let scale = self.scale.max(other.scale);
        let unscaled = self.rescaled(scale)?.checked_add(other.rescaled(scale)?)?;
        Some(Decimal { unscaled, scale })
    }

    /// The difference, with the greater of the two scales; `None` where it has more than 38 digits.
    pub fn checked_sub(self, other: Decimal) -> Option<Decimal> {
        self.checked_add(Decimal { unscaled: other.unscaled.checked_neg()?, ..other })
    }

    /// Returns true for zero of any scale.
    pub fn is_zero(self) -> bool {
        self.unscaled == 0
    }

    /// The whole number that it is: 2.0 is one, 1.5 is not.
    pub fn whole(self) -> Option<i128> {
        if self.scale == 0 {
            return Some(self.unscaled);
        }
        let power = power_of_ten(u64::from(self.scale))?;
        (self.unscaled % power == 0).then(|| self.unscaled / power)
    }

    fn rescaled(self, scale: u32) -> Option<i128> {
        if scale == self.scale {
            return Some(self.unscaled);
        }
        multiply(self.unscaled, power_of_ten(u64::from(scale - self.scale))?)
    }

    /// Appends its text.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.unscaled < 0 {
            out.push(b'-');
        }
        let start = out.len();
        let magnitude = self.unscaled.unsigned_abs();
        let mut digits = [0; 40];
        let mut at = digits.len();
        let mut rest = magnitude;
        let least = self.scale as usize + 1;
        while rest > u128::from(u64::MAX) {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        // Division of 64 bits is an instruction, of 128 bits a call.
        let mut rest = rest as u64;
        while rest > 0 || digits.len() - at < least {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits[at..]);
        if self.scale > 0 {
            out.insert(start + (digits.len() - at) - self.scale as usize, b'.');
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl From<i128> for Decimal {
    fn from(unscaled: i128) -> Self {
        Decimal { unscaled, scale: 0 }
    }
}

/// The words that PostgreSQL, Java and Debezium write for a value that is not a number.
fn is_not_finite(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if !matches!(text.first(), Some(b'n' | b'N' | b'i' | b'I')) {
        return false;
    }
    ["nan", "inf", "infinity"].iter().any(|name| text.eq_ignore_ascii_case(name.as_bytes()))
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

fn multiply(a: i128, b: i128) -> Option<i128> {
    match (i32::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) if i32::try_from(b).is_ok() => Some(i128::from(i64::from(a) * b)),
        _ => a.checked_mul(b),
    }
}

fn power_of_ten(exponent: u64) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).expect("the case is a decimal")
    }

    #[test]
    fn texts_come_out_as_they_went_in() {
        for text in ["0", "0.00", "27.80", "-0.10", "12.00", "-99999999.99", "1234567890.123456789", "0.000001"] {
            assert_eq!(decimal(text).to_string(), text);
        }
        let longest = "99999999999999999999999999999999999.999";
        assert_eq!(decimal(longest).to_string(), longest);
        for (text, expected) in
            [("1e3", "1000"), ("1.50E+1", "15.0"), ("-9.999999999E7", "-99999999.99"), ("1E-2", "0.01"), ("0e9", "0")]
        {
            assert_eq!(decimal(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        use DecimalError::*;
        let cases = [
            ("", Syntax),
            ("-", Syntax),
            (".5", Syntax),
            ("5.", Syntax),
            ("1,5", Syntax),
            ("1.2.3", Syntax),
            ("0x1", Syntax),
            ("1e", Syntax),
            ("1e+", Syntax),
            ("--1", Syntax),
            ("1e5.5", Syntax),
            ("NaN", NotFinite),
            ("NAN", NotFinite),
            ("-Infinity", NotFinite),
            ("1e99", TooLong),
            ("1e-99", TooLong),
            ("1e99999999999", TooLong),
            ("1000000000000000000000000000000000000000", TooLong),
        ];
        for (text, expected) in cases {
            assert_eq!(Decimal::parse(text.as_bytes()), Err(expected), "{text}");
        }
    }

    #[test]
    fn base64_is_a_twos_complement_number() {
        let cases = [
            ("Ctw=", 2, "27.80"),
            ("Cg==", 2, "0.10"),
            ("AA==", 2, "0.00"),
            ("BD3w", 4, "27.8000"),
            ("/w==", 2, "-0.01"),
            ("gA==", 0, "-128"),
            ("AIA=", 0, "128"),
            ("AxY=", 2, "7.90"),
            ("ESIQ9H3pgRU=", 9, "1234567890.123456789"),
            ("Dw==", 1, "1.5"),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAB", 0, "1"),
            ("f////////////////////w==", 0, "170141183460469231731687303715884105727"),
        ];
        for (text, scale, expected) in cases {
            let decimal = Decimal::from_base64(text.as_bytes(), scale).map(|decimal| decimal.to_string());
            assert_eq!(decimal, Ok(expected.to_owned()), "{text}");
        }
        let refused = [
            ("", DecimalError::Base64),
            ("Ctw", DecimalError::Base64),
            ("27.80", DecimalError::Base64),
            ("Infinity", DecimalError::NotFinite),
            ("AQAAAAAAAAAAAAAAAAAAAAA=", DecimalError::TooLong),
            ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", DecimalError::TooLong),
        ];
        for (text, expected) in refused {
            assert_eq!(Decimal::from_base64(text.as_bytes(), 2), Err(expected), "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact_or_refused() {
        // In doubles 0.1 * 3 is 0.30000000000000004.
        assert_eq!(decimal("0.1").checked_mul(decimal("3")).map(|sum| sum.to_string()), Some("0.3".to_owned()));
        assert_eq!(decimal("0.1").checked_add(decimal("0.25")).map(|sum| sum.to_string()), Some("0.35".to_owned()));
        assert_eq!(decimal("-7.90").checked_add(decimal("7.9")).map(|sum| sum.to_string()), Some("0.00".to_owned()));
        assert_eq!(decimal("7.9").checked_sub(decimal("7.90")).map(Decimal::is_zero), Some(true));
        assert_eq!(decimal("1").checked_sub(decimal("1.25")).map(|sum| sum.to_string()), Some("-0.25".to_owned()));
        let cent = decimal("0.01");
        let many = (0..1_000_000).try_fold(Decimal::ZERO, |sum, _| sum.checked_add(cent));
        assert_eq!(many.map(|sum| sum.to_string()), Some("10000.00".to_owned()));
        let large = decimal("99999999999999999999999999999999999999");
        assert_eq!(large.checked_mul(decimal("10")), None);
        assert_eq!(large.checked_add(decimal("0.1")), None);
        assert_eq!(
            decimal("3000000000").checked_mul(decimal("3000000000")).map(|product| product.to_string()),
            Some("9000000000000000000".to_owned())
        );
        assert_eq!((decimal("2.0").whole(), decimal("1.5").whole(), decimal("-3").whole()), (Some(2), None, Some(-3)));
    }
}
