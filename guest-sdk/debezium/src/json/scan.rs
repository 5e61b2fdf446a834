//! The pass that finds the tokens of a text: quotes around strings, and commas and brackets outside of them.
//!
//! The index follows simdjson's first stage (Langdale and Lemire, "Parsing Gigabytes of JSON per Second"): 64 bytes
//! become a few 64-bit masks, so that arithmetic finds the bytes inside strings, instead of a branch for each byte.

use super::JsonError;

/// The places of a text's tokens. It is reused from text to text, so that it is allocated once.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Positions of the tokens in the text. Only the first `token_count` count; the rest is left from longer texts.
    tokens: Vec<u32>,
    token_count: usize,
    /// The numbers of those tokens that are brackets.
    brackets: Vec<u32>,
}

/// 64 bytes of text, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Masks {
    quote: u64,
    backslash: u64,
    comma: u64,
    bracket: u64,
    control: u64,
}

/// The state that goes on from one block into the next.
#[derive(Clone, Copy, Debug, Default)]
struct Carry {
    /// All bits where the last block ended inside a string.
    in_string: u64,
    /// The lowest bit where the last block ended with a backslash that escapes.
    escape: u64,
}

const BLOCK: usize = 64;
/// Positions are written eight at a time, past the last one that counts.
const SPARE: usize = 8;
const TEXT_BYTES_MAX: usize = 1 << 30;

// === impl Index ===

impl Index {
    /// Finds the tokens of a text, forgetting those of the last one.
    pub(super) fn fill(&mut self, text: &[u8]) -> Result<(), JsonError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(JsonError::Long);
        }
        self.token_count = 0;
        self.brackets.clear();
        if self.tokens.len() < text.len() + BLOCK + SPARE {
            self.tokens.resize(text.len() + BLOCK + SPARE, 0);
        }
        let mut carry = Carry::default();
        let mut control = 0;
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        let mut base = 0;
        for block in blocks {
            control |= self.fill_block(base, masks(block), &mut carry);
            base += BLOCK as u32;
        }
        if !rest.is_empty() {
            let mut last = [b' '; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            control |= self.fill_block(base, masks(&last), &mut carry);
        }
        // A walk looks at most two tokens past the last one, and finds the end of the text there.
        self.tokens[self.token_count..][..SPARE].fill(text.len() as u32);
        match (control, carry.in_string) {
            (0, 0) => Ok(()),
            (0, _) => Err(JsonError::Ends),
            _ => Err(JsonError::Text),
        }
    }

    /// The position of a token; the text's end where there is none.
    #[inline]
    pub(super) fn token(&self, token: usize) -> usize {
        self.tokens[token] as usize
    }

    /// The number of the token that a bracket is.
    #[inline]
    pub(super) fn bracket(&self, bracket: usize) -> Option<usize> {
        self.brackets.get(bracket).map(|&token| token as usize)
    }

    /// Notes the tokens of one block; returns the control characters that stand in strings.
    #[inline(always)]
    fn fill_block(&mut self, base: u32, masks: Masks, carry: &mut Carry) -> u64 {
        let quote = masks.quote & !escaped(masks.backslash, &mut carry.escape);
        // From an opening quote up to the byte before the closing one.
        let in_string = prefix_xor(quote) ^ carry.in_string;
        carry.in_string = ((in_string as i64) >> 63) as u64;
        let bracket = masks.bracket & !in_string;
        let tokens = quote | (masks.comma & !in_string) | bracket;
        self.push_brackets(tokens, bracket);
        self.push_tokens(base, tokens);
        masks.control & in_string
    }

    #[inline(always)]
    fn push_tokens(&mut self, base: u32, mut tokens: u64) {
        let mut at = self.token_count;
        self.token_count += tokens.count_ones() as usize;
        while tokens != 0 {
            // A turn of the loop for each token would cost more than the tokens that are written in vain.
            for position in &mut self.tokens[at..at + SPARE] {
                *position = base.wrapping_add(tokens.trailing_zeros());
                tokens &= tokens.wrapping_sub(1);
            }
            at += SPARE;
        }
    }

    #[inline(always)]
    fn push_brackets(&mut self, tokens: u64, mut brackets: u64) {
        while brackets != 0 {
            let below = (brackets & brackets.wrapping_neg()) - 1;
            self.brackets.push(self.token_count as u32 + (tokens & below).count_ones());
            brackets &= brackets - 1;
        }
    }
}

/// The bytes that a backslash escapes: in a row of backslashes every second one.
#[inline(always)]
fn escaped(backslash: u64, carry: &mut u64) -> u64 {
    const ODD_BITS: u64 = 0xAAAA_AAAA_AAAA_AAAA;
    if backslash == 0 {
        return std::mem::take(carry);
    }
    let begins = backslash & !*carry;
    // Subtracting lets a borrow run along each row of backslashes, so that it ends on an odd or an even bit.
    let code = ((begins << 1) | ODD_BITS).wrapping_sub(begins) ^ ODD_BITS;
    let escaped = code ^ (backslash | *carry);
    *carry = (code & backslash) >> 63;
    escaped
}

