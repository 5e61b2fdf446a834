//! Claims: a partition of a changelog is open once at a time on a host.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::names::TopicName;

/// The partitions of changelogs that are open.
#[derive(Default)]
pub(super) struct Claims {
    taken: Mutex<HashSet<(TopicName, i32)>>,
}

/// The right to have a partition of a changelog open. Dropping it gives it up.
pub(super) struct Claim {
    claims: Arc<Claims>,
    place: (TopicName, i32),
}

impl Claims {
    /// Takes a partition if nobody has it.
    pub fn try_take(self: &Arc<Self>, topic: &TopicName, partition: i32) -> Option<Claim> {
        let place = (topic.clone(), partition);
        let is_free = self.taken.lock().insert(place.clone());
        is_free.then(|| Claim { claims: self.clone(), place })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.taken.lock().remove(&self.place);
    }
}
