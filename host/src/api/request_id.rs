//! The name of a request, by which answers, the host's log and the audit topic tell of it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::random::random_u64;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 64;

/// A request's name in answers and in the log.
#[derive(Debug, Clone)]
pub struct RequestId(String);

// === impl RequestId ===

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    /// Takes the caller's id if it is a short word, else makes one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let fits =
            |id: &&str| !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.chars().all(|c| c.is_ascii_graphic());
        Self(given.filter(fits).map_or_else(new_id, str::to_owned))
    }

    pub fn value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a short word of visible ASCII")
    }
}

/// Makes an id that no other request of any process has.
fn new_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(random_u64);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
}
