//! Transforms, their revisions, and the entries of their stores.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::desired::Desired;
use super::spec::RawSpec;
use super::{Line, RolloutState, SpecDocument, State, Word};
use crate::model::revision;
use crate::model::spec::Labels;
use crate::model::units::{Rfc3339, Timestamp};

/// A transform as it is deployed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransformView {
    #[schema(value_type = String)]
    pub team: Line,
    #[schema(value_type = String)]
    pub name: Line,
    /// Counts changes of spec and module. It is also the ETag.
    pub revision: u64,
    #[schema(value_type = String)]
    pub module: Line,
    #[serde(default)]
    #[schema(value_type = Desired, required)]
    pub desired: Word<Desired>,
    /// The whole spec: PUT takes it as it is.
    #[schema(value_type = RawSpec)]
    pub spec: SpecDocument,
    /// RFC 3339, in UTC.
    #[schema(value_type = String)]
    pub changed_at: Line,
    /// The revisions that process records now, in ascending order. Present where the transform itself is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_revisions: Option<Vec<u64>>,
    /// The progress of `revision` over all hosts; present like `running_revisions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RolloutState>)]
    pub rollout: Option<Word<RolloutState>>,
    /// The id of the team's key that has signed the module. Absent: none of the present keys has, or a list is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signed_by: Option<Line>,
}

/// A revision in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionSummary {
    pub revision: u64,
    #[schema(value_type = String)]
    pub module: Line,
    /// RFC 3339, in UTC.
    #[schema(value_type = String)]
    pub changed_at: Line,
    #[schema(value_type = Cause)]
    pub cause: Word<Cause>,
    /// The revision whose content a rollback brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<u64>,
    /// The name of the author. Earlier hosts did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub changed_by: Option<Line>,
    /// The labels of the spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: BTreeMap<String, Line>,
    pub current: bool,
    /// True if a host processes records with this revision. Earlier hosts do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// True if the module is still stored. Without it, the revision cannot be rolled back to.
    #[serde(default = "stored")]
    #[schema(required)]
    pub module_stored: bool,
}

/// Hosts that do not say it yet delete no module of a revision.
fn stored() -> bool {
    true
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionList {
    /// Newest first.
    pub revisions: Vec<RevisionSummary>,
}

/// The target of a rollback.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The revision to go back to; by default the one before the current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// The answer to a change of a transform.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    #[serde(flatten)]
    pub transform: TransformView,
    #[serde(default)]
    #[schema(value_type = Outcome, required)]
    pub outcome: Word<Outcome>,
    /// True if the request was a dry run, which changes nothing.
    #[serde(default)]
    #[schema(required)]
    pub dry_run: bool,
    /// Topics that the change created, or that it would create.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required)]
    pub creates: Vec<Line>,
    /// Reasons why the transform may behave otherwise than its author means.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required)]
    pub warnings: Vec<Line>,
}

/// A transform in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransformSummary {
    #[schema(value_type = String)]
    pub team: Line,
    #[schema(value_type = String)]
    pub name: Line,
    /// The deployed revision. It runs only where `running_revisions` names it.
    pub revision: u64,
    /// The revisions that process records now, in ascending order: none while nothing runs, several during a rollout.
    #[serde(default)]
    #[schema(required)]
    pub running_revisions: Vec<u64>,
    /// The progress of `revision`, over all hosts.
    #[serde(default)]
    #[schema(value_type = RolloutState, required)]
    pub rollout: Word<RolloutState>,
    #[schema(value_type = String)]
    pub module: Line,
    #[serde(default)]
    #[schema(value_type = Desired, required)]
    pub desired: Word<Desired>,
    #[schema(value_type = State)]
    pub state: Word<State>,
    /// Records behind, over all partitions that are known.
    pub lag: Option<u64>,
    /// RFC 3339, in UTC.
    #[schema(value_type = String)]
    pub changed_at: Line,
    /// The labels of the spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: BTreeMap<String, Line>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TransformList {
    pub transforms: Vec<TransformSummary>,
}

