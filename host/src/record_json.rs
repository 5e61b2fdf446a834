//! Records as JSON, over HTTP and on the command line. Pure.
//!
//! | in JSON | in the record |
//! |---|---|
//! | `"value": "text"` | the text |
//! | `"value": {..}`, `[..]`, `12.50`, `true` | that JSON text, byte for byte as it was sent |
//! | `"value": null`, or absent | null |
//! | `"value_base64": "AAE="` | those bytes |
//!
//! Keys and header values have the same forms. A record that was read can be written back as it is.

mod input;
mod output;
#[cfg(test)]
mod tests;

pub use crate::api_types::{Form, RecordContent, RecordOut};
pub use input::{RecordError, RecordInput, one, parse};
