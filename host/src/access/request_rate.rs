//! The rate of requests of each principal.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Entries above which those that are full again are dropped.
const ENTRIES_MAX: usize = 4096;

/// The requests that each principal may still make: as many as in one second at once, and so many a second after that.
/// Nobody is locked out: a refused request takes nothing.
pub struct RequestRate {
    per_second: f64,
    entries: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    left: f64,
    at: Instant,
}

// === impl RequestRate ===

impl RequestRate {
    pub fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), entries: Mutex::default() }
    }

    /// Takes one request. An error is the time until there is another.
    pub fn take(&self, principal: &str, now: Instant) -> Result<(), Duration> {
        let most = self.per_second;
        let mut entries = self.entries.lock();
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, entry| entry.left_at(most, now) < most);
        }
        let entry = entries.entry(principal.to_owned()).or_insert(Entry { left: most, at: now });
        entry.left = entry.left_at(most, now);
        entry.at = now;
        if entry.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - entry.left) / most));
        }
        entry.left -= 1.0;
        Ok(())
    }
}

// === impl Entry ===

impl Entry {
    fn left_at(&self, per_second: f64, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + since * per_second).min(per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_principal_has_its_own_rate() {
        let rate = RequestRate::new(10);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let taken = |principal: &str, millis| (0..20).filter(|_| rate.take(principal, at(millis)).is_ok()).count();
        assert_eq!(taken("a", 0), 10);
        assert_eq!(taken("b", 0), 10);
        assert_eq!(rate.take("a", at(50)), Err(Duration::from_millis(50)));
        assert_eq!(taken("a", 500), 5);
        assert_eq!(taken("a", 60_000), 10);
        // A clock that seems to go back gives nothing.
        assert_eq!(taken("a", 59_000), 0);
    }

    #[test]
    fn principals_that_are_gone_take_no_memory() {
        let rate = RequestRate::new(10);
        let start = Instant::now();
        for n in 0..3 * ENTRIES_MAX as u64 {
            let now = start + Duration::from_millis(n);
            rate.take(&n.to_string(), now).expect("the first of its principal");
        }
        assert!(rate.entries.lock().len() <= ENTRIES_MAX);
    }
}
