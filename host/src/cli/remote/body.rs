//! Bodies of requests.

use crate::model::random::random_id;

/// The body of a request, and the revision that it expects.
#[derive(Debug, Default)]
pub struct Body {
    pub content_type: String,
    pub bytes: Vec<u8>,
    /// The revision that the transform must have.
    pub if_revision: Option<u64>,
}

/// One part of a form.
pub struct Part<'a> {
    pub name: &'a str,
    pub content_type: &'a str,
    pub content: &'a [u8],
}

// === impl Body ===

impl Body {
    pub fn json(value: &serde_json::Value) -> Self {
        Self { content_type: "application/json".into(), bytes: value.to_string().into_bytes(), if_revision: None }
    }

    pub fn form(parts: &[Part<'_>]) -> Self {
        let boundary = format!("sandbar-{}", random_id());
        let mut bytes = Vec::new();
        for Part { name, content_type, content } in parts {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"");
            bytes.extend_from_slice(format!("--{boundary}\r\n{head}\r\nContent-Type: {content_type}\r\n\r\n").as_bytes());
            bytes.extend_from_slice(content);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Self { content_type: format!("multipart/form-data; boundary={boundary}"), bytes, if_revision: None }
    }
}