/// The form of a deployment with its module.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form for OpenAPI; the form itself is read part by part")]
pub struct DeployForm {
    /// The spec, as JSON or YAML.
    spec: String,
    /// The component's bytes.
    #[schema(value_type = Option<String>, format = Binary)]
    module: Option<Vec<u8>>,
    /// The signature of the module: a DSSE envelope, as `sandbar sign` makes it.
    signature: Option<String>,
}

/// The end of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Created,
    Updated,
    /// The transform was like that already.
    Unchanged,
}

/// The request that made a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Deploy,
    Rollback,
}

/// An entry of a store, as of the last commit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    #[serde(default)]
    #[schema(value_type = String, required)]
    pub store: Line,
    #[serde(default)]
    #[schema(required)]
    pub partition: i32,
    /// The host that owns the partition.
    #[serde(default)]
    #[schema(value_type = String, required)]
    pub host: Line,
    /// The value, if it is JSON: its text as it is stored. An SDK's typed store writes nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub value: Option<Box<RawValue>>,
    /// The bytes of a value that is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value_base64: Option<Line>,
}

/// Reads a value that is there; `null` is one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// The way in which a path has an entry's key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Encoding)]
pub enum KeyEncoding {
    #[default]
    Text,
    Base64,
}

// === impl TransformView ===

impl TransformView {
    pub fn of(deployment: &revision::Deployment) -> Self {
        Self {
            team: Line::of(&deployment.id.team),
            name: Line::of(&deployment.id.name),
            revision: deployment.revision,
            module: Line::of(deployment.module),
            desired: Desired::from(deployment.desired).into(),
            spec: SpecDocument::of(&deployment.spec),
            changed_at: rfc3339(deployment.changed_at),
            running_revisions: None,
            rollout: None,
            signed_by: None,
        }
    }

    /// The transform at a revision; `desired` is the purpose that it has now.
    pub fn of_revision(revision: &revision::Revision, desired: revision::Desired) -> Self {
        let deployment = revision.to_deployment(revision::Generations::default());
        Self::of(&revision::Deployment { desired, ..deployment })
    }
}

// === impl RevisionSummary ===

impl RevisionSummary {
    pub fn of(revision: &revision::Revision, current: u64, running: &[u64], module_stored: bool) -> Self {
        Self {
            revision: revision.revision,
            module: Line::of(revision.module),
            changed_at: rfc3339(revision.changed_at),
            cause: Cause::from(revision.cause).into(),
            rolled_back_to: revision.rolled_back_to,
            changed_by: revision.author.as_ref().map(Line::of),
            labels: labels(&revision.spec.labels),
            current: revision.revision == current,
            running: Some(running.contains(&revision.revision)),
            module_stored,
        }
    }
}

impl From<revision::Outcome> for Outcome {
    fn from(outcome: revision::Outcome) -> Self {
        match outcome {
            revision::Outcome::Created => Self::Created,
            revision::Outcome::Updated => Self::Updated,
            revision::Outcome::Unchanged => Self::Unchanged,
        }
    }
}

impl From<revision::Cause> for Cause {
    fn from(cause: revision::Cause) -> Self {
        match cause {
            revision::Cause::Deploy => Self::Deploy,
            revision::Cause::Rollback => Self::Rollback,
        }
    }
}

/// The labels of a spec as the API shows them.
pub fn labels(labels: &Labels) -> BTreeMap<String, Line> {
    labels.iter().map(|(name, text)| (name.clone(), Line::of(text))).collect()
}

/// A moment as the API shows it: RFC 3339, in UTC.
pub fn rfc3339(at: Timestamp) -> Line {
    Line::of(Rfc3339(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for value in
            [r#"{"total":10.10, "a":340282366920938463463374607431768211455}"#, "0.12345678901234567890", "null", r#""x""#]
        {
            let text = format!(r#"{{"store":"s","partition":0,"host":"a","value":{value}}}"#);
            let entry: EntryView = json::read(text.as_bytes()).expect(value);
            assert_eq!(entry.value.as_deref().map(RawValue::get), Some(value));
            assert_eq!(serde_json::to_string(&entry).expect("plain data"), text);
        }
        let bytes: EntryView = json::read(br#"{"value_base64":"/w=="}"#).expect("an entry");
        assert!(bytes.value.is_none());
    }
}
