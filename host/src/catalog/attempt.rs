//! Attempts at a write that another host may make at the same time.

use std::time::Duration;

use crate::model::random::random_u64;
use crate::model::units::Backoff;
use crate::ports::{ExclusiveError, LogError};

/// Between two attempts, where another host began the same at the same time.
const CONTENDED: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(4) };
const ATTEMPTS_MAX: u32 = 6;

/// A failed attempt to write as the newest writer.
pub enum AttemptError<E> {
    Failed(E),
    /// Another writer took over, or nobody knows how the commit ended: the next attempt finds out.
    Contended(String),
}

impl<E: From<LogError>> From<LogError> for AttemptError<E> {
    fn from(error: LogError) -> Self {
        Self::Failed(error.into())
    }
}

impl<E: From<LogError>> From<ExclusiveError> for AttemptError<E> {
    fn from(error: ExclusiveError) -> Self {
        match error {
            ExclusiveError::Fenced(error) | ExclusiveError::Unknown(error) => Self::Contended(error),
            ExclusiveError::Log(error) => Self::Failed(error.into()),
        }
    }
}

/// Tries again where another host was faster: it gets done meanwhile, and this host sees it. `contended` makes the error of
/// an attempt that was never won.
pub fn until_won<T, E>(
    contended: impl FnOnce(String) -> E,
    mut attempt: impl FnMut() -> Result<T, AttemptError<E>>,
) -> Result<T, E> {
    let mut failures = 0;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(AttemptError::Failed(error)) => return Err(error),
            Err(AttemptError::Contended(error)) if failures >= ATTEMPTS_MAX => return Err(contended(error)),
            Err(AttemptError::Contended(_)) => std::thread::sleep(CONTENDED.spread(failures, random_u64())),
        }
        failures += 1;
    }
}
