//! JSON that fits a type; an error names the field that does not.

use super::super::problem::Refusal;
use crate::model::by_name::ByName;
use crate::model::codes::Code;

/// Reads JSON. `code` is the code for JSON that does not fit the type.
pub fn json_of<T: serde::de::DeserializeOwned>(bytes: &[u8], code: Code) -> Result<T, Refusal> {
    let axum::Json(ByName(value)) = axum::Json::from_bytes(bytes).map_err(|rejection| {
        // "Failed to ...: " comes first, then the place.
        let text = rejection.body_text();
        let text = text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest);
        match rejection {
            axum::extract::rejection::JsonRejection::JsonDataError(_) => {
                let (place, message) = placed(text);
                // The field is a better place than line and column, and the rest of the text may repeat the body.
                of_place(code, place, message.split(" at line ").next().unwrap_or(message))
            }
            _ => Refusal::new(Code::Malformed, format!("not JSON: {text}")),
        }
    })?;
    Ok(value)
}

/// Parts an error of serde, `a.b[0]: message`, into field and message.
fn placed(text: &str) -> (&str, &str) {
    match text.split_once(": ") {
        Some((place, message)) if !place.is_empty() && !place.contains([' ', '`', '"']) => (place, message),
        _ => ("", text),
    }
}

/// The refusal of a document for a place in it: a field by its path, or the unknown field that the message names.
pub fn of_place(code: Code, place: &str, message: &str) -> Refusal {
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let field = match unknown {
        Some(name) if place.is_empty() || place == "." => name.to_owned(),
        Some(name) if place != name && !place.ends_with(&format!(".{name}")) => format!("{place}.{name}"),
        _ => place.to_owned(),
    };
    Refusal::of_field(code, field, message)
}
