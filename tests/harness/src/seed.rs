//! Randomness that can be repeated: `SANDBAR_SEED=... cargo test -p sandbar-tests`.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A stream of random numbers (SplitMix64). It prints its seed when it is made, which `cargo test` shows on failure.
#[derive(Debug)]
pub struct Seed {
    seed: u64,
    state: u64,
}

impl Seed {
    /// The seed of `SANDBAR_SEED`, or a new one.
    pub fn new(test: &str) -> Self {
        let seed = match std::env::var("SANDBAR_SEED") {
            Ok(text) => text.parse().expect("SANDBAR_SEED is a number"),
            Err(_) => RandomState::new().hash_one(test),
        };
        println!("{test}: to repeat this run's random choices: SANDBAR_SEED={seed}");
        Self { seed, state: seed }
    }

    /// The seed itself, for generators of test data.
    pub fn value(&self) -> u64 {
        self.seed
    }

    /// A stream of its own, for another thread.
    pub fn fork(&mut self) -> Self {
        Self { seed: self.seed, state: self.draw() }
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `range`.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// Up to `most`, in whole microseconds.
    pub fn duration(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.within(0..most.as_micros() as u64 + 1))
    }
}
