//! A deployment, step by step: spec, module, topics, a trial of `init`, and only then the change. Blocking.
//!
//! Everything that can be found wrong is found before anything is written, in the order in which an author would mend
//! it. A dry run goes the same way up to there.

use std::time::Duration;

use axum::body::Bytes;

use crate::catalog::{self, CatalogError, Change, ChangeResult};
use crate::model::codes::Code;
use crate::model::format::{Format, SPEC_FIELDS, SpecField, younger_fields};
use crate::model::names::{Digest, TopicName, TransformId};
use crate::model::revision::{COUNT_MAX, Desired, Progress};
use crate::model::spec::{Problem, RawSpec, Spec, Start, StoreSpec, Then};
use crate::model::status::HostStatus;
use crate::model::units::Timestamp;
use crate::ports::{LogError, NewTopic};

use super::body::Upload;
use super::group::wait_for_empty;
use super::problem::Refusal;
use super::request::IfMatch;
use super::shared::ApiState;
use super::warnings;

/// A changelog keeps entries so much longer than their store does.
const CHANGELOG_GRACE: Duration = Duration::from_secs(60 * 60);

/// A request for a deployment.
pub struct Request {
    pub id: TransformId,
    pub upload: Upload,
    pub precondition: IfMatch,
    pub dry_run: bool,
}

/// A deployment that was accepted, or would be.
pub struct DeployResult {
    pub change: ChangeResult,
    pub created_topics: Vec<TopicName>,
    pub warnings: Vec<String>,
}

pub fn deploy(state: &ApiState, request: Request) -> Result<DeployResult, Refusal> {
    let Request { id, upload: Upload { spec: raw, module: uploaded }, precondition, dry_run } = request;
    let digest = uploaded.as_deref().map(Digest::of);
    let spec = Spec::parse(&raw, &id, digest).map_err(|problems| Refusal::of_fields(Code::Spec, problems))?;
    check_fields(state, &raw)?;
    let change = Change::Put { spec: Box::new(raw), module: spec.module };
    accept(state, &id, precondition.of(change), &spec, uploaded, dry_run)
}

/// The content of an earlier revision goes the way of any deployment: its topics or its module may be gone.
pub fn rollback(
    state: &ApiState,
    id: &TransformId,
    precondition: IfMatch,
    to: Option<u64>,
) -> Result<ChangeResult, Refusal> {
    let request = precondition.of(Change::Rollback { to });
    if let Some(applied) = state.catalog.answered(id, &request)? {
        return Ok(applied);
    }
    state.catalog.refresh()?;
    let target = state.catalog.rollback_target(id, to)?;
    if !state.catalog.has_module(&target.module) {
        return Err(CatalogError::ModuleGone { revision: target.revision, module: target.module }.into());
    }
    let spec = Spec::parse(&target.spec, id, None).map_err(|problems| Refusal::of_fields(Code::Spec, problems))?;
    check_fields(state, &target.spec)?;
    Ok(accept(state, id, request, &spec, None, false)?.change)
}

/// Refuses fields that not every host of the cluster understands: such a host would not run the transform.
fn check_fields(state: &ApiState, raw: &RawSpec) -> Result<(), Refusal> {
    let json = serde_json::to_value(raw).expect("a spec is plain data");
    let problems = not_understood(&json, SPEC_FIELDS, &state.runtime.hosts());
    if problems.is_empty() { Ok(()) } else { Err(Refusal::of_fields(Code::FieldUnsupported, problems)) }
}

/// Each field of the spec that some of the hosts do not understand, with their names.
fn not_understood(spec: &serde_json::Value, table: &[SpecField], hosts: &[HostStatus]) -> Vec<Problem> {
    let problem = |field: &SpecField| {
        let lacking = hosts.iter().filter(|host| !host.understands(Format::Spec, field.since));
        let named: Vec<String> = lacking.map(|host| format!("{} ({})", host.host, host.version)).collect();
        let message = format!("hosts that do not understand it: {}", named.join(", "));
        (!named.is_empty()).then(|| Problem { field: field.path.to_owned(), message })
    };
    younger_fields(spec, table).into_iter().filter_map(problem).collect()
}

