//! The partition of a key, as Java clients compute it: tests place records as the shop's connector does, and check the
//! partitions of outputs.
//!
//! The host has a copy of its own: tests hold the two against each other, so neither may use the other.

/// The partition of a key in a topic of `partitions` partitions: Kafka's `toPositive(murmur2(key)) % partitions`.
///
/// # Panics
/// Panics if there are no partitions.
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) as u32 & 0x7FFF_FFFF) % partitions
}

/// The hash of `org.apache.kafka.common.utils.Utils`.
pub fn murmur2(key: &[u8]) -> i32 {
    const MIX: u32 = 0x5BD1_E995;
    let mut hash = 0x9747_B28C ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ (word >> 24)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let mut word = [0; 4];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(word)).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    (hash ^ (hash >> 15)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_test() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), expected, "{key}");
        }
        // Java: toPositive(-973932308) = 1173551340.
        assert_eq!(partition_for(b"21", 1000), 340);
    }
}
