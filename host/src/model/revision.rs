//! A transform's revisions, as the deployments topic holds them.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::format::{Format, Unreadable, decode, encode};
use super::names::{Digest, TransformId};
use super::random::random_id;
use super::signature::Envelope;
use super::spec::{Problem, RawSpec, Spec};
use super::units::Timestamp;

/// The value of one record of the deployments topic: the full current state of one transform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: TransformId,
    /// 1, 2, 3, ...: each accepted change of spec, config or module is a new one. Deleting keeps it, so that a
    /// transform that is made again never runs a lower revision than it has committed.
    pub revision: u64,
    pub module: Digest,
    pub spec: RawSpec,
    pub desired: Desired,
    /// The counts of further requests to its hosts.
    #[serde(default)]
    pub asked: Generations,
    pub changed_at: Timestamp,
    /// Number of records that this transform has had, with this one, and with those that spent no revision.
    #[serde(default)]
    pub changes: u64,
    /// The requests behind the newest records, [`REQUESTS_MAX`] at most, newest last: the last one made this record.
    #[serde(default)]
    pub requests: Vec<IdempotencyEntry>,
    /// The partitions of all inputs together, when the current revision was deployed. `None`: a host of 0.1 deployed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// The signature of the module, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Envelope>,
    /// Fields that this host does not know and need not: it writes them back as they came.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
    /// The reason why this host does not understand the newest record. Then the content here is that of the last record
    /// that it understood, if there was one.
    #[serde(skip)]
    pub unread: Option<String>,
}

/// The largest number of a revision, or of anything that is counted in a control record, that is believed: JSON's readers
/// agree on numbers up to here, and nobody counts so far. A record with a larger one was forged, and is skipped.
pub const COUNT_MAX: u64 = 1 << 53;

/// Counts on. The largest number, which only a forged record has, is followed by 1: it locks nobody out.
pub fn count_on(count: u64) -> u64 {
    if count < COUNT_MAX { count + 1 } else { 1 }
}

/// Counts of requests to the workers of a transform: every host acts when it sees another count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// Requests to stop, and to start again from the committed offsets.
    pub restarts: u64,
    /// Requests to go on with partitions that stopped before a bad record.
    pub resumes: u64,
    /// Requests to begin with empty stores: the names of their changelog topics have this count.
    #[serde(default)]
    pub resets: u64,
}

impl Generations {
    /// Returns the largest of the counts.
    fn largest(&self) -> u64 {
        self.restarts.max(self.resumes).max(self.resets)
    }
}

/// Answered requests that a deployment remembers: a repetition of an older one is not recognised.
pub const REQUESTS_MAX: usize = 16;
/// Revisions of a transform that are kept to be shown and rolled back to, with the current one.
pub const REVISIONS_MAX: u64 = 50;
/// Longest request key, in bytes.
pub const REQUEST_KEY_BYTES_MAX: usize = 128;

/// A request that was carried out, and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdempotencyEntry {
    pub key: RequestKey,
    /// The digest of the request, to tell a repeated request from another one under the same key.
    pub request: Digest,
    pub revision: u64,
    pub outcome: Outcome,
}

/// The key of a request, the same however often the client sends it (`Idempotency-Key`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestKey(String);

impl FromStr for RequestKey {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        let fits = (1..=REQUEST_KEY_BYTES_MAX).contains(&raw.len()) && raw.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(raw.to_owned())) } else { Err("must be 1 to 128 visible ASCII characters".to_owned()) }
    }
}

impl RequestKey {
    /// Makes a key that nobody else has, for a request that came without one.
    pub fn random() -> Self {
        Self(format!("host-{}", random_id()))
    }
}

/// The end of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Created,
    Updated,
    /// Nothing was changed: the state was the desired one already.
    Unchanged,
}

/// One revision, as it stays in the deployments topic beside the current state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    pub id: TransformId,
    pub revision: u64,
    pub module: Digest,
    pub spec: RawSpec,
    pub changed_at: Timestamp,
    pub cause: Cause,
    /// The revision whose content this one has again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<u64>,
    /// The name of the author, as others of its team see it: the audit topic has the id and the address as well. `None`: a
    /// host of an earlier version wrote the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The signature of the module, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Envelope>,
}

impl Revision {
    /// Makes a deployment of the revision, to be prepared and run.
    pub fn to_deployment(&self, asked: Generations) -> Deployment {
        Deployment {
            id: self.id.clone(),
            revision: self.revision,
            module: self.module,
            spec: self.spec.clone(),
            desired: Desired::Running,
            asked,
            changed_at: self.changed_at,
            changes: 0,
            requests: Vec::new(),
            partitions: None,
            signature: self.signature.clone(),
            rest: serde_json::Map::new(),
            unread: None,
        }
    }
}

/// The change that made a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Deploy,
    Rollback,
}

/// The desired state of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    Running,
    Paused,
    Deleted,
}

