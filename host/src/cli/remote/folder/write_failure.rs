//! Texts that could not be written. A verb that changes several transforms makes all of its changes first, and tells of its
//! output at the end: a full disk, as a reader that has gone, is no reason to leave them half done.

use super::super::super::error::{Error, Result};
use super::super::super::text;

/// The first error of writing, if there was one.
#[derive(Debug, Default)]
pub struct WriteFailure(Option<Error>);

// === impl WriteFailure ===

impl WriteFailure {
    /// Keeps the error of a text that was not written.
    pub fn keep(&mut self, written: Result<()>) {
        if let Err(error) = written {
            self.0.get_or_insert(error);
        }
    }

    /// Ends the verb with its own error, or else with the kept one.
    pub fn end(self, done: Result<()>) -> Result<()> {
        match (done, self.0) {
            (Ok(()), Some(write_failure)) => Err(write_failure),
            (Err(error), Some(write_failure)) => {
                text::tell(write_failure);
                Err(error)
            }
            (done, None) => done,
        }
    }
}
