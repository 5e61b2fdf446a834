//! Exact decimals: money never passes through a float.
//!
//! 128 bits hold every number of up to 38 digits, as many as a Debezium `NUMERIC(38, s)` has; `rust_decimal` ends at 28
//! digits. A number that does not fit is an error, never a rounding. Division alone rounds, as its caller says.
//!
//! | module | |
//! |---|---|
//! | `read` | decimals from texts and bytes |
//! | `encoding` | decimals as a connector writes them, by `decimal.handling.mode` |
//! | `typed` | decimals in typed rows, by serde |

mod encoding;
mod read;
mod typed;

pub use encoding::Encoding;
pub(crate) use encoding::is_variable_scale;
pub use typed::Precise;
pub(crate) use typed::{PRECISE, TYPE};

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// `unscaled / 10^scale`. The scale is part of the text: 27.80 is written with both of its decimals. Two decimals are
/// equal if their numbers are, so that 27.8 is 27.80.
///
/// In a typed row it reads numbers and texts of numbers (`decimal.handling.mode` `double` and `string`), and all forms
/// where the event has a schema; [`Precise`] reads the base64 of `precise` without a schema. It is written as a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    unscaled: i128,
    scale: u32,
}

/// The direction in which a number between two others goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearer one; from the middle away from zero, as on an invoice.
    HalfUp,
    /// To the nearer one; from the middle to the even digit.
    HalfEven,
    /// Towards zero.
    Down,
}

/// The reason why something is not a decimal.
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
    /// A text that has two meanings.
    #[error("is a number and base64 alike: the configuration has to say the connector's decimal.handling.mode")]
    Ambiguous,
    /// A value of another mode than the configuration or the schema says.
    #[error("is not written as decimal.handling.mode={0} writes a decimal")]
    OtherMode(&'static str),
}

/// The largest scale: as many digits as an `i128` can need. Debezium's own limit is PostgreSQL's.
pub const SCALE_MAX: u32 = 38;

// === impl Decimal ===

impl Decimal {
    /// Zero, without decimals.
    pub const ZERO: Decimal = Decimal { unscaled: 0, scale: 0 };

    /// `unscaled / 10^scale`; a negative scale adds zeros, so that 15 with a scale of -2 is 1500.
    ///
    /// # Errors
    /// Fails if the number has more than 38 digits.
    pub fn new(unscaled: i128, scale: impl Into<i64>) -> Result<Self, DecimalError> {
        let scale = scale.into();
        if scale < 0 {
            // A zero stays one, whatever its scale is.
            let power = if unscaled == 0 { Some(1) } else { power_of_ten(scale.unsigned_abs()) };
            let unscaled = power.and_then(|power| unscaled.checked_mul(power)).ok_or(DecimalError::TooLong)?;
            return Ok(Decimal { unscaled, scale: 0 });
        }
        let scale = u32::try_from(scale).ok().filter(|&scale| scale <= SCALE_MAX).ok_or(DecimalError::TooLong)?;
        Ok(Decimal { unscaled, scale })
    }

    /// The number without its point.
    pub fn unscaled(self) -> i128 {
        self.unscaled
    }

    /// The number of decimals.
    pub fn scale(self) -> u32 {
        self.scale
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
        self.checked_add(other.checked_neg()?)
    }

    /// The number with the other sign; `None` for the one number of 128 bits that has none.
    pub fn checked_neg(self) -> Option<Decimal> {
        Some(Decimal { unscaled: self.unscaled.checked_neg()?, ..self })
    }

    /// The quotient with this scale; `None` for a division by zero, or where a step has more than 38 digits.
    pub fn checked_div(self, other: Decimal, scale: u32, rounding: Rounding) -> Option<Decimal> {
        let shift = i64::from(scale) + i64::from(other.scale) - i64::from(self.scale);
        let power = power_of_ten(shift.unsigned_abs())?;
        let (dividend, divisor) = if shift < 0 {
            (self.unscaled, other.unscaled.checked_mul(power)?)
        } else {
            (self.unscaled.checked_mul(power)?, other.unscaled)
        };
        Some(Decimal { unscaled: rounding.divide(dividend, divisor)?, scale }).filter(|_| scale <= SCALE_MAX)
    }

    /// The number with this scale; `None` where it has more than 38 digits then.
    pub fn rounded(self, scale: u32, rounding: Rounding) -> Option<Decimal> {
        self.checked_div(Decimal::from(1), scale, rounding)
    }

    /// The number without zeros at its end: 2.50 becomes 2.5.
    pub fn normalized(mut self) -> Decimal {
        while self.scale > 0 && self.unscaled % 10 == 0 {
            self = Decimal { unscaled: self.unscaled / 10, scale: self.scale - 1 };
        }
        self
    }

    /// Returns true for zero of any scale.
    pub fn is_zero(self) -> bool {
        self.unscaled == 0
    }

    /// Returns true for a number below zero.
    pub fn is_negative(self) -> bool {
        self.unscaled < 0
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

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Decimal { unscaled, scale } = self.normalized();
        (unscaled, scale).hash(state);
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.rescaled(scale), other.rescaled(scale)) {
            (Some(own), Some(other)) => own.cmp(&other),
            // One of the two has the scale already: the other is beyond all numbers of it.
            (None, _) => self.unscaled.cmp(&0),
            (_, None) => 0.cmp(&other.unscaled),
        }
    }
}

impl From<i128> for Decimal {
    fn from(unscaled: i128) -> Self {
        Decimal { unscaled, scale: 0 }
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Decimal::from(i128::from(number))
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Decimal::from(i128::from(number))
    }
}

impl From<i32> for Decimal {
    fn from(number: i32) -> Self {
        Decimal::from(i128::from(number))
    }
}

// === impl Rounding ===

impl Rounding {
    fn divide(self, dividend: i128, divisor: i128) -> Option<i128> {
        let quotient = dividend.checked_div(divisor)?;
        let rest = (dividend % divisor).unsigned_abs();
        // Twice the rest may have 129 bits, so that the other part is compared.
        let other_part = divisor.unsigned_abs() - rest;
        let is_up = match self {
            Rounding::Down => false,
            Rounding::HalfUp => rest > 0 && rest >= other_part,
            Rounding::HalfEven => rest > other_part || (rest > 0 && rest == other_part && quotient % 2 != 0),
        };
        let away = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
        if is_up { quotient.checked_add(away) } else { Some(quotient) }
    }
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
mod tests;
