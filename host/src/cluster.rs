//! The hosts of the cluster, and the status of each transform on each of them: through the status topic, so that any
//! host's API answers for the whole cluster, and hosts never call each other. Log lines and events of transforms, and
//! samples of their records, go the same way, through topics of their own (`log_topic`).
//!
//! | `_sandbar.<cluster>.status` | key | value |
//! |---|---|---|
//! | a host, every 3 s | `<host>` | [`HostStatus`] as JSON |
//! | a transform on a host, when it changed | `<team>/<name>@<host>` | [`TransformStatus`] as JSON |
//! | somebody looks at samples of a transform through a host, every 3 s | `tail:<team>/<name>@<host>` | `{}` |
//!
//! A host that ends clears its keys; one that died is not shown any more when its own record is too old, and a live host
//! clears its keys a day later. The API's answers depend on this topic, and the placement of transforms: a host that cannot
//! write it goes on with its work, and one that cannot read it answers for itself alone and keeps its places.

mod ages;
pub(crate) mod cluster_status;
mod event_recorder;
mod log_topic;
mod log_topic_writer;
mod members;
mod newer;
mod publisher;
mod sample;
mod status_record;
mod tail_subscriptions;
mod times;
mod view;

pub use cluster_status::ClusterStatus;
pub use event_recorder::EventRecorder;
pub use log_topic::{LOGS_RETENTION, LogPosition, LogTopic, LogTopics};
pub use log_topic_writer::LogTopicWriter;
pub use members::Members;
pub use publisher::Publisher;
pub use sample::SampleValue;
pub use tail_subscriptions::{TailSubscription, TailSubscriptions};
pub use times::{HOST_RETENTION, OLDER_SILENT_MAX, SILENT_MAX};
pub use view::Cluster;
