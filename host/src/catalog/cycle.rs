//! Whether a deployment would make transforms feed themselves: a path from it through topics and others back to it.

use std::collections::BTreeSet;

use crate::model::names::TransformId;
use crate::model::revision::{Deployment, Desired};
use crate::model::spec::Spec;

/// The cycle that `next` would close among `all` (its own earlier state aside), unless its spec allows one:
/// `a/x -> topic -> b/y -> topic -> a/x`. Paused transforms count, as they may be resumed at any time; what this host
/// cannot read, and so does not run, is left out.
pub fn closed_by<'a>(next: &Deployment, all: impl Iterator<Item = &'a Deployment>) -> Option<String> {
    let next = next.spec().ok().filter(|spec| !spec.allow_cycle)?;
    let live = all.filter(|other| other.desired != Desired::Deleted && other.id != next.id);
    let others: Vec<Spec> = live.filter_map(|other| other.spec().ok()).collect();
    let mut seen = BTreeSet::new();
    let steps = path_back(&next, &next, &others, &mut seen)?;
    Some(format!("{}{steps}", next.id))
}

/// The way from what `from` writes to an input of `home`. A transform is looked at once: if it led there, we were there.
fn path_back<'a>(from: &'a Spec, home: &Spec, others: &'a [Spec], seen: &mut BTreeSet<&'a TransformId>) -> Option<String> {
    for topic in from.written_topics() {
        if home.inputs.contains(topic) {
            return Some(format!(" -> {topic} -> {}", home.id));
        }
        for reader in others.iter().filter(|other| other.inputs.contains(topic)) {
            if seen.insert(&reader.id)
                && let Some(rest) = path_back(reader, home, others, seen)
            {
                return Some(format!(" -> {topic} -> {}{rest}", reader.id));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::Digest;
    use crate::model::revision::Asked;
    use crate::model::units::Timestamp;

    /// `a/x: in -> out`, with `!` in front where a cycle is allowed, `-` where it is deleted, `~` where it is paused.
    fn deployment(text: &str) -> Deployment {
        let (mark, text) = if text.starts_with(['!', '-', '~']) { text.split_at(1) } else { ("", text) };
        let (id, topics) = text.split_once(": ").expect("id: in -> out");
        let (inputs, outputs) = topics.split_once(" -> ").expect("in -> out");
        let outputs: serde_json::Map<_, _> =
            outputs.split(' ').enumerate().map(|(i, topic)| (format!("o{i}"), topic.into())).collect();
        let inputs: Vec<_> = inputs.split(' ').collect();
        let spec = serde_json::json!({"inputs": inputs, "outputs": outputs, "allow_cycle": mark == "!"});
        Deployment {
            id: id.parse().expect("valid"),
            revision: 1,
            module: Digest::of(b""),
            spec: serde_json::from_value(spec).expect("valid"),
            desired: match mark {
                "-" => Desired::Deleted,
                "~" => Desired::Paused,
                _ => Desired::Running,
            },
            asked: Asked::default(),
            changed_at: Timestamp(0),
            changes: 1,
            requests: Vec::new(),
        }
    }

    #[test]
    fn cycles_are_named_by_their_path() {
        for (next, others, path) in [
            ("a/x: t -> u", &[][..], None),
            ("a/x: t -> u", &["b/y: u -> v", "c/z: v -> w"], None),
            ("a/x: t -> u", &["b/y: u -> t"], Some("a/x -> u -> b/y -> t -> a/x")),
            ("!a/x: t -> u", &["b/y: u -> t"], None),
            ("a/x: t -> u", &["!b/y: u -> t"], Some("a/x -> u -> b/y -> t -> a/x")),
            ("a/x: t -> u", &["-b/y: u -> t"], None),
            ("a/x: t -> u", &["~b/y: u -> t"], Some("a/x -> u -> b/y -> t -> a/x")),
            ("a/x: t -> u", &["a/x: u -> t"], None),
            ("a/x: t -> u", &["b/y: u -> v w", "c/z: w q -> t"], Some("a/x -> u -> b/y -> w -> c/z -> t -> a/x")),
            // A cycle among the others is theirs, and the search ends.
            ("a/x: t -> u", &["b/y: u -> v", "c/z: v -> u"], None),
            // Through dead letters.
            ("a/x: t -> u", &["b/y: a.x.dead-letter -> t"], Some("a/x -> a.x.dead-letter -> b/y -> t -> a/x")),
            ("a/x: b.y.dead-letter -> u", &["b/y: u -> v"], Some("a/x -> u -> b/y -> b.y.dead-letter -> a/x")),
        ] {
            let others: Vec<Deployment> = others.iter().map(|text| deployment(text)).collect();
            assert_eq!(closed_by(&deployment(next), others.iter()).as_deref(), path, "{next} among {others:?}");
        }
    }
}
