//! Desired state, kept in the log and nowhere else: the deployments of all transforms, and the bytes of their modules.
//!
//! | topic | partitions | key | value |
//! |---|---|---|---|
//! | `_sandbar.<cluster>.deployments` | 1 | `team/name` | [`Deployment`] as JSON |
//! | | | `team/name@3` | [`Revision`] as JSON: the history, written in the same transaction |
//! | `_sandbar.<cluster>.modules` | 0: manifests | digest | size, chunk count, where its chunks begin |
//! | | 1: chunks | `digest/upload/number` | up to 512 KiB of the module |
//!
//! Both topics are compacted, and the catalog is the fold of their records. Two threads read them for as long as the
//! catalog lives, and publish each state; no unreadable record ends them. Everything here may block.
//!
//! Invariants: a change is decided on all changes before it, of whichever host, and is there as a whole or not at all
//! (see `writer`); a deployment is visible only after the log has it; a manifest is written after its chunks; bytes that
//! do not fit their digest are never handed out. The disk holds copies only.

mod attempt;
mod ceilings;
mod change;
mod change_queue;
mod collection;
mod collector;
mod control_topic;
mod cycle;
mod decide;
mod deployments;
mod encoding;
mod error;
mod history;
mod kept_writer;
pub(crate) mod manifests;
mod materialized_topic;
mod modules;
mod newer;
mod recent_uploads;
mod service;
mod sources;
mod team_use;
mod writer;

pub use crate::model::revision::Outcome;
pub use attempt::{AttemptError, until_won};
pub use change::{Assumption, Change, ChangeResult, Growth, Precondition, Request};
pub use collection::{MODULE_RETENTION, collect_for_ever};
pub use control_topic::{compacted, control_topics, ensure_topic, writer_id};
pub use deployments::Deployments;
pub use error::CatalogError;
pub use materialized_topic::{Fold, MaterializedTopic};
pub use modules::{CHUNKS, MANIFESTS, UploadResult};
pub use service::Catalog;
pub use sources::{DeadLetterSources, Sources};
pub use team_use::TeamUse;