/// Bit i of the result: whether an odd number of the bits 0..=i are set.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(not(target_feature = "simd128"))]
fn masks(block: &[u8; BLOCK]) -> Masks {
    let mut masks = Masks::default();
    let (words, _) = block.as_chunks::<8>();
    for (turn, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The brackets and the braces differ in one bit, so that two comparisons find all four.
        let folded = word | splat(0x20);
        let shift = turn * 8;
        masks.quote |= equal(word, b'"') << shift;
        masks.backslash |= equal(word, b'\\') << shift;
        masks.comma |= equal(word, b',') << shift;
        masks.bracket |= (equal(folded, b'{') | equal(folded, b'}')) << shift;
        masks.control |= zero_bytes(word & splat(0xE0)) << shift;
    }
    masks
}

#[cfg(not(target_feature = "simd128"))]
const fn splat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// A bit for each of the eight bytes.
#[cfg(not(target_feature = "simd128"))]
fn equal(word: u64, byte: u8) -> u64 {
    zero_bytes(word ^ splat(byte))
}

#[cfg(not(target_feature = "simd128"))]
fn zero_bytes(word: u64) -> u64 {
    let low = splat(0x7F);
    let high_bits = !(((word & low) + low) | word | low);
    // Gathers the eight high bits in the highest byte.
    (high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(target_feature = "simd128")]
use simd::masks;

/// The masks, by the instructions that `sandbar build` lets a module use.
#[cfg(target_feature = "simd128")]
mod simd {
    use super::{BLOCK, Masks};
    use core::arch::wasm32::{i64x2, u8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, v128, v128_or};

    #[inline]
    pub(super) fn masks(block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks::default();
        let (lanes, _) = block.as_chunks::<16>();
        for (turn, lane) in lanes.iter().enumerate() {
            let lane = load(lane);
            let folded = v128_or(lane, u8x16_splat(0x20));
            let bits = |found: v128| u64::from(u8x16_bitmask(found)) << (turn * 16);
            let equal = |lane: v128, byte: u8| u8x16_eq(lane, u8x16_splat(byte));
            masks.quote |= bits(equal(lane, b'"'));
            masks.backslash |= bits(equal(lane, b'\\'));
            masks.comma |= bits(equal(lane, b','));
            masks.bracket |= bits(v128_or(equal(folded, b'{'), equal(folded, b'}')));
            masks.control |= bits(u8x16_lt(lane, u8x16_splat(0x20)));
        }
        masks
    }

    /// LLVM makes one load of it; `v128_load` would need `unsafe`.
    #[inline]
    fn load(bytes: &[u8; 16]) -> v128 {
        let word = u128::from_le_bytes(*bytes);
        i64x2(word as i64, (word >> 64) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected masks, made a byte at a time.
    fn tokens_slowly(text: &[u8]) -> (Vec<u32>, bool) {
        let mut tokens = Vec::new();
        let mut in_string = false;
        let mut escape = false;
        for (at, &byte) in text.iter().enumerate() {
            let is_escaped = std::mem::take(&mut escape);
            match byte {
                b'\\' if !is_escaped => escape = true,
                b'"' if !is_escaped => {
                    in_string = !in_string;
                    tokens.push(at as u32);
                }
                b',' | b'[' | b']' | b'{' | b'}' if !in_string => tokens.push(at as u32),
                _ => {}
            }
        }
        (tokens, in_string)
    }

    #[test]
    fn the_index_is_what_a_walk_byte_by_byte_finds() {
        let alphabet = br#"""\\\,:[]{}a 1"#;
        let mut index = Index::default();
        for seed in 0..20_000_u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as usize
            };
            let text: Vec<u8> = (0..next() % 300).map(|_| alphabet[next() % alphabet.len()]).collect();
            let (expected, open) = tokens_slowly(&text);
            assert_eq!(index.fill(&text).is_err(), open, "seed {seed}");
            assert_eq!(index.tokens[..index.token_count], expected, "seed {seed}");
            let brackets: Vec<u32> = index.brackets.iter().map(|&token| expected[token as usize]).collect();
            let expected: Vec<u32> = expected.into_iter().filter(|&at| b"[]{}".contains(&text[at as usize])).collect();
            assert_eq!(brackets, expected, "seed {seed}");
        }
    }

    #[test]
    fn every_byte_falls_into_its_class() {
        for byte in 0..=u8::MAX {
            let mut block = [b'x'; BLOCK];
            block[37] = byte;
            let bit = |is: bool| u64::from(is) << 37;
            let expected = Masks {
                quote: bit(byte == b'"'),
                backslash: bit(byte == b'\\'),
                comma: bit(byte == b','),
                bracket: bit(b"[]{}".contains(&byte)),
                control: bit(byte < 0x20),
            };
            assert_eq!(masks(&block), expected, "byte {byte}");
        }
    }
}
