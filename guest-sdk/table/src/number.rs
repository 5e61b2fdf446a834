//! The canonical form of a number, by its digits: exact, whatever its size is.

/// Zeros that are written out at most; beyond that a number has an exponent.
const ZEROS_MAX: usize = 40;

/// The canonical form of a JSON number; `None`: it is none.
pub(crate) fn canonical(written: &str) -> Option<String> {
    let (sign, rest) = written.strip_prefix('-').map_or(("", written), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(left, right)| (left, Some(right)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(left, right)| (left, Some(right)));
    if !is_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) || fraction.is_some_and(|it| !is_digits(it)) {
        return None;
    }
    let exponent = exponent.map_or(Some(Some(0)), read_exponent)?;
    let Some(exponent) = exponent else { return Some(written.to_owned()) };
    let fraction = fraction.unwrap_or_default();
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return Some("0".to_owned());
    }
    // The value is `kept` times ten to this power.
    let power = i128::from(exponent) - fraction.len() as i128 + (digits.len() - kept.len()) as i128;
    Some(format!("{sign}{}", placed(kept, power)))
}

fn placed(digits: &str, power: i128) -> String {
    let zeros = usize::try_from(power.unsigned_abs()).unwrap_or(usize::MAX);
    if power >= 0 && zeros <= ZEROS_MAX {
        return format!("{digits}{}", "0".repeat(zeros));
    }
    if power < 0 && zeros <= digits.len() + ZEROS_MAX {
        let padded = format!("{}{digits}", "0".repeat((zeros + 1).saturating_sub(digits.len())));
        let (whole, fraction) = padded.split_at(padded.len() - zeros);
        return format!("{whole}.{fraction}");
    }
    format!("{digits}e{power}")
}

/// Reads an exponent; `Some(None)`: it is one, with more than 64 bits.
fn read_exponent(written: &str) -> Option<Option<i64>> {
    let digits = written.strip_prefix(['-', '+']).unwrap_or(written);
    is_digits(digits).then(|| written.parse().ok())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of these numbers are the first one.
    #[track_caller]
    fn check(numbers: &[&str]) {
        for number in numbers {
            assert_eq!(canonical(number).as_deref(), Some(numbers[0]), "{number}");
        }
    }

    #[test]
    fn equal_numbers_have_one_form() {
        check(&["7", "7.0", "7.000", "7e0", "70e-1", "0.7E+1"]);
        check(&["0", "-0", "0.0", "-0.00", "0e9", "0e-9"]);
        check(&["-1500", "-15e2", "-1.5E3", "-1500.0"]);
        check(&["0.05", "5e-2", "0.050", "50e-3"]);
        check(&["12.5", "12.50", "125e-1", "0.0125e3"]);
        check(&["9007199254740993", "9007199254740993.0"]);
        check(&["184467440737095516161844674407370955161", "184467440737095516161844674407370955161.0"]);
        check(&["1e41", "10e40", &format!("1{}", "0".repeat(41))]);
    }

    #[test]
    fn other_numbers_stay_apart() {
        let numbers = ["9007199254740992", "9007199254740993", "0.1", "0.10000000000000001", "1e40", "1e41", "-1", "1"];
        for (index, one) in numbers.iter().enumerate() {
            for other in &numbers[index + 1..] {
                assert_ne!(canonical(one), canonical(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn an_exponent_without_end_stays_as_it_is() {
        check(&["1e99999999999999999999"]);
        assert_eq!(canonical("1e9223372036854775807").as_deref(), Some("1e9223372036854775807"));
    }

    #[test]
    fn no_number_is_none() {
        for text in ["", "-", "01", "1.", ".1", "1e", "1e+", "+1", "1-", "1.2.3", "1e1e1", "--1"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
