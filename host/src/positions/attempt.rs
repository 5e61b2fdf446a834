//! Attempts at a write that another host may make at the same time.

use std::time::Duration;

use super::error::PositionsError;
use crate::model::random::random_u64;
use crate::model::units::Backoff;
use crate::ports::ExclusiveError;

/// Between two attempts, where another host began the same at the same time.
const CONTENDED: Backoff = Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(4) };
const ATTEMPTS_MAX: u32 = 6;

/// A failed attempt to write the record of a transform.
pub enum AttemptError {
    Failed(PositionsError),
    /// Another writer took over, or nobody knows how the commit ended: the next attempt finds out.
    Contended(String),
}

impl<E: Into<PositionsError>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ExclusiveError> for AttemptError {
    fn from(error: ExclusiveError) -> Self {
        match error {
            ExclusiveError::Fenced(error) | ExclusiveError::Unknown(error) => Self::Contended(error),
            ExclusiveError::Log(error) => Self::Failed(error.into()),
        }
    }
}

/// Tries again where another host was faster: it gets done meanwhile, and this host sees it.
pub fn until_won<T>(mut attempt: impl FnMut() -> Result<T, AttemptError>) -> Result<T, PositionsError> {
    let mut failures = 0;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(AttemptError::Failed(error)) => return Err(error),
            Err(AttemptError::Contended(error)) if failures >= ATTEMPTS_MAX => return Err(PositionsError::Contended(error)),
            Err(AttemptError::Contended(_)) => std::thread::sleep(CONTENDED.spread(failures, random_u64())),
        }
        failures += 1;
    }
}
