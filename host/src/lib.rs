//! Sandbar: runs teams' sandboxed WebAssembly transforms next to Kafka, exactly once.
//!
//! `ARCHITECTURE.md` is the map. The data plane (`worker`, `task`, `guest`, `kafka`, `embedded`) is synchronous
//! threads; the control plane (`api`, `catalog`, `supervisor`) is tokio.

pub mod model;
pub mod ports;
