//! Least, median and most of some rounds.

/// Figures of one kind, over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

// === impl Spread ===

impl Spread {
    /// The spread of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "no round was measured");
        values.sort_by(f64::total_cmp);
        let low = values[(values.len() - 1) / 2];
        let high = values[values.len() / 2];
        Self { min: values[0], median: (low + high) / 2.0, max: values[values.len() - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], min: f64, median: f64, max: f64) {
        assert_eq!(Spread::of(values.iter().copied()), Spread { min, median, max });
    }

    #[test]
    fn the_median_of_an_even_number_lies_in_the_middle() {
        check(&[3.0], 3.0, 3.0, 3.0);
        check(&[3.0, 1.0, 2.0], 1.0, 2.0, 3.0);
        check(&[4.0, 1.0, 2.0, 3.0], 1.0, 2.5, 4.0);
    }
}
