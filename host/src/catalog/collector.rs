//! Deletes modules from the log that nobody uses: no transform, and no revision that a transform could be rolled back to.
//!
//! A module is used by every kept revision of a transform that is not deleted. What is not used stays for a while (a day
//! by default), counted from its last upload, or from when the last transform that used it was deleted: so that it can
//! be uploaded first and deployed later, and a deletion taken back.
//!
//! A collection is a turn of the catalog's one writer (see `writer`), and so is a deployment: whichever comes first, a
//! deployment is accepted only while its module is there, and a module that a deployment names is never deleted. The
//! manifest goes first, and with it the module; its chunks have keys of their upload, so that clearing them later never
//! hits those of another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::names::Digest;
use crate::model::revision::Desired;
use crate::model::units::Timestamp;

use super::deployments::Deployments;
use super::manifests::StoredModule;

/// The modules that nobody has used for `retention`.
pub fn unused(
    all: &Deployments,
    held: &BTreeMap<Digest, Arc<StoredModule>>,
    now: Timestamp,
    retention: Duration,
) -> Vec<Digest> {
    if !all.is_understood() {
        // Nobody here knows which modules a newer host's transforms use.
        return Vec::new();
    }
    let mut used = BTreeSet::new();
    let mut used_until: BTreeMap<Digest, Timestamp> = BTreeMap::new();
    for (id, deployment) in all.iter() {
        let modules = all.revisions(id).into_iter().map(|revision| revision.module);
        match deployment.desired {
            Desired::Deleted => modules.for_each(|module| {
                let until = used_until.entry(module).or_insert(deployment.changed_at);
                *until = (*until).max(deployment.changed_at);
            }),
            Desired::Running | Desired::Paused => used.extend(modules),
        }
    }
    let since = |digest: &Digest, held: &StoredModule| used_until.get(digest).map_or(held.at, |&until| until.max(held.at));
    let old = held.iter().filter(|(digest, held)| {
        !used.contains(digest) && u128::from(now.millis_since(since(digest, held))) >= retention.as_millis()
    });
    old.map(|(digest, _)| *digest).collect()
}

#[cfg(test)]
mod tests {
    use super::super::change::{Change, Precondition, Request};
    use super::super::decide::decide;
    use super::super::manifests::Manifest;
    use super::*;
    use crate::model::audit::Actor;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn hours(hours: i64) -> Timestamp {
        Timestamp(hours * 3_600_000)
    }

    /// A catalog in which these changes were made: transform, the module or none to delete it, at which hour.
    fn state(changes: &[(&str, Option<&str>, i64)]) -> Deployments {
        let mut state = Deployments::default();
        for (name, module, at) in changes {
            let id = format!("t/{name}").parse().expect("valid");
            let spec = serde_json::json!({"inputs": ["a"], "outputs": {"o": "b"}});
            let change = module.map_or(Change::Delete, |module| Change::Put {
                spec: Box::new(serde_json::from_value(spec).expect("valid")),
                module: Digest::of(module.as_bytes()),
            });
            let request = Request {
                expected: Precondition::Any,
                change,
                key: None,
                actor: Actor::anyone(),
                now: hours(*at),
                committed: Default::default(),
                growth: None,
                signature: None,
                assumes: None,
            };
            for record in decide(&state, &id, &request, &|_| Some(1)).expect("accepted").records {
                state.take(&record).expect("readable");
            }
        }
        state
    }

    #[test]
    fn modules_go_when_nobody_has_used_them_for_long() {
        let used = [("x", Some("a"), 1), ("x", Some("b"), 2)];
        let deleted = [("x", Some("a"), 1), ("x", None, 30)];
        let shared = [("x", Some("a"), 1), ("x", None, 30), ("y", Some("a"), 2)];
        let twice = [("x", Some("a"), 1), ("x", None, 30), ("y", Some("a"), 2), ("y", None, 40)];
        let back = [("x", Some("a"), 1), ("x", None, 30), ("x", Some("b"), 31)];
        for (what, changes, now, gone) in [
            ("never used, uploaded 23 h ago", &[][..], 23, ""),
            ("never used, uploaded a day ago", &[], 24, "ab"),
            ("its revision is kept", &used, 1000, ""),
            ("its transform was deleted 23 h ago", &deleted, 53, "b"),
            ("its transform was deleted a day ago", &deleted, 54, "ab"),
            ("another transform uses it", &shared, 1000, "b"),
            ("the last of two was deleted 23 h ago", &twice, 63, "b"),
            ("the last of two was deleted a day ago", &twice, 64, "ab"),
            ("its deleted transform was deployed again", &back, 1000, ""),
        ] {
            let manifest = Manifest { bytes: 1, chunks: 1, chunks_from: 0, ..Manifest::default() };
            let stored = Arc::new(StoredModule { manifest, at: hours(0) });
            let held = ["a", "b"].map(|name| (Digest::of(name.as_bytes()), stored.clone()));
            let found = unused(&state(changes), &held.into(), hours(now), DAY);
            let names: String = ["a", "b"].into_iter().filter(|name| found.contains(&Digest::of(name.as_bytes()))).collect();
            assert_eq!(names, gone, "{what}");
        }
    }
}
