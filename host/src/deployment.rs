//! Deployments: the rules for a spec and its module, and the steps that carry them out.
//!
//! ```text
//! api: PUT, rollback    --> Deployer --> Facts (log, catalog, modules) --> rules::check (pure) --> topics, module, change
//! api: PUT?dry_run=true --> Deployer --> Facts ------------------------> rules::check ---------> Catalog::try_change
//! api: POST .../test    --> Deployer --> the candidate's spec, module and `init`
//! supervisor: prepare   --> Teams (file) ------------------------------> topic_use::check_rights
//! supervisor: prepare   --> Teams (file) ------------------------------> signature::check_signature
//! supervisor: prepare   --> TopicFacts (log) --------------------------> topic_rules::check_start
//! ```
//!
//! The rules, in the order in which an author would mend violations. A deployment is checked against all of them
//! before anything is written, and its [`Rejection`] names every rule that it breaks.
//!
//! | rule | at a deployment | at the start of a revision |
//! |---|---|---|
//! | the spec is valid ([`Spec::parse`](crate::model::spec::Spec::parse)) | E020 | E208 |
//! | every host of the cluster understands each field of the spec | E058 | |
//! | the team may read the inputs and tables, and write the outputs and dead letters; their owners accept it | E064, E065 | likewise, and while it runs |
//! | the team's signing keys have signed the module, if the team requires it; it is neither compiled nor run otherwise | E087, E088 | likewise, and while it runs |
//! | the module was sent along, or is stored | E022 | E022 |
//! | an uploaded module is not too large, and fits a world and the limits of compiling | E010 to E018, E044, E056 | likewise |
//! | the topics of tables are compacted | E051 | |
//! | inputs, outputs and tables exist | E021 | E207; a table's reader says E223 |
//! | the inputs of a transform with stores have equal numbers of partitions | E050 | E221 |
//! | a changelog that exists has the partitions of the inputs, is compacted, and keeps entries for as long as its store | E052 | E221 |
//! | a changelog or dead-letter topic exists | it is created | E220, E207 |
//! | the partitions of `start` exist, and a new transform finds its offsets there | E020 | |
//! | stores get other inputs only while no host can have them open | E057 | `supervisor` asks the catalog |
//! | `init` accepts the configuration | E019 | likewise |
//!
//! The rules on other deployments are the catalog's, since only its one writer sees all of them: the precondition
//! (E008), the idempotency key (E036), cycles (E037), the ceilings of the team (E059), and that the module was not collected
//! meanwhile (E022, E035). Ceilings are checked once before anything is written as well, like the bytes that the team may
//! upload (E060).
//!
//! Owned by nobody: a [`Deployer`] borrows its services for one request. Everything here blocks.

mod candidate;
mod deployer;
mod error;
mod facts;
mod fields;
mod rejection;
mod rules;
mod signature;
mod topic_facts;
mod topic_rules;
mod topic_use;
mod upload;

pub use candidate::Candidate;
pub use deployer::{CheckedCandidate, DeployResult, Deployer, ModuleChecker, wait_until_empty};
pub use error::DeployError;
pub use rejection::{Rejection, Violation};
pub use signature::{AcceptedModule, check_signature};
pub use topic_facts::TopicFacts;
pub use topic_rules::{changelog_topic, check_start};
pub use topic_use::{check_inputs, check_rights};
pub use upload::Upload;
