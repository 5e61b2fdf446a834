//! Kafka's partitioner for keyed records, as the Java clients have it (`org.apache.kafka.common.utils.Utils`).
//!
//! Co-partitioning of topics depends on it: every writer must put a key into the partition where Java puts it.

/// The partition of a key in a topic of `partitions` partitions.
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    debug_assert!(partitions > 0, "a topic has a partition");
    // `Utils.toPositive`: clears the sign bit, which is not the same as the absolute value.
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// MurmurHash2, 32 bits, with Kafka's seed.
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (i, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_are_kafkas() {
        #[track_caller]
        fn check(key: &str, hash: i32) {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
        check("21", -973_932_308);
        check("foobar", -790_332_482);
        check("a-little-bit-long-string", -985_981_536);
        check("a-little-bit-longer-string", -1_486_304_829);
        check("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
        check("abc", 479_470_107);
    }

    #[test]
    fn a_partition_is_within_the_topic() {
        for key in ["", "a", "ab", "21", "foobar"] {
            for partitions in [1, 3, 4, 7, 256] {
                assert!((0..partitions).contains(&partition_for(key.as_bytes(), partitions)), "{key} of {partitions}");
            }
        }
        assert_eq!(partition_for(b"21", 1000), ((-973_932_308) & 0x7fff_ffff) % 1000);
    }
}
