//! The function of a transform, as the macro implements it.

use crate::{Output, Record, Result};
use serde::de::DeserializeOwned;

/// A transform. [`#[transform]`](crate::transform) implements it, on a type of the function's name.
pub trait Transform {
    /// The type of the spec's `config`. It is read once for each instance, before its first batch; an error refuses the
    /// configuration.
    type Config: DeserializeOwned;

    /// The stores that it uses: each instance opens them before its first batch, so that one which the spec does not
    /// declare refuses the deployment.
    const STORES: &'static [&'static str] = &[];

    /// The tables that it uses, likewise.
    const TABLES: &'static [&'static str] = &[];

    /// Transforms one record.
    ///
    /// # Errors
    /// An error fails this record alone, and takes back its messages.
    fn apply<'a>(record: Record<'a>, config: &'a Self::Config, out: &mut Output<'_>) -> Result<()>;
}
