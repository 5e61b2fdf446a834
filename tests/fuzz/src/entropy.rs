//! Choices made of bytes.

/// The rest of an input: the same bytes make the same choices, so that a shorter input makes a simpler one.
#[derive(Debug, Clone)]
pub struct Entropy<'a> {
    left: &'a [u8],
}

impl<'a> Entropy<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { left: input }
    }

    /// Tells whether every byte was used: from here on each choice is the first.
    pub fn is_spent(&self) -> bool {
        self.left.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&byte, left)) = self.left.split_first() else { return 0 };
        self.left = left;
        byte
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    pub fn i64(&mut self) -> i64 {
        (i64::from(self.u32()) << 32) | i64::from(self.u32())
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let drawn = match end {
            0..=0x100 => usize::from(self.byte()),
            0x101..=0x1_0000 => usize::from(u16::from_le_bytes([self.byte(), self.byte()])),
            _ => self.u32() as usize,
        };
        drawn % end
    }

    /// True once in `times`. Of a spent input: false.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// Up to `most` bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let count = self.below(most + 1).min(self.left.len());
        let (bytes, left) = self.left.split_at(count);
        self.left = left;
        bytes
    }

    /// Up to `most` characters: mostly plain, some that are special somewhere.
    pub fn text(&mut self, most: usize) -> String {
        const SPECIAL: [char; 16] =
            ['"', '\\', '\n', '\r', '\t', '\0', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', 'é', '☃', '😀', ',', ':', '{'];
        let count = self.below(most + 1);
        let draw = |_| match self.byte() {
            byte @ 0..=15 => SPECIAL[usize::from(byte)],
            byte => char::from(b' ' + byte % 95),
        };
        (0..count).map(draw).collect()
    }
}
