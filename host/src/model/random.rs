//! Random numbers and names that nobody else has.

use std::hash::{BuildHasher, RandomState};

/// Returns a random number: the standard library seeds its hashers from the system's randomness.
pub fn number() -> u64 {
    RandomState::new().hash_one(0)
}

/// Returns a name of 128 random bits, as 32 hexadecimal digits.
pub fn name() -> String {
    format!("{:016x}{:016x}", number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        let names: std::collections::BTreeSet<String> = (0..100).map(|_| name()).collect();
        assert!(names.len() == 100 && names.iter().all(|name| name.len() == 32), "{names:?}");
    }
}
