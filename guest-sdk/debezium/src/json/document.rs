//! JSON in a text: Debezium writes columns of the types `json` and `jsonb` so.

use super::scan::Index;
use super::text::unescape;
use super::{Elements, JsonError, Kind, Value, read};

/// A document of JSON in a text, and the memory of it, which is used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct Document {
    text: Vec<u8>,
    index: Index,
}

// === impl Document ===

impl Document {
    /// The elements of a column that holds an array: of the array itself, or of the document in a text. A null has none, as
    /// the column's value and as the whole document. `None`: the value is no array.
    ///
    /// # Errors
    /// Fails if a text is not JSON, or is that of a scalar.
    pub fn elements<'a>(&'a mut self, column: Value<'a>) -> Result<Option<Elements<'a>>, JsonError> {
        let Document { text, index } = self;
        text.clear();
        match column.kind() {
            Kind::Null => text.extend_from_slice(b"[]"),
            Kind::Text(escaped) => unescape(escaped, text)?,
            _ => return Ok(column.elements()),
        }
        if text.trim_ascii() == b"null" {
            text.clear();
            text.extend_from_slice(b"[]");
        }
        Ok(read(text, index)?.elements())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_its_elements_in_either_form() {
        #[track_caller]
        fn check(column: &str, expected: Result<Option<&[&str]>, JsonError>) {
            let text = format!("[{column}]");
            let mut index = Index::default();
            let root = read(text.as_bytes(), &mut index).expect("the case is JSON");
            let column = root.elements().expect("an array").next().expect("JSON").expect("one");
            let mut document = Document::default();
            // The memory has the document before.
            let _ = document.elements(column);
            let found = document.elements(column).map(|elements| {
                elements.map(|mut elements| {
                    let next = || elements.next().expect("JSON").map(|element| format!("{element:?}"));
                    std::iter::from_fn(next).collect::<Vec<_>>()
                })
            });
            let expected = expected.map(|elements| {
                elements.map(|elements| elements.iter().map(|element| (*element).to_owned()).collect::<Vec<_>>())
            });
            assert_eq!(found, expected, "{text}");
        }
        let two: &[&str] = &["7", r#"{"a":"b"}"#];
        check(r#"[7, {"a":"b"}]"#, Ok(Some(two)));
        check(r#""[7, {\"a\":\"b\"}]""#, Ok(Some(two)));
        for none in ["[]", r#""[]""#, "null", r#""null""#, r#"" null\n""#] {
            check(none, Ok(Some(&[])));
        }
        for other in ["7", "true", "{}", r#""{\"a\":1}""#] {
            check(other, Ok(None));
        }
        check(r#""""#, Err(JsonError::Ends));
        check(r#""7""#, Err(JsonError::Structure));
        check(r#""[7""#, Err(JsonError::Ends));
        check(r#""nullx""#, Err(JsonError::Structure));
    }
}
