//! Claims: a partition of a changelog is open once at a time on a host.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::restore_thread::Progress;
use crate::model::names::TopicName;
use crate::ports::OpenError;

/// The partitions of changelogs that are open.
#[derive(Default)]
pub(super) struct Claims {
    taken: Mutex<HashSet<(TopicName, i32)>>,
    freed: Condvar,
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

    /// Takes a partition once nobody else has it.
    pub fn take(self: &Arc<Self>, topic: &TopicName, partition: i32, progress: &Progress) -> Result<Claim, OpenError> {
        let place = (topic.clone(), partition);
        let mut taken = self.taken.lock();
        while taken.contains(&place) {
            progress.check()?;
            self.freed.wait_for(&mut taken, Duration::from_millis(100));
        }
        taken.insert(place.clone());
        Ok(Claim { claims: self.clone(), place })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.taken.lock().remove(&self.place);
        self.claims.freed.notify_all();
    }
}
