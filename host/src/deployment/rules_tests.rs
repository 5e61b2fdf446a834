use serde_json::{Value, json};

use super::*;
use crate::deployment::facts::OffsetRanges;
use crate::deployment::topic_facts::TopicFacts;
use crate::model::names::TopicName;
use crate::model::revision::{Deployment, Generations, Progress, Revision};
use crate::model::secret::SecretError;
use crate::model::status::HostStatus;
use crate::model::topic_rights::{TopicGrants, TopicRights};
use crate::ports::TopicInfo;

fn topic(name: &str) -> TopicName {
    name.parse().expect("valid")
}

/// A topic as Kafka's defaults make it.
fn info(partitions: i32) -> TopicInfo {
    TopicInfo {
        partitions,
        record_bytes_max: 1 << 20,
        sent_bytes_max: 1 << 20,
        compacted: Some(false),
        needs_keys: Some(false),
        tombstones_kept: None,
        deleted_after: None,
        id: None,
    }
}

fn compacted(partitions: i32) -> TopicInfo {
    TopicInfo { compacted: Some(true), needs_keys: Some(true), ..info(partitions) }
}

/// A transform with two inputs, an output, a table and a store, with these fields in the place of its own.
fn spec_json(changes: &Value) -> Value {
    let mut spec = json!({
        "module": Digest::of(b"m").to_string(), "inputs": ["a", "b"], "outputs": {"o": "out"},
        "tables": {"t": "prices"}, "state": {"s": {}},
    });
    spec.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    spec
}

fn candidate(changes: &Value) -> Candidate<'static> {
    let raw = serde_json::from_value(spec_json(changes)).expect("a spec");
    Candidate::parse(&"t/n".parse().expect("valid"), raw, None).expect("a valid spec")
}

/// The transform as it was deployed before, with these fields in the place of its own.
fn deployed(changes: &Value, desired: Desired) -> Deployment {
    let Candidate { raw, spec, .. } = candidate(changes);
    let revision = Revision {
        id: spec.id,
        revision: 1,
        module: spec.module,
        spec: raw,
        changed_at: Timestamp(0),
        cause: crate::model::revision::Cause::Deploy,
        rolled_back_to: None,
        author: None,
        signature: None,
    };
    Deployment { desired, ..revision.to_deployment(Generations::default()) }
}

/// A cluster where the transform of [`spec_json`] breaks no rule.
fn facts() -> Facts {
    let settings = [("out", info(2)), ("prices", compacted(1)), ("changelog", compacted(4)), ("t.n.dead-letter", info(4))];
    Facts {
        hosts: vec![HostStatus::new("h", Timestamp(0))],
        module: ModuleFacts::Sound { init: Ok(()) },
        topics: TopicFacts {
            inputs: [(topic("a"), 4), (topic("b"), 4)].into(),
            settings: settings.map(|(name, info)| (topic(name), info)).into(),
            changelogs: vec![topic("changelog")],
        },
        rights: TopicRights::default(),
        start_ranges: OffsetRanges::new(),
        known: None,
        group: "sandbar.dev.t.n".into(),
        group_members: 0,
        committed: Progress::default(),
    }
}

