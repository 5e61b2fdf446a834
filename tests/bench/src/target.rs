//! The targets: each is one line of a benchmark's output, `target <name> <measured> <limit> ok|short`.

use std::fmt;

/// The bound of a target. A figure that is equal to it is ok.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    pub fn holds(self, measured: f64) -> bool {
        match self {
            Self::AtMost(limit) => measured <= limit,
            Self::AtLeast(limit) => measured >= limit,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<={limit}"),
            Self::AtLeast(limit) => write!(f, ">={limit}"),
        }
    }
}

/// Prints the line of a target. A name has no spaces and ends with the unit, if there is one.
pub fn print(name: &str, measured: f64, limit: Limit) {
    let verdict = if limit.holds(measured) { "ok" } else { "short" };
    println!("target {name} {measured:.3} {limit} {verdict}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_at_its_limit_is_ok() {
        for (limit, measured, expected) in [
            (Limit::AtMost(1.1), 1.1, true),
            (Limit::AtMost(1.1), 1.2, false),
            (Limit::AtMost(1.1), f64::NAN, false),
            (Limit::AtLeast(4.0), 4.0, true),
            (Limit::AtLeast(4.0), 3.9, false),
            (Limit::AtLeast(4.0), f64::NAN, false),
        ] {
            assert_eq!(limit.holds(measured), expected, "{measured} {limit}");
        }
    }
}
