//! The types that a transform may return.

use crate::{Error, Message, Output, Result};
use std::fmt::Display;

/// A type that a transform may return: `()`, a [`Message`], an `Option` or a `Vec` of messages, or a `Result` of one of
/// these whose error can be displayed.
#[diagnostic::on_unimplemented(
    message = "a transform cannot return `{Self}`",
    note = "return `()`, `Message`, `Option<Message>`, `Vec<Message>` or a `Result` of one of these"
)]
pub trait Returned {
    /// Sends the messages.
    ///
    /// # Errors
    /// Fails with the transform's own error, or with that of [`Output::send`].
    fn send(self, out: &mut Output<'_>) -> Result<()>;
}

impl Returned for () {
    fn send(self, _: &mut Output<'_>) -> Result<()> {
        Ok(())
    }
}

impl Returned for Message<'_> {
    fn send(self, out: &mut Output<'_>) -> Result<()> {
        out.send(self)
    }
}

impl<T: Returned> Returned for Option<T> {
    fn send(self, out: &mut Output<'_>) -> Result<()> {
        self.map_or(Ok(()), |messages| messages.send(out))
    }
}

impl<T: Returned> Returned for Vec<T> {
    fn send(self, out: &mut Output<'_>) -> Result<()> {
        self.into_iter().try_for_each(|messages| messages.send(out))
    }
}

impl<T: Returned, E: Display> Returned for Result<T, E> {
    fn send(self, out: &mut Output<'_>) -> Result<()> {
        self.map_err(Error::new)?.send(out)
    }
}