/// Checks all that a spec names, makes what is missing, and then the change.
fn accept(
    state: &ApiState,
    id: &TransformId,
    request: catalog::Request,
    spec: &Spec,
    uploaded: Option<Bytes>,
    dry_run: bool,
) -> Result<DeployResult, Refusal> {
    let is_new = uploaded.is_some();
    let module = module_of(state, spec, uploaded)?;
    state.modules.check(&module)?;
    let missing = check_topics(state, spec)?;
    check_start(state, spec)?;
    check_stores_free(state, spec)?;
    state.modules.try_init(spec, &module)?;
    let warnings = warnings::of(state, spec)?;
    let created_topics = missing.iter().map(|topic| topic.name.clone()).collect();
    if dry_run {
        return Ok(DeployResult { change: state.catalog.try_change(id, &request)?, created_topics, warnings });
    }
    for topic in &missing {
        state.log.create_topic(topic)?;
    }
    if is_new {
        state.catalog.put_module(&module)?;
    }
    let request = catalog::Request { committed: committed(state, spec)?, ..request };
    let change = match state.catalog.change(id, request.clone()) {
        // Collected between the two: it had been there for long, and unused.
        Err(CatalogError::NoModule(_)) if is_new => {
            state.catalog.put_module(&module)?;
            state.catalog.change(id, request)?
        }
        change => change?,
    };
    Ok(DeployResult { change, created_topics, warnings })
}

/// Refuses other inputs for stores that some host may have open: while the transform is not paused, or its group has
/// members. One that the catalog does not know may be known to a host that reads another catalog.
fn check_stores_free(state: &ApiState, spec: &Spec) -> Result<(), Refusal> {
    state.catalog.see_changes()?;
    let known = state.catalog.known(&spec.id);
    let has_stores = !spec.state.is_empty();
    let inputs_change = match &known {
        Some(known) => known.gives_stores_other_inputs(spec.inputs.iter().map(TopicName::as_str), has_stores),
        None => has_stores,
    };
    if !inputs_change {
        return Ok(());
    }
    if known.is_some_and(|known| known.desired == Desired::Running) {
        return Err(CatalogError::InputsInUse(spec.id.clone()).into());
    }
    wait_for_empty(state, &spec.id, &spec.group(&state.cluster)).map_err(|refusal| match refusal.code() {
        Code::OffsetsInUse => Refusal::new(Code::InputsInUse, format!("its stores may be open: {}", refusal.detail()))
            .with_hint("a host that is stopping, or has just crashed, leaves within seconds: repeat the request"),
        _ => refusal,
    })
}

/// What the group has committed with, where the catalog may have forgotten the transform: its topic was lost, say.
fn committed(state: &ApiState, spec: &Spec) -> Result<Progress, Refusal> {
    if state.catalog.deployment(&spec.id).is_some_and(|known| known.revision < COUNT_MAX) {
        return Ok(Progress::default());
    }
    let committed = state.log.group_offsets(&spec.group(&state.cluster), &spec.inputs)?;
    Ok(Progress::newest(committed.iter().map(|offset| offset.metadata.as_str())))
}

/// The module that came along, or the stored one that the spec names.
pub fn module_of(state: &ApiState, spec: &Spec, uploaded: Option<Bytes>) -> Result<Bytes, Refusal> {
    if let Some(uploaded) = uploaded {
        let bytes_max = state.limits.module_bytes_max as u64;
        if uploaded.len() as u64 > bytes_max {
            return Err(crate::model::module::ModuleError::TooLarge { bytes: uploaded.len() as u64, bytes_max }.into());
        }
        return Ok(uploaded);
    }
    let stored = state.catalog.module(&spec.module)?;
    stored
        .map(Bytes::from)
        .ok_or_else(|| Refusal::of_field(Code::ModuleMissing, "module", format!("{} was never uploaded", spec.module)))
}

