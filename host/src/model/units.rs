//! Quantities in the form that people write: `64MiB`, `200ms`.

use std::time::{Duration, UNIX_EPOCH};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A number of bytes: `64MiB`, `1kB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Units of bytes in which a number is shown.
const UNITS: [(u64, &str); 10] = [
    (1 << 50, "PiB"),
    (1 << 40, "TiB"),
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
    (1_000_000_000_000_000, "PB"),
    (1_000_000_000_000, "TB"),
    (1_000_000_000, "GB"),
    (1_000_000, "MB"),
    (1_000, "kB"),
];

impl Bytes {
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The unit that it was given in is most likely the one with the fewest digits: 10GB are 9765625KiB.
        let whole = UNITS.iter().filter(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match whole.min_by_key(|(unit, _)| self.0 / unit) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl std::str::FromStr for Bytes {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        raw.parse::<ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| format!("{raw:?} is not a size, such as 64MiB"))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Text::deserialize(deserializer)? {
            Text::Number(bytes) => Ok(Self(bytes)),
            Text::Text(raw) => raw.parse().map_err(D::Error::custom),
        }
    }
}

/// A span of time: `200ms`, `2s`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        humantime::parse_duration(raw)
            .map(Self)
            .map_err(|error| format!("{raw:?} is not a duration, such as 200ms: {error}"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Text(String),
}

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads the clock. Only the composition root and the edges call this; the core is given its time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// Returns the time that is later by `by`.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the time that is earlier by `by`.
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the whole milliseconds since `earlier`; 0 if `earlier` is in the future.
    pub fn millis_since(self, earlier: Timestamp) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A moment in the form of RFC 3339: `2026-01-01T00:00:00Z`, or with an offset from UTC. Written in UTC, with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339(pub Timestamp);

/// 9999-12-31T23:59:59.999Z.
const RFC3339_MILLIS_MAX: u64 = 253_402_300_799_999;

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Years have four digits: a later moment, which nobody means, is shown as the last one that has them.
        let millis = u64::try_from(self.0.0).unwrap_or(0).min(RFC3339_MILLIS_MAX);
        let at = UNIX_EPOCH + Duration::from_millis(millis);
        humantime::format_rfc3339_millis(at).fmt(f)
    }
}

impl std::str::FromStr for Rfc3339 {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        let refused = || format!("{raw:?} is not a moment as RFC 3339 writes it, such as 2026-01-01T00:00:00Z");
        let (local, ahead_minutes) = split_offset(raw).ok_or_else(refused)?;
        let at = humantime::parse_rfc3339(&format!("{local}Z")).map_err(|_| refused())?;
        let since_epoch = at.duration_since(UNIX_EPOCH).map_err(|_| refused())?;
        let utc = i64::try_from(since_epoch.as_millis()).map_err(|_| refused())? - ahead_minutes * 60_000;
        Ok(Self(Timestamp(utc)))
    }
}

/// Splits a moment into the local time and the minutes that it is ahead of UTC.
fn split_offset(raw: &str) -> Option<(&str, i64)> {
    if let Some(local) = raw.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    let (local, offset) = raw.split_at_checked(raw.len().checked_sub(6)?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let hours = hours.parse::<u8>().ok()?;
    let minutes = minutes.parse::<u8>().ok()?;
    let ahead = i64::from(hours) * 60 + i64::from(minutes);
    match offset.as_bytes()[0] {
        b'+' if hours < 24 && minutes < 60 => Some((local, ahead)),
        b'-' if hours < 24 && minutes < 60 => Some((local, -ahead)),
        _ => None,
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rfc3339 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl From<Timestamp> for std::time::SystemTime {
    fn from(at: Timestamp) -> Self {
        std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
    }
}

/// Times to wait before another attempt: twice as long after each failure, up to a limit.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// Returns the wait after a failure that `failures` others came before.
    pub fn after(&self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.min(10)).min(self.longest)
    }

    /// Returns a wait between the half and the whole of [`Self::after`]: hosts that failed at the same time do not try
    /// again at the same time. `random` is any random number.
    pub fn spread(&self, failures: u32, random: u64) -> Duration {
        let whole = self.after(failures);
        let half = whole / 2;
        let span_ms = u64::try_from((whole - half).as_millis()).unwrap_or(u64::MAX);
        half + Duration::from_millis(random % span_ms.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_doubles_up_to_its_limit() {
        let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let waits = [0, 1, 3, 4, u32::MAX].map(|failures| backoff.after(failures).as_millis());
        assert_eq!(waits, [100, 200, 800, 1000, 1000]);
        let spread = [0, 1, 50, 51, u64::MAX].map(|random| backoff.spread(0, random).as_millis());
        assert_eq!(spread, [50, 51, 100, 50, 50 + (u128::from(u64::MAX) % 51)]);
        let none = Backoff { first: Duration::ZERO, longest: Duration::ZERO };
        assert_eq!(none.spread(3, 7), Duration::ZERO);
        assert_eq!(Timestamp(5).after(Duration::from_secs(1)), Timestamp(1005));
        assert_eq!(Timestamp(5).after(Duration::MAX), Timestamp(i64::MAX));
    }

    #[test]
    fn moments_are_read_with_any_offset_and_written_in_utc() {
        #[track_caller]
        fn check_read(raw: &str, utc: &str) {
            assert_eq!(raw.parse::<Rfc3339>().expect(raw).to_string(), utc);
        }
        check_read("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z");
        check_read("2026-01-01T00:00:00.25z", "2026-01-01T00:00:00.250Z");
        check_read("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.000Z");
        check_read("2026-01-01T01:30:00+01:30", "2026-01-01T00:00:00.000Z");
        check_read("2025-12-31T19:00:00-05:00", "2026-01-01T00:00:00.000Z");
        #[track_caller]
        fn check_written(millis: i64, shown: &str) {
            assert_eq!(Rfc3339(Timestamp(millis)).to_string(), shown);
        }
        check_written(i64::MAX, "9999-12-31T23:59:59.999Z");
        check_written(253_402_300_800_000, "9999-12-31T23:59:59.999Z");
        check_written(-1, "1970-01-01T00:00:00.000Z");
        check_written(i64::MIN, "1970-01-01T00:00:00.000Z");
        let refused =
            ["", "Z", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+24:00"];
        for raw in refused.into_iter().chain(["2026-01-01T00:00:00+0a:00", "2026-01-01T00:00:00\u{e4}1:00"]) {
            assert!(raw.parse::<Rfc3339>().is_err(), "{raw}");
        }
    }

    #[test]
    fn quantities_read_back_as_written() {
        #[track_caller]
        fn check(raw: &str, bytes: u64) {
            let parsed: Bytes = raw.parse().expect(raw);
            assert_eq!((parsed.0, parsed.to_string().as_str()), (bytes, raw));
        }
        check("64MiB", 64 << 20);
        check("1KiB", 1024);
        check("10B", 10);
        check("1GiB", 1 << 30);
        check("10GB", 10_000_000_000);
        check("64MB", 64_000_000);
        check("3kB", 3000);
        check("1000KiB", 1_024_000);
        check("1024MB", 1_024_000_000);
        check("2PiB", 1 << 51);
        check("1TB", 1_000_000_000_000);
        check("1536MiB", 3 << 29);
        check("1000001B", 1_000_001);
        check("0B", 0);
        assert!("many".parse::<Bytes>().is_err());
        assert_eq!("200ms".parse::<Span>().expect("valid").to_string(), "200ms");
        assert!("200".parse::<Span>().is_err());
    }
}
