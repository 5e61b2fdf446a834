//! The error of a record.

use std::fmt::{self, Display};

/// The reason for which a record failed. It is a message for people: the transform's error policy takes the record, and
/// writes this beside it.
///
/// Every `std::error::Error` converts into it, so `?` works; [`bail!`](crate::bail) and [`ensure!`](crate::ensure)
/// are shorthands.
pub struct Error {
    message: String,
}

/// A result whose error fails the record.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Returns early with an [`Error`] made from a format string.
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::core::format_args!($($message)+)))
    };
}

/// Returns early with an [`Error`], made from a format string, unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail!($($message)+);
        }
    };
}

// === impl Error ===

impl Error {
    /// An error with this message.
    pub fn new(message: impl Display) -> Self {
        Error { message: message.to_string() }
    }

    /// Puts "context: " before the message.
    pub fn context(self, context: impl Display) -> Self {
        Error { message: format!("{context}: {}", self.message) }
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Error { message }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_carries_the_causes() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("no quantity")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let cause = "x".parse::<u8>().expect_err("x is no number");
        assert_eq!(Error::from(Outer(cause)).to_string(), "no quantity: invalid digit found in string");
    }

    #[test]
    fn bail_and_ensure_format() {
        fn positive(n: i32) -> Result<i32> {
            ensure!(n != 0, "zero");
            if n < 0 {
                bail!("{n} is negative");
            }
            Ok(n)
        }
        let messages = [-1, 0, 1].map(|n| positive(n).map_err(|error| error.to_string()));
        assert_eq!(messages, [Err("-1 is negative".to_owned()), Err("zero".to_owned()), Ok(1)]);
    }
}
