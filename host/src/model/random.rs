//! Random ids. The standard library seeds its hashers from the system's randomness, which is enough for ids, and not for
//! keys.

use std::hash::{BuildHasher, RandomState};

/// A random number.
pub fn random_u64() -> u64 {
    RandomState::new().hash_one(0)
}

/// An id of 128 bits in hexadecimal digits: nobody else has it.
pub fn random_id() -> String {
    format!("{:016x}{:016x}", random_u64(), random_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| random_id()).collect();
        assert!(ids.len() == 1000 && ids.iter().all(|id| id.len() == 32));
    }
}
