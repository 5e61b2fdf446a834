//! The contract of the HTTP API: the types of its requests and answers, shared by the host (`api`) and by the command
//! line (`cli`).
//!
//! A transform's data has up to three types, where they may change apart: the one on a Kafka topic (`catalog`, `cluster`),
//! the one that the host works with (`model`), and the one that the API shows, which is here. This module makes its types
//! from those of `model` and decides nothing.
//!
//! The same types are written by the host and read by a client, which may be older than the host:
//! - a client ignores fields that it does not know;
//! - a [`Word`] may be one that the client does not know;
//! - a field that came later has a default.
//!
//! Text is a [`Line`] (or [`Lines`]): the host writes it as it is, and a client escapes it while it reads, so that
//! nothing that somebody else wrote acts on a terminal.
//!
//! `/openapi.json` is generated from these types. The names of its schemas are public: a type with another name in Rust
//! has `#[schema(as = ..)]`.

mod desired;
mod dry_run;
mod error_code;
mod flow;
mod host;
mod log;
mod module;
mod offsets;
mod problem;
mod record;
mod sample;
mod spec;
mod spec_misfits;
mod spec_schema;
mod status;
mod team;
mod text;
mod token;
mod topic;
mod transform;

pub use desired::Desired;
pub use dry_run::{DryRunForm, DryRunReport, DryRunRequest, FailureView, LiveRecords, OutputView, RecordRun};
pub use error_code::{ErrorCodeList, ErrorCodeView};
pub use flow::{FlowRecent, FlowTransform, FlowView, HistoryView};
pub use host::{HostList, HostView, Readiness};
pub use log::{Event, Level, LogEntry, LogLine};
pub use module::{ModuleInfo, ModuleList, ModuleSummary, ModuleView};
pub use offsets::{MoveList, MoveRequest, MoveView, OffsetList, OffsetView, Target};
pub use problem::{Problem, ProblemDetails};
pub use record::{Form, HeaderOut, JsonOrText, RecordContent, RecordOut};
pub use sample::{Sample, SampleFailure, SampleOutput, SampleRecord};
pub use spec::{RawSpec, SpecDocument, StartSpec};
pub use spec_misfits::misfits;
pub use spec_schema::spec_schema;
pub use status::{
    Activity, LastError, OmittedPartitions, OtherHost, PartitionStatus, PlacementView, RestoreProgress, Rollout,
    RolloutState, State, StatusView, StoreStatus, TopicRate, TransformRef, TransformStatus,
};
pub use team::{CeilingView, RedactionView, SigningKeyView, SigningView, TeamList, TeamView, TopicGrantsView};
pub use text::{Line, Lines, Word};
pub use token::{
    AuditList, AuditView, CallerView, NewToken, ProviderView, Role, SignInView, TokenList, TokenRequest, TokenView,
};
pub use topic::{
    DeadLetterList, OffsetRange, PartitionPosition, RecordPage, TopicList, TopicSettings, TopicView, WriteResult,
};
pub use transform::{
    Cause, ChangeView, DeployForm, EntryView, KeyEncoding, Outcome, RevisionList, RevisionSummary, RollbackRequest,
    TransformList, TransformSummary, TransformView, labels,
};
