//! Finds deployments that would make transforms feed themselves: a path from one through topics and others back to it.

use std::collections::{BTreeMap, VecDeque};

use super::sources::dead_letter_topic;
use crate::model::names::{TeamName, TopicName, TransformId};
use crate::model::revision::{Deployment, Desired};

/// A way of records from a transform through topics and others back to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CyclePath {
    /// The transforms in turn, each with the topic through which it feeds the next one.
    steps: Vec<(TransformId, TopicName)>,
}

impl CyclePath {
    /// The whole path: `a/x -> topic -> b/y -> topic -> a/x`.
    pub fn whole(&self) -> String {
        let mut text: String = self.steps.iter().map(|(id, topic)| format!("{id} -> {topic} -> ")).collect();
        text.extend(self.steps.first().map(|(home, _)| home.to_string()));
        text
    }

    /// The path for somebody who may know of one team: of the ways through other teams, both ends alone.
    pub fn within(&self, team: &TeamName) -> String {
        let mut text = String::new();
        let mut steps = self.steps.iter().peekable();
        while let Some((id, topic)) = steps.next() {
            if id.team == *team {
                text += &format!("{id} -> {topic} -> ");
            } else if steps.peek().is_none_or(|(next, _)| next.team == *team) {
                text += &format!("(other teams) -> {topic} -> ");
            }
        }
        text.extend(self.steps.first().map(|(home, _)| home.to_string()));
        text
    }
}

/// A transform with the topics that it reads and writes. Names that are no topics are left out. Whole specs are not read for
/// this: every deployment looks at those of all teams, and a config may be large.
struct Node<'a> {
    id: &'a TransformId,
    inputs: Vec<TopicName>,
    outputs: Vec<TopicName>,
}

impl<'a> Node<'a> {
    fn of(Deployment { id, spec, .. }: &'a Deployment) -> Self {
        let topic = |name: &String| name.parse::<TopicName>().ok();
        let default = topic(&format!("{}.{}.dead-letter", id.team, id.name));
        let dead_letters = dead_letter_topic(spec, default.as_ref()).cloned();
        let inputs = spec.inputs.iter().filter_map(topic).collect();
        Self { id, inputs, outputs: spec.outputs.values().filter_map(topic).chain(dead_letters).collect() }
    }
}

/// The cycle that `next` would close among `all` (its own earlier state aside), unless its spec allows one. Paused
/// transforms count, as they may be resumed at any time.
pub fn closed_by<'a>(next: &Deployment, all: impl Iterator<Item = &'a Deployment>) -> Option<CyclePath> {
    if next.spec.allow_cycle {
        return None;
    }
    let live = all.filter(|other| other.desired != Desired::Deleted && other.id != next.id);
    let others: Vec<Node<'_>> = live.map(Node::of).collect();
    path_back(&Node::of(next), &others)
}

/// The way from the outputs of `home` to its inputs. Each transform is looked at once, and none within another: the way
/// may be as long as there are transforms.
fn path_back(home: &Node<'_>, others: &[Node<'_>]) -> Option<CyclePath> {
    let mut readers: BTreeMap<&TopicName, Vec<&Node<'_>>> = BTreeMap::new();
    for other in others {
        other.inputs.iter().for_each(|topic| readers.entry(topic).or_default().push(other));
    }
    // By transform: the one before it on the way, and the topic between.
    let mut before: BTreeMap<&TransformId, (&Node<'_>, &TopicName)> = BTreeMap::new();
    let mut waiting = VecDeque::from([home]);
    while let Some(from) = waiting.pop_front() {
        for topic in &from.outputs {
            if home.inputs.contains(topic) {
                return Some(path(home, from, topic, &before));
            }
            for reader in readers.get(topic).into_iter().flatten() {
                before.entry(reader.id).or_insert_with(|| {
                    waiting.push_back(reader);
                    (from, topic)
                });
            }
        }
    }
    None
}

fn path(
    home: &Node<'_>,
    last: &Node<'_>,
    topic: &TopicName,
    before: &BTreeMap<&TransformId, (&Node<'_>, &TopicName)>,
) -> CyclePath {
    let mut steps = vec![(last.id.clone(), topic.clone())];
    let mut at = last;
    while at.id != home.id {
        let (earlier, topic) = before[at.id];
        steps.push((earlier.id.clone(), topic.clone()));
        at = earlier;
    }
    steps.reverse();
    CyclePath { steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::Digest;
    use crate::model::revision::Generations;
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
            asked: Generations::default(),
            changed_at: Timestamp(0),
            changes: 1,
            requests: Vec::new(),
            partitions: None,
            signature: None,
            rest: Default::default(),
            unread: None,
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
            let found = closed_by(&deployment(next), others.iter()).map(|path| path.whole());
            assert_eq!(found.as_deref(), path, "{next} among {others:?}");
        }
    }

    #[track_caller]
    fn check_within(others: &[&str], expected: &str) {
        let others: Vec<Deployment> = others.iter().map(|text| deployment(text)).collect();
        let path = closed_by(&deployment("a/x: t -> u"), others.iter()).expect("a cycle");
        assert_eq!(path.within(&"a".parse().expect("a team")), expected, "{}", path.whole());
    }

    #[test]
    fn a_team_sees_nothing_of_the_ways_through_others() {
        check_within(&["a/y: u -> t"], "a/x -> u -> a/y -> t -> a/x");
        check_within(&["b/y: u -> t"], "a/x -> u -> (other teams) -> t -> a/x");
        check_within(&["b/y: u -> v", "c/z: v -> t"], "a/x -> u -> (other teams) -> t -> a/x");
        check_within(
            &["b/y: u -> v", "c/z: v -> w", "a/m: w -> q", "b/n: q -> t"],
            "a/x -> u -> (other teams) -> w -> a/m -> q -> (other teams) -> t -> a/x",
        );
    }

    #[test]
    fn a_long_way_needs_no_deep_stack() {
        const LENGTH: usize = 1000;
        let look = || {
            let others: Vec<Deployment> = (1..LENGTH).map(|n| deployment(&format!("t/n{n}: t{n} -> t{}", n + 1))).collect();
            closed_by(&deployment("t/n0: t0 -> t1"), others.iter()).is_none()
                && closed_by(&deployment(&format!("t/n0: t{LENGTH} -> t1")), others.iter()).is_some()
        };
        // A debug build's frames are large: one for each transform would not fit.
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(look).expect("a thread");
        assert!(thread.join().expect("it has room"));
    }
}
