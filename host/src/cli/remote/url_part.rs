//! Parts of a URL.

use crate::model::units::Span;

/// Encodes a segment of a path, or a value of a query: every byte that RFC 3986 does not leave unreserved.
pub fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Writes a span as a value of a query: without the spaces that people see in `1h 30m`.
pub fn span(span: Span) -> String {
    span.to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_spans_fit_into_a_url() {
        for (text, expected) in [
            ("P-1", "P-1"),
            ("a/b c", "a%2Fb%20c"),
            ("ü?", "%C3%BC%3F"),
            ("repository:a/b:pull&x=\u{e9} #", "repository%3Aa%2Fb%3Apull%26x%3D%C3%A9%20%23"),
        ] {
            assert_eq!(encoded(text), expected);
        }
        assert_eq!(span("90m".parse().expect("a span")), "1h30m");
    }
}
