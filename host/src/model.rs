//! Plain validated values that the whole host uses. No I/O and no dependency on other modules; the two
//! clocks are read in [`clock`] and [`units`] alone.
//!
//! Text becomes one of these types at the edge ([`names`], [`spec`]); inside, a value of them is valid.

pub mod access;
pub mod audit;
pub mod authority;
pub mod batch;
pub mod by_name;
pub mod clock;
pub mod codes;
pub mod distinguished_name;
pub mod finding;
pub mod format;
pub mod json;
pub mod json_path;
pub mod log_entry;
pub mod module;
pub mod murmur2;
pub mod names;
pub mod numbers;
pub mod random;
pub mod redaction;
pub mod revision;
pub mod sample;
pub mod secret;
pub mod signature;
pub mod signing_key;
pub mod signing_rules;
pub mod spec;
pub mod start;
pub mod status;
pub mod team;
pub mod text;
pub mod topic_rights;
pub mod trace_context;
pub mod transaction_time;
pub mod units;
pub mod yaml;
