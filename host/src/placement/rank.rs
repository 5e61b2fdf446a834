//! Rendezvous hashing: each transform ranks all hosts by a hash of both names, so each host has the same ranks in mind.

use crate::model::names::TransformId;

/// Returns the weight of a host for a transform. It is part of the contract between hosts: with another hash, hosts of two
/// versions would place transforms twice.
pub fn weight(id: &TransformId, host: &str) -> u64 {
    let transform = fnv([id.team.as_str(), "/", id.name.as_str()]);
    mixed(transform ^ mixed(fnv([host])))
}

/// FNV-1a over the bytes of all parts.
fn fnv<const N: usize>(parts: [&str; N]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finalizer of SplitMix64: names that differ in one letter get weights that have nothing in common.
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_never_change() {
        #[track_caller]
        fn check(id: &str, host: &str, expected: u64) {
            assert_eq!(weight(&id.parse().expect("valid"), host), expected, "{id} {host}");
        }
        check("shop/orders", "host-1", 0xb2a0_571d_c099_c2a8);
        check("shop/orders", "host-2", 0xde40_899f_ac1c_8ad3);
        check("shop/stock", "host-1", 0xfad4_b476_59d8_2d9e);
    }
}
