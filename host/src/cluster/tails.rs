//! Who looks at samples of a transform's records through this host.
//!
//! Hosts never call each other: a host whose API is asked for samples says so in the status topic, and says it again
//! for as long as somebody looks; hosts that run the transform publish samples until that is too long ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::names::TransformId;

/// How many look at each transform.
#[derive(Default)]
pub struct Tails(Mutex<BTreeMap<TransformId, usize>>);

/// Somebody looks, until this is dropped.
pub struct Looking {
    tails: Arc<Tails>,
    id: TransformId,
}

impl Tails {
    pub fn look(self: &Arc<Self>, id: TransformId) -> Looking {
        *self.0.lock().entry(id.clone()).or_default() += 1;
        Looking { tails: self.clone(), id }
    }

    /// The transforms that somebody looks at.
    pub fn wanted(&self) -> BTreeSet<TransformId> {
        self.0.lock().keys().cloned().collect()
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut tails = self.tails.0.lock();
        if let Some(count) = tails.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                tails.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_wanted_until_the_last_has_looked_away() {
        let tails: Arc<Tails> = Arc::default();
        let id: TransformId = "t/n".parse().expect("valid");
        let (first, second) = (tails.look(id.clone()), tails.look(id.clone()));
        drop(first);
        assert_eq!(tails.wanted(), BTreeSet::from([id]));
        drop(second);
        assert!(tails.wanted().is_empty());
    }
}
