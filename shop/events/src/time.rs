//! Dates of timestamps, as PostgreSQL writes them.

const DAY_US: i64 = 86_400_000_000;

pub fn days(timestamp_us: i64) -> i64 {
    timestamp_us.div_euclid(DAY_US)
}

/// For example `2026-03-01T10:34:56.789012Z`.
pub fn iso(timestamp_us: i64) -> String {
    let (year, month, day) = civil(days(timestamp_us));
    let us = timestamp_us.rem_euclid(DAY_US);
    let seconds = us / 1_000_000;
    let us = us % 1_000_000;
    let hour = seconds / 3600;
    let minute = seconds / 60 % 60;
    let second = seconds % 60;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the leap day is the last one.
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_become_dates() {
        for (timestamp_us, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_772_361_296_789_012, "2026-03-01T10:34:56.789012Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599_999_999, "2024-12-31T23:59:59.999999Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(iso(timestamp_us), expected);
        }
        assert_eq!(days(1_772_361_296_789_012), 20513);
    }
}
