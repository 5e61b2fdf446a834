//! Request bodies: each is read as a whole (`arrival`), and parsed by its content type (`media`) as JSON, a spec or a form.
//!
//! A request takes nothing else before its body has arrived. Bodies are parsed on threads that may block.

mod arrival;
mod form;
mod json;
mod media;
mod spec;

pub use self::arrival::{RequestBody, read};
pub use self::form::{FORM_BYTES, Upload, form, parts, signature_of};
pub use self::json::json_of;
pub use self::media::Media;
pub use self::spec::{spec_of, spec_within};
