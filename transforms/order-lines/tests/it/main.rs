//! order-lines from records to records, in the harness.

mod common;
mod events;
mod random;
mod samples;
