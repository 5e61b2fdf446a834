//! Notes the forms that the schema of an event gives to the texts of a row, while serde buffers them.
//!
//! A type that serde buffers (`flatten`, `untagged`, `tag`) is read from serde's own copy of the values, which has no place for a
//! column's schema. A decimal of the schema goes into that copy as bytes. A text cannot: a `String` and an
//! [`Id`](crate::Id) are to read it as one. So the texts are noted here while the row is read, and
//! [`Precise`](crate::Precise) looks for its own among them: by the schema `1234` may be a text, where `Precise` alone
//! would take it for base64.

use crate::decimal::Encoding;
use std::cell::RefCell;

/// A text that serde has buffered, and the form of its column by the schema; `None`: the schema does not say it.
type Noted = (String, Option<Encoding>);

thread_local! {
    /// The texts of the row that is being read. `None`: no row with a schema is.
    static NOTED: RefCell<Option<Vec<Noted>>> = const { RefCell::new(None) };
}

/// Bytes of the longest text that is noted, without and with escapes: no base64 of a decimal is longer.
const TEXT_BYTES_MAX: usize = 32;
const ESCAPED_BYTES_MAX: usize = 6 * TEXT_BYTES_MAX;

const TWO_FORMS: &str = "two columns have this text, and by the event's schema it is a number in one of them alone";

/// The time in which a row is read. Rows within it have their own.
pub(super) struct SchemaTexts(Option<Vec<Noted>>);

// === impl SchemaTexts ===

impl SchemaTexts {
    /// Begins a row, whose event has a schema or not.
    pub(super) fn begin(has_schema: bool) -> Self {
        SchemaTexts(NOTED.replace(has_schema.then(Vec::new)))
    }
}

impl Drop for SchemaTexts {
    fn drop(&mut self) {
        NOTED.set(self.0.take());
    }
}

/// Returns true if the text between two quotes is short enough to be noted.
pub(super) fn is_noted(escaped: &[u8]) -> bool {
    escaped.len() <= ESCAPED_BYTES_MAX
}

/// Notes a text of the row that is being read.
pub(super) fn note(text: String, encoding: Option<Encoding>) {
    NOTED.with_borrow_mut(|noted| {
        if let Some(noted) = noted
            && text.len() <= TEXT_BYTES_MAX
        {
            noted.push((text, encoding));
        }
    });
}

/// The form that the schema gives this text; `None`: no schema says it.
///
/// # Errors
/// Fails if two columns have this text in two forms.
pub(crate) fn encoding_of(text: &str) -> Result<Option<Encoding>, &'static str> {
    NOTED.with_borrow(|noted| {
        let mut forms = noted.iter().flatten().filter(|(noted, _)| noted == text).map(|(_, encoding)| *encoding);
        let first = forms.next().flatten();
        if forms.all(|form| form == first) { Ok(first) } else { Err(TWO_FORMS) }
    })
}
