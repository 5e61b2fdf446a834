//! Bytes that were right, and are a little wrong.

use super::Entropy;

/// Numbers at which sums, signs and lengths turn over.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];
const PLACES_MAX: usize = 12;
/// Longest result of one mutation.
const BYTES_MAX: usize = 256 * 1024;

/// Changes `bytes` in some places. `words` are parts that mean something where they stand.
pub fn mutate(bytes: &mut Vec<u8>, words: &[&[u8]], entropy: &mut Entropy<'_>) {
    for _ in 0..1 + entropy.below(PLACES_MAX) {
        let at = entropy.below(bytes.len() + 1);
        match entropy.below(9) {
            0 => flip(bytes, at, entropy),
            1 => bytes.insert(at, entropy.byte()),
            2 => drop(bytes.drain(at..(at + entropy.below(17)).min(bytes.len()))),
            3 => bytes.truncate(at),
            4 => overwrite(bytes, at, &entropy.pick(&NUMBERS).to_le_bytes()[..1 << entropy.below(4)]),
            5 => overwrite(bytes, at, &leb(*entropy.pick(&NUMBERS))),
            6 => repeat(bytes, at, entropy),
            7 if !words.is_empty() => insert(bytes, at, entropy.pick::<&[u8]>(words)),
            _ => overwrite(bytes, at, entropy.bytes(16)),
        }
        if entropy.is_spent() {
            return;
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, entropy: &mut Entropy<'_>) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << entropy.below(8);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    bytes.splice(at..at, part.iter().copied());
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    let end = (at + part.len()).min(bytes.len());
    bytes.splice(at..end, part.iter().copied());
}

/// Writes a part once more, or a thousand times more.
fn repeat(bytes: &mut Vec<u8>, at: usize, entropy: &mut Entropy<'_>) {
    let end = (at + 1 + entropy.below(64)).min(bytes.len());
    let part = bytes[at.min(end)..end].to_vec();
    let times = if entropy.once_in(4) { 1000 } else { 1 };
    if bytes.len() + times * part.len() <= BYTES_MAX {
        insert(bytes, end, &part.repeat(times));
    }
}

/// A number as WebAssembly writes one.
fn leb(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
