//! The weight of a purchase by its age: `2^(-age / half life)`, in integers, so that every machine computes the same.

/// The weight of a purchase of today.
pub const ONE: u64 = 1 << 32;

/// The weights of one half life.
#[derive(Clone, Debug)]
pub struct Decay {
    /// By age in days, below one half life.
    weights: Vec<u64>,
}

// === impl Decay ===

impl Decay {
    /// Weights that halve in this number of days, at least 1.
    pub fn new(half_life_days: u32) -> Self {
        let half_life = u64::from(half_life_days.max(1));
        Decay { weights: (0..half_life).map(|age| power(age, half_life)).collect() }
    }

    /// The weight of a purchase of this age in days, to about one unit. A purchase of the future weighs like one of
    /// today.
    pub fn weight(&self, age_days: i64) -> u64 {
        let age = u64::try_from(age_days).unwrap_or(0);
        let half_life = self.weights.len() as u64;
        let halvings = u32::try_from(age / half_life).unwrap_or(u32::MAX);
        self.weights[(age % half_life) as usize].checked_shr(halvings).unwrap_or(0)
    }
}

/// `2^(-numerator / denominator)` in units of [`ONE`], for a fraction below 1. The exponent's binary digits are each a
/// factor, which is the square root of the one before.
fn power(numerator: u64, denominator: u64) -> u64 {
    let exponent = (u128::from(numerator) << 32) / u128::from(denominator);
    // 64 digits after the point: 2^-1, whose square root is the first factor.
    let mut factor: u128 = 1 << 63;
    let mut power: u128 = 1 << 64;
    for digit in (0..32).rev() {
        factor = (factor << 64).isqrt();
        if exponent >> digit & 1 == 1 {
            power = (power * factor) >> 64;
        }
    }
    (power >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_halve_in_a_half_life_and_never_grow() {
        for half_life in [1, 2, 7, 30, 365, 3650] {
            let decay = Decay::new(half_life);
            assert_eq!(decay.weight(0), ONE);
            assert_eq!(decay.weight(-5), ONE);
            let days = i64::from(half_life);
            assert_eq!((decay.weight(days), decay.weight(10 * days)), (ONE >> 1, ONE >> 10));
            assert_eq!((decay.weight(32 * days), decay.weight(33 * days), decay.weight(i64::MAX)), (1, 0, 0));
            assert!((0..40 * days).all(|age| decay.weight(age + 1) <= decay.weight(age)), "{half_life}");
            for age in 0..3 * days {
                let exact = f64::exp2(-(age as f64) / f64::from(half_life));
                let error = (decay.weight(age) as f64 / ONE as f64 - exact).abs();
                assert!(error < 1e-9, "{age} of {half_life}: {error}");
            }
        }
    }

    /// The digits are written down once: every machine must compute them.
    #[test]
    fn weights_are_these() {
        let decay = Decay::new(7);
        let weights: Vec<u64> = (0..8).map(|age| decay.weight(age)).collect();
        assert_eq!(weights, EXPECTED);
    }

    const EXPECTED: [u64; 8] =
        [4294967296, 3890053517, 3523313525, 3191148437, 2890298655, 2617811889, 2371014176, 2147483648];
}
