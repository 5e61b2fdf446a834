//! The modules that this host has just stored or found in the log, whole: a script that deploys many transforms of one module
//! sends it with each, and it is not read back from the log every time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::names::Digest;

/// Time for which a look at the log's copy is believed.
const BELIEVED: Duration = Duration::from_secs(2);

/// The modules that this host has just seen whole in the log.
#[derive(Default)]
pub struct RecentUploads {
    /// The name of each module's upload, and the time of the look.
    seen: Mutex<BTreeMap<Digest, (String, Instant)>>,
}

impl RecentUploads {
    /// Notes that the log holds this upload of a module whole, and that its manifest was just written.
    pub fn note(&self, digest: &Digest, upload: &str, now: Instant) {
        let mut seen = self.seen.lock();
        seen.retain(|_, (_, at)| now.saturating_duration_since(*at) < BELIEVED);
        seen.insert(*digest, (upload.to_owned(), now));
    }

    /// Forgets a module whose copy was found damaged.
    pub fn forget(&self, digest: &Digest) {
        self.seen.lock().remove(digest);
    }

    /// Returns true if this upload of the module was seen whole a moment ago.
    pub fn has(&self, digest: &Digest, upload: &str, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < BELIEVED;
        self.seen.lock().get(digest).is_some_and(|(of, at)| of == upload && is_recent(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_believed_for_a_moment_and_for_its_upload_alone() {
        let recent = RecentUploads::default();
        let module = Digest::of(b"module");
        let other = Digest::of(b"other");
        let now = Instant::now();
        recent.note(&module, "a", now);
        let has = |digest, upload, after| recent.has(digest, upload, now + after);
        assert!(has(&module, "a", Duration::from_millis(1900)));
        assert!(!has(&module, "a", BELIEVED));
        assert!(!has(&module, "b", Duration::ZERO));
        assert!(!has(&other, "a", Duration::ZERO));
        recent.forget(&module);
        assert!(!has(&module, "a", Duration::ZERO));
    }
}
