//! Reads the texts in which Debezium writes a `timestamptz`.

/// The ms since the Unix epoch of a time such as `2026-03-01T10:34:56.789012Z`, or with an offset such as `+02:00`;
/// `None` for other texts.
pub fn parse_ms(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(11)?;
    let (time, rest) = rest.split_at_checked(8)?;
    let ([year @ .., b'-', m1, m2, b'-', d1, d2, b'T'], [h1, h2, b':', n1, n2, b':', s1, s2]) = (date, time) else {
        return None;
    };
    let month = within(&[*m1, *m2], 1, 12)?;
    let day = within(&[*d1, *d2], 1, 31)?;
    let hour = within(&[*h1, *h2], 0, 23)?;
    let minute = within(&[*n1, *n2], 0, 59)?;
    let second = within(&[*s1, *s2], 0, 60)?;
    let (fraction, zone) = match rest {
        [b'.', rest @ ..] => rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count()),
        rest => (&[][..], rest),
    };
    let ms = (0..3).fold(0, |ms, at| ms * 10 + fraction.get(at).map_or(0, |digit| i64::from(digit - b'0')));
    let offset_minutes = match zone {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let minutes = within(&[*h1, *h2], 0, 18)? * 60 + within(&[*m1, *m2], 0, 59)?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let minutes = (days(within(year, 0, 9999)?, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + ms)
}

/// A number of digits alone.
fn within(digits: &[u8], least: i64, most: i64) -> Option<i64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = all_digits.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()?;
    (least..=most).contains(&number).then_some(number)
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_ms() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-03-01T10:34:56.789012Z", Some(1_772_361_296_789)),
            ("2026-03-01T12:34:56.7+02:00", Some(1_772_361_296_700)),
            ("2026-02-28T22:34:56-12:00", Some(1_772_361_296_000)),
            ("2024-02-29T00:00:00.000000Z", Some(1_709_164_800_000)),
            ("2024-12-31T23:59:59.999999Z", Some(1_735_689_599_999)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800_000)),
            ("2026-13-01T00:00:00Z", None),
            ("2026-03-01T00:00:00", None),
            ("2026-03-01 00:00:00Z", None),
            ("2026-03-01T00:00:00.5", None),
            ("+26-03-01T00:00:00Z", None),
            ("infinity", None),
            ("", None),
        ] {
            assert_eq!(parse_ms(text.as_bytes()), expected, "{text}");
        }
    }
}
