//! Pieces that several folders of tests share.

pub mod cpu;
pub mod gated;
pub mod guests;