/// The broken rules of a candidate, one a line: its code, and its fields.
#[track_caller]
fn check(changes: &Value, change: impl Fn(&mut Facts), expected: &[&str]) -> Option<Rejection> {
    let mut facts = facts();
    change(&mut facts);
    let rejection = super::check(&candidate(changes), &facts, Timestamp(0)).err();
    let violations = rejection.iter().flat_map(Rejection::violations);
    let lines = violations.map(|Violation { code, hint, problems }| {
        assert!(!hint.is_empty(), "{code}");
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        format!("{code} {}", fields.join(" "))
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected, "{changes}");
    rejection
}

fn lose(facts: &mut Facts, names: &[&str]) {
    for name in names {
        facts.topics.inputs.remove(&topic(name));
        facts.topics.settings.remove(&topic(name));
    }
}

fn resize(facts: &mut Facts, input: &str, partitions: i32) {
    facts.topics.inputs.insert(topic(input), partitions);
}

fn set(facts: &mut Facts, name: &str, info: TopicInfo) {
    facts.topics.settings.insert(topic(name), info);
}

#[test]
fn a_module_is_there_and_sound_and_accepts_its_config() {
    let none = json!({});
    check(&none, |_| {}, &[]);
    check(&none, |facts| facts.module = ModuleFacts::Missing, &["E022 module"]);
    check(&none, |facts| facts.module = ModuleFacts::Untried, &[]);
    check(&none, |facts| facts.module = ModuleFacts::Refused(ModuleError::CoreModule), &["E011 module"]);
    let refused = ModuleError::Init("no".into());
    check(&none, |facts| facts.module = ModuleFacts::Sound { init: Err(refused.clone()) }, &["E019 module"]);
}

#[test]
fn topics_exist_and_fit() {
    let none = json!({});
    check(&none, |facts| lose(facts, &["a", "out", "prices"]), &["E021 inputs[0] outputs.o tables.t"]);
    check(&none, |facts| set(facts, "prices", info(1)), &["E051 tables.t"]);
    // Not known, as the host may not ask for it.
    check(&none, |facts| set(facts, "prices", TopicInfo { compacted: None, ..info(1) }), &[]);
    let three = |facts: &mut Facts| resize(facts, "b", 3);
    check(&none, three, &["E050 inputs[0] inputs[1]"]);
    check(&json!({"state": {}}), |facts| (three(facts), facts.topics.changelogs.clear()).1, &[]);
}

#[test]
fn a_changelog_fits_its_inputs_and_its_store() {
    let none = json!({});
    check(&none, |facts| set(facts, "changelog", compacted(3)), &["E052 state.s"]);
    check(&none, |facts| set(facts, "changelog", info(4)), &["E052 state.s"]);
    let ttl = json!({"state": {"s": {"ttl": "1h"}}});
    let deleted_after = |hours: u64| {
        let deleted_after = Some(std::time::Duration::from_secs(hours * 3600));
        move |facts: &mut Facts| set(facts, "changelog", TopicInfo { deleted_after, ..info(4) })
    };
    check(&ttl, deleted_after(1), &["E052 state.s.ttl"]);
    check(&ttl, deleted_after(2), &[]);
}

#[test]
fn start_names_partitions_that_exist_and_offsets_that_are_there() {
    let start = json!({"start": {"offsets": {"a": {"0": 5, "4": 0}}}});
    let range = |range| move |facts: &mut Facts| facts.start_ranges = [((topic("a"), 0), range)].into();
    check(&start, range((0, 5)), &["E020 start.offsets.a.4"]);
    check(&start, range((6, 9)), &["E020 start.offsets.a.0 start.offsets.a.4"]);
    let redeployed = |facts: &mut Facts| {
        range((6, 9))(facts);
        facts.known = Some(deployed(&json!({}), Desired::Running));
    };
    check(&start, redeployed, &["E020 start.offsets.a.4"]);
    check(&start, |facts| lose(facts, &["a"]), &["E021 inputs[0]"]);
}

#[test]
fn stores_get_other_inputs_only_while_nobody_can_have_them_open() {
    let none = json!({});
    let known = |inputs: Value, desired, group_members| {
        move |facts: &mut Facts| {
            facts.known = Some(deployed(&json!({"inputs": inputs}), desired));
            facts.group_members = group_members;
        }
    };
    check(&none, known(json!(["a", "b"]), Desired::Running, 3), &[]);
    check(&none, known(json!(["a"]), Desired::Running, 0), &["E057 "]);
    check(&none, known(json!(["a"]), Desired::Paused, 0), &[]);
    check(&none, known(json!(["a"]), Desired::Deleted, 0), &[]);
    let rejection = check(&none, known(json!(["a"]), Desired::Paused, 3), &["E057 "]).expect("refused");
    assert_eq!(rejection.to_string(), "its stores may be open: t/n is paused, but group sandbar.dev.t.n has 3 members");
    // A host that reads another catalog may know it.
    check(&none, |facts| facts.group_members = 1, &["E057 "]);
    check(&json!({"state": {}}), |facts| (facts.group_members = 1, facts.topics.changelogs.clear()).1, &[]);
}

#[test]
fn every_broken_rule_is_named_at_once() {
    let changes = json!({"start": {"offsets": {"b": {"9": 0}}}, "state": {"s": {}}});
    let break_all = |facts: &mut Facts| {
        facts.module = ModuleFacts::Sound { init: Err(ModuleError::Init("no".into())) };
        lose(facts, &["a", "out"]);
        set(facts, "prices", info(1));
        set(facts, "changelog", compacted(3));
        facts.known = Some(deployed(&json!({"inputs": ["a"]}), Desired::Running));
    };
    let expected =
        ["E051 tables.t", "E021 inputs[0] outputs.o", "E052 state.s", "E020 start.offsets.b.9", "E057 ", "E019 module"];
    check(&changes, break_all, &expected);
}

#[test]
fn missing_topics_of_its_own_are_created() {
    let mut facts = facts();
    lose(&mut facts, &["changelog", "t.n.dead-letter"]);
    let plan = |changes: &Value| super::check(&candidate(changes), &facts, Timestamp(0)).expect("no rule is broken");
    let created = |changes: &Value| plan(changes).new_topics;
    let changelog = NewTopic { name: topic("changelog"), partitions: 4, compacted: true, retention: None };
    let dead_letters = NewTopic { name: topic("t.n.dead-letter"), compacted: false, ..changelog.clone() };
    assert_eq!(created(&json!({})), [changelog.clone(), dead_letters]);
    // Entries end by deletions in the changelog, and not by their age there.
    let changes = json!({"state": {"s": {"ttl": "1h"}}, "on_error": {"then": "skip"}});
    assert_eq!(created(&changes), [changelog]);
    assert_eq!(plan(&json!({})).warnings, [""; 0]);
}

#[test]
fn compacted_topics_of_outputs_come_with_a_warning() {
    let mut facts = facts();
    set(&mut facts, "out", compacted(1));
    set(&mut facts, "t.n.dead-letter", compacted(1));
    let warnings = |changes: &Value| {
        let plan = super::check(&candidate(changes), &facts, Timestamp(0)).expect("no rule is broken");
        plan.warnings.iter().map(|text| text.split(':').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(warnings(&json!({})), ["outputs.o", "on_error.dead_letter_topic"]);
    assert_eq!(warnings(&json!({"on_error": {"then": "pause"}})), ["outputs.o"]);
}

#[test]
fn secrets_are_the_configs_matter() {
    let plain = json!({"config": {"a": {"secret": "plain"}, "b": {"secret": "file:x"}}});
    let plan = super::check(&candidate(&plain), &facts(), Timestamp(0)).expect("no rule is broken");
    assert!(plan.warnings.len() == 1 && plan.warnings[0].starts_with("config.a is an ordinary value"), "{plan:?}");
    let secret = |error: SecretError| {
        move |facts: &mut Facts| {
            facts.module = ModuleFacts::Sound { init: Err(ModuleError::Secret(error.clone())) };
        }
    };
    check(&plain, secret(SecretError::Missing("file:x".into())), &["E066 config"]);
    check(&plain, secret(SecretError::Unusable("file:x".into())), &["E067 config"]);
    // A host of 0.1 would give the reference to the module.
    let with_old_host = |facts: &mut Facts| facts.hosts[0].formats = Default::default();
    check(&plain, with_old_host, &["E058 config"]);
    check(&json!({"config": {"a": {"secret": "plain"}}}), with_old_host, &[]);
}

#[test]
fn younger_fields_wait_for_the_last_host() {
    let labels = json!({"labels": {"owner": "anna"}});
    let understands = |version: u32| {
        move |facts: &mut Facts| {
            facts.hosts[0].formats = [("spec".to_owned(), version)].into();
        }
    };
    check(&labels, understands(3), &["E058 labels"]);
    check(&labels, understands(4), &[]);
    let limit = |bytes: &str| json!({"limits": {"log_bytes_per_second": bytes}});
    check(&limit("32KiB"), understands(1), &["E058 limits.log_bytes_per_second"]);
    check(&limit("64KiB"), understands(1), &[]);
    // A spec without any is written as before, and is taken by every host.
    check(&json!({}), understands(1), &[]);
}

/// The broken rules at the start of a revision, with their messages.
#[track_caller]
fn check_start(change: impl Fn(&mut Facts), expected: &[(&str, &str)]) {
    let mut facts = facts();
    change(&mut facts);
    let rejection = topic_rules::check_start(&candidate(&json!({})).spec, &facts.topics).err();
    let violations = rejection.iter().flat_map(Rejection::violations);
    let found = violations.map(|violation| {
        let messages: Vec<&str> = violation.problems.iter().map(|problem| problem.message.as_str()).collect();
        (violation.code.to_string(), messages.join("; "))
    });
    let expected = expected.iter().map(|(code, message)| ((*code).to_owned(), (*message).to_owned()));
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_start_needs_every_topic_as_it_was() {
    check_start(|_| {}, &[]);
    // A table's reader waits for its topic.
    check_start(|facts| lose(facts, &["prices"]), &[]);
    let gone = ("E207", "there is no topic a; there is no topic out; there is no topic t.n.dead-letter");
    let lost = ("E220", "there is no changelog topic changelog");
    check_start(|facts| lose(facts, &["a", "out", "t.n.dead-letter"]), &[gone]);
    check_start(|facts| lose(facts, &["a", "out", "t.n.dead-letter", "changelog"]), &[gone, lost]);
    let changed = ("E221", "b has 5 partitions, its changelogs have 4");
    check_start(|facts| resize(facts, "b", 5), &[changed]);
}

#[test]
fn topics_are_granted_and_nothing_else_is_said_of_those_that_are_not() {
    let grants = |read: &[&str], write: &[&str]| {
        let patterns = |list: &[&str]| list.iter().map(|pattern| pattern.parse().expect("valid")).collect();
        TopicGrants { read: patterns(read), write: patterns(write), ..TopicGrants::default() }
    };
    let bounded = |read: &[&str], write: &[&str]| {
        let rights = TopicRights { defaults: Some(grants(read, write)), ..TopicRights::default() };
        move |facts: &mut Facts| {
            facts.rights = rights.clone();
            lose(facts, &["b"]);
        }
    };
    let none = json!({});
    check(&none, bounded(&["a", "b", "prices"], &["out"]), &["E021 inputs[1]"]);
    check(&none, bounded(&["a"], &["out"]), &["E064 inputs[1] tables.t"]);
    check(&none, bounded(&["a", "b", "p*"], &[]), &["E064 outputs.o"]);
    let dead = json!({"on_error": {"dead_letter_topic": "dead"}});
    check(&dead, bounded(&["a", "b", "prices"], &["out"]), &["E064 on_error.dead_letter_topic"]);
    let owned = |facts: &mut Facts| {
        let owner = TopicGrants { owns: vec!["o*".parse().expect("valid")], ..TopicGrants::default() };
        facts.rights.teams.insert("other".parse().expect("valid"), owner);
    };
    let rejection = check(&none, owned, &["E065 outputs.o"]).expect("it is refused").to_string();
    assert!(rejection.contains("topic out belongs to team other"), "{rejection}");
    check(&json!({"outputs": {"o": "connect-status"}}), |_| {}, &["E064 outputs.o"]);
}
