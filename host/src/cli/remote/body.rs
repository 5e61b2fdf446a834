//! Bodies of requests.

use crate::model::random::random_id;
use crate::model::spec::RawSpec;

/// The body of a request, and the state of the transform that it expects.
#[derive(Debug, Default)]
pub struct Body {
    pub content_type: String,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// The state in which a transform has to be for a change to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expected {
    #[default]
    Any,
    Revision(u64),
    /// There is no such transform.
    Absent,
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
        Self { content_type: "application/json".into(), bytes: value.to_string().into_bytes(), expected: Expected::Any }
    }

    /// The form of a deployment.
    pub fn deployment(spec: &RawSpec, module: Option<&[u8]>, signature: Option<&[u8]>) -> Self {
        let spec = serde_json::to_vec(spec).expect("a spec is plain data");
        let mut parts = vec![Part { name: "spec", content_type: "application/json", content: &spec }];
        parts.extend(module.map(|content| Part { name: "module", content_type: "application/wasm", content }));
        parts.extend(signature.map(|content| Part { name: "signature", content_type: "application/json", content }));
        Self::form(&parts)
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
        let content_type = format!("multipart/form-data; boundary={boundary}");
        Self { content_type, bytes, expected: Expected::Any }
    }
}