/// The metadata of each committed offset of an input, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The revision that processed the records before the offset. No lower one may go on from there.
    pub revision: u64,
    /// The first offset that it processed.
    #[serde(default)]
    pub since: i64,
    /// The end of each store's changelog when the offset was committed: a changelog that ends before it has lost records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changelogs: BTreeMap<String, i64>,
    /// Resets of the state at that time: `changelogs` is about the changelogs since the last of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resets: u64,
    /// The worker that committed it, where the next owner may end a transaction that it left open: its host and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Progress {
    /// Returns the progress of an offset without metadata: the partition is at its start, or a tool set the offset.
    pub fn unknown(next_offset: i64) -> Self {
        Self { since: next_offset, ..Self::default() }
    }

    /// Reads an offset's metadata. No metadata is unknown progress; metadata of another program, or of a newer host, is an
    /// error, since it means something.
    pub fn parse(metadata: &str, next_offset: i64) -> Result<Self, Unreadable> {
        if metadata.is_empty() {
            return Ok(Self::unknown(next_offset));
        }
        let found: Self = decode(Format::Offset, metadata.as_bytes())?;
        // A revision that has no successor would keep every other one off its partition.
        if found.revision < COUNT_MAX && found.resets <= COUNT_MAX && found.since >= 0 {
            Ok(found)
        } else {
            Err(Unreadable::Foreign(format!("a number in it is not between 0 and {COUNT_MAX}")))
        }
    }

    /// The progress that a group has committed last, by those metadata of its offsets that can be read; revision 0 if none.
    /// A partition whose metadata cannot be read stops by itself.
    pub fn newest<'a>(metadata: impl Iterator<Item = &'a str>) -> Self {
        let known = metadata.filter_map(|metadata| Self::parse(metadata, 0).ok());
        known.max_by_key(|progress| progress.revision).unwrap_or_default()
    }

    /// Tells whether a transform of this revision, whose state was so often reset, may have committed it.
    pub fn is_of(&self, revision: u64, resets: u64) -> bool {
        self.revision <= revision && self.resets <= resets
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&encode(Format::Offset, self)))
    }
}

impl Deployment {
    /// Tells whether its numbers were counted, and not made up.
    pub fn is_plausible(&self) -> bool {
        let largest = self.revision.max(self.changes).max(self.asked.largest());
        largest <= COUNT_MAX && self.requests.iter().all(|answered| answered.revision <= COUNT_MAX)
    }

    /// Tells whether its content is the current one, and not an earlier one or none: see `unread`.
    pub fn is_whole(&self) -> bool {
        self.unread.is_none() && !self.spec.inputs.is_empty()
    }

    /// Validates the spec. It was valid when it was accepted; a newer host may still refuse it.
    pub fn spec(&self) -> Result<Spec, Vec<Problem>> {
        Spec::parse(&self.spec, &self.id, Some(self.module))
    }

    /// Returns true if workers of `other` serve this deployment too: no request came between the two.
    pub fn wants_same(&self, other: &Self) -> bool {
        (self.revision, self.desired, self.asked, self.changed_at)
            == (other.revision, other.desired, other.asked, other.changed_at)
    }

    /// Returns true if other inputs than now would share the stores. The partitions of each input are assigned among its
    /// readers: hosts that read different inputs may each have a partition of the same number, and its state.
    pub fn gives_stores_other_inputs<'a>(&self, inputs: impl Iterator<Item = &'a str>, has_stores: bool) -> bool {
        (has_stores || !self.spec.state.is_empty()) && !inputs.eq(self.spec.inputs.iter().map(String::as_str))
    }

    /// Returns the current revision, for a history without it: a host of an earlier version wrote none.
    pub fn to_revision(&self) -> Revision {
        Revision {
            id: self.id.clone(),
            revision: self.revision,
            module: self.module,
            spec: self.spec.clone(),
            changed_at: self.changed_at,
            cause: Cause::Deploy,
            rolled_back_to: None,
            author: None,
            signature: self.signature.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_has_always_a_successor_that_is_believed() {
        for (count, next) in [(0, 1), (7, 8), (COUNT_MAX - 1, COUNT_MAX), (COUNT_MAX, 1), (u64::MAX, 1)] {
            assert_eq!(count_on(count), next);
        }
    }

    #[test]
    fn progress_is_read_from_what_anybody_may_have_committed() {
        let known = |revision, since| Ok(Progress { revision, since, ..Progress::default() });
        const NEWER: Result<Progress, bool> = Err(true);
        const FOREIGN: Result<Progress, bool> = Err(false);
        #[track_caller]
        fn check(metadata: &str, expected: Result<Progress, bool>) {
            let found = Progress::parse(metadata, 7).map_err(|error| matches!(error, Unreadable::Newer(_)));
            assert_eq!(found, expected, "{metadata}");
        }
        check(r#"{"revision":3,"since":40}"#, known(3, 40));
        check(r#"{"revision":3}"#, known(3, 0));
        check(r#"{"version":1,"revision":3,"since":40}"#, known(3, 40));
        check(r#"{"revision":3,"since":40,"more":[1]}"#, known(3, 40));
        check(r#"{"revision":9007199254740991}"#, known(COUNT_MAX - 1, 0));
        check("", known(0, 7));
        check(r#"{"version":2}"#, NEWER);
        check(r#"{"version":2,"revision":3,"since":"a"}"#, NEWER);
        check("by hand", FOREIGN);
        check("{}", FOREIGN);
        check("null", FOREIGN);
        check("[3,40]", FOREIGN);
        check(r#"{"since":40}"#, FOREIGN);
        check(r#"{"version":"x","revision":3}"#, FOREIGN);
        check(r#"{"version":null,"revision":3}"#, FOREIGN);
        check(r#"{"version":0,"revision":3}"#, FOREIGN);
        check(r#"{"version":18446744073709551616,"revision":3}"#, FOREIGN);
        // Forged.
        check(r#"{"version":1001,"revision":3}"#, FOREIGN);
        check(r#"{"revision":18446744073709551615}"#, FOREIGN);
        check(r#"{"revision":9007199254740992}"#, FOREIGN);
        check(r#"{"revision":3,"resets":18446744073709551615}"#, FOREIGN);
        check(r#"{"revision":3,"since":-9223372036854775808}"#, FOREIGN);
        check(r#"{"revision":-1}"#, FOREIGN);
        let changelogs = [("levels".to_owned(), 7)].into();
        let progress = Progress { revision: 3, since: 40, changelogs, resets: 1, worker: Some("a.0".to_owned()) };
        assert_eq!(Progress::parse(&progress.to_string(), 7), Ok(progress));
    }
}