/// Names every topic that is missing or does not fit; returns those that are made on the way: the dead-letter topic, and
/// the changelogs of its stores.
fn check_topics(state: &ApiState, spec: &Spec) -> Result<Vec<NewTopic>, Refusal> {
    let mut problems = Vec::new();
    let mut input_partitions = Vec::new();
    let inputs = spec.inputs.iter().enumerate().map(|(i, topic)| (format!("inputs[{i}]"), topic));
    let outputs = spec.outputs.iter().map(|(alias, topic)| (format!("outputs.{alias}"), topic));
    for (field, topic) in inputs.chain(outputs) {
        match state.log.topic(topic) {
            Ok(info) if field.starts_with("inputs") => input_partitions.push((field, topic, info.partitions)),
            Ok(_) => {}
            Err(error) => problems.push(missing(field, topic, error)?),
        }
    }
    check_tables(state, spec, &mut problems)?;
    if !problems.is_empty() {
        return Err(Refusal::of_fields(Code::TopicMissing, problems));
    }
    let mut new = changelogs(state, spec, &input_partitions)?;
    if spec.then == Then::DeadLetter {
        match state.log.topic(&spec.dead_letter_topic) {
            Ok(_) => {}
            Err(LogError::NoTopic(_)) => {
                let partitions = input_partitions.iter().map(|(_, _, partitions)| *partitions).max().unwrap_or(1);
                let name = spec.dead_letter_topic.clone();
                new.push(NewTopic { name, partitions, compacted: false, retention: None });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(new)
}

fn missing(field: String, topic: &TopicName, error: LogError) -> Result<Problem, Refusal> {
    match error {
        LogError::NoTopic(_) => Ok(Problem { field, message: format!("topic {:?} does not exist", topic.as_str()) }),
        error => Err(error.into()),
    }
}

/// The topics of tables keep the last value of every key.
fn check_tables(state: &ApiState, spec: &Spec, problems: &mut Vec<Problem>) -> Result<(), Refusal> {
    let mut unfit = Vec::new();
    for (name, topic) in &spec.tables {
        let field = format!("tables.{name}");
        match state.log.topic(topic) {
            Ok(info) if info.compacted == Some(false) => {
                let message = format!("topic {:?} is not compacted: old entries would be lost", topic.as_str());
                unfit.push(Problem { field, message });
            }
            Ok(_) => {}
            Err(error) => problems.push(missing(field, topic, error)?),
        }
    }
    if unfit.is_empty() { Ok(()) } else { Err(Refusal::of_fields(Code::TableTopic, unfit)) }
}

/// A changelog keeps entries a little longer than its store does.
pub fn changelog_retention(store: &StoreSpec) -> Option<Duration> {
    store.ttl.map(|ttl| ttl.0 + CHANGELOG_GRACE)
}

/// Partition i of a changelog belongs to partition i of each input. Returns those that are not there yet.
fn changelogs(state: &ApiState, spec: &Spec, inputs: &[(String, &TopicName, i32)]) -> Result<Vec<NewTopic>, Refusal> {
    let Some((_, _, partitions)) = inputs.first().filter(|_| !spec.state.is_empty()) else { return Ok(Vec::new()) };
    if inputs.iter().any(|(_, _, other)| other != partitions) {
        let counted = |(field, topic, partitions): &(String, &TopicName, i32)| Problem {
            field: field.clone(),
            message: format!("{topic} has {partitions} partitions"),
        };
        return Err(Refusal::of_fields(Code::CoPartition, inputs.iter().map(counted).collect()));
    }
    let resets = state.catalog.deployment(&spec.id).map_or(0, |deployment| deployment.asked.resets);
    let (mut new, mut unfit) = (Vec::new(), Vec::new());
    for (name, (alias, store)) in spec.changelogs(&state.cluster, resets).into_iter().zip(&spec.state) {
        match state.log.topic(&name) {
            Ok(info) if info.partitions != *partitions => unfit.push(Problem {
                field: format!("state.{alias}"),
                message: format!("{name} has {} partitions, the inputs have {partitions}", info.partitions),
            }),
            // With a ttl it is also deleted by age: then it is not known to be compacted only.
            Ok(info) if info.compacted == Some(false) && store.ttl.is_none() => {
                unfit.push(Problem { field: format!("state.{alias}"), message: format!("{name} is not compacted") })
            }
            Ok(info) => {
                // It may keep entries for longer, not for less.
                let kept_and_wanted = info.deleted_after.zip(changelog_retention(store));
                if let Some((kept, wanted)) = kept_and_wanted.filter(|(kept, wanted)| kept < wanted) {
                    let (kept, wanted) = (kept.as_millis(), wanted.as_millis());
                    let message = format!(
                        "{name} keeps entries for {kept} ms, too short for this ttl: set its retention.ms to {wanted}"
                    );
                    unfit.push(Problem { field: format!("state.{alias}.ttl"), message });
                }
            }
            Err(LogError::NoTopic(_)) => {
                let retention = changelog_retention(store);
                new.push(NewTopic { name, partitions: *partitions, compacted: true, retention });
            }
            Err(error) => return Err(error.into()),
        }
    }
    if unfit.is_empty() { Ok(new) } else { Err(Refusal::of_fields(Code::Changelog, unfit)) }
}

/// Whether the partitions of `start` exist. That they hold the offsets matters before there is anything committed: what
/// was right then may be deleted by now.
fn check_start(state: &ApiState, spec: &Spec) -> Result<(), Refusal> {
    let Start::Offsets(offsets) = spec.start.resolve(Timestamp::now()) else { return Ok(()) };
    let new = state.catalog.deployment(&spec.id).is_none();
    let mut problems = Vec::new();
    for (topic, of_topic) in offsets {
        let partitions = state.log.partitions(&topic)?;
        for (partition, offset) in of_topic {
            let mut refuse = |message: String| {
                problems.push(Problem { field: format!("start.offsets.{topic}.{partition}"), message });
            };
            if !(0..partitions).contains(&partition) {
                refuse(format!("{topic} has partitions 0 to {}", partitions - 1));
            } else if new {
                let (first, end) = state.log.offsets(&topic, partition)?;
                if !(first..=end).contains(&offset) {
                    refuse(format!("{offset} is out of range: {topic}/{partition} has {first} to {end}"));
                }
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::of_fields(Code::Spec, problems)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Fields that are refused among hosts of these names, each with the version of specs that it understands: none for a
    /// host of 0.1.
    #[track_caller]
    fn check(spec: &serde_json::Value, hosts: &[(&str, Option<u32>)], expected: &[(&str, &str)]) {
        const TABLE: [SpecField; 2] =
            [SpecField { path: "limits.files", since: 2 }, SpecField { path: "state.*.replicas", since: 3 }];
        let host = |(name, version): &(&str, Option<u32>)| HostStatus {
            version: "0.1.0".into(),
            formats: version.map(|version| ("spec".to_owned(), version)).into_iter().collect(),
            ..HostStatus::new(name, Timestamp(0))
        };
        let hosts: Vec<HostStatus> = hosts.iter().map(host).collect();
        let found = not_understood(spec, &TABLE, &hosts);
        let found: Vec<_> = found.iter().map(|problem| (problem.field.as_str(), problem.message.as_str())).collect();
        assert_eq!(found, expected, "{spec}");
    }

    #[test]
    fn a_field_waits_for_the_last_host() {
        let plain = json!({"limits": {"memory": "1MiB"}, "state": {"s": {}}});
        let both = json!({"limits": {"files": 1}, "state": {"s": {}, "t": {"replicas": 2}}});
        let of_a = "hosts that do not understand it: a (0.1.0)";
        let of_both = "hosts that do not understand it: a (0.1.0), b (0.1.0)";
        check(&plain, &[("a", None)], &[]);
        check(&both, &[], &[]);
        check(&both, &[("a", Some(3)), ("b", Some(4))], &[]);
        check(&both, &[("a", None), ("b", Some(2))], &[("limits.files", of_a), ("state.*.replicas", of_both)]);
        check(&both, &[("a", Some(2)), ("b", Some(3))], &[("state.*.replicas", of_a)]);
    }
}
