//! Backup of the control topics to a file, and their restore into a cluster that has lost them.
//!
//! 1. A backup is a read of the topics that nothing else can tell (deployments, positions, modules, tokens, audit), up to the
//!    ends that they have at its begin, and of the committed offsets of every transform. It needs no host, and stops none.
//! 2. The file ([`file`]) is lines of JSON: a header with a version, records, groups, and a digest of all lines before.
//! 3. A restore reads the file twice: to its digest before anything is done ([`survey`]), then once more to write it
//!    ([`restore`]). It commits only if the second reading ended with the same digest.
//! 4. It refuses a cluster with hosts, with members in a group, or with a record in one of the topics ([`target`]).
//! 5. All records, and the offsets where these are taken over, are one Kafka transaction of the catalog's own writer: no host
//!    sees a part of it, and a host that changes the catalog meanwhile fences it. A failed restore leaves nothing to be seen.
//! 6. Records are written back byte for byte, in their order. Two numbers are about the log and change with it: the offset in
//!    a manifest where its chunks begin ([`shift`]), and the ids of topics in start records ([`starts`]).
//! 7. An input with the id that the start record names goes on at its group's offset: nothing is lost, nothing comes twice.
//! 8. Any other topic of that name gets no place by itself: its partitions wait for an offset (E224). An offset that its group
//!    has already is refused (E237), unless the operator says where offsets come from ([`Offsets`]).
//!    A transform with offsets in the file has begun its inputs, also if it has no start record: it gets one then.
//! 9. Offsets of the file are only for groups without any, and only if topic and changelogs hold them.
//! 10. Memory is bounded by a page of records and by the parts of the catalog that every host holds too.

mod error;
pub mod file;
mod header;
mod offsets;
mod outcome;
mod pages;
mod restore;
mod shift;
mod starts;
mod survey;
mod take;
mod target;
mod topics;

pub use error::BackupError;
pub use outcome::{BackupSummary, InputFate, RestoreSummary, TransformFate};
pub use restore::{RestoreOptions, restore};
pub use starts::Offsets;
pub use take::backup;
